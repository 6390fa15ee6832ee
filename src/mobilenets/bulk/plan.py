"""`Plan`: how the images are divided into parts. It is written once, so that a restarted run has the same parts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from mobilenets.bulk import stores
from mobilenets.bulk.model import ModelFiles
from mobilenets.documents import decode, parse
from mobilenets.errors import DataError, DocumentError, UsageError

FILE = "plan.json"
"""The plan's file name in the folder of the results."""

PER_PART = 1000
"""Maximum number of images per part; a tar file is always a part of its own."""

_PER_WORKER = 4  # parts per worker, so that no worker waits long for the last one
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Plan:
    """The inputs and options of a prediction, divided into parts.

    Args:
        model: files of the model.
        sources: the sources that the user named.
        top: number of labels per image, for a classifier.
        threshold: display threshold of a detector; None for its own.
        parts: for each part, the addresses of its images, or of its one tar file.
        format: version of this format.
    """

    model: ModelFiles
    sources: tuple[str, ...]
    top: int
    threshold: float | None
    parts: tuple[tuple[str, ...], ...]
    format: int = _FORMAT


def named(sources: Iterable[str]) -> tuple[str, ...]:
    """The images and tar files at the sources, each once.

    Raises:
        DataError: a source has no images.
    """
    return tuple(dict.fromkeys(name for source in sources for name in stores.found(source)))


def divided(names: Sequence[str], *, workers: int) -> tuple[tuple[str, ...], ...]:
    """The images and tar files divided into parts; each image is in one part."""
    shards = [(name,) for name in names if name.endswith(stores.TAR)]
    images = [name for name in names if not name.endswith(stores.TAR)]
    size = max(1, min(PER_PART, -(-len(images) // (workers * _PER_WORKER))))
    return (*shards, *(tuple(images[i : i + size]) for i in range(0, len(images), size)))


def kept(out: str, *, model: ModelFiles, sources: Sequence[str], top: int, threshold: float | None) -> Plan | None:
    """The plan of an earlier start in a folder; None if there is none.

    Raises:
        UsageError: it is for another model or other images.
        DataError: it is damaged.
    """
    names = stores.names_in(out)
    if FILE not in names:
        if any(is_part(name) for name in names):
            raise UsageError(f"'{out}' holds results, but no {FILE} that says of what", hint="--out with a new folder")
        if any(stores.is_same(source, out) for source in sources):
            raise UsageError(f"'{out}' holds the images; results need a folder of their own", hint="--out with a new folder")
        return None
    plan = read(out)
    asked = {"model": model, "sources": tuple(sources), "top": top, "threshold": threshold}
    other = [name for name, value in asked.items() if getattr(plan, name) != value]
    if other:
        raise UsageError(
            f"'{out}' holds results of a prediction with another {' and '.join(other)}", hint="--out with a new folder"
        )
    return plan


def read(out: str) -> Plan:
    """The plan in a folder.

    Raises:
        DataError: it cannot be read, or is damaged.
    """
    place = stores.join(out, FILE)
    try:
        return decode(parse(stores.read(place)), Plan)
    except OSError as error:
        raise DataError(f"'{place}' cannot be read: {error.strerror or error}") from error
    except DocumentError as error:
        raise DataError(f"'{place}' is damaged: {error}", hint="--out with a new folder") from error


def keep(plan: Plan, out: str) -> None:
    """Write the plan.

    Raises:
        DataError: it cannot be written.
    """
    stores.write(stores.join(out, FILE), json.dumps(asdict(plan), ensure_ascii=True).encode() + b"\n")


def part_name(number: int) -> str:
    """The file name of a part.

    >>> part_name(7)
    'part-000007.parquet'
    """
    return f"part-{number:06d}.parquet"


def is_part(name: str) -> bool:
    """Whether a file name is that of a part."""
    return name.startswith("part-") and name.endswith(".parquet")
