"""What exported C++ takes of a Cortex-M4, flash and memory against the plan, beside LiteRT for Microcontrollers if it is there.

The networks have random weights and 3 classes; sizes do not depend on them. Flash and memory are those of a program that does
nothing but run the network, as the linker says; the image, 27,648 bytes, is its caller's. Stack and instructions of one image
are counted in QEMU; how long they take depends on a processor's caches and flash. The arena of LiteRT for Microcontrollers,
with the image in it, is what its own recorder prints on this machine, from the TFLite file of the same network with integer
ends; `pip install tflite-micro` brings it.

    python benchmarks/microcontroller.py
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import mobilenets
from mobilenets.deploy.arena import fused_plan
from mobilenets.deploy.cpp.write import write_cpp
from mobilenets.deploy.ends import with_integer_ends
from mobilenets.deploy.graph import Graph
from mobilenets.deploy.quantize.quantize import quantize
from mobilenets.deploy.tails import TAILS, Tail
from mobilenets.deploy.write_tflite import to_tflite
from mobilenets.exporters.compared import prepared_batches
from mobilenets.exporters.cpp import FLAGS
from mobilenets.exporters.lower import lower
from mobilenets.specs.lraspp import lraspp
from mobilenets.specs.model import ModelSpec
from mobilenets.specs.ssd import ssdlite

BARE = Path(__file__).parents[1] / "tests" / "deploy" / "cortex_m"
TARGET = ("-mcpu=cortex-m4", "-mfloat-abi=hard", "-mthumb", "-ffunction-sections", "-fdata-sections")
LINK = ("-nostartfiles", f"-T{BARE / 'mps2.ld'}", "-Wl,--gc-sections")
QEMU = (
    "qemu-system-arm",
    "-machine",
    "mps2-an386",
    "-icount",
    "shift=0",
    "-display",
    "none",
    "-semihosting-config",
    "enable=on",
)
LABELS = ("a", "b", "c")
RECORDER = """
import sys
from tflite_micro import runtime
runtime.Interpreter.from_file(sys.argv[1], arena_size=1 << 20).print_allocations()
"""


def main() -> None:
    """Print a line for each network and level of optimization."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=96, help="px of the input")
    parser.add_argument("--tflite-micro", default=sys.executable, metavar="PYTHON", help="a Python that has tflite-micro")
    arguments = parser.parse_args()
    for name, (spec, tail) in networks(arguments.size).items():
        graph = quantized(spec, tail)
        with tempfile.TemporaryDirectory(prefix="mobilenets-microcontroller-") as scratch:
            folder = Path(scratch)
            written = write_cpp(graph, folder)
            print(f"{name}: constants {written.constant_bytes:,}, arena {written.arena_bytes:,}, ", end="")
            print(f"row by row {fused_plan(graph).size_bytes:,}")
            for level in ("-Os", "-O2"):
                flash, memory = sizes(folder, level)
                print(f"  {level}: flash {flash:,} bytes, static memory {memory:,} bytes, {counted(folder, level)}")
            if tail is not None:  # LiteRT for Microcontrollers has no such tail
                continue
            (folder / "model.tflite").write_bytes(to_tflite(with_integer_ends(graph), batch=1))
            print(f"  TFLite file: {(folder / 'model.tflite').stat().st_size:,} bytes")
            command = [arguments.tflite_micro, "-c", RECORDER, str(folder / "model.tflite")]
            said = subprocess.run(command, capture_output=True, text=True, check=False)
            lines = [line for line in (said.stdout + said.stderr).splitlines() if "Arena allocation" in line]
            print("\n".join(f"  {line}" for line in lines) or "  tflite-micro is not installed")


def networks(size: int) -> dict[str, tuple[ModelSpec, Tail | None]]:
    """The networks by name, each with its tail."""
    v1, v2 = mobilenets.backbone("mobilenet_v1", width=0.25), mobilenets.backbone("mobilenet_v2", width=0.35)
    contract = mobilenets.InputContract(size=size)
    return {
        "V1 0.25": (ModelSpec(v1, LABELS, contract), None),
        "V2 0.35": (ModelSpec(v2, LABELS, contract), None),
        "V3-Small 0.5, LR-ASPP": (lraspp(mobilenets.backbone("mobilenet_v3_small", width=0.5), LABELS, size=size), "argmax"),
        "V2 0.35, SSDLite": (ssdlite(v2, LABELS, size=size), "nms"),
    }


def quantized(spec: ModelSpec, tail: Tail | None) -> Graph:
    """A network in 8-bit integers, fitted to made-up images."""
    graph = quantize(lower(mobilenets.create(spec)), np.concatenate(list(prepared_batches(spec.input, ())))).graph
    return TAILS[tail].add(graph) if tail else graph


def sizes(folder: Path, level: str) -> tuple[int, int]:
    """Bytes of flash and of static memory of the program that runs nothing but the network."""
    program = built(folder, level, "bare.cpp", ("-ffreestanding", "--specs=nano.specs", "--specs=nosys.specs"))
    said = subprocess.run(["arm-none-eabi-size", str(program)], check=True, capture_output=True, text=True)
    text, data, bss = (int(word) for word in said.stdout.splitlines()[1].split()[:3])
    return text + data, data + bss


def counted(folder: Path, level: str) -> str:
    """Stack and instructions of one image, in words."""
    program = built(folder, level, "counted.cpp", ("--specs=rdimon.specs",))
    return subprocess.run([*QEMU, "-kernel", str(program)], check=True, capture_output=True, text=True).stdout.strip()


def built(folder: Path, level: str, start: str, options: Sequence[str]) -> Path:
    """A program for the Cortex-M4."""
    sources = [str(folder / "network.cpp"), str(folder / "weights.cpp"), str(BARE / start)]
    program = folder / f"{start}.elf"
    command = ["arm-none-eabi-g++", *FLAGS, *TARGET, level, *options, f"-I{folder}", *sources, "-o", str(program), *LINK]
    subprocess.run(command, check=True)
    return program


if __name__ == "__main__":
    main()
