"""Reads what a run folder says about training: the learning curves in `metrics.csv` and the facts in `run.json`."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mobilenets import documents
from mobilenets.errors import CheckpointError, DocumentError
from mobilenets.reports import words

PICKS = ("val_map", "val_miou", "val_accuracy")
"""The metrics that select the best checkpoint, one per task; a run uses the first one in its table."""

# fmt: off
_TITLES = {  # column of metrics.csv: what people call it
    "train_loss":            "training loss",
    "val_loss":              "validation loss",
    "val_accuracy":          "accuracy",
    "val_balanced_accuracy": "balanced accuracy",
    "val_map":               "mAP",
    "val_map50":             "mAP50",
    "val_map75":             "mAP75",
    "val_recall":            "recall",
    "val_miou":              "mean IoU",
    "val_pixel_accuracy":    "pixel accuracy",
    "val_mean_accuracy":     "mean accuracy",
    "learning_rate":         "learning rate",
}
_OTHER = frozenset(("epoch", "step", "images_per_second", "seconds"))  # columns that are not drawn as curves
# fmt: on

FALLING = 0.02
"""If the loss fell by at least this share over the last fifth of training, it was still falling."""


@dataclass(frozen=True, slots=True)
class Line:
    """One curve.

    Args:
        name: in the legend.
        x, y: epochs and values.
        picks: whether this metric selects the best checkpoint.
    """

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    picks: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """Curves that share an axis.

    Args:
        title: above them.
        lines: the most important first.
        shares: whether the values are shares, 0 to 1.
    """

    title: str
    lines: tuple[Line, ...]
    shares: bool = False


def read_history(history: Path) -> list[dict[str, float]]:
    """The rows of a run's `metrics.csv`, without empty cells and cells that are not numbers; none if there is no such file.

    Raises:
        CheckpointError: the file is damaged.
    """
    try:
        text = history.read_text(encoding="utf-8")
        rows = list(csv.DictReader(io.StringIO(text)))
    except FileNotFoundError:
        return []
    except (OSError, ValueError, csv.Error) as error:
        raise CheckpointError(f"'{history}' cannot be read: {error}") from error
    numbers = ({column: _number(cell) for column, cell in row.items() if isinstance(column, str)} for row in rows)
    return [{column: value for column, value in row.items() if math.isfinite(value)} for row in numbers]


def panels(history: Path) -> list[Panel]:
    """The learning curves: losses, validation metrics with the one that selects the checkpoint first, and the learning rate.

    If several curves are equal, such as accuracy and balanced accuracy for classes of equal size, only the first is drawn.

    Args:
        history: a CSV with a column `epoch` (or `step`) and numbers; empty cells are left out.
    """
    rows = read_history(history)
    columns = list(dict.fromkeys(column for row in rows for column in row))
    across = "epoch" if "epoch" in columns else "step"
    pick = picking(rows)
    rates = [column for column in columns if column == "learning_rate" or column.startswith("lr")]
    losses = [column for column in columns if "loss" in column]
    others = [column for column in columns if column not in _OTHER and column not in rates and column not in losses]
    others.sort(key=lambda column: column != pick)
    drawn_panels = []
    for title, chosen, shares in (("loss", losses, False), ("validation", others, True), ("learning rate", rates, False)):
        drawn = (_line(rows, across, column, column == pick) for column in chosen)
        lines = tuple({(line.x, line.y): line for line in reversed([line for line in drawn if line.x])}.values())[::-1]
        if lines:
            drawn_panels.append(Panel(title, lines, shares and all(0 <= y <= 1 for line in lines for y in line.y)))
    return drawn_panels


def picking(rows: Sequence[Mapping[str, float]]) -> str:
    """The column of the metric that selects a run's best checkpoint; "" if there is none."""
    return next((pick for pick in PICKS if any(pick in row for row in rows)), "")


def facts(run: Path) -> dict[str, dict[str, object]]:
    """The tables of facts about a run, by title, the one about its training first; empty if the folder is not a run.

    Raises:
        CheckpointError: run.json or metrics.csv is damaged.
    """
    path = run / "run.json"
    try:
        data = documents.parse(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, DocumentError) as error:
        raise CheckpointError(f"'{path}' cannot be read: {error}") from error
    if not isinstance(data, dict):
        raise CheckpointError(f"'{path}' is damaged: it holds no table")
    tables = {key.capitalize(): dict(value) for key, value in data.items() if isinstance(value, Mapping)}
    single = {key: value for key, value in data.items() if not isinstance(value, Mapping)}
    of_run = {**_training(read_history(run / "metrics.csv"), tables), **single}
    if "started" in of_run:
        of_run = {"started": of_run["started"], **of_run}
    return {"Run": of_run, **tables} if of_run else tables


def still_falling(rows: Sequence[Mapping[str, float]]) -> bool:
    """Whether the loss was still falling when the training ended: by 2% or more over the last fifth of the epochs.

    The validation loss decides; if there is none, the training loss does.
    """
    column = "val_loss" if sum("val_loss" in row for row in rows) > 1 else "train_loss"
    losses = [row[column] for row in rows if column in row]
    if len(losses) < 2:
        return False
    back = max(1, len(losses) // 5)
    before, after = min(losses[:-back]), min(losses[-back:])
    return before > 0 and (before - after) / before > FALLING


def epochs_of(rows: Sequence[Mapping[str, float]], tables: Mapping[str, Mapping[str, object]]) -> tuple[int, int]:
    """The number of epochs that were trained, and the number in the recipe; 0 if unknown."""
    done = max((int(row["epoch"]) for row in rows if "epoch" in row), default=0)
    planned = tables.get("Recipe", {}).get("epochs", 0)
    return done, planned if isinstance(planned, int) else 0


def _training(rows: Sequence[Mapping[str, float]], tables: Mapping[str, Mapping[str, object]]) -> dict[str, object]:
    """The duration, the epochs and the sizes of the splits, as text."""
    lines: dict[str, object] = {}
    seconds = max((row["seconds"] for row in rows if "seconds" in row), default=0.0)
    if seconds:
        lines["duration"] = words.duration(seconds)
    done, planned = epochs_of(rows, tables)
    if done:
        pick = picking(rows)
        best = max((row for row in rows if pick in row), key=lambda row: row[pick], default=None)
        lines["epochs"] = f"{done:,} of {planned:,}" if planned > done else f"{done:,}"
        if best is not None and "epoch" in best:
            lines["best epoch"] = f"{int(best['epoch']):,}, validation {_TITLES[pick]} {best[pick]:.1%}"
    images = tables.get("Data", {}).get("images")
    if isinstance(images, Mapping):
        lines["images"] = ", ".join(f"{split} {count:,}" for split, count in images.items() if isinstance(count, int) and count)
    return lines


def _line(rows: Sequence[Mapping[str, float]], across: str, column: str, picks: bool) -> Line:
    points = [(row[across], row[column]) for row in rows if across in row and column in row]
    name = _TITLES.get(column, column.replace("_", " "))
    return Line(name, tuple(x for x, _ in points), tuple(y for _, y in points), picks)


def _number(text: object) -> float:
    try:
        return float(text) if isinstance(text, str) else math.nan
    except ValueError:
        return math.nan
