"""`ModelSpec`: a backbone with a head, its labels and its input contract. `specs/codec.py` writes and reads it as JSON."""

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


@dataclass(frozen=True, slots=True)
class InputContract:
    """What happens to an image before the network; it travels with the weights, into every checkpoint and export.

    Args:
        size: height of the network's input, px, and its width unless `wide` says another.
        channels: 3 for RGB, 1 for grey; other counts are read from arrays only.
        mean, std: per channel, of pixels scaled to 0..1: `(pixel / 255 - mean) / std`. One value serves every channel.
        resize: "crop_then_stretch" cuts the central `crop` share of each side, then resizes to size x size (TensorFlow);
            "shorter_side_then_crop" resizes the shorter side to `size / crop`, then cuts the center (torchvision, timm);
            "stretch" resizes to size x size; "letterbox" keeps the ratio and pads with the mean; "sample" stretches by torch's
            plain linear interpolation, which is neither antialiased nor rounded (torchvision's detectors).
        crop: share of the image that the network sees, 0 to 1.
        interpolation: of the one resize, always antialiased as Pillow does.
        wide: width of an input that is not square, px; 0 for a square. Only for "stretch", "letterbox" and "sample".
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
        """The same with an input of this height and width, px.

        >>> InputContract(resize="stretch").shaped(360, 480).shape
        (360, 480)
        """
        return replace(self, size=height, wide=0 if width == height else width)


@runtime_checkable
class Head(Protocol):
    """A frozen record of a head's own settings; `specs/codec.py` lists them all."""

    task: ClassVar[Task]

    @property
    def name(self) -> str:
        """What recipes call it."""
        ...

    def fresh(self) -> Self:
        """The same head with nothing fitted to labels or data."""
        ...


@dataclass(frozen=True, slots=True)
class ClassifierHead:
    """One linear layer on the pooled features; the number of classes is the number of labels.

    Args:
        temperature: divides the logits before softmax; fitted on a validation split so that scores mean what they say.
        mirrors: mirrored views of an image that are looked at besides it; the logits of all are averaged.
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
        """The one head of classifiers."""
        return "default"

    def fresh(self) -> ClassifierHead:
        """At temperature 1."""
        return replace(self, temperature=1.0)


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Everything that rebuilds a model but its weights.

    Args:
        backbone: the network up to its classifier.
        labels: class names in the order of the logits.
        input: what happens to an image before the network.
        head: what is predicted, and how.
        weights: where the weights came from, for display: "scratch", a catalogue name or a file.
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
        """How many classes the head tells apart."""
        return len(self.labels)

    @property
    def task(self) -> Task:
        """What the head predicts."""
        return self.head.task
