"""`lower`: converts a model to a graph, from the torch calls that it makes in one run.

The calls are read in order, and folded where possible: a batch norm into the weights of the convolution before it, an
activation into its operator, padding into the convolution after it. A batch norm, factor or activation whose input has other
readers too becomes an operator of its own.
"""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenets.deploy import operators as op
from mobilenets.deploy.graph import INPUT, Graph
from mobilenets.deploy.operators import Operator
from mobilenets.deploy.profile import profiled
from mobilenets.errors import GraphError
from mobilenets.exporters.recorded import Call, Program, record
from mobilenets.model import Model
from mobilenets.net.backbone import Backbone
from mobilenets.runtime.manifest import manifest_of

Wide = NDArray[np.float64]
_FUSING = (op.Conv, op.Depthwise, op.Dense, op.Add)
_SCALING = (op.Conv, op.Depthwise)


def lower(model: Model) -> Graph:
    """The graph of a model in evaluation mode, for the input size of its contract.

    Args:
        model: the model; it is not modified. A model from quantization-aware training already has an int8 graph.

    Raises:
        GraphError: the model has an operation without a corresponding operator.
    """
    graph = model.int8_graph()
    if graph is not None:
        return graph
    network = copy.deepcopy(model).cpu().eval()
    contract = network.spec.input
    program = record(network, (1, contract.channels, *contract.shape))
    lowering = _Lowering(program, _blocks(network))
    for call in program.calls:
        lowering.read(call)
    outputs = dict(zip(network.outputs, (lowering.values[value] for value in program.outputs), strict=True))
    graph = Graph(manifest_of(network.spec), tuple(lowering.operators), lowering.single_precision(), outputs)
    graph.check()
    return profiled(graph)


class _Lowering:
    """The operators lowered so far, and the value that corresponds to each node of the program."""

    def __init__(self, program: Program, blocks: Mapping[str, int]) -> None:
        self.operators: list[Operator] = []
        self.tensors: dict[str, Wide] = {}
        self.values: dict[Call, str] = {program.image: INPUT}
        self.constants: dict[Call, Wide] = dict(program.weights)
        self.pads: dict[Call, tuple[Call, op.Margins]] = {}
        self.channels_last: dict[Call, Call] = {}
        self.names: Counter[str] = Counter()
        self.blocks = blocks  # the block's index, by the name of any module inside it

    def read(self, node: Call) -> None:
        """Lower the next operation of the program."""
        if node.function not in _READERS:
            raise GraphError(f"'{_module(node)}' calls {node.function}, which no operator of a graph stands for")
        _READERS[node.function](self, node)

    def single_precision(self) -> dict[str, NDArray[np.float32]]:
        """The weights in 32-bit floats."""
        return {name: np.ascontiguousarray(tensor, dtype=np.float32) for name, tensor in self.tensors.items()}

    def add(
        self, operator: Callable[..., Operator], node: Call, inputs: Sequence[Call], **fields: Any
    ) -> None:  # Any: they differ
        """Append an operator that produces the node's value; both are named after the module."""
        module = _module(node).removesuffix(".conv")
        self.names[module] += 1
        name = module if self.names[module] == 1 else f"{module}.{self.names[module]}"
        if "weight" in fields:
            for part in ("weight", "bias"):
                self.tensors[f"{name}.{part}"] = fields[part]
                fields[part] = f"{name}.{part}"
        inputs_read = tuple(self.values[source] for source in inputs)
        block = self.blocks.get(_module(node), -1)
        self.operators.append(operator(name=name, inputs=inputs_read, output=name, block=block, **fields))
        self.values[node] = name

    def passed(self, node: Call, source: Call) -> None:
        """Skip an operation that changes nothing."""
        self.values[node] = self.values[source]

    def maker(self, node: Call, kinds: tuple[type[Operator], ...]) -> int | None:
        """Index of the operator without activation, of these kinds, that produced a node's value, if it has no other reader."""
        value = self.values[node]
        for i, operator in reversed(list(enumerate(self.operators))):
            if operator.output == value:
                fits = isinstance(operator, kinds) and getattr(operator, "activation", "") == "linear"
                return i if fits and len(node.users) == 1 else None
        return None

    def scale(self, node: Call, source: Call, factor: Wide, shift: Wide) -> None:
        """Scale and shift each channel of a map: folded into the weights before it if possible, else as an operator."""
        i = self.maker(source, _SCALING)
        if i is None:
            self.add(op.Depthwise, node, [source], weight=factor[:, None, None, None], bias=shift)
            return
        operator = self.operators[i]
        assert isinstance(operator, _SCALING)
        self.tensors[operator.weight] = self.tensors[operator.weight] * factor[:, None, None, None]
        self.tensors[operator.bias] = self.tensors[operator.bias] * factor + shift
        self.values[node] = operator.output

    def activate(self, node: Call, source: Call, kind: op.NonLinear) -> None:
        """Apply an activation: fused into the operator before it if possible, else as an operator of its own."""
        i = self.maker(source, _FUSING)
        if i is None:
            self.add(op.Activation, node, [source], kind=kind)
            return
        linear = self.operators[i]
        assert isinstance(linear, _FUSING)
        self.operators[i] = replace(linear, activation=kind)
        self.values[node] = linear.output


