"""`mobilenets predict --engine ray`: many images on many machines, to Parquet files."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from mobilenets.cli.output import note, progress, show, show_json
from mobilenets.cli.resuming import the_only
from mobilenets.data.text import counted
from mobilenets.errors import UsageError


@dataclass(frozen=True, slots=True)
class Bulk:
    """The options. One that was not given is None.

    Args:
        top: labels of an image.
        threshold: of a detector.
        workers: processes.
        json: whether JSON is printed.
    """

    top: int | None
    threshold: float | None
    workers: int | None
    json: bool


def run(model: Path, sources: Sequence[str], out: str | None, bulk: Bulk, *, refused: Sequence[str]) -> None:
    """Predict, and print what was written.

    Args:
        model: what is opened.
        sources: images, folders, tar files, patterns and addresses.
        out: the folder of the results.
        bulk: the options.
        refused: names of options that were given and do not apply.

    Raises:
        UsageError: there are such options, no folder, or sources that are no files.
    """
    if refused:
        raise UsageError(f"--{refused[0]} does not apply to --engine ray, which writes one row per image")
    if out is None:
        raise UsageError("--engine ray needs a folder to write into", hint="--out FOLDER, or the address of one")
    if "-" in sources:
        raise UsageError("--engine ray does not read standard input", hint="name folders, tar files or addresses")
    from mobilenets.bulk.flow import Asked, predict
    from mobilenets.bulk.stores import is_address

    asked = Asked(bulk.top or 5, bulk.threshold, bulk.workers)
    with ExitStack() as claims:
        if not is_address(out):  # parts are written as a whole; in a store, two processes would only do the work twice
            claims.enter_context(the_only([Path(out)], "predicts"))
        done = predict(model, sources, out, asked, bar=progress, say=note)
    if bulk.json:
        show_json({"out": out, **asdict(done)})
        return
    unread = (
        f"; {counted(done.unreadable, 'image')} could not be read and {'has' if done.unreadable == 1 else 'have'} an error"
        if done.unreadable
        else ""
    )
    show(f"wrote {out}: {counted(done.images, 'row')} in {counted(done.parts, 'file')} part-*.parquet{unread}")
