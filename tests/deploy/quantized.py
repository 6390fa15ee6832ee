"""Graphs of one operator on 8-bit integers, with scales and zero points drawn at random."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tests.deploy.conftest import LABELS

from mobilenets.deploy import operators as op
from mobilenets.deploy.graph import INPUT, Graph
from mobilenets.deploy.quantization import SHARE, Quantization
from mobilenets.runtime.manifest import Manifest
from mobilenets.specs.model import InputContract

HEIGHT, WIDTH, CHANNELS = 6, 7, 5


def drawn(random: np.random.Generator, low: float = 3e-3, high: float = 0.2) -> Quantization:
    """A quantization of a value."""
    return Quantization((float(np.exp(random.uniform(np.log(low), np.log(high)))),), int(random.integers(-128, 128)))


def integers_for(graph: Graph, random: np.random.Generator) -> NDArray[np.int8]:
    """Two maps of all integers, N C H W, extremes more often than others."""
    numbers = random.integers(-128, 128, (2, CHANNELS, *graph.manifest.input.shape))
    extreme = random.random(numbers.shape)
    return np.where(extreme < 0.1, -128, np.where(extreme > 0.9, 127, numbers)).astype(np.int8)


def graph_of(
    operators: Sequence[op.Operator],
    quantization: Mapping[str, Quantization],
    tensors: Mapping[str, NDArray[Any]] | None = None,
    *,
    height: int = HEIGHT,
    width: int = WIDTH,
    channels: int = CHANNELS,
) -> Graph:
    """A checked graph that reads 8-bit integers."""
    mean = (0.5,) * channels
    wide = 0 if width == height else width
    contract = InputContract(size=height, wide=wide, channels=channels, mean=mean, std=mean, resize="stretch", crop=1.0)
    manifest = Manifest("tiny", LABELS, contract, precision="int8")
    graph = Graph(manifest, tuple(operators), tensors or {}, {"result": operators[-1].output}, quantization)
    graph.check()
    return graph


def weighted(random: np.random.Generator, kind: Callable[..., op.Operator], shape: tuple[int, ...], **fields: Any) -> Graph:
    """A graph of one operator with weights of this shape, whose sums cover what it makes: a fifth of it, all, or far beyond.

    Args:
        random: draws weights and scales; some graphs have one scale, some one for each output channel.
        kind: the operator.
        shape: of its weight.
        fields: of the operator.
    """
    read, channels = drawn(random), shape[0]
    scales = np.exp(random.uniform(-8, -3, channels if random.random() < 0.8 else 1))
    reach = read.scale * scales.max() * 127 * 60 * np.prod(shape[1:]) ** 0.5  # of a typical sum
    made = Quantization((float(reach / 127 * random.choice([0.1, 0.5, 4])),), int(random.integers(-128, 128)))
    tensors: dict[str, NDArray[Any]] = {
        "w": random.integers(-127, 128, shape).astype(np.int8),
        "b": np.round(random.normal(0, reach / 3, channels) / (read.scale * scales)).astype(np.int32),
    }
    quantization = {INPUT: read, "w": Quantization(tuple(scales)), "out": made}
    if kind is not op.Dense:
        operator = kind(name="out", inputs=(INPUT,), output="out", weight="w", bias="b", **fields)
        return graph_of([operator], quantization, tensors)
    row = op.Flatten(name="row", inputs=(INPUT,), output="row")
    operator = kind(name="out", inputs=("row",), output="out", weight="w", bias="b", **fields)
    return graph_of([row, operator], {**quantization, "row": read}, tensors, height=1, width=1)


def _window(random: np.random.Generator) -> dict[str, Any]:
    stride, dilation = [((1, 1), (1, 1)), ((2, 2), (1, 1)), ((1, 1), (2, 2))][random.integers(3)]  # TFLite has never both
    padding = [(0, 0, 0, 0), (1, 1, 1, 1), (0, 1, 0, 1), (2, 0, 0, 1)][random.integers(4)]
    return {"stride": stride, "dilation": dilation, "padding": padding, "activation": _fused(random)}


def _fused(random: np.random.Generator) -> str:
    return str(random.choice(["linear", "relu", "relu6"]))


def _conv(random: np.random.Generator) -> Graph:
    kernel = [(1, 1), (3, 3), (3, 2)][random.integers(3)]
    return weighted(random, op.Conv, (7, CHANNELS, *kernel), **_window(random))


def _depthwise(random: np.random.Generator) -> Graph:
    return weighted(random, op.Depthwise, (CHANNELS, 1, 3, 3), **_window(random))


def _dense(random: np.random.Generator) -> Graph:
    return weighted(random, op.Dense, (9, CHANNELS), activation=_fused(random))


def _add(random: np.random.Generator) -> Graph:
    return _two(random, op.Add, activation=_fused(random))


def _multiply(random: np.random.Generator) -> Graph:
    return _two(random, op.Multiply)


def _narrow(make: Callable[[np.random.Generator], Graph]) -> Callable[[np.random.Generator], Graph]:
    """The graphs of `make`, with weights of 7 bits.

    Processors without VNNI add two products of unsigned and signed 8 bits in 16 bits, which overflows with weights beyond 64.
    ONNX Runtime and OpenVINO do so; LiteRT does not.
    """

    def made(random: np.random.Generator) -> Graph:
        graph = make(random)
        return replace(graph, tensors={**graph.tensors, "w": graph.tensors["w"] // 2})

    return made


def _exact(make: Callable[[np.random.Generator], Graph]) -> Callable[[np.random.Generator], Graph]:
    """The graphs of `make`, whose second input is the first at half its scale: no runtime rounds it."""

    def made(random: np.random.Generator) -> Graph:
        graph = make(random)
        read, other = graph.quantization[INPUT], graph.quantization["other"]
        half = Quantization((read.scale / 2,), other.zero_point)
        return replace(graph, quantization={name: half if one == other else one for name, one in graph.quantization.items()})

    return made


def _two(random: np.random.Generator, kind: Callable[..., op.Operator], **fields: Any) -> Graph:
    """An operator that reads the input and the same at another scale, in either order."""
    inputs = (INPUT, "other") if random.random() < 0.5 else ("other", INPUT)
    other = op.Quantize(name="other", inputs=(INPUT,), output="other")
    scales = {INPUT: drawn(random), "other": drawn(random), "out": drawn(random)}
    return graph_of([other, kind(name="out", inputs=inputs, output="out", **fields)], scales)


def _gate(random: np.random.Generator) -> Graph:
    gate = op.Pool(name="other", inputs=(INPUT,), output="other", kernel=(HEIGHT, WIDTH))
    scales = {INPUT: drawn(random), "other": drawn(random), "out": drawn(random)}
    return graph_of([gate, op.Multiply(name="out", inputs=(INPUT, "other"), output="out")], scales)


def _coarse_gate(random: np.random.Generator) -> Graph:
    """A gate whose one step is at most one step of the product."""
    graph = _gate(random)
    coarse = Quantization((255 * graph.quantization[INPUT].scale * graph.quantization["other"].scale,), 3)
    return replace(graph, quantization={**graph.quantization, "out": coarse})


def _pool(random: np.random.Generator) -> Graph:
    return graph_of(
        [op.Pool(name="out", inputs=(INPUT,), output="out", kernel=(HEIGHT, WIDTH))],
        {INPUT: drawn(random), "out": drawn(random, 1e-3, 0.1)},
    )


def _window_pool(random: np.random.Generator) -> Graph:
    scale = drawn(random)
    operator = op.Pool(name="out", inputs=(INPUT,), output="out", kernel=(3, 2), stride=(2, 1))
    return graph_of([operator], {INPUT: scale, "out": scale})


def _activation(kind: op.NonLinear) -> Callable[[np.random.Generator], Graph]:
    def make(random: np.random.Generator) -> Graph:
        read = drawn(random, 0.02, 0.2)  # a range of 5 to 50: beyond all knees
        made = SHARE if kind == "sigmoid" else drawn(random, 0.005 if kind == "hard_sigmoid" else 0.02, 0.1)
        return graph_of([op.Activation(name="out", inputs=(INPUT,), output="out", kind=kind)], {INPUT: read, "out": made})

    return make


def _resize(coordinates: op.Coordinates) -> Callable[[np.random.Generator], Graph]:
    def make(random: np.random.Generator) -> Graph:
        scale, size = drawn(random), [(12, 14), (11, 23), (3, 4), (1, 1)][random.integers(4)]
        operator = op.Resize(name="out", inputs=(INPUT,), output="out", size=size, coordinates=coordinates)
        return graph_of([operator], {INPUT: scale, "out": scale})

    return make


def _concat(random: np.random.Generator) -> Graph:
    scale = drawn(random)
    other = op.Activation(name="other", inputs=(INPUT,), output="other", kind="relu")
    join = op.Concat(name="out", inputs=(INPUT, "other"), output="out")
    return graph_of([other, join], {INPUT: scale, "other": scale, "out": scale})


def _reshape(random: np.random.Generator) -> Graph:
    scale = drawn(random)
    there = op.Rows(name="rows", inputs=(INPUT,), output="rows", columns=CHANNELS)
    back = op.Places(name="out", inputs=("rows",), output="out", size=(WIDTH, HEIGHT))
    return graph_of([there, back], {INPUT: scale, "rows": scale, "out": scale})


def _softmax(random: np.random.Generator) -> Graph:
    scale = drawn(random, 3e-3, 0.3)
    rows = op.Rows(name="rows", inputs=(INPUT,), output="rows", columns=CHANNELS)
    return graph_of([rows, op.Softmax(name="out", inputs=("rows",), output="out")], {INPUT: scale, "rows": scale, "out": SHARE})


def _matmul(*, transposed: bool) -> Callable[[np.random.Generator], Graph]:
    """P C times P C, transposed, or times C P, which is the same with its rows joined and cut elsewhere."""

    def make(random: np.random.Generator) -> Graph:
        first, second = drawn(random), drawn(random)
        sums = float(random.choice([20, 100, 400])) * first.scale * second.scale
        scales = {
            INPUT: first,
            "a": first,
            "other": second,
            "b": second,
            "out": Quantization((sums,), int(random.integers(-128, 128))),
        }
        operators: list[op.Operator] = [
            op.Rows(name="a", inputs=(INPUT,), output="a", columns=CHANNELS),
            op.Quantize(name="other", inputs=(INPUT,), output="other"),
            op.Rows(name="b", inputs=("other",), output="b", columns=CHANNELS),
            op.MatMul(name="out", inputs=("a", "b"), output="out", transposed=True),
        ]
        if not transposed:
            operators[3:] = [
                op.Places(name="map", inputs=("b",), output="map", size=(CHANNELS, 1)),
                op.Rows(name="wide", inputs=("map",), output="wide", columns=35),
                op.MatMul(name="out", inputs=("a", "wide"), output="out"),
            ]
            scales |= {"map": second, "wide": second}
        return graph_of(operators, scales, height=5, width=7)

    return make


def _argmax(random: np.random.Generator) -> Graph:
    return graph_of([op.ArgMax(name="out", inputs=(INPUT,), output="out")], {INPUT: drawn(random)})


def _dequantize(random: np.random.Generator) -> Graph:
    return graph_of([op.Dequantize(name="out", inputs=(INPUT,), output="out")], {INPUT: drawn(random)})


def _quantize(random: np.random.Generator) -> Graph:
    there = op.Dequantize(name="floats", inputs=(INPUT,), output="floats")
    again = op.Quantize(name="out", inputs=("floats",), output="out")
    return graph_of([there, again], {INPUT: drawn(random), "out": drawn(random)})


def _requantize(random: np.random.Generator) -> Graph:
    return graph_of([op.Quantize(name="out", inputs=(INPUT,), output="out")], {INPUT: drawn(random), "out": drawn(random)})


@dataclass(frozen=True, slots=True)
class Case:
    """A kind of graph, and by how many steps its results may differ from our reference.

    Args:
        make: a graph with scales drawn at random.
        steps: by LiteRT's reference kernels: 0 where the specification rounds once, 1 where it approximates.
        runtime_steps: by runtimes, which round in ways of their own.
    """

    make: Callable[[np.random.Generator], Graph]
    steps: int = 0
    runtime_steps: int = 1


# fmt: off
CASES: dict[str, Case] = {
    "conv":                 Case(_conv),
    "depthwise":            Case(_depthwise),
    "dense":                Case(_dense),
    "add":                  Case(_add),
    "multiply":             Case(_multiply),
    "multiply by a gate":   Case(_gate),
    "pool to one place":    Case(_pool),
    "pool by a window":     Case(_window_pool),
    "relu":                 Case(_activation("relu")),
    "relu6":                Case(_activation("relu6")),
    "hard sigmoid":         Case(_activation("hard_sigmoid")),
    "hard swish":           Case(_activation("hard_swish"), steps=1),
    "sigmoid":              Case(_activation("sigmoid")),
    "gelu":                 Case(_activation("gelu")),
    "resize by centers":    Case(_resize("half_pixel")),
    "resize by corners":    Case(_resize("align_corners")),
    "concat":               Case(_concat),
    "rows and places":      Case(_reshape),
    "softmax":              Case(_softmax, steps=1),
    "matmul":               Case(_matmul(transposed=False)),
    "matmul, transposed":   Case(_matmul(transposed=True)),
    "argmax":               Case(_argmax),
    "dequantize":           Case(_dequantize),
    "quantize":             Case(_quantize),
    "requantize":           Case(_requantize),
}
# fmt: on
"""Every operator that has a meaning on integers."""

EXACT_CASES = CASES | {
    **{name: Case(_exact(CASES[name].make)) for name in ("add", "multiply", "matmul", "matmul, transposed")},
    **{name: Case(_narrow(CASES[name].make)) for name in ("conv", "depthwise", "dense")},
    "multiply by a gate": Case(_coarse_gate, runtime_steps=2),
    "resize by centers": Case(_resize("half_pixel"), runtime_steps=2),
    "resize by corners": Case(_resize("align_corners"), runtime_steps=2),
}
"""The same, so that one step in a value before the last cannot become several. XNNPACK's resizing has few bits."""
