"""`Reproduction`: something in a paper that can be computed here; `Asked`: with what; `Result`: what came out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mobilenets.errors import UsageError
from mobilenets.reports import words
from mobilenets.telling import Telling

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Paper = Literal["V1", "V2", "V3", "V4"]
Use = Literal["weights", "images", "data", "repeats", "seconds", "seeds", "epochs"]
Cell = str | int | float | None

PATHS: tuple[Use, ...] = ("weights", "images", "data")
"""Options that name files. A reproduction that uses one cannot do without it."""

SHARES = ("%", "points")
"""Units whose differences are points, not percent."""


@dataclass(frozen=True, slots=True)
class Reproduction:
    """Something in a paper that can be computed here.

    Args:
        paper: the paper it is from.
        place: where in the paper: "Table 4".
        what: what is computed, for people: one sentence without a period.
        minutes: how long it takes on one core, roughly.
        function: what computes it, as "module:function" below `mobilenets.science`. It takes `Asked` and returns `Result`.
        uses: the options that it takes.
    """

    paper: Paper
    place: str
    what: str
    minutes: float
    function: str
    uses: tuple[Use, ...] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """With what a reproduction is computed.

    Args:
        folder: for what is kept on the way: exported networks, runs.
        weights: a file or checkpoint of ImageNet weights.
        images: a folder of photos.
        data: a dataset to train on, as `open_dataset` takes it.
        repeats: how often something random is drawn.
        seconds: how long each network is timed.
        seeds: how many times each network is trained, from different first weights and in a different order of the images.
        epochs: how often each training sees every image.
        telling: how progress is shown.
    """

    folder: Path
    weights: Path | None = None
    images: Path | None = None
    data: str | None = None
    repeats: int = 200
    seconds: float = 3.0
    seeds: int = 2
    epochs: int = 6
    telling: Telling = field(default_factory=Telling)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A figure that a paper prints, or that follows from what it prints, beside ours.

    Args:
        what: what the figure is of.
        paper: the paper's.
        here: ours, in the same unit.
        unit: its unit; "" for a number or a ratio, "%" for a share in percent, "points" for a difference of such shares.
        source: where the paper prints it.
        remark: why the two differ, if that is known.
    """

    what: str
    paper: float
    here: float
    unit: str = ""
    source: str = ""
    remark: str = ""

    @property
    def difference(self) -> str:
        """Ours minus the paper's, for people: in points if both are percentages, else in percent of the paper's."""
        if self.unit in SHARES:
            return f"{words.difference(self.here - self.paper)} points"
        if not self.paper:
            return f"{self.here:+.4g}" if self.here else "0"
        return f"{words.difference(100 * (self.here / self.paper - 1))}%"


@dataclass(frozen=True, slots=True)
class Result:
    """What a reproduction found.

    Args:
        columns, rows: the table behind the figure, for the CSV file.
        figure: the plot.
        caption: what the plot shows: one or two sentences.
        comparisons: the paper's figures beside ours.
        findings: whole sentences on what this says about the paper's claim, and what it does not.
    """

    columns: tuple[str, ...]
    rows: Sequence[Sequence[Cell]]
    figure: Figure
    caption: str
    comparisons: tuple[Comparison, ...] = ()
    findings: tuple[str, ...] = ()


Make = Callable[[Asked], Result]


def check_options(name: str, reproduction: Reproduction, given: Sequence[str]) -> None:
    """Refuse options that mean nothing to a reproduction, and ask for those that it needs.

    Args:
        name, reproduction: which one.
        given: the options that the user gave, as `Use` names them.

    Raises:
        UsageError: an option is missing, or would have no effect.
    """
    for option in given:
        if option not in reproduction.uses:
            takes = ", ".join(f"--{use}" for use in reproduction.uses) or "none of these options"
            raise UsageError(f"--{option} means nothing to '{name}', which takes {takes}", hint="leave it out")
    for option in reproduction.uses:
        if option in PATHS and option not in given:
            raise UsageError(f"'{name}' needs --{option} {_METAVARS[option]}", hint=_HINTS[option])


def options_of(reproduction: Reproduction, asked: Asked) -> dict[str, str]:
    """The options that a reproduction used, as text; of files the name alone."""
    values = {use: getattr(asked, use) for use in reproduction.uses}
    return {use: Path(value).name if use in PATHS else str(value) for use, value in values.items()}


_METAVARS = {"weights": "FILE", "images": "FOLDER", "data": "DATA"}
_HINTS = {
    "weights": "ImageNet weights in any format that 'mobilenets convert' reads",
    "images": "a folder of photos",
    "data": "a dataset as for 'mobilenets train', such as CIFAR-10 in tar shards",
}
