"""A run's files for people and programs: run.json, splits.csv, metrics.csv, metrics.jsonl and curves.png."""

from __future__ import annotations

import csv
import importlib.metadata
import io
import json
import platform
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from mobilenets.data.open import fingerprint
from mobilenets.data.samples import SPLITS, Dataset
from mobilenets.data.writers.lists import write_splits
from mobilenets.documents import parse
from mobilenets.errors import CheckpointError, DocumentError, RecipeError
from mobilenets.files import write_bytes, write_text
from mobilenets.keys import values_of
from mobilenets.reports import plots
from mobilenets.reports.history import panels
from mobilenets.specs.model import ModelSpec
from mobilenets.training.recipe import Recipe, difference, from_data, from_version_1

FORMAT = 2
"""Format version of run.json. The first version had no number and listed every key of a recipe, even those without effect."""
RUN = "run.json"
SPLITS_FILE = "splits.csv"
METRICS = "metrics.csv"
EVENTS = "metrics.jsonl"
BEFORE = ("epoch", "step", "learning_rate", "train_loss")
BEHIND = ("images_per_second", "seconds")
_LIBRARIES = ("mobilenets", "torch", "torchvision", "numpy", "pillow", "safetensors")
_FREE_TO_CHANGE = ("workers", "cache_mb", "save_every_seconds", "tensorboard")


def begin(run: Path, recipe: Recipe, dataset: Dataset, spec: ModelSpec, origin: Mapping[str, object]) -> None:
    """Create the run folder and record what the run consists of. run.json is written last, once everything else is there.

    Raises:
        CheckpointError, DataError: the folder cannot be written.
    """
    data = {
        "format": FORMAT,
        "recipe": values_of(recipe),
        "seed": recipe.seed,
        "data": {
            "name": dataset.name,
            **origin,
            "task": dataset.task,
            "fingerprint": fingerprint(dataset),
            "labels": list(dataset.labels),
            "counts": {split: list(dataset.counts(split)) for split in SPLITS},
            "images": {split: len(dataset.split(split)) for split in SPLITS},
        },
        "started": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        "model": spec.backbone.name,
        "weights": spec.weights,
        "versions": {name: importlib.metadata.version(name) for name in _LIBRARIES} | {"python": platform.python_version()},
    }
    try:
        run.mkdir(parents=True, exist_ok=True)
        write_splits(dataset, run / SPLITS_FILE)
        write_text(run / RUN, json.dumps(data, indent=1, ensure_ascii=False) + "\n")
    except OSError as error:
        raise CheckpointError(f"cannot write '{run}': {error.strerror or error}") from error


def read_run(run: Path) -> dict[str, Any]:  # Any: JSON
    """The contents of run.json, as `begin` wrote them.

    Raises:
        CheckpointError: the run does not exist, or its run.json is damaged.
    """
    path = run / RUN
    try:
        data = parse(path.read_bytes())
    except OSError as error:
        raise CheckpointError(f"'{run}' is not a run: no {RUN} in it", hint="leave --resume out to start one") from error
    except DocumentError as error:
        raise CheckpointError(f"'{path}' is damaged: {error}") from error
    if not isinstance(data, dict) or not all(isinstance(data.get(part), dict) for part in ("recipe", "data")):
        raise CheckpointError(f"'{path}' is damaged: it lacks recipe or data")
    if not isinstance(data["data"].get("reading", {}), dict):
        raise CheckpointError(f"'{path}' is damaged: data.reading is not an object")
    if not isinstance(data["data"].get("folds", 0), int):
        raise CheckpointError(f"'{path}' is damaged: data.folds is not a whole number")
    return data


def recipe_of(run: Path) -> Recipe:
    """The recipe that a run was started with.

    Raises:
        CheckpointError: the run does not exist, or its run.json is damaged.
    """
    data = read_run(run)
    try:
        return from_data(data["recipe"]) if "format" in data else from_version_1(data["recipe"])
    except RecipeError as error:
        raise CheckpointError(f"'{run / RUN}' has a recipe of another version: {error}") from error


def check_same(run: Path, recipe: Recipe, dataset: Dataset) -> None:
    """Raise if a run would continue with another recipe or other data.

    Raises:
        CheckpointError: something differs; the message says what.
    """
    changed = sorted(difference(recipe, recipe_of(run)).keys() - set(_FREE_TO_CHANGE))
    if changed:
        before = recipe_of(run)
        changes = ", ".join(f"{name} was {getattr(before, name)} and is {getattr(recipe, name)}" for name in changed[:3])
        raise CheckpointError(
            f"cannot resume '{run}' under another recipe: {changes}", hint="start a new run with another --out"
        )
    if read_run(run)["data"].get("fingerprint") != fingerprint(dataset):
        raise CheckpointError(
            f"the images changed since '{run}' was started: names, sizes, labels or splits differ",
            hint="start a new run with another --out",
        )


class Metrics:
    """Appends to metrics.csv (one row per epoch) and metrics.jsonl (one line per step and event).

    Args:
        run: the run folder. Rows of an interrupted run beyond `step` are dropped, because those steps will run again.
        columns: the metrics in the table.
        step: the step that the run continues from.
    """

    def __init__(self, run: Path, columns: Sequence[str], *, step: int) -> None:
        self._columns = (*BEFORE, *columns, *BEHIND)
        self._table, self._events = run / METRICS, run / EVENTS
        rows = list(csv.DictReader(io.StringIO(_text(self._table)))) if step else []
        table = io.StringIO()
        writer = csv.DictWriter(table, self._columns, lineterminator="\n", restval="", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(row for row in rows if _number(row.get("step")) <= step)
        write_text(self._table, table.getvalue())
        lines = [line for line in _text(self._events).splitlines() if step and _step_of(line) <= step]
        write_text(self._events, "".join(f"{line}\n" for line in lines))
        self._waiting: list[str] = []

    def step(self, values: Mapping[str, object]) -> None:
        """Record a step. Steps are written in groups."""
        self._waiting.append(json.dumps(values))
        if len(self._waiting) >= 50:
            self.flush()

    def epoch(self, values: Mapping[str, object]) -> None:
        """Write an epoch's row and everything pending."""
        with self._table.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self._columns, lineterminator="\n", restval="", extrasaction="ignore").writerow(values)
        self._waiting.append(json.dumps(values))
        self.flush()

    def flush(self) -> None:
        """Write everything pending."""
        with self._events.open("a", encoding="utf-8") as file:
            file.write("".join(f"{line}\n" for line in self._waiting))
        self._waiting.clear()


def read_metrics(run: Path) -> list[dict[str, float]]:
    """The rows of metrics.csv, without empty columns."""
    rows = csv.DictReader(io.StringIO(_text(run / METRICS)))
    return [{name: float(value) for name, value in row.items() if value} for row in rows]


def draw_curves(run: Path) -> None:
    """Plot metrics.csv to curves.png."""
    drawn = panels(run / METRICS)
    if drawn:
        write_bytes(run / "curves.png", plots.png(plots.curves(drawn)))


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _number(text: str | None) -> float:
    return float(text) if text else float("inf")


def _step_of(line: str) -> float:
    try:
        return float(parse(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")  # the line was cut off when the run was killed
