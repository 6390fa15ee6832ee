"""The layer graph of any module, recorded from a run.

The counts come from what actually runs, not from the spec: the module runs once on tensors without data, and every torch
operation is recorded. The counting rule is `layers.COUNTING_RULE`.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mobilenets.analysis.layers import Function, Kind, Layer, LayerGraph, Window
from mobilenets.errors import SpecError
from mobilenets.net.backbone import Backbone

# fmt: off
KINDS: dict[str, Kind] = {  # torch's operations; those in neither table are "other"
    "aten::convolution":       "conv",
    "aten::addmm":             "linear",
    "aten::mm":                "linear",
    "aten::bmm":               "matmul",
    "aten::mean":              "pool",
    "aten::avg_pool2d":        "pool",
    "aten::max_pool2d_with_indices": "pool",
    "aten::_adaptive_avg_pool2d": "pool",
    "aten::add":               "add",
    "aten::add_":              "add",
    "aten::mul":               "multiply",
    "aten::mul_":              "multiply",
    "aten::cat":               "concat",
    "aten::upsample_bilinear2d": "resize",
    "aten::upsample_nearest2d": "resize",
    "aten::native_batch_norm": "norm",
    "aten::_native_batch_norm_legit_no_training": "norm",
}
FUNCTIONS: dict[str, Function] = {  # all of the kind "activation"
    "aten::relu":             "relu",
    "aten::relu_":            "relu",
    "aten::hardtanh":         "relu6",
    "aten::hardtanh_":        "relu6",
    "aten::hardswish":        "hard_swish",
    "aten::hardswish_":       "hard_swish",
    "aten::hardsigmoid":      "hard_sigmoid",
    "aten::hardsigmoid_":     "hard_sigmoid",
    "aten::sigmoid":          "sigmoid",
    "aten::silu":             "silu",
    "aten::silu_":            "silu",
    "aten::gelu":             "gelu",
    "aten::_softmax":         "softmax",
    "aten::_safe_softmax":    "softmax",
}
# fmt: on
FREE = {"aten::constant_pad_nd", "aten::clone", "aten::_unsafe_view", "aten::_to_copy", "aten::contiguous"}


def trace(module: nn.Module, shape: Sequence[int]) -> LayerGraph:
    """The layers that `module` runs on one input, in evaluation mode. The module itself is not changed.

    Args:
        module: a `Model`, a `Backbone` or any module that takes one tensor and returns tensors, in whatever structure.
        shape: shape of the input, N C H W.

    Raises:
        SpecError: the module cannot run on an input of this shape.
    """
    network = _without_data(module)
    recorder = _Recorder(network)
    x = torch.empty(tuple(shape), device="meta")
    recorder.enter(x)
    try:
        with torch.no_grad(), recorder.listening(network), recorder:
            returned = network(x)
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise SpecError(f"the network cannot run on an input of {'x'.join(map(str, shape))}: {reason}") from error
    outputs = tuple(recorder.values[id(value)] for value in tree_leaves(returned) if id(value) in recorder.values)
    return _folded(recorder, outputs)


@dataclass(slots=True)
class _Step:
    """One operation that torch ran."""

    name: str
    kind: Kind
    inputs: tuple[int, ...]
    output: int
    params: dict[str, int]
    macs: int
    window: Window | None
    block: int
    function: Function


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves the mode's own methods untyped
    """Records every operation while it is active."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # as above
        self.steps: list[_Step] = []
        self.shapes: list[tuple[int, ...]] = []
        self.values: dict[int, int] = {}  # id of a tensor -> its value
        self.learned = {id(parameter): (name, parameter.numel()) for name, parameter in network.named_parameters()}
        self.kept: list[Tensor] = []  # keeps tensors alive while recording, so that ids are unique
        self.running: list[tuple[str, int]] = [("", -1)]

    def enter(self, x: Tensor) -> int:
        """Assign a new value to a tensor."""
        self.kept.append(x)
        self.shapes.append(tuple(x.shape))
        self.values[id(x)] = len(self.shapes) - 1
        return self.values[id(x)]

    @contextmanager
    def listening(self, network: nn.Module) -> Iterator[None]:
        """A context that tracks which module runs, and which of the backbone's blocks it belongs to."""
        blocks = {
            id(block): i for part in network.modules() if isinstance(part, Backbone) for i, block in enumerate(part.blocks)
        }
        handles = []
        for name, part in network.named_modules():
            block = blocks.get(id(part))
            handles.append(part.register_forward_pre_hook(self._opens(name, block)))
            handles.append(part.register_forward_hook(lambda *_: self.running.pop() and None))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _opens(self, name: str, block: int | None) -> Callable[[nn.Module, Any], None]:  # Any: a hook's arguments
        def hook(_module: nn.Module, _arguments: Any) -> None:
            self.running.append((name, self.running[-1][1] if block is None else block))

        return hook

    def __torch_dispatch__(  # Any: what torch hands to every mode
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if KINDS.get(func._schema.name) == "norm" or func._schema.name in FUNCTIONS:
            result = _same_shape(func, args[0])
        else:
            result = func(*args, **(kwargs or {}))
        output = result[0] if isinstance(result, tuple | list) else result
        if not isinstance(output, Tensor):
            return result
        self.kept.append(output)
        tensors = [x for x in tree_leaves(args) if isinstance(x, Tensor)]
        inputs = tuple(dict.fromkeys(self.values[id(x)] for x in tensors if id(x) in self.values))
        operation = func._schema.name
        if func.is_view or operation in FREE:
            source = id(tensors[0])
            if source in self.values:
                self.values[id(output)] = self.values[source]
            if source in self.learned:
                self.learned[id(output)] = self.learned[source]
        elif inputs:
            self._write(operation, args, tensors, inputs, output)
        return result

    def _write(
        self, operation: str, args: tuple[Any, ...], tensors: list[Tensor], inputs: tuple[int, ...], output: Tensor
    ) -> None:
        name, block = self.running[-1]
        kind: Kind = "activation" if operation in FUNCTIONS else KINDS.get(operation, "other")
        window, function = None, FUNCTIONS.get(operation, "linear")
        if kind == "conv":
            window = Window(tuple(args[1].shape[2:]), tuple(args[3]), tuple(args[5]))
            kind = "depthwise" if args[8] > 1 and args[8] == args[0].shape[1] else "conv"
        macs = _macs(kind, output, tensors)
        params = dict(self.learned[id(x)] for x in tensors if id(x) in self.learned)
        self.steps.append(_Step(name or kind, kind, inputs, self.enter(output), params, macs, window, block, function))


def _same_shape(func: Any, x: Tensor) -> Any:  # Any: an operation of torch and what it returns
    """The result of a shape-preserving operation, without running it, because torch is slow at it on tensors without data."""
    output = x if func._schema.is_mutable else torch.empty_like(x)
    returns = len(func._schema.returns)
    return output if returns == 1 else (output,) * returns


def _macs(kind: Kind, output: Tensor, tensors: list[Tensor]) -> int:
    if kind in ("conv", "depthwise"):
        weight = tensors[1]
        return output.numel() * weight[0].numel()
    if kind in ("linear", "matmul"):
        return output.numel() * tensors[-2].shape[-1]  # the last two are multiplied; a bias precedes them
    return 0


def _folded(recorder: _Recorder, outputs: tuple[int, ...]) -> LayerGraph:
    """The graph with each batch norm, activation and factor merged into the layer whose output only it reads."""
    readers = Counter([*(value for step in recorder.steps for value in step.inputs), *outputs])
    layers: list[Layer] = []
    made_by: dict[int, int] = {}  # value -> index of the layer that made it
    counted: set[str] = set()
    for step in recorder.steps:
        params = sum(size for name, size in step.params.items() if name not in counted)
        counted.update(step.params)
        [first, *others] = step.inputs
        changes = step.kind in ("norm", "activation", "multiply", "add") and not others
        if changes and readers[first] == 1 and first in made_by:
            i = made_by[first]
            function = step.function if step.kind == "activation" else layers[i].activation
            layers[i] = replace(layers[i], output=step.output, params=layers[i].params + params, activation=function)
        else:
            i = len(layers)
            told = params, step.macs, step.window, step.block, step.function
            layers.append(Layer(step.name, step.kind, step.inputs, step.output, *told))
        made_by[step.output] = i
    return LayerGraph(tuple(layers), tuple(recorder.shapes), outputs)


def _without_data(module: nn.Module) -> nn.Module:
    """A copy in evaluation mode whose parameters and buffers have shapes but no data."""
    known: dict[int, Any] = {}  # Any: deepcopy's memo
    for parameter in module.parameters():
        known[id(parameter)] = nn.Parameter(torch.empty_like(parameter, device="meta"), requires_grad=False)
    for buffer in module.buffers():
        known[id(buffer)] = torch.empty_like(buffer, device="meta")
    return copy.deepcopy(module, known).eval()
