"""`mobilenets predict` on images: what is predicted, as tables, lines, CSV or JSON, and as files if a folder is given."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from operator import methodcaller
from typing import TYPE_CHECKING

from mobilenets.cli.output import csv_cell, show, show_table
from mobilenets.cli.predict_files import Files
from mobilenets.cli.predicting import Asked, predicted, predicted_alone, report, shown_by, tiling
from mobilenets.data.writers.detections import COLUMNS
from mobilenets.runtime.rows import json_line
from mobilenets.runtime.text import printable

if TYPE_CHECKING:
    from mobilenets.runtime.decoders import Prediction
    from mobilenets.runtime.predictor import Predictor
    from mobilenets.runtime.rows import Row
    from mobilenets.runtime.sources import Source
    from mobilenets.specs.model import Task

    Write = Callable[[str, Prediction, dict[str, str]], None]
    """Prints the prediction for an image of this name, and which files were written for it, by kind."""

WIDEST = 32
"""Characters of the column of labels, where each image of many has a line."""

# fmt: off
CSV_COLUMNS: dict[Task, tuple[str, ...]] = {
    "classify": ("file", "rank", "label", "score"),
    "detect":   COLUMNS,
    "segment":  ("file", "label", "pixels", "share"),
}
CSV_FORMATS = {"score": ".6f", "share": ".6f", "x0": ".2f", "y0": ".2f", "x1": ".2f", "y1": ".2f"}  # of columns
TABLES: dict[Task, dict[str, tuple[str, str]]] = {  # columns of a row: their titles and formats in the table of one image
    "classify": {"label": ("label", ""), "score": ("score", ".1%")},
    "detect":   {"label": ("label", ""), "score": ("score", ".1%"), **{edge: (edge, ".0f") for edge in COLUMNS[3:]}},
    "segment":  {"label": ("label", ""), "pixels": ("pixels", ","), "share": ("of the image", ".1%")},
}
# fmt: on


def run(predictor: Predictor, asked: Asked) -> None:
    """Print what is predicted for every image; write files if a folder is given.

    Raises:
        UsageError: --write names what this task cannot write.
        DataError: a folder or glob has no images, or nothing can be written.
        typer.Exit: no image could be read.
    """
    predictor = shown_by(predictor, asked)
    results = predicted(predictor, asked) if asked.tile is None else predicted_alone(tiling(predictor, asked)[0], asked)
    with ExitStack() as stack:
        files = None if asked.out is None else stack.enter_context(closing(Files(asked, predictor)))
        write = _printer(asked, predictor)

        def each(source: Source, name: str, prediction: Prediction) -> None:
            write(name, prediction, {} if files is None else files.write(source, name, prediction))

        report(asked, results, each)


def _printer(asked: Asked, predictor: Predictor) -> Write:
    task = predictor.manifest.task
    classifies = task == "classify"
    several = 1 if classifies and not asked.single else 5  # labels of one image, where the user does not say
    top = (asked.top or (5 if asked.json else several),) if classifies else ()
    if asked.json:
        return partial(_json, methodcaller("record", *top))
    rows = methodcaller("rows", *top)
    if asked.csv:
        return _Csv(CSV_COLUMNS[task], rows)
    if asked.single:
        return partial(_table, TABLES[task], rows)
    if classifies:
        width = min(WIDEST, max(len(label) for label in predictor.manifest.labels))
        return partial(_labels_line, rows, width)
    return _summary_line


def _json(record: Callable[[Prediction], dict[str, object]], name: str, prediction: Prediction, files: dict[str, str]) -> None:
    print(json_line({"file": name, **record(prediction), **files}), flush=True)


@dataclass
class _Csv:
    """Prints a header, then the rows; an image without a row has one with its name alone, as lists of boxes have it."""

    columns: Sequence[str]
    rows: Callable[[Prediction], list[Row]]

    def __post_init__(self) -> None:
        self._writer = csv.writer(sys.stdout, lineterminator="\n")
        self._writer.writerow(self.columns)

    def __call__(self, name: str, prediction: Prediction, files: dict[str, str]) -> None:
        for row in self.rows(prediction) or [{}]:
            cells = {"file": name, **row}
            formatted = (
                format(cells[column], CSV_FORMATS.get(column, "")) if column in cells else "" for column in self.columns
            )
            self._writer.writerow([csv_cell(cell) for cell in formatted])
        sys.stdout.flush()


def _table(
    columns: dict[str, tuple[str, str]],
    rows: Callable[[Prediction], list[Row]],
    name: str,
    prediction: Prediction,
    files: dict[str, str],
) -> None:
    """One image: a table of what was found."""
    cells = [[format(row[column], how) for column, (_, how) in columns.items()] for row in rows(prediction)]
    if cells:
        show_table([title for title, _ in columns.values()], cells, title=name)
    else:
        show(f"nothing  {printable(name)}")
    for path in files.values():
        show(f"wrote {printable(path)}")


def _labels_line(
    rows: Callable[[Prediction], list[Row]], width: int, name: str, prediction: Prediction, files: dict[str, str]
) -> None:
    """Many images that are classified: the best labels of each on a line."""
    labels = [f"{row['score']:6.1%}  {printable(str(row['label'])):<{width}}" for row in rows(prediction)]
    show("  ".join((*labels, printable(name))))
    sys.stdout.flush()


def _summary_line(name: str, prediction: Prediction, files: dict[str, str]) -> None:
    """Many images: what was found on each on a line."""
    show(printable("  ".join((prediction.summary(), name, *(f"-> {path}" for path in files.values())))))
    sys.stdout.flush()
