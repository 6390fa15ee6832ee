"""`Recipe`: everything that decides a training run but the data and the first weights. Flat, frozen, JSON both ways."""

from __future__ import annotations

import dataclasses
import json
import math
import typing
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mobilenets.errors import RecipeError
from mobilenets.specs.model import Mirrors, Task
from mobilenets.specs.segment import On
from mobilenets.specs.ssd import Scores
from mobilenets.table import unknown_name

Optimizer = Literal["sgd", "rmsprop", "adamw"]
Schedule = Literal["constant", "cosine", "exponential", "poly"]
Policy = Literal["none", "trivial", "rand"]
Balance = Literal["none", "sample", "loss", "logits"]
HeadName = Literal["default", "ssdlite", "ssd", "deeplab", "lraspp"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a model is trained. Counts, px and shares (0 to 1) have no unit in their name.

    `batch` is the images of one optimizer step over all processes and accumulated parts; `learning_rate` belongs to it.
    Weight decay is decoupled under "adamw" and added to the gradient by the others, as their papers do.
    """

    # What is trained, where the caller does not say
    model: str = "mobilenet_v2"
    width: float = 1.0
    size: int = 0  # input px; 0 keeps the model's
    from_weights: bool = False  # whether it begins with public weights where the caller does not say
    wide: int = 0  # input width where it is not square, px; for detection and segmentation
    input_crop: float = 0.0  # share of an image's side seen at evaluation; 0 keeps the model's input contract

    # Length
    epochs: int = 30
    time_budget_minutes: float = 0.0  # fewer epochs where the measured rate asks for it; 0 for no limit
    patience_epochs: int = 0  # stop after so many epochs without a better validation result; 0 never
    evaluate_every_epochs: int = 1

    # Optimizer
    batch: int = 32
    accumulate: int = 1  # parts a batch is computed in
    optimizer: Optimizer = "sgd"
    learning_rate: float = 0.01
    momentum: float = 0.9  # of sgd and rmsprop
    rmsprop_decay: float = 0.9  # of the moving mean square
    beta1: float = 0.9  # of adamw
    beta2: float = 0.999
    epsilon: float = 1e-8  # of rmsprop (inside the root, as TensorFlow) and adamw
    weight_decay: float = 0.0
    l2: float = 0.0  # added to the gradient besides `weight_decay`
    decay_depthwise: bool = True  # whether depthwise filters decay
    decay_norms: bool = False  # whether norms, biases and layer scales decay
    clip_norm: float = 0.0  # largest norm of the whole gradient; 0 for no limit

    # Schedule
    schedule: Schedule = "cosine"
    warmup_epochs: float = 0.0
    warmup_start: float = 0.0  # share of the learning rate that the first step has
    decay_factor: float = 0.1  # of "exponential": the rate is multiplied by it, at once, every so many epochs
    decay_every_epochs: float = 30.0
    poly_power: float = 0.9  # of "poly": the rate falls as (1 - progress) to this power (DeepLabv3, section 4.1)
    cosine_floor: float = 0.0  # share of the learning rate that cosine ends at (alpha of V4, Table 10)

    # Regularization
    label_smoothing: float = 0.0
    dropout: float = 0.2  # before the classifier
    stochastic_depth: float = 0.0  # of the last residual branch, growing linearly with depth
    ema: float = 0.0  # decay per step of the averaged weights that are evaluated and kept; 0 for none
    norm_momentum: float = 0.0  # share of the new value in the running statistics; 0 keeps the model's

    # Augmentation
    crop_scale_min: float = 0.08  # share of the area
    crop_scale_max: float = 1.0
    crop_ratio_max: float = 4 / 3  # width by height, and its inverse
    flip_horizontal: float = 0.5  # chance
    flip_vertical: float = 0.0
    dihedral: bool = False  # one of the eight turns and mirrors, for images without an up or a grain: tiles, microscopes
    rotation_degrees: float = 0.0
    brightness: float = 0.0  # color jitter, as torchvision's ColorJitter
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    policy: Policy = "none"  # TrivialAugment or RandAugment
    rand_layers: int = 2
    rand_magnitude: int = 9  # 0 to 30
    rand_probability: float = 1.0  # chance of each layer
    erase: float = 0.0  # chance of random erasing
    mixup_alpha: float = 0.0
    cutmix_alpha: float = 0.0
    mix_probability: float = 1.0  # chance that a batch is mixed, where an alpha is above 0

    # What a classifier looks at
    mirrors: Mirrors = "none"  # mirrored views whose logits it averages, here and wherever it is used: 2 or 4 times the work

    # Classes of unequal size
    balance: Balance = "none"  # "sample": draw rare classes as often; "loss": weigh them more; "logits": logit adjustment

    # What learns
    freeze_blocks: int = 0  # first blocks of the backbone that keep their weights; -1 for the whole backbone
    freeze_norms: bool = False  # norms keep their running statistics
    cached_features: bool = False  # compute the frozen backbone's features once; needs freeze_blocks=-1

    # Detection and segmentation: the head, where the caller's model has none of the task or another than `head` names
    task: Task = "classify"  # that the recipe is for
    head: HeadName = "default"  # the model's, or a fresh one: SSDLite for detection, DeepLabv3 for segmentation
    head_filters: int = 0  # channels of a segmentation head; 0 for the paper's
    output_stride: int = 16  # of segmentation: 8, 16 or 32
    aspp: bool = True  # the three atrous branches of DeepLabv3; without them it is R-ASPP
    on: On = "last"  # the map that a segmentation head stands on
    decoder: str = ""  # map of DeepLabv3+'s decoder, "s4"
    auxiliary: str = ""  # map of the auxiliary head of training, "s8"
    activation: Scores = "softmax"  # of a detector's scores
    anchor_smallest: float = 0.1  # scale of the first map's square anchor
    anchor_scale_min: float = 0.2  # scale of the first map's other anchors
    anchor_scale_max: float = 0.95  # and of the last map's

    # Detection: images and losses
    zoom_out: float = 0.0  # chance that the image is laid on a larger canvas
    zoom_out_max: float = 4.0  # longest side of that by the image's
    crop: float = 1.0  # chance of a crop that overlaps an object
    photometric: float = 0.0  # chance of each change of brightness, contrast, saturation, hue
    smallest: float = 1.0  # px of the input; smaller boxes are not learned
    match_iou: float = 0.5  # overlap from which on an anchor should find a box
    negatives: float = 3.0  # anchors on the background for each that matches
    focal_gamma: float = 0.0  # above 0: the focal loss in place of hard negatives
    focal_alpha: float = 0.75
    box_share: float = 1.0  # weight of the offsets' loss

    # Segmentation: images and losses
    scale_min: float = 0.5  # of an image, 1 fills the input
    scale_max: float = 2.0
    dice: float = 0.0  # weight of the Dice loss
    lovasz: float = 0.0  # weight of the Lovasz loss
    auxiliary_share: float = 0.4  # weight of the auxiliary head's loss

    # The machine
    precision: Precision = "auto"
    channels_last: bool = True
    compile: bool = False
    sync_norms: bool = False  # batch norm over all processes; GPUs only
    workers: int = -1  # processes that read and augment; -1 chooses
    cache_mb: int = 2048  # RAM for decoded images
    save_every_seconds: float = 300.0  # within an epoch; each epoch's end is saved anyway
    tensorboard: bool = False  # also log to the run's folder "tensorboard"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:  # also refuses NaN
                raise RecipeError(f"{name}={value} is not between {low:g} and {high:g}")
        for name, choices in _choices().items():
            if getattr(self, name) not in choices:
                raise RecipeError(f"{name}={getattr(self, name)} is not one of {', '.join(choices)}")
        if self.crop_scale_min > self.crop_scale_max:
            raise RecipeError(f"crop_scale_min={self.crop_scale_min} is above crop_scale_max={self.crop_scale_max}")
        if self.batch % self.accumulate:
            raise RecipeError(f"batch={self.batch} does not divide into accumulate={self.accumulate} parts")
        if self.cached_features and self.freeze_blocks != -1:
            raise RecipeError("cached_features=true needs a frozen backbone", hint="add freeze_blocks=-1")
        if self.cached_features and self.mirrors != "none":
            raise RecipeError("mirrors need images, but cached_features=true trains on features computed once")
        if self.cached_features and (self.mixup_alpha or self.cutmix_alpha):
            raise RecipeError("mixup and CutMix mix images, but cached_features=true trains on features computed once")

    def to_json(self) -> str:
        """The recipe as indented JSON; `from_json` reads it back to an equal recipe."""
        return json.dumps(dataclasses.asdict(self), indent=1)

    @staticmethod
    def from_json(text: str) -> Recipe:
        """The recipe that `to_json` wrote.

        Raises:
            RecipeError: the text is not JSON, or a key is unknown or a value out of range.
        """
        try:
            data = json.loads(text)
        except ValueError as error:
            raise RecipeError(f"not a recipe: {error}") from error
        if not isinstance(data, dict):
            raise RecipeError(f"not a recipe: a JSON object was expected, found {type(data).__name__}")
        return from_data(data)


def from_data(data: Mapping[str, Any]) -> Recipe:  # Any: JSON
    """The recipe with these fields and the defaults of the others.

    Raises:
        RecipeError: a key is unknown, or a value is of the wrong type or out of range.
    """
    kinds = typing.get_type_hints(Recipe)
    for name, value in data.items():
        if name not in kinds:
            raise _unknown(name)
        expected = _kind(kinds[name])
        if not (type(value) is expected or (expected is float and type(value) is int)):
            raise RecipeError(f"{name} is {value!r}, but a recipe needs a {expected.__name__} there")
    values: dict[str, Any] = {name: float(value) if kinds[name] is float else value for name, value in data.items()}
    return Recipe(**values)


def with_overrides(recipe: Recipe, overrides: Iterable[str]) -> Recipe:
    """The recipe with some fields replaced, each written `key=value`.

    Raises:
        RecipeError: a key is unknown, or a value has the wrong type or is out of range.

    >>> with_overrides(Recipe(), ["learning_rate=0.1", "dihedral=true"]).learning_rate
    0.1
    """
    kinds = typing.get_type_hints(Recipe)
    values: dict[str, Any] = {}  # Any: the fields' types differ
    for override in overrides:
        name, text = _key_and_text(override)
        if name not in kinds:
            raise _unknown(name)
        values[name] = _parse(name, text, kinds[name])
    return dataclasses.replace(recipe, **values)


def keys_of(overrides: Iterable[str]) -> tuple[str, ...]:
    """The fields that `with_overrides` replaces.

    Raises:
        RecipeError: one is not of the form `key=value`.

    >>> keys_of(["output-stride=8"])
    ('output_stride',)
    """
    return tuple(_key_and_text(override)[0] for override in overrides)


def difference(recipe: Recipe, base: Recipe) -> dict[str, object]:
    """The fields of `recipe` that differ from `base`."""
    return {
        field.name: getattr(recipe, field.name)
        for field in dataclasses.fields(Recipe)
        if getattr(recipe, field.name) != getattr(base, field.name)
    }


def shared(recipe: Recipe, record: type, *, but: Collection[str] = ()) -> dict[str, Any]:  # Any: the fields' types differ
    """The recipe's values for the fields that a record has by the same names, but for some."""
    names = {field.name for field in dataclasses.fields(record)} & {field.name for field in dataclasses.fields(Recipe)}
    return {name: getattr(recipe, name) for name in names - set(but)}


def _key_and_text(override: str) -> tuple[str, str]:
    name, equals, text = override.partition("=")
    if not equals:
        raise RecipeError(f"'{override}' is not of the form key=value", hint="for example --set learning_rate=0.01")
    return name.strip().replace("-", "_"), text.strip()


def _parse(name: str, text: str, kind: Any) -> object:  # Any: a type hint
    expected = _kind(kind)
    if expected is bool:
        switches = {"true": True, "false": False, "yes": True, "no": False, "on": True, "off": False, "1": True, "0": False}
        if text.lower() in switches:
            return switches[text.lower()]
        raise RecipeError(f"{name}={text} is not true or false")
    if expected is str:
        return text
    try:
        value = float(text)
    except ValueError as error:
        raise RecipeError(f"{name}={text} is not a number") from error
    if expected is float:
        return value
    if not math.isfinite(value) or value != int(value):
        raise RecipeError(f"{name}={text} is not a whole number")
    return int(value)


def _kind(hint: Any) -> type:  # Any: a type hint
    return str if typing.get_origin(hint) is Literal else typing.cast("type", hint)


def _unknown(name: str) -> RecipeError:
    return RecipeError(str(unknown_name("recipe key", name, {field.name: None for field in dataclasses.fields(Recipe)})))


def _choices() -> dict[str, tuple[str, ...]]:
    hints = typing.get_type_hints(Recipe)
    return {name: typing.get_args(hint) for name, hint in hints.items() if typing.get_origin(hint) is Literal}


_HUGE = 1e9
# fmt: off
_RANGES: dict[str, tuple[float, float]] = {
    "width": (0.05, 8), "size": (0, 4096), "input_crop": (0, 1), "epochs": (1, 1e6), "time_budget_minutes": (0, _HUGE),
    "patience_epochs": (0, 1e6), "evaluate_every_epochs": (1, 1e6),
    "batch": (1, 1e6), "accumulate": (1, 1e6), "learning_rate": (0, 1e3), "momentum": (0, 0.9999), "rmsprop_decay": (0, 1),
    "beta1": (0, 0.9999), "beta2": (0, 0.999999), "epsilon": (0, 10), "weight_decay": (0, 10), "l2": (0, 10),
    "clip_norm": (0, _HUGE), "warmup_epochs": (0, 1e6), "warmup_start": (0, 1), "decay_factor": (0, 1),
    "decay_every_epochs": (1e-3, 1e6), "cosine_floor": (0, 1), "label_smoothing": (0, 0.99), "dropout": (0, 0.99),
    "stochastic_depth": (0, 0.99), "ema": (0, 0.999999), "norm_momentum": (0, 1),
    "crop_scale_min": (1e-3, 1), "crop_scale_max": (1e-3, 1), "crop_ratio_max": (1, 20),
    "flip_horizontal": (0, 1), "flip_vertical": (0, 1), "rotation_degrees": (0, 180),
    "brightness": (0, 10), "contrast": (0, 10), "saturation": (0, 10), "hue": (0, 0.5),
    "rand_layers": (0, 16), "rand_magnitude": (0, 30), "rand_probability": (0, 1), "erase": (0, 1),
    "mixup_alpha": (0, 100), "cutmix_alpha": (0, 100), "mix_probability": (0, 1), "freeze_blocks": (-1, 1000),
    "wide": (0, 4096), "head_filters": (0, 4096), "output_stride": (8, 32),
    "anchor_smallest": (0, 1), "anchor_scale_min": (1e-3, 1), "anchor_scale_max": (1e-3, 2),
    "zoom_out": (0, 1), "zoom_out_max": (1, 16), "crop": (0, 1), "photometric": (0, 1),
    "smallest": (0, 1000), "match_iou": (0.05, 0.95), "negatives": (0, 1e6), "focal_gamma": (0, 10), "focal_alpha": (0, 1),
    "box_share": (0, 1000), "scale_min": (0.05, 20), "scale_max": (0.05, 20), "dice": (0, 100), "lovasz": (0, 100),
    "auxiliary_share": (0, 100), "poly_power": (0, 10),
    "workers": (-1, 256), "cache_mb": (0, 1e7), "save_every_seconds": (0, _HUGE), "seed": (0, 2**62),
}
# fmt: on
