"""The search space: what may vary in a trained network, and the network for each choice.

A *stage* is a sequence of blocks that share a residual. Depth, expansion and variant of the blocks vary by stage; width and
input size vary for the whole network; the layers after the last block share one factor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from mobilenets.search.axes import IMAGE, ROWS, axes, knobs, resized, sizes
from mobilenets.search.inherit import HEADS, maps_of
from mobilenets.search.ladder import resampled
from mobilenets.specs.model import ModelSpec
from mobilenets.specs.rows import BackboneSpec, Bottleneck, Fused, Row, Separable, Universal
from mobilenets.specs.scaling import squeeze

Value = str | float | int
Choice = Mapping[str, Value]
"""The chosen value for each name."""

SHARES = (0.5, 0.625, 0.75, 0.875, 1.0)
"""Factors for width, expansion, input size, and the layers after the last block."""

_STEP = 8


@dataclass(frozen=True, slots=True)
class Variant:
    """A way in which blocks of one kind can differ.

    Args:
        name: name of the property, such as "kernel".
        values: its possible values.
        of: returns the value of a row.
        changed: returns the row with another value.
    """

    name: str
    values: tuple[Value, ...]
    of: Callable[[Any], Value]  # Any: a row of the kind
    changed: Callable[[Any, Any], Row]  # Any: a row of the kind, and one of the values


# fmt: off
UNIVERSAL: Mapping[str, tuple[bool, bool]] = {  # variant (V4, Fig. 4): whether it has the first and the second depthwise
    "ExtraDW":  (True,  True),
    "IB":       (False, True),
    "ConvNext": (True,  False),
    "FFN":      (False, False),
}
# fmt: on


def _kernel_of(row: Any) -> int:  # Any: a row with a kernel
    kernel: int = row.kernel
    return kernel


def _variant_of(row: Universal) -> str:
    has = (row.start_kernel > 0, row.middle_kernel > 0)
    return next(name for name, kernels in UNIVERSAL.items() if kernels == has)


def _as_variant(row: Universal, name: str) -> Row:
    """The row as another variant; a row with stride keeps its last depthwise convolution, which has the stride."""
    first, second = UNIVERSAL[name]
    kernel = max(row.start_kernel, row.middle_kernel, 3)
    second = second or (row.stride > 1 and not first)
    return replace(row, start_kernel=first * (row.start_kernel or kernel), middle_kernel=second * (row.middle_kernel or kernel))


def _squeezed(row: Bottleneck, wanted: str) -> Row:
    return replace(row, c_squeeze=(row.c_squeeze or squeeze(row.c_expand)) if wanted == "yes" else 0)


_KERNEL = Variant("kernel", (3, 5, 7), _kernel_of, lambda row, kernel: replace(row, kernel=kernel))
_SQUEEZE = Variant("squeeze", ("no", "yes"), lambda row: "yes" if row.c_squeeze else "no", _squeezed)
_UIB = Variant("variant", tuple(UNIVERSAL), _variant_of, _as_variant)

VARIANTS: Mapping[type[Row], tuple[Variant, ...]] = {
    Separable: (_KERNEL,),
    Bottleneck: (_KERNEL, _SQUEEZE),
    Fused: (_KERNEL,),
    Universal: (_UIB,),
}
"""The variants, by kind of the stage's rows; other kinds keep their shape."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Rows that write the same channels.

    Args:
        first: index of the first row.
        rows: the rows.
    """

    first: int
    rows: tuple[Row, ...]

    @property
    def varies(self) -> bool:
        """Whether all rows are of the same kind, and that kind has variants."""
        return type(self.rows[0]) in VARIANTS and len({type(row) for row in self.rows}) == 1


@dataclass(frozen=True, slots=True)
class Space:
    """The search space around a network.

    Args:
        start: the trained network.
    """

    start: ModelSpec

    @property
    def choices(self) -> dict[str, tuple[Value, ...]]:
        """The possible values for each name, including the start's own."""
        found: dict[str, tuple[Value, ...]] = {"size": SHARES}
        if type(self.start.head).__name__ in HEADS:  # other heads need their maps as they are
            found |= {"width": SHARES, "last": (0.25, *SHARES)}
        for i, stage in enumerate(stages(self.start.backbone)):
            if not stage.varies:
                continue
            if len(stage.rows) > 1:
                found[f"stage{i}.depth"] = tuple(range(1, len(stage.rows) + 1))
            if ROWS[type(stage.rows[0])].inner:
                found[f"stage{i}.expansion"] = SHARES
            for variant in VARIANTS[type(stage.rows[0])]:
                found[f"stage{i}.{variant.name}"] = (KEEP, *variant.values)
        return found

    def own(self) -> Choice:
        """The choice that leaves the network as it is."""
        own: dict[str, Value] = {}
        for name, values in self.choices.items():
            own[name] = KEEP if KEEP in values else values[-1]
        return own

    def ladder(self) -> list[Choice]:
        """The unchanged network, then narrower ones, then smaller input sizes."""
        own = self.own()
        several = [(name, share) for name in ("width", "size") if name in own for share in reversed(SHARES[:-1])]
        return [own, *({**own, name: share} for name, share in several)]

    def told(self, choice: Choice) -> str:
        """A description of a choice, without unchanged values."""
        own = self.own()
        others = {name: value for name, value in choice.items() if value != own.get(name)}
        told = [f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in others.items()]
        return ", ".join(told) or "as the start"

    def made(self, choice: Choice) -> tuple[ModelSpec, tuple[int, ...]]:
        """The network for a choice, and for each of its rows, the row of the start that it inherits from.

        Args:
            choice: a value for each name.

        Raises:
            SpecError: the channels are impossible: two counts that must differ would be the same.
        """
        rows: list[Row] = []
        origins: list[int] = []
        for i, stage in enumerate(stages(self.start.backbone)):
            for place, row in enumerate(stage.rows[: int(choice.get(f"stage{i}.depth", len(stage.rows)))]):
                rows.append(_varied(row, f"stage{i}", choice) if stage.varies else row)
                origins.append(stage.first + place)
        body = replace(self.start.backbone, rows=tuple(rows))
        body = resized(body, _channels(body, choice, maps_of(self.start)))
        spec = resampled(self.start, float(choice["size"]))
        return replace(spec, backbone=body), tuple(origins)


