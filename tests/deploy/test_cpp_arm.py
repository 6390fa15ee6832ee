"""Exported C++ on Arm, under emulators: 64 bits with the dot product, and the microcontrollers Cortex-M3, M4, M7 and M55."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.deploy.cpp_networks import STRICT, compiled, int8_graph, need, network, pixels_for, prepared, ran, same, spec_of

from mobilenets.deploy import reference
from mobilenets.deploy.arena import fused_plan
from mobilenets.deploy.cpp.outputs import parsed, returned
from mobilenets.deploy.cpp.write import write_cpp
from mobilenets.deploy.graph import Graph
from mobilenets.deploy.tails import Tail
from mobilenets.exporters.cpp import SOURCES

pytestmark = pytest.mark.slow
CORTEX_M = Path(__file__).parent / "cortex_m"
BOARDS = {  # processor: its board in QEMU, and what the compiler is told; that of the M55 has no room for V2
    "m3": ("mps2-an385", ["-mcpu=cortex-m3"]),
    "m4": ("mps2-an386", ["-mcpu=cortex-m4", "-mfloat-abi=hard"]),
    "m55": ("mps3-an547", ["-mcpu=cortex-m55", "-mfloat-abi=hard"]),
    "m7": ("mps2-an500", ["-mcpu=cortex-m7", "-mfloat-abi=hard", "-mfpu=fpv5-sp-d16"]),
}
GCC = "arm-none-eabi-"


@pytest.mark.parametrize("options", ["armv8.2-a+dotprod", "armv8-a"])
@pytest.mark.parametrize("name", ["v1", "v2", "v3 small", "v4 conv small"])
def test_64_bit_arm_gives_the_integers_of_the_reference(name: str, options: str, tmp_path: Path) -> None:
    on_64_bit_arm(int8_graph(spec_of(name)), tmp_path, options)


@pytest.mark.parametrize(("name", "tail"), [("lraspp", "argmax"), ("ssdlite", "nms"), ("hybrid", None)])
def test_64_bit_arm_runs_every_task(name: str, tail: Tail | None, tmp_path: Path) -> None:
    on_64_bit_arm(network(name, in_integers=True, tail=tail), tmp_path, "armv8.2-a+dotprod")


def on_64_bit_arm(graph: Graph, folder: Path, options: str) -> None:
    need("qemu-aarch64")
    pixels = pixels_for(graph)
    x = prepared(graph, pixels)
    expected = reference.run(graph, x)
    program = compiled(graph, folder, "aarch64-linux-gnu-g++", ["-O1", f"-march={options}", "-static"])
    processor = "max" if "dotprod" in options else "cortex-a53"  # which has no dot product
    for images in (x, pixels):
        same(ran(program, graph, images, before=["qemu-aarch64", "-cpu", processor]), expected)


@pytest.mark.parametrize(
    ("name", "processor"),
    [("v1 96", processor) for processor in BOARDS] + [("v2 96", processor) for processor in BOARDS if processor != "m55"],
)
def test_a_microcontroller_gives_the_integers_of_the_reference(name: str, processor: str, tmp_path: Path) -> None:
    on_a_board(int8_graph(spec_of(name)), tmp_path, processor)


@pytest.mark.parametrize(("name", "tail"), [("lraspp", "argmax"), ("ssdlite", "nms")])
def test_a_microcontroller_finds_classes_of_pixels_and_boxes(name: str, tail: Tail, tmp_path: Path) -> None:
    on_a_board(network(name, in_integers=True, tail=tail), tmp_path, "m4")


def on_a_board(graph: Graph, folder: Path, processor: str) -> None:
    need(f"{GCC}g++", f"{GCC}gcc", "qemu-system-arm")
    board, target = BOARDS[processor]
    pixels = pixels_for(graph)
    write_cpp(graph, folder)
    target = [*target, "-mthumb", "-O2", "-ffunction-sections", "-fdata-sections"]
    subprocess.run([f"{GCC}gcc", *target, "-c", str(CORTEX_M / "startup.c"), "-o", str(folder / "startup.o")], check=True)
    link = ["-nostartfiles", "--specs=rdimon.specs", "-T", str(CORTEX_M / "mps2.ld"), "-Wl,--gc-sections"]
    sources = [str(folder / name) for name in SOURCES]
    program = [*sources, str(folder / "startup.o"), "-o", str(folder / "firmware.elf")]
    subprocess.run([f"{GCC}g++", *STRICT, *target, *program, *link], check=True)
    pixels.tofile(folder / "images")
    machine = ["-machine", board, "-display", "none", "-semihosting-config", "enable=on,target=native"]
    subprocess.run(["qemu-system-arm", *machine, "-kernel", "firmware.elf"], check=True, cwd=folder, timeout=300)
    made = parsed((folder / "outputs").read_bytes(), returned(graph))
    same(made, reference.run(graph, prepared(graph, pixels)))


@pytest.mark.parametrize("name", ["v1 96", "v2 96"])
def test_a_microcontroller_needs_the_planned_memory_and_the_weights(name: str, tmp_path: Path) -> None:
    need(f"{GCC}g++", f"{GCC}size")
    graph = int8_graph(spec_of(name))
    written = write_cpp(graph, tmp_path)
    flash, memory = sizes(tmp_path, BOARDS["m4"][1])
    assert written.arena_bytes <= fused_plan(graph).size_bytes
    assert written.arena_bytes <= memory <= written.arena_bytes + 4096
    assert written.constant_bytes <= flash <= written.constant_bytes + 48 * 1024


def sizes(folder: Path, target: list[str]) -> tuple[int, int]:
    """Bytes of flash and of memory that a program takes which does nothing but run the network."""
    options = [*STRICT, *target, "-mthumb", "-Os", "-ffunction-sections", "-fdata-sections", "-ffreestanding"]
    link = ["-nostartfiles", "--specs=nano.specs", "--specs=nosys.specs", "-T", str(CORTEX_M / "mps2.ld"), "-Wl,--gc-sections"]
    sources = [str(folder / "network.cpp"), str(folder / "weights.cpp"), str(CORTEX_M / "bare.cpp")]
    program = str(folder / "bare.elf")
    subprocess.run([f"{GCC}g++", *options, f"-I{folder}", *sources, "-o", program, *link], check=True)
    symbols = subprocess.run([f"{GCC}nm", program], check=True, capture_output=True, text=True).stdout.split()
    assert not {"malloc", "_malloc_r", "_sbrk", "__cxa_throw", "__cxa_guard_acquire"} & set(symbols)
    said = subprocess.run([f"{GCC}size", program], check=True, capture_output=True, text=True)
    text, data, bss = (int(word) for word in said.stdout.splitlines()[1].split()[:3])
    return text + data, data + bss
