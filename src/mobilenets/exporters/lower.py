"""`lower`: a model as a graph, from the program that `torch.export` sees.

The program is read from its first operation to its last. What only changes how numbers are stored disappears: a batch norm goes
into the weights of the convolution before it, an activation into its operator, padding into the convolution behind it. A norm,
factor or activation that stands alone, behind a value that others read too, becomes an operator of its own.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.fx import Node

from mobilenets.deploy import operators as op
from mobilenets.deploy.graph import INPUT, Graph
from mobilenets.deploy.operators import Operator
from mobilenets.deploy.profile import profiled
from mobilenets.errors import GraphError
from mobilenets.model import Model
from mobilenets.net.backbone import Backbone
from mobilenets.runtime.manifest import manifest_of

Wide = NDArray[np.float64]
_FUSING = (op.Conv, op.Depthwise, op.Dense, op.Add)
_SCALING = (op.Conv, op.Depthwise)


def lower(model: Model) -> Graph:
    """The graph of a model, in evaluation mode, at the size of its input contract.

    Args:
        model: is left as it is.

    Raises:
        GraphError: the model has an operation that no operator stands for.
    """
    network = copy.deepcopy(model).cpu().eval()
    contract = network.spec.input
    example = torch.zeros(1, contract.channels, *contract.shape)
    with torch.no_grad():
        program = torch.export.export(network, (example,))
    lowering = _Lowering(program, _blocks(network))
    [returned] = [node for node in program.graph.nodes if node.op == "output"]
    for node in program.graph.nodes:
        if node.op == "call_function":
            lowering.read(node)
    outputs = dict(zip(network.outputs, (lowering.values[value] for value in returned.args[0]), strict=True))
    graph = Graph(manifest_of(network.spec), tuple(lowering.operators), lowering.single_precision(), outputs)
    graph.check()
    return profiled(graph)


class _Lowering:
    """The operators so far, and which value each node of the program has become."""

    def __init__(self, program: torch.export.ExportedProgram, blocks: Mapping[str, int]) -> None:
        signature, state = program.graph_signature, {**program.state_dict, **program.constants}
        names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
        self.parameters = {argument: (name, state[name].detach().double().numpy()) for argument, name in names.items()}
        self.operators: list[Operator] = []
        self.tensors: dict[str, Wide] = {}
        self.values: dict[Node, str] = {}
        self.constants: dict[Node, Wide] = {}
        self.pads: dict[Node, tuple[Node, op.Margins]] = {}
        self.channels_last: dict[Node, Node] = {}
        self.names: Counter[str] = Counter()
        self.blocks = blocks  # by the name of any module inside
        for node in program.graph.nodes:
            if node.op == "placeholder" and node.name in self.parameters:
                self.constants[node] = self.parameters[node.name][1]
            elif node.op == "placeholder":
                self.values[node] = INPUT

    def read(self, node: Node) -> None:
        """Turn the next operation of the program into operators."""
        operation = str(node.target)
        if operation not in _READERS:
            raise GraphError(f"'{_module(node)}' has the operation {operation}, which no operator of a graph stands for")
        _READERS[operation](self, node)

    def single_precision(self) -> dict[str, NDArray[np.float32]]:
        """The weights as they are kept."""
        return {name: np.ascontiguousarray(tensor, dtype=np.float32) for name, tensor in self.tensors.items()}

    def add(
        self, operator: Callable[..., Operator], node: Node, inputs: Sequence[Node], **fields: Any
    ) -> None:  # Any: they differ
        """Append an operator that makes the node's value; both are called after the module."""
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

    def passed(self, node: Node, source: Node) -> None:
        """The operation changes nothing."""
        self.values[node] = self.values[source]

    def maker(self, node: Node, kinds: tuple[type[Operator], ...]) -> int | None:
        """Index of the linear operator of these kinds that made a node's value, if nobody else reads that."""
        value = self.values[node]
        for i, operator in reversed(list(enumerate(self.operators))):
            if operator.output == value:
                fits = isinstance(operator, kinds) and getattr(operator, "activation", "") == "linear"
                return i if fits and len(node.users) == 1 else None
        return None

    def scale(self, node: Node, source: Node, factor: Wide, shift: Wide) -> None:
        """Multiply each channel of a map and add to it: in the weights before it where that can be, else by an operator."""
        i = self.maker(source, _SCALING)
        if i is None:
            self.add(op.Depthwise, node, [source], weight=factor[:, None, None, None], bias=shift)
            return
        operator = self.operators[i]
        assert isinstance(operator, _SCALING)
        self.tensors[operator.weight] = self.tensors[operator.weight] * factor[:, None, None, None]
        self.tensors[operator.bias] = self.tensors[operator.bias] * factor + shift
        self.values[node] = operator.output

    def activate(self, node: Node, source: Node, kind: op.NonLinear) -> None:
        """Apply an activation: in the operator before it where that can be, else by one of its own."""
        i = self.maker(source, _FUSING)
        if i is None:
            self.add(op.Activation, node, [source], kind=kind)
            return
        linear = self.operators[i]
        assert isinstance(linear, _FUSING)
        self.operators[i] = replace(linear, activation=kind)
        self.values[node] = linear.output


