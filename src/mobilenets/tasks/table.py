"""Which module learns what a head's record describes."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor, nn

from mobilenets.net.backbone import Backbone
from mobilenets.specs.model import Head, ModelSpec
from mobilenets.tasks.classify import Classifier
from mobilenets.tasks.detect import Ssd
from mobilenets.tasks.segment import DeepLab, Lraspp


class HeadModule(Protocol):
    """A head as a module, made of `(backbone spec, head record, classes)`."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what it gives, in their order."""
        ...

    def inputs(self, backbone: Backbone, x: Tensor) -> Any:  # Any: features or maps, as the head wants them
        """What the head takes of the backbone, for images N C H W."""
        ...

    def __call__(self, inputs: Any) -> Tensor | tuple[Tensor, ...]:
        """The outputs; a single one stands alone."""
        ...

    def draw(self) -> None:
        """Fresh weights, from torch's global random state."""
        ...


MODULES: dict[str, Any] = {  # Any: constructors, each of its own record
    "ClassifierHead": Classifier,
    "SsdHead": Ssd,
    "DeepLabHead": DeepLab,
    "LrasppHead": Lraspp,
}
"""The module of every head in `specs.heads.HEADS`."""


def build(spec: ModelSpec) -> nn.Module:
    """The head of a model, which is a `HeadModule`."""
    module: nn.Module = MODULES[_name(spec.head)](spec.backbone, spec.head, spec.classes)
    return module


def _name(head: Head) -> str:
    return type(head).__name__