def _conv(lowering: _Lowering, node: Call) -> None:
    source, weight, bias, stride, padding, dilation, groups = _arguments(
        node, "input", "weight", bias=None, stride=1, padding=0, dilation=1, groups=1
    )
    down, across = _pair(padding)
    margins: op.Margins = (down, down, across, across)
    if source in lowering.pads:
        source, outer = lowering.pads[source]
        margins = (down + outer[0], down + outer[1], across + outer[2], across + outer[3])
    filters = lowering.constants[weight]
    shift = np.zeros(len(filters)) if bias is None else lowering.constants[bias]
    depthwise = groups > 1 and filters.shape[:2] == (groups, 1)
    if groups > 1 and not depthwise:
        raise GraphError(f"'{_module(node)}' is a convolution in {groups} groups; only dense and depthwise ones are lowered")
    kind = op.Depthwise if depthwise else op.Conv
    window = {"stride": _pair(stride), "dilation": _pair(dilation), "padding": margins}
    lowering.add(kind, node, [source], weight=filters, bias=shift, **window)


def _norm(lowering: _Lowering, node: Call) -> None:
    source, mean, variance, gamma, beta, epsilon = _arguments(
        node, "input", "running_mean", "running_var", weight=None, bias=None, eps=1e-5
    )
    values = lowering.constants
    factor = values[gamma] / np.sqrt(values[variance] + epsilon)
    lowering.scale(node, source, factor, values[beta] - values[mean] * factor)


def _pad(lowering: _Lowering, node: Call) -> None:
    source, sides, mode, value = _arguments(node, "input", "pad", mode="constant", value=None)
    if mode != "constant" or value or len(sides) != 4 or any(user.function != "conv2d" for user in node.users):
        raise GraphError(f"'{_module(node)}' pads in a way that no convolution does")
    left, right, top, bottom = sides
    lowering.pads[node] = (source, (top, bottom, left, right))


def _add(lowering: _Lowering, node: Call) -> None:
    lowering.add(op.Add, node, _arguments(node, "input", "other"))


def _multiply(lowering: _Lowering, node: Call) -> None:
    first, second = _arguments(node, "input", "other")
    if second in lowering.constants:
        factor = lowering.constants[second].reshape(-1)
        lowering.scale(node, first, factor, np.zeros_like(factor))
        return
    larger, gate = sorted((first, second), key=lambda argument: -math.prod(argument.shape))
    lowering.add(op.Multiply, node, [larger, gate])


def _more_axes(lowering: _Lowering, node: Call) -> None:
    source = node.arguments[0]
    if source not in lowering.constants:
        raise GraphError(f"'{_module(node)}' takes a part of a value")
    lowering.constants[node] = lowering.constants[source].reshape(node.shape)  # a factor for each channel


def _mean(lowering: _Lowering, node: Call) -> None:
    source, axes, keeps = _arguments(node, "input", dim=None, keepdim=False)
    if axes is None or [axis % 4 for axis in axes] != [2, 3] or not keeps:
        raise GraphError(f"'{_module(node)}' takes the mean over {axes}, not over height and width")
    lowering.add(op.Pool, node, [source], kernel=_pair(source.shape[2:]))


def _pool(lowering: _Lowering, node: Call) -> None:
    source, kernel, stride, padding = _arguments(node, "input", "kernel_size", stride=None, padding=0)
    if any(_pair(padding)):
        raise GraphError(f"'{_module(node)}' pads its average pooling")
    lowering.add(op.Pool, node, [source], kernel=_pair(kernel), stride=_pair(stride or kernel))


def _flatten(lowering: _Lowering, node: Call) -> None:
    lowering.add(op.Flatten, node, [node.arguments[0]])


def _linear(lowering: _Lowering, node: Call) -> None:
    source, weight, bias = _arguments(node, "input", "weight", bias=None)
    matrix = lowering.constants[weight]
    shift = np.zeros(len(matrix)) if bias is None else lowering.constants[bias]
    lowering.add(op.Dense, node, [source], weight=matrix, bias=shift)


def _resize(lowering: _Lowering, node: Call) -> None:
    source, mode, aligned = _arguments(node, "input", mode="nearest", align_corners=None)
    if mode != "bilinear":
        raise GraphError(f"'{_module(node)}' resizes by '{mode}'; only bilinear resizing is lowered")
    coordinates: op.Coordinates = "align_corners" if aligned else "half_pixel"
    lowering.add(op.Resize, node, [source], size=_pair(node.shape[2:]), coordinates=coordinates)


