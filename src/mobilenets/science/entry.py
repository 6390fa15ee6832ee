"""`Reproduction`: a figure, table or claim of a paper that can be computed; `Asked`: its options; `Result`: its result."""

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
"""Options that are files. A reproduction that uses one requires it."""

SHARES = ("%", "points")
"""Units whose differences are given in points, not percent."""


@dataclass(frozen=True, slots=True)
class Reproduction:
    """A figure, table or claim of a paper that can be computed here.

    Args:
        paper: the paper it is from.
        place: where in the paper: "Table 4".
        what: a description for users: one sentence without a period.
        minutes: approximate duration on one core.
        function: the function that computes it, as "module:function" below `mobilenets.science`; maps `Asked` to `Result`.
        uses: the options that it accepts.
    """

    paper: Paper
    place: str
    what: str
    minutes: float
    function: str
    uses: tuple[Use, ...] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """The options for computing a reproduction.

    Args:
        folder: for intermediate results: exported networks, runs.
        weights: a file or checkpoint of ImageNet weights.
        images: a folder of photos.
        data: a dataset to train on, as `open_dataset` takes it.
        repeats: number of random draws.
        seconds: how long each network is timed.
        seeds: how often each network is trained, with different initial weights and image orders.
        epochs: number of epochs of each training.
        telling: shows progress.
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
    """A value that a paper prints, or that follows from printed values, compared with ours.

    Args:
        what: name of the value.
        paper: the paper's value.
        here: our value, in the same unit.
        unit: its unit; "" for a number or a ratio, "%" for a share in percent, "points" for a difference of such shares.
        source: where the paper prints it.
        remark: why the two differ, if known.
    """

    what: str
    paper: float
    here: float
    unit: str = ""
    source: str = ""
    remark: str = ""

    @property
    def difference(self) -> str:
        """Our value minus the paper's, as text: in points if both are percentages, else in percent of the paper's."""
        if self.unit in SHARES:
            return f"{words.difference(self.here - self.paper)} points"
        if not self.paper:
            return f"{self.here:+.4g}" if self.here else "0"
        return f"{words.difference(100 * (self.here / self.paper - 1))}%"


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a reproduction.

    Args:
        columns, rows: the table behind the figure, for the CSV file.
        figure: the plot.
        caption: what the plot shows: one or two sentences.
        comparisons: the paper's values compared with ours.
        findings: sentences on what the result says about the paper's claim, and what it does not.
    """

    columns: tuple[str, ...]
    rows: Sequence[Sequence[Cell]]
    figure: Figure
    caption: str
    comparisons: tuple[Comparison, ...] = ()
    findings: tuple[str, ...] = ()


Make = Callable[[Asked], Result]


def check_options(name: str, reproduction: Reproduction, given: Sequence[str]) -> None:
    """Check that the given options apply to a reproduction, and that none it requires is missing.

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
    """The options that a reproduction used, as text; for files, only the name."""
    values = {use: getattr(asked, use) for use in reproduction.uses}
    return {use: Path(value).name if use in PATHS else str(value) for use, value in values.items()}


_METAVARS = {"weights": "FILE", "images": "FOLDER", "data": "DATA"}
_HINTS = {
    "weights": "ImageNet weights in any format that 'mobilenets convert' reads",
    "images": "a folder of photos",
    "data": "a dataset as for 'mobilenets train', such as CIFAR-10 in tar shards",
}
