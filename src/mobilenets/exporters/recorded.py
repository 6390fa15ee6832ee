"""`record`: the calls that a network makes on tensors while it runs once, in order, with shapes, modules and weights.

It is what `torch.export` would list, without importing the compiler that `torch.export` is part of, which takes longer than all
else that an export does.
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
        function: its name: "conv2d". That of the image is "image", that of a weight "weight".
        arguments, options: by position and by name, with a `Call` in the place of each tensor.
        module: the module that made it; "" for the network itself.
        shape: of the tensor, with a batch of one image.
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
    """A network as it ran.

    Args:
        image: what it was given.
        calls: in order.
        weights: parameters and buffers that were read.
        outputs: what it returned.
    """

    image: Call
    calls: Sequence[Call]
    weights: dict[Call, NDArray[np.float64]]
    outputs: Sequence[Call]


def record(network: nn.Module, shape: Sequence[int]) -> Program:
    """The calls of a network in evaluation mode on the CPU.

    Args:
        network: takes one image tensor and returns tensors.
        shape: of the input, N C H W.

    Raises:
        GraphError: it computes with a tensor that is neither weight nor made from the image.
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
    """Writes down every call while it is active."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self.weights: dict[Call, NDArray[np.float64]] = {}
        self.running = [""]
        self._learned = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
        self._calls: dict[int, Call] = {}
        self._kept: list[Tensor] = []  # no tensor dies while we listen, so no id comes twice

    def opens(self, name: str) -> Callable[[nn.Module, Any], None]:  # Any: a hook's arguments
        """A hook that says which module runs."""

        def hook(_module: nn.Module, _arguments: Any) -> None:  # Any: as above
            self.running.append(name)

        return hook

    def closed(self, *_: object) -> None:
        """A hook that says that the module has run."""
        self.running.pop()

    def known(self, tensor: Tensor, call: Call) -> Call:
        """The call, which from now on stands for the tensor."""
        self._kept.append(tensor)
        self._calls[id(tensor)] = call
        return call

    def call_of(self, tensor: Tensor) -> Call:
        """What made a tensor."""
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
        """Run a function and write it down if it returns a tensor."""
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
        """The value with the call that made it in the place of each tensor."""
        if isinstance(value, Tensor):
            return self.call_of(value)
        if isinstance(value, dict):
            return {key: self._named(item) for key, item in value.items()}
        return tuple(map(self._named, value)) if isinstance(value, tuple | list) else value
