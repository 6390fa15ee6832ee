"""`mobilenets predict` of detectors: boxes as tables, lines and files, and drawn on the images."""

from __future__ import annotations

import csv
import json
import sys
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath

from mobilenets.cli.naming import Names
from mobilenets.cli.output import show, show_table
from mobilenets.cli.predicting import Asked, predicted, predicted_alone, report
from mobilenets.data.writers.detections import COLUMNS, RESULTS, Found, begin, csv_rows
from mobilenets.errors import DataError, UsageError
from mobilenets.runtime.detect.decode import Detections
from mobilenets.runtime.detect.tiles import OVERLAP, predict_tiles
from mobilenets.runtime.drawing import draw
from mobilenets.runtime.images import large
from mobilenets.runtime.images.decode import decode_image
from mobilenets.runtime.predictor import Predictor, Source, given
from mobilenets.specs.ssd import SsdHead

THRESHOLD = 0.5
"""Of the score of boxes that are shown, where a model comes without thresholds of its own."""

DRAWN = "drawn"
WIDEST = 65_500  # px of a side that JPEG can hold
QUALITY = 90

Write = Callable[[str, Source, Detections, dict[str, str]], None]


def run(predictor: Predictor, asked: Asked) -> None:
    """Print the boxes of every image; write images and files of results where a folder is given.

    Raises:
        UsageError: --write names what a detector cannot write.
        DataError: a folder or glob has no images, or nothing can be written.
        typer.Exit: no image could be read.
    """
    predictor = thresholded(predictor, asked.threshold)
    write = _printer(asked)
    if asked.tile is None:
        seen = predicted(predictor, asked)
    else:
        overlap = OVERLAP if asked.overlap is None else asked.overlap
        look = partial(predict_tiles, predictor, tile=asked.tile, overlap=overlap, whole=asked.whole)
        seen = predicted_alone(look, asked)
    with ExitStack() as stack:
        files = stack.enter_context(closing(Files(asked, predictor))) if asked.out is not None else None

        def each(source: Source, name: str, found: Detections) -> None:
            write(name, source, found, files.write(source, name, found) if files is not None else {})

        report(asked, seen, Detections, each)


def thresholded(predictor: Predictor, threshold: float | None) -> Predictor:
    """The predictor that shows boxes above a score: the user's, else the ones fitted in training, else 0.5."""
    head = predictor.manifest.head
    assert isinstance(head, SsdHead)
    if threshold is not None:
        return predictor.with_head(replace(head, score_threshold=threshold, class_thresholds=()))
    if head.class_thresholds:
        return predictor
    return predictor.with_head(replace(head, score_threshold=max(head.score_threshold, THRESHOLD)))


def record(found: Detections) -> dict[str, object]:
    """The boxes for JSON."""
    boxes = [
        {"label": label, "score": round(score, 6), **{key: round(edge, 2) for key, edge in zip(COLUMNS[3:], box, strict=True)}}
        for label, score, box in found.rows()
    ]
    return {"boxes": boxes}


def words(found: Detections) -> str:
    """How many of each label, the most frequent first, for people."""
    return ", ".join(f"{count} {label}" for label, count in Counter(found.names).most_common()) or "nothing"


class Files:
    """What is written into the folder that was asked for; images are drawn by threads, as many as predict.

    Raises:
        UsageError: there is no such kind of file.
        DataError: nothing can be written there.
    """

    def __init__(self, asked: Asked, predictor: Predictor) -> None:
        assert asked.out is not None
        kinds = dict.fromkeys(asked.write or (DRAWN,))
        unknown = [kind for kind in kinds if kind != DRAWN and kind not in RESULTS]
        if unknown:
            raise UsageError(f"a detector cannot write '{unknown[0]}'; known: {', '.join((DRAWN, *RESULTS))}")
        self._folder = asked.out
        self._names = Names(asked.sources)
        self._drawn = DRAWN in kinds
        self._alone = asked.tile is not None  # large images: one at a time in memory
        self._writings = [begin(kind, asked.out, predictor.manifest.labels) for kind in kinds if kind != DRAWN]
        self._most = 2 * predictor.threads
        self._pending: deque[Future[None]] = deque()
        self._pool = ThreadPoolExecutor(predictor.threads, thread_name_prefix="draw")

    def write(self, source: Source, name: str, found: Detections) -> dict[str, str]:
        """Write what is wanted of one image; returns the files that are its own, by kind.

        Raises:
            DataError: a file cannot be written.
        """
        own = self._names.of(name)
        written: dict[str, str] = {}
        try:
            if self._writings:
                width, height = _size(source)
                path = str(Path(name).absolute()) if isinstance(source, str | Path) else name
                for writing in self._writings:
                    writing.add(Found(path, own, width, height, found))
            if self._drawn:
                written[DRAWN] = str(self._draw(source, own, found))
        except OSError as error:
            raise _unwritable(self._folder, error) from error
        return written

    def close(self) -> None:
        """Wait for what is drawn, and finish the files.

        Raises:
            DataError: a file cannot be written.
        """
        try:
            self._wait(0)
            for writing in self._writings:
                writing.close()
        except OSError as error:
            raise _unwritable(self._folder, error) from error
        finally:
            self._pool.shutdown(cancel_futures=True)

    def _draw(self, source: Source, own: PurePosixPath, found: Detections) -> Path:
        target = self._folder / DRAWN / own.with_suffix(".png" if self._alone and max(_size(source)) > WIDEST else ".jpg")
        target.parent.mkdir(parents=True, exist_ok=True)
        self._pending.append(self._pool.submit(_drawn, source, found, target, self._alone))
        self._wait(0 if self._alone else self._most)
        return target

    def _wait(self, most: int) -> None:
        while len(self._pending) > most:
            self._pending.popleft().result()


def _drawn(source: Source, found: Detections, target: Path, alone: bool) -> None:
    decode = large.decode if alone else decode_image
    draw(decode(given(source)), found).save(target, quality=QUALITY)


def _size(source: Source) -> tuple[int, int]:
    return large.upright_size(given(source))


def _unwritable(folder: Path, error: OSError) -> DataError:
    return DataError(f"'{folder}' cannot be written: {error.strerror or error}", hint="--out FOLDER")


def _printer(asked: Asked) -> Write:
    if asked.json:
        return _json
    if asked.csv:
        return _Csv()
    return _table if asked.single else _line


def _json(name: str, source: Source, found: Detections, files: dict[str, str]) -> None:
    width, height = _size(source)
    data = {"file": name, "width": width, "height": height, **record(found), **files}
    print(json.dumps(data, ensure_ascii=False), flush=True)


class _Csv:
    def __init__(self) -> None:
        self._writer = csv.writer(sys.stdout, lineterminator="\n")
        self._writer.writerow(COLUMNS)

    def __call__(self, name: str, source: Source, found: Detections, files: dict[str, str]) -> None:
        self._writer.writerows(csv_rows(name, found))
        sys.stdout.flush()


def _table(name: str, source: Source, found: Detections, files: dict[str, str]) -> None:
    rows = [(label, f"{score:.1%}", *(f"{edge:.0f}" for edge in box)) for label, score, box in found.rows()]
    if rows:
        show_table(COLUMNS[1:], rows, title=name)
    else:
        show(f"nothing  {name}")
    for path in files.values():
        show(f"wrote {path}")


def _line(name: str, source: Source, found: Detections, files: dict[str, str]) -> None:
    show("  ".join((words(found), name, *(f"-> {path}" for path in files.values()))))
    sys.stdout.flush()
