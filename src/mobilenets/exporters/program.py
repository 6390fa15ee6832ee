"""`Program`: a lowered graph as a torch module, for vendors' converters that take one."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mobilenets.deploy import operators as op
from mobilenets.deploy.graph import INPUT, Graph
from mobilenets.deploy.operators import ActivationKind
from mobilenets.deploy.reach import within_reach
from mobilenets.deploy.swish import undivided
from mobilenets.exporters import program_int8


class Program(nn.Module):
    """Computes a graph's operators one after another, with its folded weights: no batch norm, no attention module, no branch.

    Attention is plain matrix products and a softmax, since converters handle scaled dot product attention and `expand` poorly.

    Args:
        graph: the network.
    """

    three: Tensor
    sixth: Tensor

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph, self.undivided = undivided(within_reach(graph))
        tensors = {name: torch.from_numpy(np.array(tensor)) for name, tensor in graph.tensors.items()}
        tensors |= program_int8.tensors(self.graph) if graph.quantization else {}
        self.buffer_names = {name: f"weight_{i}" for i, name in enumerate(tensors)}
        for name, tensor in tensors.items():
            self.register_buffer(self.buffer_names[name], tensor)
        # As tensors: ExecuTorch copies each plain number in every run, outside XNNPACK.
        self.register_buffer("three", torch.full((1,), 3.0))
        self.register_buffer("sixth", torch.full((1,), 1 / 6))

    def weight(self, name: str) -> Tensor:
        """A weight of the graph."""
        tensor: Tensor = getattr(self, self.buffer_names[name])
        return tensor

    def weights(self, operator: op.Weighted) -> tuple[Tensor, Tensor]:
        """The weight and the bias of an operator, as reals."""
        if operator.weight in self.graph.quantization:
            return program_int8.weights(self, operator)
        return self.weight(operator.weight), self.weight(operator.bias)

    def activate(self, x: Tensor, kind: ActivationKind) -> Tensor:
        """Apply an activation elementwise."""
        return _ACTIVATIONS[kind](self, x)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """The graph's outputs, in order, for preprocessed images N C H W."""
        values = {INPUT: image}
        for operator in self.graph.operators:
            inputs = [values[name] for name in operator.inputs]
            compute = program_int8.compute if self.graph.quantized(operator) else _compute
            values[operator.output] = compute(self, operator, inputs)
        return tuple(values[value] for value in self.graph.outputs.values())


def _compute(program: Program, operator: op.Operator, inputs: Sequence[Tensor]) -> Tensor:
    return RULES[type(operator)](program, operator, inputs)


def exported(graph: Graph, *, batch: int | None = 1, most: int = 64) -> torch.export.ExportedProgram:
    """The graph as a program of `torch.export`.

    Args:
        graph: the network.
        batch: a fixed batch size; None for 1 to `most`.
        most: the largest batch size, if it may vary.
    """
    contract = graph.manifest.input
    example = torch.zeros(2 if batch is None else batch, contract.channels, *contract.shape)
    shapes = {"image": {0: torch.export.Dim("batch", min=1, max=most)}} if batch is None else None
    with torch.no_grad():
        return torch.export.export(Program(graph).eval(), (example,), dynamic_shapes=shapes)