KEEP = "keep"
"""The value of a variant that leaves each row unchanged."""


def stages(body: BackboneSpec) -> Iterator[Stage]:
    """The stages of a network, in order."""
    leaving = [roles["out"] for roles in axes(body)[: len(body.rows)]]
    first = 0
    for i in range(1, len(leaving) + 1):
        if i == len(leaving) or leaving[i] != leaving[first]:
            yield Stage(first, body.rows[first:i])
            first = i


def _varied(row: Row, stage: str, choice: Choice) -> Row:
    for variant in VARIANTS[type(row)]:
        wanted = choice[f"{stage}.{variant.name}"]
        if wanted != KEEP:
            row = variant.changed(row, wanted)
    return row


def _channels(body: BackboneSpec, choice: Choice, maps: tuple[str, ...]) -> dict[str, int]:
    """The channels of each axis: width for all, expansions by stage, and the last layers."""
    width, last = float(choice.get("width", 1)), float(choice.get("last", 1))
    shares = dict.fromkeys(knobs(body, maps=maps), width)
    stage_of: dict[int, int] = {}
    for i, stage in enumerate(stages(body)):
        stage_of |= {stage.first + place: i for place in range(len(stage.rows))}
    for i, roles in enumerate(axes(body)[: len(body.rows)]):
        if roles["inner"].endswith("inner") and roles["inner"] in shares:
            shares[roles["inner"]] *= float(choice.get(f"stage{stage_of[i]}.expansion", 1))
    if "last" in choice:
        for axis in _last(body):
            shares[axis] = last
    now = sizes(body)
    return {axis: _rounded(now[axis], share) for axis, share in shares.items() if axis != IMAGE and axis in now}


def _rounded(channels: int, share: float) -> int:
    return channels if share == 1 else max(_STEP, round(channels * share / _STEP) * _STEP)


def _last(body: BackboneSpec) -> list[str]:
    """The axes after the last block: that of a last convolution, and those of the tail."""
    behind = [roles["out"] for roles in axes(body)[len(body.rows) :]]
    alone = type(body.rows[-1]) not in VARIANTS
    return [*([axes(body)[len(body.rows) - 1]["out"]] if alone else []), *behind]
