"""What a detector found, written image by image as COCO's results, CSV or YOLO; memory does not grow."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from mobilenets.data.writers.boxes import yolo_line
from mobilenets.data.writers.images import write_text
from mobilenets.errors import DataError
from mobilenets.runtime.detect.decode import Detections
from mobilenets.table import Table

COLUMNS = ("file", "label", "score", "x0", "y0", "x1", "y1")
"""Of CSV; `read_box_list` reads them back, without the score."""


@dataclass(frozen=True, slots=True)
class Found:
    """An image and what was found on it.

    Args:
        path: where the image lies.
        name: of the image, below the folder that holds all; no other one has the same before its ending.
        width, height: px, upright.
        detections: on it.
    """

    path: str
    name: PurePosixPath
    width: int
    height: int
    detections: Detections


class Writing(Protocol):
    """Files that are being written."""

    def add(self, found: Found) -> None:
        """Write one more image; may raise OSError."""
        ...

    def close(self) -> None:
        """Finish the files; may raise OSError."""
        ...


@dataclass(frozen=True, slots=True)
class Results:
    """One way to write what was found.

    Args:
        title: what is written, for documentation.
        begin: opens it in a folder, for a model with these labels.
    """

    title: str
    begin: Callable[[Path, tuple[str, ...]], Writing]


def begin(kind: str, folder: Path, labels: tuple[str, ...]) -> Writing:
    """The files of a kind, begun in a folder; what is there of an earlier run is replaced.

    Args:
        kind: a name of `RESULTS`.
        folder: is made.
        labels: of the model.

    Raises:
        DataError: they cannot be written.
        UnknownNameError: there is no such kind.
    """
    results = RESULTS[kind]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return results.begin(folder, labels)
    except OSError as error:
        raise DataError(f"'{folder}' cannot be written: {error.strerror}") from error


def csv_rows(file: str, detections: Detections) -> list[tuple[str, ...]]:
    """A row of `COLUMNS` for each box; where there is none, one with the image alone, as lists of boxes have it."""
    rows = [(file, label, f"{score:.6f}", *(f"{edge:.2f}" for edge in corners)) for label, score, corners in detections.rows()]
    return rows or [(file, *[""] * (len(COLUMNS) - 1))]


class _Coco:
    """One array, an element a line. `image_id` is the number that the file's name is, as in COCO's own sets, else the name."""

    def __init__(self, folder: Path, labels: tuple[str, ...]) -> None:
        self._file = (folder / "detections.json").open("w", encoding="utf-8", errors="surrogateescape", newline="\n")
        self._before = "["

    def add(self, found: Found) -> None:
        name = str(found.name)
        image_id = int(found.name.stem) if found.name.stem.isdecimal() else name
        rows = zip(found.detections.rows(), found.detections.classes.tolist(), strict=True)
        for (label, score, (x0, y0, x1, y1)), index in rows:
            result = {
                "image_id": image_id,
                "file_name": name,
                "category_id": index + 1,
                "category": label,
                "bbox": [round(edge, 2) for edge in (x0, y0, x1 - x0, y1 - y0)],
                "score": round(score, 6),
            }
            self._file.write(f"{self._before}\n{json.dumps(result, ensure_ascii=False)}")
            self._before = ","

    def close(self) -> None:
        self._file.write("]\n" if self._before == "," else "[]\n")
        self._file.close()


class _Csv:
    def __init__(self, folder: Path, labels: tuple[str, ...]) -> None:
        self._file = (folder / "detections.csv").open("w", encoding="utf-8", errors="surrogateescape", newline="")
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(COLUMNS)

    def add(self, found: Found) -> None:
        self._writer.writerows(csv_rows(found.path, found.detections))

    def close(self) -> None:
        self._file.close()


class _Yolo:
    """The score is the sixth number of a line, as YOLO's own tools write it."""

    def __init__(self, folder: Path, labels: tuple[str, ...]) -> None:
        self._labels = folder / "labels"
        self._labels.mkdir(exist_ok=True)
        write_text(folder / "classes.txt", "".join(f"{label}\n" for label in labels))

    def add(self, found: Found) -> None:
        rows = zip(found.detections.rows(), found.detections.classes.tolist(), strict=True)
        lines = [f"{yolo_line(index, corners, found.width, found.height)} {score:.6g}\n" for (_, score, corners), index in rows]
        write_text(self._labels / found.name.with_suffix(".txt"), "".join(lines))

    def close(self) -> None:
        pass


# fmt: off
RESULTS: Table[Results] = Table("kind of results", {
    "coco": Results("detections.json: COCO's results, with names of images and labels", _Coco),
    "csv":  Results("detections.csv: a line per box, px", _Csv),
    "yolo": Results("labels/*.txt and classes.txt", _Yolo),
})
# fmt: on
"""How detections can be written."""
