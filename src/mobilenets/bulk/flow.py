"""`predict`: predict images from folders and stores to Parquet files, one row per image, even if workers are lost."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from mobilenets.bulk import on_ray, stores
from mobilenets.bulk.model import FOLDER, files_of
from mobilenets.bulk.plan import Plan, divided, keep, kept, named, part_name
from mobilenets.bulk.rows import counts
from mobilenets.data.text import counted
from mobilenets.errors import UsageError
from mobilenets.runtime.predictor import Predictor
from mobilenets.telling import Bar, no_bar

SUMMARY = "summary.json"
"""Written once all parts are."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The user's options for the prediction.

    Args:
        top: number of labels per image, for a classifier.
        threshold: display threshold of a detector; None for its own.
        workers: number of processes, each on its own core; None for the number of cores of the cluster.
    """

    top: int = 5
    threshold: float | None = None
    workers: int | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """A summary of the results.

    Args:
        images: number of rows in all files.
        unreadable: number of rows with an error instead of a prediction.
        parts: number of files.
        earlier: number of parts that already existed.
    """

    images: int
    unreadable: int
    parts: int
    earlier: int


def predict(
    model: Path,
    sources: Sequence[str],
    out: str,
    asked: Asked,
    *,
    bar: Bar = no_bar,
    say: Callable[[str], object] = lambda text: None,
) -> Summary:
    """Predict images on the workers of a Ray cluster. Calling it again continues an interrupted prediction.

    Args:
        model: path for `Predictor.open`.
        sources: images, folders, tar files and patterns, as paths or as addresses of stores.
        out: a folder, or its address, for the plan, a Parquet file per part, and `summary.json`.
        asked: the options.
        bar: opens a progress bar.
        say: receives one line of text at a time.

    Raises:
        DataError: a source has no images, or the results cannot be written.
        MissingExtraError: Ray, or the library of a store, is not installed.
        UsageError: the folder holds results for other inputs, or an option is for another task.
        MobileNetsError: a part failed; finished parts are kept.
    """
    for address in (*sources, out):
        if stores.is_address(address):
            stores.system_of(address)  # report an unreachable store before anything starts
    predictor = Predictor.open(model, threads=1)
    if asked.threshold is not None and predictor.manifest.task != "detect":
        raise UsageError(f"a threshold is for detectors; this model's task is '{predictor.manifest.task}'")
    files, contents = files_of(predictor)
    predictor.close()
    plan = kept(out, model=files, sources=sources, top=asked.top, threshold=asked.threshold)
    names = named(sources) if plan is None else ()  # do not start a cluster if there is nothing to do
    if plan is None:
        parts = divided(names, workers=asked.workers or on_ray.connected())
        plan = Plan(files, tuple(sources), asked.top, asked.threshold, parts)
        for name, data in contents.items():
            stores.write(stores.join(out, f"{FOLDER}/{name}"), data)
        keep(plan, out)
    there = stores.names_in(out)
    left = [number for number in range(len(plan.parts)) if part_name(number) not in there]
    earlier = len(plan.parts) - len(left)
    if earlier:
        say(f"resuming: {earlier:,} of {counted(len(plan.parts), 'part')} {'is' if earlier == 1 else 'are'} done")
    if left:
        cores = on_ray.connected()
        with bar("predicting", sum(len(plan.parts[number]) for number in left)) as advance:
            for done in on_ray.finished(left, out, workers=asked.workers or cores):
                advance(len(plan.parts[done.part]))
    summary = replace(_summed(plan, out), earlier=earlier)
    stores.write(stores.join(out, SUMMARY), json.dumps(asdict(summary)).encode() + b"\n")
    return summary


def _summed(plan: Plan, out: str) -> Summary:
    """The total rows of all files, read from the files."""
    images = unreadable = 0
    for number in range(len(plan.parts)):
        with stores.opened(stores.join(out, part_name(number))) as file:
            rows, bad = counts(file)
        images, unreadable = images + rows, unreadable + bad
    return Summary(images, unreadable, len(plan.parts), 0)
