"""The user's statements about a file, for what the file cannot tell, and how well each part of an input contract is known."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from mobilenets.errors import UsageError, WeightsError
from mobilenets.specs.model import HALF, IMAGENET_MEAN, IMAGENET_STD, InputContract, Interpolation, Resize
from mobilenets.specs.rows import Activation

Pixels = Literal["0..255", "0..1", "-1..1", "imagenet"]
Basis = Literal["read", "given", "catalog", "guessed", "compared"]

# fmt: off
PIXELS: Mapping[Pixels, tuple[tuple[float, ...], tuple[float, ...]]] = {  # mean and std of pixel / 255
    "0..255":   ((0.0,) * 3,    (1 / 255,) * 3),
    "0..1":     ((0.0,) * 3,    (1.0,) * 3),
    "-1..1":    (HALF,          HALF),
    "imagenet": (IMAGENET_MEAN, IMAGENET_STD),
}
# fmt: on


@dataclass(frozen=True, slots=True)
class Told:
    """The user's statements about a file; empty or 0 if not given.

    Args:
        pixels: the range of the file's input: "0..255", "0..1", "-1..1", or "imagenet" (ImageNet's mean and std).
        resize: how images are resized to the input.
        crop: share of the image that the network sees, 0 to 1.
        interpolation: interpolation of the resize.
        size: side of the input, px.
        hidden_activation: activation of hidden layers in a head, which a state dict cannot tell.
        key: which state dict to use, if a file has several.

    Raises:
        UsageError: a value is unknown.
    """

    pixels: Pixels | Literal[""] = ""
    resize: Resize | Literal[""] = ""
    crop: float = 0.0
    interpolation: Interpolation | Literal[""] = ""
    size: int = 0
    hidden_activation: Activation | Literal[""] = ""
    key: str = ""

    def __post_init__(self) -> None:
        for name, known in (
            ("pixels", get_args(Pixels)),
            ("resize", get_args(Resize)),
            ("interpolation", get_args(Interpolation)),
            ("hidden_activation", get_args(Activation)),
        ):
            value = getattr(self, name)
            if value and value not in known:
                raise UsageError(f"{name.replace('_', ' ')} '{value}' is not one of {', '.join(known)}")
        if not 0 <= self.crop <= 1:
            raise UsageError(f"crop {self.crop:g} is not between 0 and 1")
        if self.size < 0:
            raise UsageError(f"size {self.size} is not positive")


NOTHING_TOLD = Told()


@dataclass(frozen=True, slots=True)
class Contract:
    """An input contract, and the source of each of its parts.

    Args:
        input: the contract.
        known: "size", "pixels", "resize" and "crop", each with its basis; missing parts were guessed.
    """

    input: InputContract
    known: Mapping[str, Basis] = field(default_factory=dict)


def settled(contract: Contract, told: Told) -> Contract:
    """The contract with guessed parts replaced by the user's statements.

    Args:
        contract: the contract from the file or its library's convention.
        told: the user's statements.

    Raises:
        WeightsError: the file contradicts them.
    """
    values, known = contract.input, dict(contract.known)
    if told.pixels and known.get("pixels") != "given":
        mean, std = (part if values.channels == 3 else part[:1] for part in PIXELS[told.pixels])
        if known.get("pixels") == "read" and not (_close(mean, values.mean) and _close(std, values.std)):
            raise WeightsError(
                f"the file says itself that it takes (pixel / 255 - {values.mean}) / {values.std}, not {told.pixels}",
                hint="leave --pixels out",
            )
        values, known["pixels"] = replace(values, mean=mean, std=std), "given"
    if told.size:
        values, known["size"] = replace(values, size=told.size, wide=0), "given"
    if told.resize:
        values, known["resize"] = (
            replace(values, resize=told.resize, crop=values.crop if told.crop else _crop(told.resize, values)),
            "given",
        )
    if told.crop:
        values, known["crop"] = replace(values, crop=told.crop), "given"
    if told.interpolation:
        values = replace(values, interpolation=told.interpolation)
    return Contract(values, known)


def _close(first: Sequence[float], second: Sequence[float]) -> bool:
    return all(math.isclose(a, b, rel_tol=0.02, abs_tol=0.01) for a in first for b in second)


def _crop(resize: Resize, values: InputContract) -> float:
    """The crop for a resize rule: the whole image if the rule does not crop."""
    return values.crop if resize in ("crop_then_stretch", "shorter_side_then_crop") else 1.0
