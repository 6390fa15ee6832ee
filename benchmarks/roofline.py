"""The share of this processor's speed that the native engine reaches in each block of a network, on one thread.

The speed is that of one large pointwise convolution, from 512 to 512 channels at 28 px, which is nearly all products. The
network has random weights, and its integers are fitted to one image.

    python benchmarks/roofline.py --model mobilenet_v2 --plot roofline.png

`--from FILE` draws what was printed before, of the same model and size, and measures nothing.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import mobilenets_native
import numpy as np
from native_engine import Precision, in_precision
from roofline_plot import OUTSIDE, Columns, Shares, drawn, read_columns

import mobilenets
from mobilenets.deploy import file
from mobilenets.deploy import operators as op
from mobilenets.deploy.graph import INPUT, Graph
from mobilenets.deploy.profile import macs_of
from mobilenets.exporters.lower import lower
from mobilenets.files import write_bytes
from mobilenets.reports.plots import png
from mobilenets.runtime.machine import machine
from mobilenets.runtime.manifest import Manifest
from mobilenets.specs.model import InputContract

SIDE, CHANNELS = 28, 512
PRECISIONS: tuple[Precision, ...] = ("int8", "bfloat16", "float32")


def main() -> None:
    """Print the blocks with their microseconds and shares in each precision."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mobilenet_v2")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--plot", type=Path, help="a PNG file for the picture")
    parser.add_argument(
        "--from", dest="printed", type=Path, help="a file with the printed line of speeds and table, for --plot"
    )
    options = parser.parse_args()
    contract = InputContract(size=options.size)
    labels = tuple(map(str, range(1000)))
    network = lower(mobilenets.create(mobilenets.ModelSpec(mobilenets.backbone(options.model), labels, contract)))
    if options.printed:
        columns: Columns = read_columns(options.printed.read_text(encoding="utf-8"))
    else:
        columns = measured(network, options.runs)
        print(f"{options.model}, {options.size} px, {machine().cpu}")
        print(*(f"{precision}: {peak / 1e9:.0f} GMAC/s" for precision, (_, peak) in columns.items()), sep=", ")
        print_table(columns)
    if options.plot:
        write_bytes(options.plot, png(drawn(columns, network)))


def measured(network: Graph, runs: int) -> dict[str, tuple[Shares, float]]:
    """The blocks in each precision, and the speed of one large convolution."""
    columns: dict[str, tuple[Shares, float]] = {}
    for precision in PRECISIONS:
        peak = max(macs / seconds for _, macs, seconds in timed(large_convolution(), precision, runs))
        columns[precision] = (by_block(timed(network, precision, runs)), peak)
    return columns


def large_convolution() -> Graph:
    """A pointwise convolution, which is nearly all products."""
    random = np.random.default_rng(0)
    mean = (0.5,) * CHANNELS
    contract = InputContract(size=SIDE, channels=CHANNELS, mean=mean, std=mean)
    weights = random.normal(size=(CHANNELS, CHANNELS, 1, 1), scale=0.05).astype(np.float32)
    convolution = op.Conv(name="conv", inputs=(INPUT,), output="conv", weight="w", bias="b", activation="relu6", block=0)
    return Graph(
        Manifest("convolution", ("0",), contract),
        (convolution,),
        {"w": weights, "b": np.zeros(CHANNELS, np.float32)},
        {"result": "conv"},
    )


def timed(graph: Graph, precision: Precision, runs: int) -> list[tuple[int, int, float]]:
    """The block, the multiply-adds and the least seconds of each operator; -1 stands for no block."""
    channels = graph.manifest.input.channels
    image = np.random.default_rng(0).normal(size=(1, channels, *graph.manifest.input.shape)).astype(np.float32)
    graph = in_precision(graph, image, precision)
    with tempfile.TemporaryDirectory() as folder:
        file.save(graph, Path(folder, "network.graph"))
        engine = mobilenets_native.Engine(str(Path(folder, "network.graph")))
    shapes = graph.shapes()
    seconds = engine.operator_seconds(image, runs=runs)
    return [
        (operator.block, macs_of(graph, operator, shapes), took)
        for operator, (_, took) in zip(graph.operators, seconds, strict=True)
    ]


def by_block(operators: Sequence[tuple[int, int, float]]) -> Shares:
    """The sums of the operators of each block."""
    made: defaultdict[int, tuple[float, float]] = defaultdict(lambda: (0.0, 0.0))
    for block, macs, seconds in operators:
        made[block] = (made[block][0] + macs, made[block][1] + seconds)
    return dict(made)


def print_table(columns: Columns) -> None:
    """A row for each block, and one for all."""
    print("| block | MMAC |" + "".join(f" {precision}, µs | share |" for precision in columns))
    print("|---|---|" + "---|---|" * len(columns))
    blocks = sorted(next(iter(columns.values()))[0], key=lambda block: (block < 0, block))
    for block in [*blocks, None]:
        print_row(block, columns)


def print_row(block: int | None, columns: Columns) -> None:
    """The row of a block; None is all of them."""
    cells: list[str] = []
    macs = 0.0
    for made, peak in columns.values():
        chosen: Sequence[tuple[float, float]] = list(made.values()) if block is None else [made.get(block, (0.0, 0.0))]
        macs, seconds = (sum(column) for column in zip(*chosen, strict=True))
        cells += [f"{seconds * 1e6:,.0f}", f"{macs / seconds / peak:.0%}" if seconds else ""]
    name = "all" if block is None else OUTSIDE if block < 0 else str(block)
    print(f"| {name} | {macs / 1e6:.1f} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
