"""The native engine under sanitizers: valid graphs are run, damaged ones are opened, and nothing may be reported.

AddressSanitizer and UndefinedBehaviorSanitizer watch every operator, whole networks and the damaged files; ThreadSanitizer
watches the same graphs on three threads. It needs a C++20 compiler and CMake. `--cmake` builds with more settings: kernels for
VNNI, for example, on processors without it.

    python benchmarks/native_sanitizers.py --count 1000
    python benchmarks/native_sanitizers.py --count 10 --cmake MOBILENETS_EMULATED_VNNI=ON
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from damage import damaged_graph
from graph_files import a_graph, an_int8_graph

import mobilenets
from mobilenets.deploy import file
from mobilenets.exporters.lower import lower

NATIVE = Path(__file__).parents[1] / "native"
NETWORKS = {"mobilenet_v1": 0.25, "mobilenet_v2": 0.35, "mobilenet_v3_small": 0.5, "mobilenet_v4_conv_small": 0.5}
SIZE = 64
SETTINGS = [
    ("1", "layers", "plain"), ("1", "layers"), ("1", "fused"), ("3", "layers"), ("3", "fused"), ("3", "fastest"),
]  # fmt: skip


def built(sanitizers: str, folder: Path, more: Sequence[str]) -> Path:
    """`run_graph` with these sanitizers, and more of CMake's settings."""
    settings = ["MOBILENETS_PYTHON=OFF", "MOBILENETS_TOOL=ON", f"MOBILENETS_SANITIZE={sanitizers}", *more]
    options = [f"-D{setting}" for setting in settings]
    subprocess.run(["cmake", "-S", NATIVE, "-B", folder, *options], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["cmake", "--build", folder], check=True, stdout=subprocess.DEVNULL)
    return folder / "run_graph"


def networks(folder: Path) -> list[Path]:
    """Whole networks, saved."""
    paths = [a_graph(folder), folder / "int8.graph"]
    (folder / "apart").mkdir()
    an_int8_graph(folder / "apart").rename(paths[1])
    for name, width in NETWORKS.items():
        body = mobilenets.backbone(name, width=width)
        spec = mobilenets.ModelSpec(body, ("cat", "dog"), mobilenets.InputContract(size=SIZE))
        file.save(lower(mobilenets.create(spec)), folder / f"{name}.graph")
        paths.append(folder / f"{name}.graph")
    return paths


def run(tool: Path, graph: str, images: str, *settings: str) -> str:
    """What the tool says; "" if it ended as it should, with or without a refusal."""
    done = subprocess.run([tool, graph, images, "/dev/null", *settings], capture_output=True, text=True, check=False)
    reported = "Sanitizer" in done.stderr or "runtime error" in done.stderr or done.returncode not in (0, 1)
    return f"{graph} {settings}: ended with {done.returncode}\n{done.stderr[:2000]}" if reported else ""


def run_networks(tool: Path, graphs: Sequence[Path], folder: Path, images: int) -> list[str]:
    """Reports of every network under every plan and instruction set, on so many images."""
    reports = []
    for graph in graphs:
        side = SIZE if "mobilenet" in graph.name else 32
        np.zeros((images, 3, side, side), np.float32).tofile(folder / "images")
        reports += [run(tool, str(graph), str(folder / "images"), *settings) for settings in SETTINGS]
    return reports


def open_damaged(tool: Path, original: Path, folder: Path, count: int) -> list[str]:
    """Reports of `count` damaged copies, which are opened in lots."""
    data, reports, lot = original.read_bytes(), [], 50
    for first in range(0, count, lot):
        paths = [folder / f"{i}.graph" for i in range(min(lot, count - first))]
        for i, path in enumerate(paths):
            path.write_bytes(damaged_graph(data, random.Random(f"{original.name} {first + i}")))
        reports.append(run(tool, ",".join(map(str, paths)), "-"))
    return reports


def main() -> int:
    """Print every report; 1 if there was one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200, help="damaged copies of each of two graphs")
    parser.add_argument("--build", type=Path, help="folder that keeps the builds")
    parser.add_argument("--cmake", nargs="*", default=[], metavar="NAME=VALUE", help="more settings to build with")
    options = parser.parse_args()
    reports: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        folder, builds = Path(name), options.build or Path(name)
        graphs = networks(folder)
        addresses = built("address,undefined", builds / "address", options.cmake)
        reports += run_networks(addresses, graphs, folder, images=2)
        for graph in graphs[:2]:
            reports += open_damaged(addresses, graph, folder, options.count)
        threads = built("thread", builds / "thread", options.cmake)
        reports += run_networks(threads, graphs, folder, images=50)  # threads do not always meet
    found = [report for report in reports if report]
    print(*found, f"{len(reports)} runs, {len(found)} reports", sep="\n")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
