"""`read_measured` reads the results for each image from a report's `per_image.npz`, and validates them."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenets.errors import CheckpointError
from mobilenets.evaluation.compare import Measured
from mobilenets.files import settled
from mobilenets.reports.kinds import KINDS, Evaluated
from mobilenets.reports.record import PER_IMAGE
from mobilenets.specs.model import Task

LARGEST = 1 << 30
"""Maximum size of the arrays in a file, in bytes: 20 times what COCO's 5,000 validation images need."""

# fmt: off
_SHAPES: dict[Task, dict[str, tuple[str, tuple[str, ...]]]] = {  # array: its kind of numbers, and its axes
    "classify": {"truth": ("index", ("images",)), "predicted": ("index", ("images",)), "loss": ("float", ("images",))},
    "detect":   {"overlap": ("count", ("found",)), "class": ("index", ("found",)), "score": ("float", ("found",)),
                 "hit": ("bool", ("found",)), "image": ("image", ("found",)), "objects": ("count", ("labels", "images"))},
    "segment":  dict.fromkeys(("hits", "support", "predicted"), ("count", ("images", "labels"))),
}
_KINDS = {"index": "iu", "count": "iu", "image": "iu", "float": "f", "bool": "b"}  # numpy's letters
# fmt: on


def measured_of(report: Evaluated, name: str, trained_on: frozenset[str] = frozenset()) -> Measured:
    """A report's results for each image.

    Args:
        name: the name of the model, for display.
        trained_on: names of images that the model was trained on.
    """
    kind = KINDS[type(report)]
    return Measured(name, kind.task, report.labels, report.names, kind.per_image(report), trained_on)


def read_measured(folder: Path, name: str) -> Measured | None:
    """The results for each image in a report's folder; None if there are none, or they are of an older version.

    Args:
        name: the name of the model, for display.

    Raises:
        CheckpointError: the file is damaged.
    """
    path = settled(folder) / PER_IMAGE
    if not path.is_file():
        return None
    try:
        arrays = _load(path)
        task = str(arrays.pop("task", ""))
        names, labels = (tuple(str(text) for text in arrays.pop(key)) for key in ("names", "labels"))
    except (OSError, ValueError, KeyError, EOFError, TypeError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise CheckpointError(f"'{path}' is damaged: {error}", hint="mobilenets evaluate RUN writes it again") from error
    if task not in _SHAPES or (wrong := _wrong(arrays, task, len(names), len(labels))):
        problem = f"unknown task '{task}'" if task not in _SHAPES else wrong
        raise CheckpointError(f"'{path}' is damaged: {problem}", hint="mobilenets evaluate RUN writes it again")
    return Measured(name, task, labels, names, arrays)


def _load(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays in a file; Python objects and more than `LARGEST` bytes are rejected."""
    with zipfile.ZipFile(path) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
        if size > LARGEST:
            raise ValueError(f"it unpacks to {size:,} bytes; at most {LARGEST:,} are read")
    with np.load(path, allow_pickle=False) as stored:
        return {key: stored[key] for key in stored.files}


def _wrong(arrays: Mapping[str, NDArray[Any]], task: Task, images: int, labels: int) -> str:
    """The first contradiction among the arrays; "" if there is none."""
    sizes = {"images": images, "labels": labels, "found": len(np.atleast_1d(arrays.get("score", np.zeros(0))))}
    limits = {"index": labels, "image": images}
    for name, (kind, axes) in _SHAPES[task].items():
        array = arrays.get(name)
        if array is None:
            return f"it has no '{name}'"
        if array.shape != tuple(sizes[axis] for axis in axes) or array.dtype.kind not in _KINDS[kind]:
            return f"'{name}' is {array.dtype} of shape {array.shape}"
        if kind != "bool" and array.size and not _within(array, limits.get(kind)):
            return f"'{name}' has values out of range"
    return ""


def _within(array: NDArray[Any], limit: int | None) -> bool:
    """Whether all values are finite, not negative, and below the limit."""
    if not np.isfinite(array).all() or array.min() < 0:
        return False
    return bool(array.max() < limit) if limit is not None else bool(array.max() < 2**53)
