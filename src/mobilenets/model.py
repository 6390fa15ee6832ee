"""`Model`: a backbone and a head, with the spec to rebuild them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mobilenets.deploy.graph import Graph
from mobilenets.net.backbone import Backbone
from mobilenets.runtime.engines.base import Engine, Outputs
from mobilenets.runtime.manifest import Manifest, Precision, manifest_of
from mobilenets.specs.model import ModelSpec
from mobilenets.tasks.table import build


class Model(nn.Module):
    """A backbone with its head. `forward` takes preprocessed images N C H W and returns the head's outputs.

    Args:
        spec: the network to build. The weights are random; `create` seeds them, `checkpoint.load` and `weights.load` load them.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        self.backbone = Backbone(spec.backbone)
        self.head: Any = build(spec)  # a HeadModule and an nn.Module, which Python's types cannot express

    precision: Precision = "float32"
    """The precision that the model computes in."""

    @property
    def learning(self) -> nn.Module:
        """The module that training changes: the model itself."""
        return self

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs of `forward`, in order."""
        names: tuple[str, ...] = self.head.outputs
        return names

    def forward(self, x: Tensor) -> Any:  # Any: a tensor, or a tuple if there are several outputs
        """A classifier's logits, N classes; for a detector or segmenter, the outputs named in `outputs`."""
        return self.head(self.head.inputs(self.backbone, x))

    def floats(self) -> Model:
        """The float model: itself, or the one that an int8 model was made from."""
        return self

    def int8_graph(self) -> Graph | None:
        """The int8 graph that the model computes; None for a float model."""
        return None

    def like(self, spec: ModelSpec) -> Model:
        """A model of the same kind with the same weights, but another spec of the same shapes."""
        made = create(spec)
        made.load_state_dict(self.state_dict())
        return made

    def named(self, outputs: Tensor | tuple[Tensor, ...]) -> dict[str, Tensor]:
        """The outputs of `forward`, by name."""
        return dict(zip(self.outputs, (outputs,) if isinstance(outputs, Tensor) else outputs, strict=True))


def create(spec: ModelSpec, *, seed: int = 0) -> Model:
    """A model with random weights; the global random state is left unchanged.

    Convolutions are drawn from He's normal distribution by fan-out, the classifier from a normal distribution with standard
    deviation 0.01. slim's truncated normal with 0.09 has one scale for every layer; He's starts every width and depth at unit
    variance, as short trainings need.

    Args:
        spec: the network to build.
        seed: equal seeds give equal weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Model(spec)
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                _draw_convolution(module)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        model.head.draw()
    return model


def rebuilt(model: Model, spec: ModelSpec, *, seed: int = 0) -> Model:
    """A model of `spec` with the weights of `model` wherever they fit; the rest is random.

    The backbone's tensors fit if names and shapes agree. The head's fit if it is the same kind of head with the same labels.

    Args:
        model: the source of the weights.
        spec: the network to build: with other labels, another head, input contract, padding, dropout or fitted values.
        seed: seed of the random weights.
    """
    made = create(spec, seed=seed)
    _copy(model.backbone, made.backbone)
    if (model.spec.head.name, model.spec.task, model.spec.labels) == (spec.head.name, spec.task, spec.labels):
        _copy(model.head, made.head)
    return made


def with_spec(model: Model, spec: ModelSpec) -> Model:
    """A copy of a model with the same weights and another spec of the same shapes, such as other label names or another input.

    Args:
        model: the source of the weights.
        spec: the new spec.
    """
    return model.like(spec)


class TorchEngine(Engine):
    """Runs a model on preprocessed images; a `runtime.Predictor` takes it instead of an exported file.

    Several threads, and several engines of one model, may call it; a model runs one call at a time.

    Args:
        model: the model, which is moved to `device`. Each run uses evaluation mode, and then restores every module's mode.
        device: where to run.
    """

    def __init__(self, model: Model, device: str | torch.device = "cpu") -> None:
        self.model = model.to(device)
        self.device = torch.device(device)
        self.source = f"the model {model.spec.backbone.name}"
        self.outputs = model.outputs

    def run(self, batch: NDArray[np.float32]) -> Outputs:
        """The model's outputs by name, for preprocessed images N C H W."""
        with _evaluating(self.model), torch.inference_mode():
            named = self.model.named(self.model(torch.from_numpy(batch).to(self.device)))
            return {name: output.float().cpu().numpy() for name, output in named.items()}

    def manifest(self) -> Manifest:
        """The model's manifest."""
        return manifest_of(self.model.spec, precision=self.model.precision)


_TURNS: WeakKeyDictionary[Model, Lock] = WeakKeyDictionary()
_TURNS_LOCK = Lock()


@contextmanager
def _evaluating(model: Model) -> Iterator[None]:
    """The model in evaluation mode, for one thread at a time; afterwards every module has its previous mode.

    The mode belongs to the model: without the lock, another thread could run in training mode, or leave the wrong mode behind.
    """
    with _TURNS_LOCK:
        turn = _TURNS.setdefault(model, Lock())
    with turn:
        training = [module for module in model.modules() if module.training]
        for module in training:
            module.training = False
        try:
            yield
        finally:
            for module in training:
                module.training = True


def _copy(source: nn.Module, target: nn.Module) -> None:
    """Copy every tensor whose name and shape exist in both."""
    theirs, ours = source.state_dict(), target.state_dict()
    target.load_state_dict(
        {
            name: theirs[name] if name in theirs and theirs[name].shape == tensor.shape else tensor
            for name, tensor in ours.items()
        }
    )


def _draw_convolution(conv: nn.Conv2d) -> None:
    """He's normal distribution by the fan-out of one group, because a depthwise filter feeds only one channel."""
    fan_out = conv.weight[0, 0].numel() * conv.out_channels / conv.groups
    nn.init.normal_(conv.weight, std=math.sqrt(2 / fan_out))
