"""Which images a run was trained on: those of its own train split, and those that its initial weights were trained on."""

from __future__ import annotations

from pathlib import Path

from mobilenets.data.readers.lists import split_names
from mobilenets.reports.history import facts

SPLITS = "splits.csv"


def home_of(run: Path) -> Path:
    """The run folder that contains a path, which may be the run, a folder in it, or a file in one; else the path itself."""
    folder = run if run.is_dir() else run.parent
    return next((place for place in (folder, folder.resolve().parent) if (place / "run.json").is_file()), folder)


def learned_from(run: Path) -> frozenset[str]:
    """Names of the images of a run's dataset that the run or its initial weights were trained on.

    Raises:
        CheckpointError, DataError: a file of the run is damaged.
    """
    return _trained(run) | inherited(run)


def inherited(run: Path) -> frozenset[str]:
    """Names of the images of a run's dataset that its initial weights were trained on.

    Raises:
        CheckpointError, DataError: a file of the runs that they came from is damaged.
    """
    told = facts(run).get("Data", {})
    return behind(str(told.get("weights") or ""), str(told.get("source")))


def behind(weights: str, source: str) -> frozenset[str]:
    """Names of the images of a dataset that weights were trained on, as far as the runs that they came from still exist.

    Args:
        weights: a run; for anything else, no training images are known.
        source: where the dataset is, as stored by runs.

    Raises:
        CheckpointError, DataError: a file of one of the runs is damaged.
    """
    names: frozenset[str] = frozenset()
    seen: set[Path] = set()
    while (run := _run_of(weights)) is not None and run not in seen:
        seen.add(run)
        told = facts(run).get("Data", {})
        if str(told.get("source")) != source:
            break
        names |= _trained(run)
        weights = str(told.get("weights") or "")
    return names


def _run_of(weights: str) -> Path | None:
    place = Path(weights)
    home = home_of(place.resolve()) if weights and place.exists() else None
    return home if home is not None and (home / "run.json").is_file() else None


def _trained(run: Path) -> frozenset[str]:
    path = run / SPLITS
    return frozenset(name for name, split in split_names(path).items() if split == "train") if path.is_file() else frozenset()
