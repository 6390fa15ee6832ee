"""`Recipe`: everything that determines a training run except the data and the initial weights. Flat, frozen, stored as JSON."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mobilenets.documents import parse
from mobilenets.errors import DocumentError, RecipeError
from mobilenets.feeding.settings import Balancing, BoxKeys, ImageKeys, MaskKeys, Mixing
from mobilenets.keys import Setting, names, settings, values_of
from mobilenets.table import unknown_name
from mobilenets.training.parts import (
    Freezing,
    Head,
    Length,
    Loss,
    Machine,
    Network,
    Optimizer,
    Quantizing,
    Regularization,
    Schedule,
)

_ORDERED = (  # pairs of limits: the first must not exceed the second
    ("crop_scale_min", "crop_scale_max", ("classify",)),
    ("scale_min", "scale_max", ("segment",)),
    ("anchor_scale_min", "anchor_scale_max", ("detect",)),
)
_BALANCES = {"classify": ("none", "sample", "loss", "logits"), "detect": ("none",), "segment": ("none", "loss")}


INT8: Mapping[str, object] = {
    "from_weights": True,
    "size": 0,
    "wide": 0,
    "input_crop": 0.0,
    "epochs": 5,
    "time_budget_minutes": 0.0,
    "evaluate_every_epochs": 1,
    "optimizer": "adamw",
    "learning_rate": 1e-4,
    "beta1": 0.9,
    "beta2": 0.999,
    "epsilon": 1e-8,
    "schedule": "cosine",
    "warmup_epochs": 0.1,
    "warmup_start": 0.1,
    "cosine_floor": 0.0,
    "weight_decay": 0.0,
    "l2": 0.0,
    "clip_norm": 1.0,
    "label_smoothing": 0.0,
    "ema": 0.0,
}
"""The keys that `quantize=int8` changes in any recipe, unless they are set explicitly: a short training with small updates."""


@dataclass(frozen=True, kw_only=True)
class Recipe(
    Network,
    Length,
    Optimizer,
    Schedule,
    Regularization,
    ImageKeys,
    BoxKeys,
    MaskKeys,
    Mixing,
    Balancing,
    Freezing,
    Quantizing,
    Head,
    Loss,
    Machine,
):
    """How a model is trained: `Recipe(epochs=5, learning_rate=0.01)`. Keys that are left out have their defaults.

    The keys are defined in its parts, `training/parts.py` and `feeding/settings.py`, and listed in the reference. A key without
    effect, because it belongs to another task or another key disables it, must keep its default.

    Raises:
        RecipeError: a value is of the wrong type, out of range or without effect; the message names the key.
    """

    def __post_init__(self) -> None:
        values = values_of(self)
        for setting in settings(Recipe).values():
            setting.check(values[setting.name])
        for setting in settings(Recipe).values():
            _check_effect(setting, values)
        for low, high, tasks in _ORDERED:
            if self.task in tasks and values[low] > values[high]:
                raise RecipeError(f"{low}={values[low]} is above {high}={values[high]}")
        if self.balance not in _BALANCES[self.task]:
            known = ", ".join(_BALANCES[self.task])
            raise RecipeError(f"balance={self.balance} is not for the task {self.task}; known: {known}")
        if self.batch % self.accumulate:
            raise RecipeError(f"batch={self.batch} does not divide into accumulate={self.accumulate} parts")
        mixes = bool(self.mixup_alpha or self.cutmix_alpha)
        if self.mix_probability != 1 and not mixes:
            raise RecipeError(f"mix_probability={self.mix_probability} needs mixup_alpha or cutmix_alpha above 0")
        if self.quantize == "int8" and self.precision in ("bf16", "fp16"):
            raise RecipeError(
                f"precision={self.precision} rounds more coarsely than the 8-bit steps that quantize=int8 trains",
                hint="leave it out: it is computed in 32-bit floats",
            )
        if self.cached_features:
            _check_cached(self, mixes=mixes)

    def to_json(self) -> str:
        """The recipe as indented JSON; `from_json` reads it back as an equal recipe."""
        return json.dumps(values_of(self), indent=1)

    @staticmethod
    def from_json(text: str) -> Recipe:
        """The recipe from JSON that `to_json` wrote.

        Raises:
            RecipeError: the text is not JSON, a key is unknown, or a value is out of range.
        """
        try:
            data = parse(text)
        except DocumentError as error:
            raise RecipeError(f"not a recipe: {error}") from error
        if not isinstance(data, dict):
            raise RecipeError(f"not a recipe: a JSON object was expected, found {type(data).__name__}")
        return from_data(data)


def from_data(data: Mapping[str, Any]) -> Recipe:  # Any: JSON
    """The recipe with these keys, and defaults for the others.

    Raises:
        RecipeError: a key is unknown, or a value is of the wrong type, out of range or without effect.
    """
    for name, value in data.items():
        _setting_of(name).check(value)
    values: dict[str, Any] = {name: float(value) if _is_whole_float(name, value) else value for name, value in data.items()}
    return Recipe(**values)


def from_version_1(data: Mapping[str, Any]) -> Recipe:  # Any: JSON
    """The recipe from a run.json without a format number, which listed every key of every task, with or without effect.

    Raises:
        RecipeError: a key is unknown, or a value is of the wrong type or out of range.
    """
    values = dict(data)
    if values.get("norm_momentum") == 0:
        values["norm_momentum"] = None  # was 0 in that format
    complete = {setting.name: setting.default for setting in settings(Recipe).values()} | values
    for name in data:
        if _setting_of(name).tasks and complete["task"] not in _setting_of(name).tasks:
            values.pop(name)
    if complete["task"] != "classify":
        values.pop("dropout", None)  # was ignored in that format
    if not (complete["mixup_alpha"] or complete["cutmix_alpha"]):
        values.pop("mix_probability", None)
    return from_data({name: value for name, value in values.items() if not _setting_of(name).idle(complete)})


def with_overrides(recipe: Recipe, overrides: Iterable[str]) -> Recipe:
    """The recipe with some keys replaced, each given as `key=value`. Other keys that lose their effect get their defaults.

    If `quantize` becomes int8, the keys of `INT8` change with it, unless they are replaced explicitly.

    Raises:
        RecipeError: a key is unknown, or a value has the wrong type, is out of range or has no effect.

    >>> with_overrides(Recipe(), ["learning_rate=0.1", "dihedral=true"]).learning_rate
    0.1
    """
    chosen = {name: _setting_of(name).parse(text) for name, text in map(_key_and_text, overrides)}
    becomes_int8 = chosen.get("quantize", "none") == "int8" != recipe.quantize
    values = {**values_of(recipe), **(INT8 if becomes_int8 else {}), **chosen}
    idle = {
        setting.name: setting.default
        for setting in settings(Recipe).values()
        if setting.name not in chosen and setting.idle(values)
    }
    return Recipe(**{**values, **idle})


def keys_of(overrides: Iterable[str]) -> tuple[str, ...]:
    """The keys that `with_overrides` replaces.

    Raises:
        RecipeError: one is not of the form `key=value`.

    >>> keys_of(["output-stride=8"])
    ('output_stride',)
    """
    return tuple(_key_and_text(override)[0] for override in overrides)


def difference(recipe: Recipe, base: Recipe) -> dict[str, object]:
    """The keys of `recipe` that differ from `base`."""
    before = values_of(base)
    return {name: value for name, value in values_of(recipe).items() if value != before[name]}


def shared(recipe: Recipe, record: type) -> dict[str, Any]:  # Any: the fields' types differ
    """The recipe's values for the keys that a record also has."""
    return {name: getattr(recipe, name) for name in names(record)}