def _conv(lowering: _Lowering, node: Node) -> None:
    source, weight, bias, stride, padding, dilation, groups = _arguments(node, None, None, None, (1, 1), (0, 0), (1, 1), 1)
    margins = (padding[0], padding[0], padding[-1], padding[-1])
    if source in lowering.pads:
        source, outer = lowering.pads[source]
        margins = tuple(a + b for a, b in zip(margins, outer, strict=True))
    filters = lowering.constants[weight]
    shift = np.zeros(len(filters)) if bias is None else lowering.constants[bias]
    depthwise = groups > 1 and filters.shape[:2] == (groups, 1)
    if groups > 1 and not depthwise:
        raise GraphError(f"'{_module(node)}' is a convolution in {groups} groups; only dense and depthwise ones are lowered")
    kind = op.Depthwise if depthwise else op.Conv
    window = {"stride": _pair(stride), "dilation": _pair(dilation), "padding": margins}
    lowering.add(kind, node, [source], weight=filters, bias=shift, **window)


def _norm(lowering: _Lowering, node: Node) -> None:
    source, gamma, beta, mean, variance, _, _, epsilon = _arguments(node)[:8]
    values = lowering.constants
    factor = values[gamma] / np.sqrt(values[variance] + epsilon)
    lowering.scale(node, source, factor, values[beta] - values[mean] * factor)


def _pad(lowering: _Lowering, node: Node) -> None:
    source, sides, mode, value = _arguments(node, None, None, "constant", None)
    if mode != "constant" or value or len(sides) != 4 or any(str(user.target) != "aten.conv2d.default" for user in node.users):
        raise GraphError(f"'{_module(node)}' pads in a way that no convolution does")
    left, right, top, bottom = sides
    lowering.pads[node] = (source, (top, bottom, left, right))


def _add(lowering: _Lowering, node: Node) -> None:
    lowering.add(op.Add, node, _arguments(node)[:2])


def _multiply(lowering: _Lowering, node: Node) -> None:
    first, second = _arguments(node)
    if second in lowering.constants:
        factor = lowering.constants[second].reshape(-1)
        lowering.scale(node, first, factor, np.zeros_like(factor))
        return
    larger, gate = sorted((first, second), key=lambda argument: -argument.meta["val"].numel())
    lowering.add(op.Multiply, node, [larger, gate])


def _unsqueeze(lowering: _Lowering, node: Node) -> None:
    source, axis = _arguments(node)
    if source in lowering.constants:  # a factor for each channel
        lowering.constants[node] = np.expand_dims(lowering.constants[source], axis)
    else:  # one head of attention
        lowering.passed(node, source)


def _mean(lowering: _Lowering, node: Node) -> None:
    source, axes, keeps = _arguments(node, None, None, False)
    if [axis % 4 for axis in axes] != [2, 3] or not keeps:
        raise GraphError(f"'{_module(node)}' takes the mean over {axes}, not over height and width")
    lowering.add(op.Pool, node, [source], kernel=tuple(source.meta["val"].shape[2:]))


def _pool(lowering: _Lowering, node: Node) -> None:
    source, kernel, stride, padding = _arguments(node, None, None, (), (0, 0))
    if any(padding):
        raise GraphError(f"'{_module(node)}' pads its average pooling")
    lowering.add(op.Pool, node, [source], kernel=_pair(kernel), stride=_pair(stride or kernel))


def _flatten(lowering: _Lowering, node: Node) -> None:
    lowering.add(op.Flatten, node, _arguments(node)[:1])


def _linear(lowering: _Lowering, node: Node) -> None:
    source, weight, bias = _arguments(node, None, None, None)
    matrix = lowering.constants[weight]
    shift = np.zeros(len(matrix)) if bias is None else lowering.constants[bias]
    lowering.add(op.Dense, node, [source], weight=matrix, bias=shift)


def _resize(lowering: _Lowering, node: Node) -> None:
    source, size, aligned = _arguments(node)[:3]
    coordinates: op.Coordinates = "align_corners" if aligned else "half_pixel"
    lowering.add(op.Resize, node, [source], size=_pair(size), coordinates=coordinates)


def _expand(lowering: _Lowering, node: Node) -> None:
    [source, _], (n, channels, *size) = _arguments(node), node.meta["val"].shape
    if tuple(source.meta["val"].shape) != (n, channels, 1, 1):
        raise GraphError(f"'{_module(node)}' repeats {tuple(source.meta['val'].shape)}, which is not a map of one place")
    lowering.add(op.Resize, node, [source], size=_pair(size))