def _expand(lowering: _Lowering, node: Call) -> None:
    source, (n, channels, *size) = node.arguments[0], node.shape
    if source.shape != (n, channels, 1, 1):
        raise GraphError(f"'{_module(node)}' repeats {source.shape}, which is not a map of one place")
    lowering.add(op.Resize, node, [source], size=_pair(size))


def _concat(lowering: _Lowering, node: Call) -> None:
    sources, axis = _arguments(node, "tensors", dim=0)
    if axis != 1:
        raise GraphError(f"'{_module(node)}' joins values along axis {axis}")
    lowering.add(op.Concat, node, sources)


def _permute(lowering: _Lowering, node: Call) -> None:
    source, *axes = node.arguments
    if axes == [0, 2, 3, 1]:
        lowering.channels_last[node] = source
    elif axes == [0, 3, 1, 2] and source in lowering.values:
        lowering.passed(node, source)  # `_reshape` has already produced a feature map
    else:
        raise GraphError(f"'{_module(node)}' permutes axes as {axes}")


def _reshape(lowering: _Lowering, node: Call) -> None:
    source, shape = node.arguments[0], node.shape
    if source in lowering.channels_last and len(shape) == 3:  # N h w C -> N P columns
        lowering.add(op.Rows, node, [lowering.channels_last[source]], columns=shape[2])
    elif len(shape) == 4 and len(source.shape) == 3:  # N P columns -> N h w C
        lowering.add(op.Places, node, [source], size=_pair(shape[1:3]))
    else:
        raise GraphError(f"'{_module(node)}' reshapes {source.shape} to {shape}")


def _attention(lowering: _Lowering, node: Call) -> None:
    query, key, value = _arguments(node, "query", "key", "value")
    factor = query.shape[-1] ** -0.5
    lowering.add(op.MatMul, node, [query, key], transposed=True, factor=factor)  # N HW·heads hw
    lowering.add(op.Softmax, node, [node])  # each step replaces the value of the one before
    lowering.add(op.MatMul, node, [node, value])  # N HW·heads key_dim


def _same(lowering: _Lowering, node: Call) -> None:
    lowering.passed(node, node.arguments[0])


def _hardtanh(lowering: _Lowering, node: Call) -> None:
    source, low, high = _arguments(node, "input", min_val=-1.0, max_val=1.0)
    if (low, high) != (0, 6):
        raise GraphError(f"'{_module(node)}' cuts values to {low:g} and {high:g}; only ReLU6 is lowered")
    lowering.activate(node, source, "relu6")


def _activation(kind: op.NonLinear) -> Callable[[_Lowering, Call], None]:
    def read(lowering: _Lowering, node: Call) -> None:
        lowering.activate(node, node.arguments[0], kind)

    return read


def _blocks(network: Model) -> dict[str, int]:
    """The index of the backbone's block that each module is or belongs to."""
    return {
        f"{backbone}.blocks.{i}{inside and '.'}{inside}": i
        for backbone, part in network.named_modules()
        if isinstance(part, Backbone)
        for i, block in enumerate(part.blocks)
        for inside, _ in block.named_modules()
    }


def _arguments(node: Call, *names: str, **defaults: Any) -> list[Any]:  # Any: what functions of torch are given
    """The arguments of a call with these names, in this order; `defaults` are those that a call may omit."""
    values = [*names, *defaults]
    return [
        node.arguments[i] if i < len(node.arguments) else node.options.get(name, defaults.get(name))
        for i, name in enumerate(values)
    ]


def _pair(sides: Any) -> tuple[int, int]:  # Any: a number, or one or two of them
    sides = sides if isinstance(sides, Sequence) else (sides,)
    return int(sides[0]), int(sides[-1])


def _module(node: Call) -> str:
    """The module that made a call; "network" for the model itself."""
    return node.module or "network"


# fmt: off
_READERS: dict[str, Callable[[_Lowering, Call], None]] = {
    "conv2d":      _conv,
    "batch_norm":  _norm,
    "pad":         _pad,
    "add":         _add,
    "__add__":     _add,
    "mul":         _multiply,
    "__mul__":     _multiply,
    "__getitem__": _more_axes,
    "unsqueeze":   _same,  # a single attention head
    "squeeze":     _same,
    "mean":        _mean,
    "avg_pool2d":  _pool,
    "flatten":     _flatten,
    "linear":      _linear,
    "interpolate": _resize,
    "expand":      _expand,
    "cat":         _concat,
    "permute":     _permute,
    "reshape":     _reshape,
    "scaled_dot_product_attention": _attention,
    "dropout":     _same,
    "relu":        _activation("relu"),
    "hardtanh":    _hardtanh,
    "relu6":       _activation("relu6"),
    "hardswish":   _activation("hard_swish"),
    "hardsigmoid": _activation("hard_sigmoid"),
    "sigmoid":     _activation("sigmoid"),
    "gelu":        _activation("gelu"),
}
# fmt: on
