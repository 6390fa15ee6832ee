"""`record`: records the torch calls of a network in one run, in order, with shapes, modules and weights.

The result is like that of `torch.export`, but without importing the compiler that `torch.export` is part of, which takes longer
than the rest of an export.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from mobilenets.errors import GraphError


@dataclass(eq=False, slots=True)
class Call:
    """One call of a function, and the tensor that it returned.

    Args:
        function: name of the function, such as "conv2d"; "image" for the input, "weight" for a weight.
        arguments, options: by position and by name, with a `Call` in place of each tensor.
        module: the module that made the call; "" for the network itself.
        shape: shape of the returned tensor, with a batch of one image.
        users: the calls that read the tensor.
    """

    function: str
    arguments: tuple[Any, ...]  # Any: what functions of torch are given
    options: dict[str, Any]  # Any: as above
    module: str
    shape: tuple[int, ...]
    users: list[Call] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Program:
    """The recorded run of a network.

    Args:
        image: the input.
        calls: all calls, in order.
        weights: the parameters and buffers that were read.
        outputs: the outputs.
    """

    image: Call
    calls: Sequence[Call]
    weights: dict[Call, NDArray[np.float64]]
    outputs: Sequence[Call]


def record(network: nn.Module, shape: Sequence[int]) -> Program:
    """The calls of a network in evaluation mode on the CPU.

    Args:
        network: takes one image tensor and returns tensors.
        shape: shape of the input, N C H W.

    Raises:
        GraphError: it computes with a tensor that is neither a weight nor derived from the image.
    """
    recorder = _Recorder(network)
    x = torch.zeros(tuple(shape))
    image = recorder.known(x, Call("image", (), {}, "", tuple(shape)))
    handles = []
    for name, part in network.named_modules():
        handles.append(part.register_forward_pre_hook(recorder.opens(name)))
        handles.append(part.register_forward_hook(recorder.closed))
    try:
        with torch.no_grad(), recorder:
            returned = network(x)
    finally:
        for handle in handles:
            handle.remove()
    return Program(image, recorder.calls, recorder.weights, [recorder.call_of(value) for value in tree_leaves(returned)])


class _Recorder(TorchFunctionMode):
    """Records every call while it is active."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self.weights: dict[Call, NDArray[np.float64]] = {}
        self.running = [""]
        self._learned = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
        self._calls: dict[int, Call] = {}
        self._kept: list[Tensor] = []  # keeps tensors alive while recording, so that no id is reused

    def opens(self, name: str) -> Callable[[nn.Module, Any], None]:  # Any: a hook's arguments
        """A hook that notes that a module starts to run."""

        def hook(_module: nn.Module, _arguments: Any) -> None:  # Any: as above
            self.running.append(name)

        return hook

    def closed(self, *_: object) -> None:
        """A hook that notes that the module has finished."""
        self.running.pop()

    def known(self, tensor: Tensor, call: Call) -> Call:
        """Register a call as the origin of a tensor; returns the call."""
        self._kept.append(tensor)
        self._calls[id(tensor)] = call
        return call

    def call_of(self, tensor: Tensor) -> Call:
        """The call that produced a tensor."""
        call = self._calls.get(id(tensor))
        if call is None and id(tensor) in self._learned:
            call = self.known(tensor, Call("weight", (), {}, "", tuple(tensor.shape)))
            self.weights[call] = tensor.detach().double().numpy()
        if call is None:
            raise GraphError(f"'{self.running[-1] or 'network'}' computes with a tensor that is not made from the image")
        return call

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:  # Any: as torch calls it
        """Run a function and record it if it returns a tensor."""
        options = kwargs or {}
        result = func(*args, **options)
        if isinstance(result, Tensor):
            call = Call(func.__name__, self._named(args), self._named(options), self.running[-1], tuple(result.shape))
            for source in tree_leaves((call.arguments, call.options)):
                if isinstance(source, Call) and call not in source.users:
                    source.users.append(call)
            self.calls.append(self.known(result, call))
        return result

    def _named(self, value: Any) -> Any:  # Any: what functions of torch are given
        """The value with each tensor replaced by the call that produced it."""
        if isinstance(value, Tensor):
            return self.call_of(value)
        if isinstance(value, dict):
            return {key: self._named(item) for key, item in value.items()}
        return tuple(map(self._named, value)) if isinstance(value, tuple | list) else value