def _concat(lowering: _Lowering, node: Node) -> None:
    sources, axis = _arguments(node, None, 0)
    if axis != 1:
        raise GraphError(f"'{_module(node)}' joins values along axis {axis}")
    lowering.add(op.Concat, node, sources)


def _permute(lowering: _Lowering, node: Node) -> None:
    source, axes = _arguments(node)
    if list(axes) == [0, 2, 3, 1]:
        lowering.channels_last[node] = source
    elif list(axes) == [0, 3, 1, 2] and source in lowering.values:
        lowering.passed(node, source)  # `_reshape` has made a map of it
    else:
        raise GraphError(f"'{_module(node)}' permutes axes as {axes}")


def _reshape(lowering: _Lowering, node: Node) -> None:
    [source, _], shape = _arguments(node), tuple(node.meta["val"].shape)
    if source in lowering.channels_last and len(shape) == 3:  # N h w C -> N P columns
        lowering.add(op.Rows, node, [lowering.channels_last[source]], columns=shape[2])
    elif len(shape) == 4 and len(source.meta["val"].shape) == 3:  # N P columns -> N h w C
        lowering.add(op.Places, node, [source], size=_pair(shape[1:3]))
    else:
        raise GraphError(f"'{_module(node)}' reshapes {tuple(source.meta['val'].shape)} to {shape}")


def _attention(lowering: _Lowering, node: Node) -> None:
    query, key, value = _arguments(node)[:3]
    factor = query.meta["val"].shape[-1] ** -0.5
    lowering.add(op.MatMul, node, [query, key], transposed=True, factor=factor)  # N HW·heads hw
    lowering.add(op.Softmax, node, [node])  # each step takes the place of the one before
    lowering.add(op.MatMul, node, [node, value])  # N HW·heads key_dim


def _same(lowering: _Lowering, node: Node) -> None:
    lowering.passed(node, _arguments(node)[0])


def _hardtanh(lowering: _Lowering, node: Node) -> None:
    source, low, high = _arguments(node, None, -1, 1)
    if (low, high) != (0, 6):
        raise GraphError(f"'{_module(node)}' cuts values to {low} and {high}; only ReLU6 is lowered")
    lowering.activate(node, source, "relu6")


def _activation(kind: op.NonLinear) -> Callable[[_Lowering, Node], None]:
    def read(lowering: _Lowering, node: Node) -> None:
        lowering.activate(node, _arguments(node)[0], kind)

    return read


def _blocks(network: Model) -> dict[str, int]:
    """The index of the backbone's block that each module is, or is inside of."""
    return {
        f"{backbone}.blocks.{i}{inside and '.'}{inside}": i
        for backbone, part in network.named_modules()
        if isinstance(part, Backbone)
        for i, block in enumerate(part.blocks)
        for inside, _ in block.named_modules()
    }


def _arguments(node: Node, *defaults: Any) -> list[Any]:  # Any: what torch hands to operations
    """The arguments of an operation, with the defaults of those at the end that the program leaves out."""
    return [*node.args, *defaults[len(node.args) :]]


def _pair(sides: Sequence[int]) -> tuple[int, int]:
    return int(sides[0]), int(sides[-1])


def _module(node: Node) -> str:
    """The module that an operation is from; "network" for the model itself."""
    stack = list(node.meta.get("nn_module_stack", {}).values())
    return (stack[-1][0] if stack else "") or "network"


# fmt: off
_READERS: dict[str, Callable[[_Lowering, Node], None]] = {
    "aten.conv2d.default":       _conv,
    "aten.batch_norm.default":   _norm,
    "aten.pad.default":          _pad,
    "aten.add.Tensor":           _add,
    "aten.mul.Tensor":           _multiply,
    "aten.unsqueeze.default":    _unsqueeze,
    "aten.squeeze.dim":          _same,
    "aten.mean.dim":             _mean,
    "aten.avg_pool2d.default":   _pool,
    "aten.flatten.using_ints":   _flatten,
    "aten.linear.default":       _linear,
    "aten.upsample_bilinear2d.vec": _resize,
    "aten.expand.default":       _expand,
    "aten.cat.default":          _concat,
    "aten.permute.default":      _permute,
    "aten.reshape.default":      _reshape,
    "aten.scaled_dot_product_attention.default": _attention,
    "aten.dropout.default":      _same,
    "aten.relu.default":         _activation("relu"),
    "aten.relu_.default":        _activation("relu"),
    "aten.hardtanh.default":     _hardtanh,
    "aten.hardtanh_.default":    _hardtanh,
    "aten.hardswish.default":    _activation("hard_swish"),
    "aten.hardswish_.default":   _activation("hard_swish"),
    "aten.hardsigmoid.default":  _activation("hard_sigmoid"),
    "aten.sigmoid.default":      _activation("sigmoid"),
    "aten.gelu.default":         _activation("gelu"),
}
# fmt: on
