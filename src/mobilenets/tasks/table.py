"""The module that implements each head record."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor, nn

from mobilenets.net.backbone import Backbone
from mobilenets.specs.model import Head, ModelSpec
from mobilenets.tasks.classify import Classifier
from mobilenets.tasks.detect import Ssd
from mobilenets.tasks.segment import DeepLab, Lraspp


class HeadModule(Protocol):
    """A head as a module, constructed from `(backbone spec, head record, classes)`."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs, in order."""
        ...

    def inputs(self, backbone: Backbone, x: Tensor) -> Any:  # Any: features or maps, depending on the head
        """What the head reads from the backbone, for images, N C H W."""
        ...

    def __call__(self, inputs: Any) -> Tensor | tuple[Tensor, ...]:
        """The outputs, as a tuple if there are several."""
        ...

    def draw(self) -> None:
        """Initialize the weights from torch's global random state."""
        ...


MODULES: dict[str, Any] = {  # Any: constructors, each with its own record type
    "ClassifierHead": Classifier,
    "SsdHead": Ssd,
    "DeepLabHead": DeepLab,
    "LrasppHead": Lraspp,
}
"""The module for every head in `specs.heads.HEADS`."""


def build(spec: ModelSpec) -> nn.Module:
    """The head of a model, a `HeadModule`."""
    module: nn.Module = MODULES[_name(spec.head)](spec.backbone, spec.head, spec.classes)
    return module


def _name(head: Head) -> str:
    return type(head).__name__