def changed(recipe: Recipe, keys: Collection[str]) -> list[str]:
    """Those of the given keys that differ from their defaults, each as `key=value`."""
    return [f"{name}={getattr(recipe, name)}" for name in keys if getattr(recipe, name) != _setting_of(name).default]


def _check_effect(setting: Setting, values: Mapping[str, Any]) -> None:  # Any: of the keys' types
    """Raise if a key has no effect but differs from its default."""
    name, value, task = setting.name, values[setting.name], values["task"]
    if value == setting.default:
        return
    if setting.tasks and task not in setting.tasks:
        raise RecipeError(f"{name}={value} means nothing to the task {task}", hint="leave it out")
    if reason := setting.idle(values):
        raise RecipeError(f"{name}={value} has no effect with {reason}", hint=f"leave it out, or set {name}={setting.default}")


def _check_cached(recipe: Recipe, *, mixes: bool) -> None:
    """Raise if a setting needs images although features are computed only once."""
    once = "cached_features=true trains on features computed once"
    if recipe.freeze_blocks != -1:
        raise RecipeError("cached_features=true needs a frozen backbone", hint="add freeze_blocks=-1")
    if recipe.mirrors != "none":
        raise RecipeError(f"mirrors need images, but {once}")
    if mixes:
        raise RecipeError(f"mixup and CutMix mix images, but {once}")
    if augmented := changed(recipe, names(ImageKeys)):
        raise RecipeError(f"{augmented[0]} changes images, but {once}", hint="leave it out, or set cached_features=false")


def _key_and_text(override: str) -> tuple[str, str]:
    name, equals, text = override.partition("=")
    if not equals:
        raise RecipeError(f"'{override}' is not of the form key=value", hint="for example --set learning_rate=0.01")
    return name.strip().replace("-", "_"), text.strip()


def _setting_of(name: str) -> Setting:
    if name not in settings(Recipe):
        raise RecipeError(str(unknown_name("recipe key", name, dict.fromkeys(settings(Recipe)))))
    return settings(Recipe)[name]


def _is_whole_float(name: str, value: object) -> bool:
    return _setting_of(name).kind is float and isinstance(value, int)
