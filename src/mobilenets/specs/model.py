"""`ModelSpec`: a backbone with a head, labels and an input contract. `specs/codec.py` reads and writes it as JSON."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal, Protocol, Self, get_args, runtime_checkable

from msgspec import Meta

from mobilenets.documents import check_ranges
from mobilenets.errors import SpecError
from mobilenets.specs.rows import BackboneSpec, Side

Task = Literal["classify", "detect", "segment"]
Resize = Literal["crop_then_stretch", "shorter_side_then_crop", "stretch", "letterbox", "sample"]
Mirrors = Literal["none", "horizontal", "vertical", "both"]
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)

TASK_NOUNS: dict[Task, str] = {"classify": "classification", "detect": "detection", "segment": "segmentation"}
"""What messages call the datasets and models of a task."""


@dataclass(frozen=True, slots=True)
class InputContract:
    """The preprocessing of an image before the network; every checkpoint and export carries it with the weights.

    Args:
        size: height of the network's input, px, and also its width unless `wide` is set.
        channels: 3 for RGB, 1 for grayscale; inputs with other counts can only be read from arrays.
        mean, std: values per channel for pixels scaled to 0..1: `(pixel / 255 - mean) / std`. A single value applies to all.
        resize: "crop_then_stretch" cuts the central `crop` share of each side, then resizes to size x size (TensorFlow);
            "shorter_side_then_crop" resizes the shorter side to `size / crop`, then cuts the center (torchvision, timm);
            "stretch" resizes to size x size; "letterbox" keeps the aspect ratio and pads with the mean; "sample" stretches
            with torch's plain linear interpolation, without antialiasing or rounding (torchvision's detectors).
        crop: fraction of the image that the network sees, 0 to 1.
        interpolation: method of the single resize, always antialiased as in Pillow.
        wide: width of a non-square input, px; 0 for a square. Only for "stretch", "letterbox" and "sample".
    """

    size: Side = 224
    channels: Annotated[int, Meta(ge=1, le=4096)] = 3
    mean: tuple[Annotated[float, Meta(ge=-1e6, le=1e6)], ...] = HALF
    std: tuple[Annotated[float, Meta(gt=0, le=1e6)], ...] = HALF
    resize: Resize = "crop_then_stretch"
    crop: Annotated[float, Meta(gt=0, le=1)] = 0.875
    interpolation: Interpolation = "bilinear"
    wide: Annotated[int, Meta(ge=0, le=2**15)] = 0

    def __post_init__(self) -> None:
        if self.size < 1 or self.wide < 0:
            raise SpecError(f"input size {self.size if self.size < 1 else self.wide} is not positive")
        if self.wide and self.resize not in ("stretch", "letterbox", "sample"):
            raise SpecError(f"an input of {self.size} x {self.wide} px is not square, which '{self.resize}' gives")
        if not 0 < self.crop <= 1:
            raise SpecError(f"crop {self.crop} is not between 0 and 1")
        for name in ("mean", "std"):
            values = getattr(self, name)
            if len(values) not in (1, self.channels):
                raise SpecError(f"{name} has {len(values)} values but the input has {self.channels} channels")
        if min(self.std) <= 0:
            raise SpecError(f"std {self.std} is not positive")
        check_ranges(self, SpecError)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the network's input, px."""
        return self.size, self.wide or self.size

    def shaped(self, height: int, width: int) -> InputContract:
        """The same contract for an input of this height and width, px.

        >>> InputContract(resize="stretch").shaped(360, 480).shape
        (360, 480)
        """
        return replace(self, size=height, wide=0 if width == height else width)


@runtime_checkable
class Head(Protocol):
    """A frozen record of the settings of one head; `specs/codec.py` lists all heads."""

    task: ClassVar[Task]

    @property
    def name(self) -> str:
        """The head's name in recipes."""
        ...

    def fresh(self) -> Self:
        """The same head without anything fitted to labels or data."""
        ...


@dataclass(frozen=True, slots=True)
class ClassifierHead:
    """One linear layer on the pooled features, with one class per label.

    Args:
        temperature: divides the logits before softmax; fitted on a validation split to calibrate the scores.
        mirrors: mirrored views of an image that are classified along with it; the logits of all views are averaged.
    """

    task: ClassVar[Task] = "classify"
    temperature: Annotated[float, Meta(gt=0, le=1e6)] = 1.0
    mirrors: Mirrors = "none"

    def __post_init__(self) -> None:
        if self.mirrors not in get_args(Mirrors):
            raise SpecError(f"mirrors '{self.mirrors}' are not one of {', '.join(get_args(Mirrors))}")
        if not self.temperature > 0:
            raise SpecError(f"temperature {self.temperature} is not positive")
        check_ranges(self, SpecError)

    @property
    def name(self) -> str:
        """The name of the only classification head."""
        return "default"

    def fresh(self) -> ClassifierHead:
        """The same head at temperature 1."""
        return replace(self, temperature=1.0)


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Everything needed to rebuild a model, except its weights.

    Args:
        backbone: the network up to its classifier.
        labels: class names in the order of the logits.
        input: the preprocessing of an image before the network.
        head: what the model predicts, and how.
        weights: origin of the weights, for display: "scratch", a catalog name or a file.
    """

    backbone: BackboneSpec
    labels: Annotated[tuple[str, ...], Meta(min_length=1, max_length=10**6)]
    input: InputContract = InputContract()
    head: Head = ClassifierHead()
    weights: str = "scratch"

    def __post_init__(self) -> None:
        if self.backbone.in_channels != self.input.channels:
            raise SpecError(
                f"the backbone takes {self.backbone.in_channels} channels but the input contract gives {self.input.channels}"
            )
        if len(set(self.labels)) != len(self.labels):
            twice = sorted({label for label in self.labels if self.labels.count(label) > 1})
            raise SpecError(f"labels appear twice: {', '.join(twice[:5])}")

    @property
    def classes(self) -> int:
        """The number of classes that the head distinguishes."""
        return len(self.labels)

    @property
    def task(self) -> Task:
        """The task that the head performs."""
        return self.head.task
