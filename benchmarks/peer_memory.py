"""What each runtime really allocates for activations, beside what the native engine plans.

Each runtime opens the network in a process of its own and runs it, while every allocation of the process is counted by
memray (`pip install memray`). Weights, their packed copies and the runtime's own objects do not depend on the size of the
image, activations grow with its area. So a third of what runs at twice the side hold beyond runs at SIZE px are the activations
at SIZE px; the runtime's own copy of the image and its tables of addresses are among them. The native engine is measured in
the same way, and says what it has planned.

    python benchmarks/peer_memory.py --model mobilenet_v2 --size 224 --threads 1
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import memray
import numpy as np
from native_engine import PEERS, natively
from numpy.typing import NDArray

import mobilenets
from mobilenets.deploy import arena, file
from mobilenets.deploy.quantize.quantize import quantize
from mobilenets.exporters.lower import lower

SECONDS = 0.5
RUNTIMES = ("native", *PEERS)


def main() -> None:
    """Print a table for each precision."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mobilenet_v2")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runtimes", nargs="+", choices=RUNTIMES, default=RUNTIMES)
    parser.add_argument("--one", nargs=2, metavar=("RUNTIME", "GRAPH"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        runtime, graph = given.one
        print(json.dumps(held_bytes(runtime, Path(graph), given.threads)))
        return
    with tempfile.TemporaryDirectory() as folder:
        for precision in ("float32", "int8"):
            files = {size: written(given.model, size, precision, Path(folder)) for size in (given.size, 2 * given.size)}
            graph = file.load(files[given.size])
            by_layer, by_block = arena.plan(graph).size_bytes, arena.fused_plan(graph).size_bytes
            print(
                f"{given.model} {given.size} px, {precision}, plans: operator by operator {mb(by_layer)}, fused {mb(by_block)}"
            )
            for runtime in given.runtimes:
                held, at_twice = (asked(runtime, path, given.threads) for path in files.values())
                print(f"  {runtime:14} {mb((at_twice - held) / 3)} for activations, {mb(held)} in all", flush=True)


def written(model: str, size: int, precision: str, folder: Path) -> Path:
    """The file of a network with random weights, its integers fitted to one image."""
    contract = mobilenets.InputContract(size=size)
    spec = mobilenets.ModelSpec(mobilenets.backbone(model), tuple(map(str, range(1000))), contract)
    graph = lower(mobilenets.create(spec))
    if precision == "int8":
        graph = quantize(graph, image_of(size)).graph
    path = folder / f"{model}-{size}-{precision}.graph"
    file.save(graph, path)
    return path


def image_of(size: int) -> NDArray[np.float32]:
    """One image of noise, 1 x 3 x size x size."""
    return np.random.default_rng(0).normal(size=(1, 3, size, size)).astype(np.float32)


def asked(runtime: str, path: Path, threads: int) -> int:
    """`held_bytes` of a process of its own."""
    command = [sys.executable, __file__, "--threads", str(threads), "--one", runtime, str(path)]
    *said, found = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    print(*said, sep="\n")
    return int(found)


def held_bytes(runtime: str, path: Path, threads: int) -> int:
    """The most that is allocated at a time while the network runs, beyond what was before it was opened.

    Args:
        runtime: one of `RUNTIMES`.
        path: of the graph.
        threads: that it may use.
    """
    graph = file.load(path)
    image = image_of(graph.manifest.input.size)
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder, "memory.bin")
        with memray.Tracker(record, memory_interval_ms=1):
            if runtime == "native":
                run = natively(graph, image, threads, Path(folder), "fused")
            else:
                run = PEERS[runtime](graph, image, threads)
            run()
            start_ms, end = 1000 * time.time(), time.perf_counter() + SECONDS
            while time.perf_counter() < end:
                run()
        with memray.FileReader(record) as read:
            heaps = [int(moment.heap) for moment in read.get_memory_snapshots() if moment.time >= start_ms]
    return max(heaps)


def mb(size_bytes: float) -> str:
    """As "0.31 MB"."""
    return f"{size_bytes / 1e6:.2f} MB"


if __name__ == "__main__":
    main()
