"""Writes lists of images and boxes as CSV, which the readers of lists read back, whatever the file names are."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from mobilenets import files
from mobilenets.data.cells import guarded
from mobilenets.data.samples import Dataset
from mobilenets.errors import DataError

COLUMNS = ("path", "label", "split", "weight", "group", "name", "offset", "size", "checksum")
"""The columns of a list of labeled images."""

CORNERS = ("x0", "y0", "x1", "y1")
BOX_COLUMNS = ("path", *CORNERS, "label", "split", "difficult", "crowd", "group", "picture")
"""The columns of a list of boxes."""


def write_splits(dataset: Dataset, path: Path) -> None:
    """Write the dataset as a list with every image's split, which `read_splits` and `open_dataset` read back."""
    _write(path, COLUMNS, _rows(dataset))


def write_list(dataset: Dataset, path: Path) -> None:
    """Write the dataset as a list without splits, which are then drawn when it is opened."""
    _write(path, [column for column in COLUMNS if column != "split"], _rows(dataset))


def write_box_list(dataset: Dataset, path: Path, *, splits: bool = True, below: Path | None = None) -> None:
    """Write the dataset as a list that `read_box_list` reads back.

    Args:
        dataset: a detection dataset whose images are not in tar files.
        path: the list.
        splits: whether to write the split of each image.
        below: the folder that paths are relative to; paths are absolute by default.

    Raises:
        DataError: an image is inside a tar file, or the list cannot be written.
    """
    columns = [column for column in BOX_COLUMNS if splits or column != "split"]
    _write(path, columns, _box_rows(dataset, below))


def table(columns: Sequence[str], rows: Iterable[dict[str, str]]) -> str:
    """Rows as CSV with a header. Line ends inside cells are quoted, and no cell is a formula to a spreadsheet."""
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, columns, lineterminator="\n", restval="", extrasaction="ignore")
    quoting = csv.DictWriter(
        buffer, columns, lineterminator="\n", restval="", extrasaction="ignore", quoting=csv.QUOTE_ALL
    )  # some Python versions do not quote a cell with a carriage return
    writer.writeheader()
    for row in rows:
        cells = {column: guarded(cell) for column, cell in row.items()}
        chosen = quoting if any("\r" in cell for cell in cells.values()) else writer
        chosen.writerow(cells)
    return buffer.getvalue()


def number(value: float) -> str:
    """A number of px, with as few characters as possible that read back as the same number.

    >>> number(12.0), number(0.5)
    ('12', '0.5')
    """
    return str(int(value)) if value == int(value) else repr(float(value))


def _rows(dataset: Dataset) -> Iterator[dict[str, str]]:
    for sample in dataset.samples:
        offset, size = map(str, sample.member or ("", ""))
        yield {
            "path": sample.url or sample.path.absolute().as_posix(),
            "label": dataset.labels[sample.label] if sample.label >= 0 else "",
            "split": sample.split,
            "weight": f"{sample.weight:.17g}",
            "group": sample.group,
            "name": sample.name,
            "offset": offset,
            "size": size,
            "checksum": sample.checksum,
        }


def _box_rows(dataset: Dataset, below: Path | None) -> Iterator[dict[str, str]]:
    for sample in dataset.samples:
        if sample.member is not None:
            raise DataError(f"'{sample.name}' is inside {sample.path.name}; a list of boxes can only name files")
        path = sample.url or (sample.path.relative_to(below) if below else sample.path.absolute()).as_posix()
        name = "" if sample.name == path else sample.name
        row = {"path": path, "split": sample.split, "group": sample.group, "picture": name}
        for box in sample.boxes:
            corners = {key: number(value) for key, value in zip(CORNERS, box.corners, strict=True)}
            flags = {"difficult": "01"[box.difficult], "crowd": "01"[box.crowd]}
            yield {**row, **corners, **flags, "label": dataset.labels[box.label]}
        if not sample.boxes:
            yield row


def _write(path: Path, columns: Sequence[str], rows: Iterator[dict[str, str]]) -> None:
    try:
        files.write_text(path, table(columns, rows))
    except OSError as error:
        raise DataError(f"'{path}' cannot be written: {error.strerror or error}") from error
    except UnicodeEncodeError as error:
        name = error.object[max(0, error.start - 20) : error.end + 20]
        raise DataError(f"'{path}' cannot be written: {name!r} is not valid text") from error
