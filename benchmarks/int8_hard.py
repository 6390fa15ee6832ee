"""Post-training int8 made hard on purpose: a trained classifier with channels far apart, and with dead parts.

- "apart": wherever the network stays the same, its channels are multiplied by numbers drawn between 1/10 and 10, so that they
  lie up to 100 times apart. Both networks are quantized with the same images and judged by the same images of the test split.
  The last column is what the drop differs by, paired.
- "dead": the quietest eighth of the channels of every layer but the last is dead, in one of four ways from layer to layer:
  weights 0 and the bias kept; all 0; weights of 1e-30; a bias of -1000 (where a ReLU follows). The last residual block adds
  nothing. This network has an accuracy of its own. Its int8 file must open in every runtime.

    python benchmarks/int8_hard.py v3s v4s --count 512
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from int8_peers_run import SEED, material
from numpy.typing import NDArray
from quantizers import Images, litert

from mobilenets import checkpoint
from mobilenets.deploy import operators as op
from mobilenets.deploy import reference
from mobilenets.deploy.graph import Graph
from mobilenets.deploy.quantize.equalize import rescaled, tied
from mobilenets.deploy.quantize.quantize import quantize
from mobilenets.deploy.quantize.values import decibels
from mobilenets.deploy.write_tflite import to_tflite
from mobilenets.exporters.lower import lower
from mobilenets.exporters.table import EXPORTERS
from mobilenets.runtime.engines.table import ENGINES

APART = 10.0
"""Channels are multiplied by up to this, and divided by up to this."""

DEAD = 8
"""One of so many channels is dead."""

RUNTIMES = ("onnx", "openvino", "tflite", "executorch", "native")
OPENED_ON = 256
"""Images that each of them runs."""

Tensors = dict[str, NDArray[Any]]  # Any: floats of 16 or 32 bits


def main() -> None:
    """Print the tables of each run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a run folder of a classifier")
    parser.add_argument("--count", type=int, default=512, help="images to calibrate on")
    parser.add_argument("--most", type=int, default=10_000, help="images of the test split to judge by")
    arguments = parser.parse_args()
    for run in arguments.runs:
        graph = lower(checkpoint.load(run))
        data = material(run, count=arguments.count, split="test", most=arguments.most)
        print(f"\n{run.name}: calibrated with {len(data.calibration)} images, {len(data.images)} of the test split")
        print("network   float    int8   points ± error   same answer   SQNR dB   against the plain drop")
        plain: NDArray[np.float64] | None = None
        for name, made in (("plain", graph), ("apart", apart(graph)), ("dead", dead(graph, data.calibration[:64]))):
            int8 = quantize(made, data.calibration).graph
            expected, found = (litert(to_tflite(each))(data.images) for each in (made, int8))
            real, its = (logits.argmax(1) == data.truth for logits in (expected, found))
            change = its.astype(float) - real
            row = f"{name:6} {real.mean():8.2%} {its.mean():7.2%} {_points(change):>16} "
            row += f"{(expected.argmax(1) == found.argmax(1)).mean():13.2%} {decibels(expected, found):9.1f}"
            print(row if plain is None else f"{row}   {_points(change - plain)}", flush=True)
            plain = change if plain is None else plain
            if name == "dead":
                open_everywhere(int8, data.images[:OPENED_ON], expected[:OPENED_ON])


def apart(graph: Graph) -> Graph:
    """The same network with channels that lie far apart."""
    random = np.random.default_rng(SEED)
    shapes, tensors = graph.shapes(), dict(graph.tensors)
    for group in sorted(tied(graph), key=min):
        channels = shapes[min(group)][0]
        tensors = rescaled(graph, tensors, group, APART ** random.uniform(-1, 1, channels))
    return replace(graph, tensors=tensors)


def dead(graph: Graph, images: Images) -> Graph:
    """A network like it with dead channels, and a last residual block that adds nothing."""
    tensors: Tensors = dict(graph.tensors)
    values = reference.run_all(graph, images)
    kinds = cycle((_silent, _zero, _tiny, _negative))
    layers = [operator for operator in graph.operators if isinstance(operator, op.Weighted)]
    for operator in layers[:-1]:
        loudness = np.square(values[operator.output]).mean((0, *range(2, values[operator.output].ndim)))
        quiet = np.argsort(loudness)[: len(loudness) // DEAD]
        kind = next(kinds)
        kind = _zero if kind is _negative and operator.activation != "relu" else kind
        weight, bias = (tensors[name].astype(np.float32) for name in (operator.weight, operator.bias))
        weight[quiet], bias[quiet] = kind(weight[quiet], bias[quiet])
        tensors[operator.weight], tensors[operator.bias] = weight, bias
    for operator in _last_branch(graph):
        for name in (operator.weight, operator.bias):
            tensors[name] = np.zeros_like(tensors[name])
    return replace(graph, tensors=tensors)


def _silent(weight: Images, bias: Images) -> tuple[Images, Images]:
    return 0 * weight, bias


def _zero(weight: Images, bias: Images) -> tuple[Images, Images]:
    return 0 * weight, 0 * bias


def _tiny(weight: Images, bias: Images) -> tuple[Images, Images]:
    return np.float32(1e-30) * weight, 0 * bias


def _negative(weight: Images, bias: Images) -> tuple[Images, Images]:
    return weight, 0 * bias - 1000


def _last_branch(graph: Graph) -> Iterator[op.Weighted]:
    """The layer that makes what the last sum adds to its shortcut."""
    makers = {operator.output: operator for operator in graph.operators}
    sums = [operator for operator in graph.operators if isinstance(operator, op.Add)]
    for last in sums[-1:]:
        added = [makers[name] for name in last.inputs if isinstance(makers[name], op.Weighted)]
        order = list(graph.operators)
        yield from sorted((each for each in added if isinstance(each, op.Weighted)), key=order.index)[-1:]


def _points(change: NDArray[np.float64]) -> str:
    return f"{100 * change.mean():+.2f} ± {100 * change.std() / len(change) ** 0.5:.2f}"


def open_everywhere(graph: Graph, images: Images, expected: Images) -> None:
    """Print what each runtime makes of the file that is written for it.

    Args:
        graph: in integers.
        images: N C H W.
        expected: the logits of the network in floats.
    """
    with tempfile.TemporaryDirectory() as name:
        for runtime in RUNTIMES:
            exporter = EXPORTERS[runtime]
            path = Path(name) / runtime / exporter.file
            path.parent.mkdir()
            exporter.format.write(graph, path, exporter.format.batch)
            engine = ENGINES[path.suffix].open(path, threads=1)
            found = np.concatenate([engine.run(image[np.newaxis])["logits"] for image in images])
            same = (found.argmax(1) == expected.argmax(1)).mean()
            print(
                f"  {runtime:10} opens; same answer {same:.1%} of {len(images)}, {decibels(expected, found):.1f} dB", flush=True
            )


if __name__ == "__main__":
    main()