def saved(program: torch.export.ExportedProgram, path: Path) -> None:
    """Write a program in torch's own format, for a converter in another process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings of torch about its own format
        torch.export.save(program, path)


def _windowed(x: Tensor, operator: op.Conv | op.Depthwise) -> tuple[Tensor, tuple[int, int]]:
    """The input of a convolution and the padding argument for torch; uneven padding is applied to the input instead."""
    top, bottom, left, right = operator.padding
    if (top, left) == (bottom, right):
        return x, (top, left)
    return functional.pad(x, (left, right, top, bottom)), (0, 0)


def _conv(program: Program, operator: op.Conv, inputs: Sequence[Tensor]) -> Tensor:
    x, padding = _windowed(inputs[0], operator)
    weight, bias = program.weights(operator)
    made = functional.conv2d(x, weight, bias, operator.stride, padding, operator.dilation)
    return program.activate(made, operator.activation)


def _depthwise(program: Program, operator: op.Depthwise, inputs: Sequence[Tensor]) -> Tensor:
    x, padding = _windowed(inputs[0], operator)
    weight, bias = program.weights(operator)
    made = functional.conv2d(x, weight, bias, operator.stride, padding, operator.dilation, groups=len(weight))
    return program.activate(made, operator.activation)


def _dense(program: Program, operator: op.Dense, inputs: Sequence[Tensor]) -> Tensor:
    made = functional.linear(inputs[0], *program.weights(operator))
    return program.activate(made, operator.activation)


def _add(program: Program, operator: op.Add, inputs: Sequence[Tensor]) -> Tensor:
    return program.activate(inputs[0] + inputs[1], operator.activation)


def _multiply(program: Program, operator: op.Multiply, inputs: Sequence[Tensor]) -> Tensor:
    return inputs[0] * inputs[1]


def _pool(program: Program, operator: op.Pool, inputs: Sequence[Tensor]) -> Tensor:
    if tuple(inputs[0].shape[2:]) == operator.kernel:
        return inputs[0].mean((2, 3), keepdim=True)
    return functional.avg_pool2d(inputs[0], operator.kernel, operator.stride)


def _activation(program: Program, operator: op.Activation, inputs: Sequence[Tensor]) -> Tensor:
    return program.activate(inputs[0], operator.kind)


def _resize(program: Program, operator: op.Resize, inputs: Sequence[Tensor]) -> Tensor:
    aligned = operator.coordinates == "align_corners"
    return functional.interpolate(inputs[0], size=operator.size, mode="bilinear", align_corners=aligned)


def _concat(program: Program, operator: op.Concat, inputs: Sequence[Tensor]) -> Tensor:
    return torch.cat(tuple(inputs), dim=1)


def _flatten(program: Program, operator: op.Flatten, inputs: Sequence[Tensor]) -> Tensor:
    return inputs[0].flatten(1)


def _rows(program: Program, operator: op.Rows, inputs: Sequence[Tensor]) -> Tensor:
    _, channels, height, width = inputs[0].shape
    rows = height * width * channels // operator.columns
    return inputs[0].permute(0, 2, 3, 1).reshape(-1, rows, operator.columns)


def _places(program: Program, operator: op.Places, inputs: Sequence[Tensor]) -> Tensor:
    _, rows, columns = inputs[0].shape
    height, width = operator.size
    channels = rows // (height * width) * columns
    return inputs[0].reshape(-1, height, width, channels).permute(0, 3, 1, 2)


def _matmul(program: Program, operator: op.MatMul, inputs: Sequence[Tensor]) -> Tensor:
    first, second = inputs
    first = first * operator.factor if operator.factor != 1.0 else first
    return torch.bmm(first, second.transpose(1, 2) if operator.transposed else second)


def _softmax(program: Program, operator: op.Softmax, inputs: Sequence[Tensor]) -> Tensor:
    return torch.softmax(inputs[0], -1)


def _argmax(program: Program, operator: op.ArgMax, inputs: Sequence[Tensor]) -> Tensor:
    return inputs[0].argmax(1).to(torch.int32)


def _hard_sigmoid(program: Program, x: Tensor) -> Tensor:
    return functional.relu6(x + program.three) * program.sixth


def _plain(function: Callable[[Tensor], Tensor]) -> Callable[[Program, Tensor], Tensor]:
    return lambda program, x: function(x)


# fmt: off
_ACTIVATIONS: dict[ActivationKind, Callable[[Program, Tensor], Tensor]] = {
    "linear":       _plain(lambda x: x),
    "relu":         _plain(functional.relu),
    "relu6":        _plain(functional.relu6),
    "hard_swish":   _plain(functional.hardswish),
    "hard_sigmoid": _hard_sigmoid,
    "sigmoid":      _plain(torch.sigmoid),
    "gelu":         _plain(functional.gelu),
}
RULES: dict[type[op.Operator], Callable[[Program, Any, Sequence[Tensor]], Tensor]] = {  # Any: the rule's kind of operator
    op.Conv:       _conv,
    op.Depthwise:  _depthwise,
    op.Dense:      _dense,
    op.Add:        _add,
    op.Multiply:   _multiply,
    op.Pool:       _pool,
    op.Activation: _activation,
    op.Resize:     _resize,
    op.Concat:     _concat,
    op.Flatten:    _flatten,
    op.Rows:       _rows,
    op.Places:     _places,
    op.MatMul:     _matmul,
    op.Softmax:    _softmax,
    op.ArgMax:     _argmax,
}
# fmt: on
