"""`Model`: backbone, head and the spec that rebuilds them."""

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
    """A backbone with its head; `forward` takes prepared images N C H W and returns what the head gives.

    Args:
        spec: what to build. The weights are random; `create` seeds them, `checkpoint.load` and `weights.load` bring them.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        self.backbone = Backbone(spec.backbone)
        self.head: Any = build(spec)  # a HeadModule and an nn.Module, which no type of Python's says

    precision: Precision = "float32"
    """What it computes in."""

    @property
    def learning(self) -> nn.Module:
        """What a training changes: the model itself."""
        return self

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what `forward` returns, in their order."""
        names: tuple[str, ...] = self.head.outputs
        return names

    def forward(self, x: Tensor) -> Any:  # Any: a tensor, or a tuple where there are several outputs
        """A classifier's logits, N classes; a detector's and a segmenter's outputs as `outputs` names them."""
        return self.head(self.head.inputs(self.backbone, x))

    def floats(self) -> Model:
        """The model in floats: itself, or the one that a model in integers was made from."""
        return self

    def int8_graph(self) -> Graph | None:
        """The graph of 8-bit integers that the model computes; a model in floats has none."""
        return None

    def like(self, spec: ModelSpec) -> Model:
        """A model of this kind with all weights, under a spec of the same shapes."""
        made = create(spec)
        made.load_state_dict(self.state_dict())
        return made

    def named(self, outputs: Tensor | tuple[Tensor, ...]) -> dict[str, Tensor]:
        """What `forward` returned, by name."""
        return dict(zip(self.outputs, (outputs,) if isinstance(outputs, Tensor) else outputs, strict=True))


def create(spec: ModelSpec, *, seed: int = 0) -> Model:
    """A model with freshly drawn weights; the global random state is left as it was.

    Convolutions are drawn from He's normal distribution by fan-out, the classifier from a normal of 0.01. slim's truncated
    normal of 0.09 has one scale for every layer; He's starts every width and depth at unit variance, as short trainings need.

    Args:
        spec: what to build.
        seed: same seed, same weights.
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
    """A model of `spec` with the weights of `model` wherever they fit; what does not fit is freshly drawn.

    The backbone's tensors fit where names and shapes agree. The head's fit if it is the same kind of head with the same labels.

    Args:
        model: whose weights are copied.
        spec: what to build: other labels, another head, another input contract, padding, dropout or fitted values.
        seed: of the fresh weights.
    """
    made = create(spec, seed=seed)
    _copy(model.backbone, made.backbone)
    if (model.spec.head.name, model.spec.task, model.spec.labels) == (spec.head.name, spec.task, spec.labels):
        _copy(model.head, made.head)
    return made


def with_spec(model: Model, spec: ModelSpec) -> Model:
    """A copy of a model with every weight, under another spec of the same shapes: other names of the labels, another input.

    Args:
        model: whose weights are copied.
        spec: the new spec.
    """
    return model.like(spec)


class TorchEngine(Engine):
    """Runs a model on preprocessed images; what `runtime.Predictor` takes in place of an exported file.

    Several threads, and several engines of one model, may call it: the runs of a model follow one another.

    Args:
        model: is moved to `device`. Each run sets it to evaluation mode and leaves every module's mode as it was.
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
        """The manifest of the model."""
        return manifest_of(self.model.spec, precision=self.model.precision)


_TURNS: WeakKeyDictionary[Model, Lock] = WeakKeyDictionary()
_TURNS_LOCK = Lock()


@contextmanager
def _evaluating(model: Model) -> Iterator[None]:
    """The model in evaluation mode, for one thread at a time; afterwards every module is in the mode it was in.

    The mode is part of the model: a thread that came in between would run in training mode, or leave the model in another one.
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
    """Every tensor whose name and shape both have."""
    theirs, ours = source.state_dict(), target.state_dict()
    target.load_state_dict(
        {
            name: theirs[name] if name in theirs and theirs[name].shape == tensor.shape else tensor
            for name, tensor in ours.items()
        }
    )


def _draw_convolution(conv: nn.Conv2d) -> None:
    """He's normal by fan-out, that of one group: a depthwise filter feeds one channel, not all of them."""
    fan_out = conv.weight[0, 0].numel() * conv.out_channels / conv.groups
    nn.init.normal_(conv.weight, std=math.sqrt(2 / fan_out))
