"""`mobilenets predict`: pictures in, labels and scores out, one after another."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from mobilenets.cli.output import note, progress, show, show_table
from mobilenets.errors import DataError, UsageError

if TYPE_CHECKING:
    from mobilenets.runtime.classify import Classification
    from mobilenets.runtime.predictor import Predictor, Result, Source

HEAD = 4096  # bytes of standard input that tell a picture from a list of paths
WIDEST = 32  # characters of a label's column


def command(
    model: Annotated[Path, typer.Argument(metavar="RUN|MODEL.onnx", help="A run folder, an export folder or an .onnx file.")],
    sources: Annotated[
        list[str],
        typer.Argument(metavar="PICTURE", help="Pictures, folders, quoted globs, or - for standard input."),
    ],
    top: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Labels per picture: 5 for one picture, 1 for many.", show_default=False),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, one line per picture.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV, one line per picture and label.")] = False,
    threads: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Threads to compute with; all cores by default.", show_default=False)
    ] = None,
    batch: Annotated[int, typer.Option(min=1, metavar="N", help="Pictures that go through the network at once.")] = 8,
) -> None:
    """Classify a picture, a folder, a glob or a list from standard input.

    Rows appear as they are ready, however many pictures there are:

        mobilenets predict runs/photos picture.jpg

        mobilenets predict runs/photos holiday/ --csv > answers.csv

    A folder is searched below too. With "-", standard input is one picture or a list of paths, one a line. What cannot be
    read is named on stderr and skipped; the exit code is 1 only if nothing could be read.
    """
    if json and csv:
        raise UsageError("--json and --csv exclude each other")
    from mobilenets.runtime.predictor import Predictor

    predictor = Predictor.open(model, threads=threads)
    single = len(sources) == 1 and Path(sources[0]).is_file()
    many = _Lines(top or 1, min(WIDEST, max(len(label) for label in predictor.manifest.labels)))
    if json:
        write: Callable[[str, Classification], None] = _JsonLines(top or 5)
    elif csv:
        write = _Csv(top or 5 if single else top or 1)
    else:
        write = _Table(top or 5) if single else many
    done = _run(predictor, sources, write, batch=batch)
    if done.failed:
        note(f"{done.failed:,} of {done.failed + done.read:,} pictures could not be read")
    if not done.read:
        raise typer.Exit(1)


@dataclass
class _Count:
    read: int = 0
    failed: int = 0


def _run(predictor: Predictor, sources: list[str], write: Callable[[str, Classification], None], *, batch: int) -> _Count:
    """Predict and write every picture; failures go to stderr."""
    done = _Count()
    # On a terminal the rows themselves are the progress, and a bar would run through them.
    several = len(sources) > 1 or Path(sources[0]).is_dir()
    watched = several and sys.stderr.isatty() and not sys.stdout.isatty() and "-" not in sources
    bar = progress("predicting", sum(1 for _ in pictures(sources))) if watched else nullcontext(lambda amount: None)
    with bar as advance:
        for result in predictor.stream(pictures(sources), batch=batch):
            _one(result, write, done)
            advance(1)
    return done


def _one(result: Result, write: Callable[[str, Classification], None], done: _Count) -> None:
    if result.prediction is None:
        done.failed += 1
        note(f"{result.name}: {result.error}")
    else:
        done.read += 1
        write(result.name, result.prediction)


def pictures(sources: Iterable[str]) -> Iterator[Source]:
    """The pictures that sources name, lazily: files as they are, folders and globs searched, "-" from standard input.

    Raises:
        DataError: a folder or glob has no pictures, or standard input is empty.
    """
    for source in sources:
        if source == "-":
            yield from _standard_input()
        else:
            yield from _named(source)


def _named(source: str) -> Iterator[Path]:
    path = Path(source)
    if path.is_dir():
        found: Iterator[Path] = _below(path)
        missing = f"no pictures in '{source}'"
    elif not path.exists() and any(sign in source for sign in "*?["):
        from glob import glob

        found = _matched(sorted(glob(source, recursive=True)), folders="**" not in source)  # noqa: PTH207  # may be absolute
        missing = f"no pictures match '{source}'"
    else:
        yield path
        return
    first = next(found, None)
    if first is None:
        raise DataError(missing)
    yield first
    yield from found


def _matched(paths: list[str], *, folders: bool) -> Iterator[Path]:
    """The files among `paths`, and what is in the folders among them."""
    for path in map(Path, paths):
        if path.is_file():
            yield path
        elif folders:
            yield from _below(path)


def _below(folder: Path) -> Iterator[Path]:
    """Picture files by their names' endings, folder after folder, hidden ones left out."""
    from mobilenets.data.entries import SUFFIXES

    for place, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(one for one in folders if not one.startswith("."))
        for file in sorted(files):
            if not file.startswith(".") and os.path.splitext(file)[1].lower() in SUFFIXES:  # noqa: PTH122  # no Path per file
                yield Path(place, file)


@dataclass(frozen=True)
class _Piped:
    """The picture on standard input."""

    data: bytes
    name: str = "-"

    def read(self) -> bytes:
        return self.data


def _standard_input() -> Iterator[Source]:
    """One picture, or the pictures of a list of paths; text has no zero byte, picture files have."""
    stream = cast(BufferedReader, sys.stdin.buffer)
    head = stream.peek(HEAD)[:HEAD]
    if not head:
        raise DataError("there is nothing on standard input", hint="pipe a picture or a list of paths into it")
    if b"\0" in head:
        yield _Piped(stream.read())
        return
    for line in stream:
        if name := os.fsdecode(line).strip("\r\n"):
            yield from _named(name)


@dataclass(frozen=True)
class _JsonLines:
    top: int

    def __call__(self, name: str, prediction: Classification) -> None:
        import json

        scores = [{"label": label, "score": round(score, 6)} for label, score in prediction.top(self.top)]
        print(json.dumps({"file": name, **scores[0], "top": scores}, ensure_ascii=False), flush=True)


class _Csv:
    def __init__(self, top: int) -> None:
        import csv

        self._top = top
        self._writer = csv.writer(sys.stdout, lineterminator="\n")
        self._writer.writerow(("file", "rank", "label", "score"))

    def __call__(self, name: str, prediction: Classification) -> None:
        for rank, (label, score) in enumerate(prediction.top(self._top), start=1):
            self._writer.writerow((name, rank, label, f"{score:.6f}"))
        sys.stdout.flush()


@dataclass(frozen=True)
class _Table:
    """For one picture."""

    top: int

    def __call__(self, name: str, prediction: Classification) -> None:
        show_table(("label", "score"), [(label, f"{score:.1%}") for label, score in prediction.top(self.top)], title=name)


@dataclass(frozen=True)
class _Lines:
    """For many pictures: a line each, as it is ready."""

    top: int
    width: int

    def __call__(self, name: str, prediction: Classification) -> None:
        cells = [f"{score:6.1%}  {label:<{self.width}}" for label, score in prediction.top(self.top)]
        show("  ".join((*cells, name)))
        sys.stdout.flush()
