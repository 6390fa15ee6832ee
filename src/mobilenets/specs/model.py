"""`ModelSpec`: a backbone with a task, its labels and its input contract. JSON both ways; no torch."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mobilenets.errors import SpecError
from mobilenets.specs import rows
from mobilenets.specs.rows import BackboneSpec, Conv, Row

Task = Literal["classify", "detect", "segment"]
Resize = Literal["crop_then_stretch", "shorter_side_then_crop", "stretch", "letterbox"]
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)


@dataclass(frozen=True, slots=True)
class InputContract:
    """What happens to a picture before the network; it travels with the weights, into every checkpoint and export.

    Args:
        size: height and width of the network's input, px.
        channels: 3 for RGB, 1 for grey; other counts are read from arrays only.
        mean, std: per channel, of pixels scaled to 0..1: `(pixel / 255 - mean) / std`. One value serves every channel.
        resize: "crop_then_stretch" cuts the central `crop` share of each side, then resizes to size x size (TensorFlow);
            "shorter_side_then_crop" resizes the shorter side to `size / crop`, then cuts the center (torchvision, timm);
            "stretch" resizes to size x size; "letterbox" keeps the ratio and pads with the mean.
        crop: share of the picture that the network sees, 0 to 1.
        interpolation: of the one resize, always antialiased as Pillow does.
    """

    size: int = 224
    channels: int = 3
    mean: tuple[float, ...] = HALF
    std: tuple[float, ...] = HALF
    resize: Resize = "crop_then_stretch"
    crop: float = 0.875
    interpolation: Interpolation = "bilinear"

    def __post_init__(self) -> None:
        if self.size < 1:
            raise SpecError(f"input size {self.size} is not positive")
        if not 0 < self.crop <= 1:
            raise SpecError(f"crop {self.crop} is not between 0 and 1")
        for name in ("mean", "std"):
            values = getattr(self, name)
            if len(values) not in (1, self.channels):
                raise SpecError(f"{name} has {len(values)} values but the input has {self.channels} channels")
        if min(self.std) <= 0:
            raise SpecError(f"std {self.std} is not positive")


@dataclass(frozen=True, slots=True)
class ClassifierHead:
    """One linear layer on the pooled features; the number of classes is the number of labels.

    Args:
        temperature: divides the logits before softmax; fitted on a validation split so that scores mean what they say.
    """

    temperature: float = 1.0


Head = ClassifierHead


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Everything that rebuilds a model but its weights.

    Args:
        backbone: the network up to its classifier.
        labels: class names in the order of the logits.
        input: what happens to a picture before the network.
        task: what the head predicts.
        head: the task's own settings.
        weights: where the weights came from, for display: "scratch", a catalogue name or a file.
    """

    backbone: BackboneSpec
    labels: tuple[str, ...]
    input: InputContract = InputContract()
    task: Task = "classify"
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

    def to_json(self) -> str:
        """The spec as indented JSON; `from_json` reads it back to an equal spec."""
        return json.dumps(to_data(self), indent=1)

    @staticmethod
    def from_json(text: str) -> ModelSpec:
        """The spec that `to_json` wrote.

        Raises:
            SpecError: the text is not JSON or does not describe a model.
        """
        try:
            return _model_spec(json.loads(text))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SpecError(f"not a model spec: {error!r}") from error


def to_data(record: Any) -> Any:  # Any: whatever JSON can hold
    """A record as dicts and lists; rows carry their type under `"row"`."""
    if dataclasses.is_dataclass(record) and not isinstance(record, type):
        data = {field.name: to_data(getattr(record, field.name)) for field in dataclasses.fields(record)}
        return {"row": type(record).__name__, **data} if isinstance(record, Row) else data
    if isinstance(record, tuple | list):
        return [to_data(one) for one in record]
    return record


def input_contract(data: Mapping[str, Any]) -> InputContract:  # Any: JSON
    """The input contract in parsed JSON.

    Raises:
        SpecError: a key is missing or unknown, or a value is out of range.
    """
    try:
        return InputContract(**{**data, "mean": tuple(data["mean"]), "std": tuple(data["std"])})
    except (KeyError, TypeError) as error:
        raise SpecError(f"not an input contract: {error!r}") from error


def _model_spec(data: Mapping[str, Any]) -> ModelSpec:  # Any: JSON
    return ModelSpec(
        **{
            **data,
            "backbone": _backbone(data["backbone"]),
            "labels": tuple(data["labels"]),
            "input": input_contract(data["input"]),
            "head": ClassifierHead(**data["head"]),
        }
    )


def _backbone(data: Mapping[str, Any]) -> BackboneSpec:  # Any: JSON
    tail = tuple(Conv(**{key: value for key, value in row.items() if key != "row"}) for row in data["tail"])
    return BackboneSpec(**{**data, "rows": tuple(_row(row) for row in data["rows"]), "tail": tail})


def _row(data: Mapping[str, Any]) -> Row:  # Any: JSON
    fields = dict(data)
    kind: type[Row] = _ROWS[fields.pop("row")]
    return kind(**fields)


_ROWS: dict[str, type[Row]] = {
    kind.__name__: kind
    for kind in (
        rows.Conv,
        rows.Separable,
        rows.Bottleneck,
        rows.Fused,
        rows.Universal,
        rows.Attention,
        rows.ResNetBottleneck,
    )
}
