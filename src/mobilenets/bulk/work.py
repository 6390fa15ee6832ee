"""`predict_part`: the work of a worker: predict one part of a plan and write its results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import methodcaller

from mobilenets.bulk import stores
from mobilenets.bulk.plan import part_name
from mobilenets.bulk.rows import to_parquet
from mobilenets.runtime.ordered import in_order
from mobilenets.runtime.predictor import Predictor
from mobilenets.runtime.rows import Record

FETCHERS = 8
"""Number of files that a worker fetches from a store at the same time, because it waits longer than it computes."""

_AHEAD = 32


def predict_part(predictor: Predictor, number: int, sources: Sequence[str], out: str, *, top: int) -> tuple[int, int]:
    """Predict the images of a part and write its file. Repeating it writes the same file again.

    Args:
        predictor: the model's predictor.
        number: number of the part.
        sources: addresses of its images, or of its one tar file.
        out: folder of the results.
        top: number of labels per image, for a classifier.

    Returns:
        Its number of images, and how many of them cannot be read.

    Raises:
        DataError: the file cannot be written.
    """
    task = predictor.manifest.task
    records: list[Record] = []
    unreadable = 0
    of = methodcaller("record", *((top,) if task == "classify" else ()))
    for result in predictor.stream(_images(sources)):
        unreadable += result.prediction is None
        records.append(result.record() if result.prediction is None else {"file": result.name, **of(result.prediction)})
    stores.write(stores.join(out, part_name(number)), to_parquet(records, task))
    return len(records), unreadable


def _images(sources: Sequence[str]) -> Iterator[stores.Held]:
    if len(sources) == 1 and sources[0].endswith(stores.TAR):
        yield from stores.members(sources[0])
    else:
        yield from in_order(_fetched, sources, threads=FETCHERS, ahead=_AHEAD, name="fetch")


def _fetched(source: str) -> stores.Held:
    try:
        return stores.Held(source, stores.read(source))
    except OSError as error:
        return stores.Held(source, error=error.strerror or str(error) or type(error).__name__)
