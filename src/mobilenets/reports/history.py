"""What a run folder tells of a training: the learning curves of `metrics.csv` and the facts of `run.json`."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from mobilenets.errors import CheckpointError

Line = tuple[str, Sequence[float], Sequence[float]]

# fmt: off
PANELS = {  # title: words in the names of its columns
    "loss":          ("loss", "nll"),
    "share right":   ("accuracy", "top1", "top5", "f1", "auc", "recall"),
    "learning rate": ("rate", "lr"),
}
# fmt: on


def panels(history: Path) -> list[tuple[str, list[Line]]]:
    """Title and lines of each panel that has any: name, epochs and values of each column that `PANELS` knows.

    Args:
        history: a CSV with a column `epoch` (or `step`) and numbers; empty cells are left out.
    """
    with history.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        return []
    across = "epoch" if "epoch" in rows[0] else "step"
    found = []
    for title, words in PANELS.items():
        columns = [column for column in rows[0] if any(word in _words(column) for word in words)]
        lines = [line for line in (_line(rows, across, column) for column in columns) if line[1]]
        if lines:
            found.append((title, lines))
    return found


def facts(run: Path) -> dict[str, dict[str, object]]:
    """The tables of facts in a run's `run.json`, by title; empty where there is no such file.

    Raises:
        CheckpointError: the file is damaged.
    """
    path = run / "run.json"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise CheckpointError(f"'{path}' cannot be read: {error}") from error
    if not isinstance(data, dict):
        raise CheckpointError(f"'{path}' is damaged: it holds no table")
    tables = {key.capitalize(): dict(value) for key, value in data.items() if isinstance(value, Mapping)}
    single = {key: value for key, value in data.items() if not isinstance(value, Mapping)}
    return {"Run": single, **tables} if single else tables


def _line(rows: Sequence[dict[str, str]], across: str, column: str) -> Line:
    points = [(_number(row.get(across)), _number(row.get(column))) for row in rows]
    points = [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
    return column.replace("_", " "), [x for x, _ in points], [y for _, y in points]


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return float("nan")


def _words(column: str) -> list[str]:
    return column.lower().replace("/", "_").replace(".", "_").replace(" ", "_").split("_")
