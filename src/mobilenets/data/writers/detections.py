"""Writes the detections of a model image by image, as COCO's results, CSV or YOLO, in constant memory."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from mobilenets import files
from mobilenets.data.writers.boxes import yolo_line
from mobilenets.data.writers.images import plain
from mobilenets.data.writers.lists import table
from mobilenets.errors import DataError
from mobilenets.runtime.detect.decode import Detections
from mobilenets.table import Table

COLUMNS = ("file", "label", "score", "x0", "y0", "x1", "y1")
"""The columns of CSV; `read_box_list` reads them back, without the score."""


@dataclass(frozen=True, slots=True)
class ImageDetections:
    """The detections on one image.

    Args:
        path: the image's path.
        name: its path relative to the folder of all images; no other image has the same one but for the extension.
        width, height: size of the upright image, px.
        detections: the detections on it.
    """

    path: str
    name: PurePosixPath
    width: int
    height: int
    detections: Detections


class Writing(Protocol):
    """Result files that are being written."""

    def add(self, image: ImageDetections) -> None:
        """Write one more image; may raise OSError."""
        ...

    def close(self) -> None:
        """Finish the files; may raise OSError."""
        ...


@dataclass(frozen=True, slots=True)
class Results:
    """One format for detections.

    Args:
        title: the files that are written, for documentation.
        begin: starts the files in a folder, for a model with these labels.
    """

    title: str
    begin: Callable[[Path, tuple[str, ...]], Writing]


def begin(kind: str, folder: Path, labels: tuple[str, ...]) -> Writing:
    """Start the files of one format in a folder. When they are closed, they replace those of an earlier run.

    Args:
        kind: a name in `RESULTS`.
        folder: the folder, which is created if necessary.
        labels: the model's class names.

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
    """A row of `COLUMNS` for each box. Without boxes, there is one row with only the image, as in lists of boxes."""
    rows = [(file, label, f"{score:.6f}", *(f"{edge:.2f}" for edge in corners)) for label, score, corners in detections.each()]
    return rows or [(file, *[""] * (len(COLUMNS) - 1))]


class _Coco:
    """One array with an element per line. `image_id` is the file's name if that is a number, as in COCO, else the name."""

    def __init__(self, folder: Path, labels: tuple[str, ...]) -> None:
        self._file = _Draft(folder / "detections.json")
        self._before = "["

    def add(self, image: ImageDetections) -> None:
        name = str(image.name)
        image_id = int(image.name.stem) if _is_number(image.name.stem) else name
        rows = zip(image.detections.each(), image.detections.classes.tolist(), strict=True)
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
        self._file = _Draft(folder / "detections.csv")
        self._file.write(",".join(COLUMNS) + "\n")

    def add(self, image: ImageDetections) -> None:
        rows = [dict(zip(COLUMNS, row, strict=True)) for row in csv_rows(image.path, image.detections)]
        self._file.write(table(COLUMNS, rows).partition("\n")[2])

    def close(self) -> None:
        self._file.close()


class _Yolo:
    """The score is the sixth number on a line, as in YOLO's own tools."""

    def __init__(self, folder: Path, labels: tuple[str, ...]) -> None:
        self._labels = folder / "labels"
        self._labels.mkdir(exist_ok=True)
        files.write_text(folder / "classes.txt", "".join(f"{plain(label)}\n" for label in labels))

    def add(self, image: ImageDetections) -> None:
        rows = zip(image.detections.each(), image.detections.classes.tolist(), strict=True)
        lines = [f"{yolo_line(index, corners, image.width, image.height)} {score:.6g}\n" for (_, score, corners), index in rows]
        with files.drafted_quickly(self._labels / image.name.with_suffix(".txt")) as draft:
            draft.write_text("".join(lines), "utf-8", newline="\n")

    def close(self) -> None:
        pass


class _Draft:
    """A text file that is written in parts and appears only when closed."""

    def __init__(self, path: Path) -> None:
        self._drafting = files.drafted(path)
        draft = self._drafting.__enter__()
        self._file = draft.open("w", encoding="utf-8", errors="surrogateescape", newline="")

    def write(self, text: str) -> None:
        self._file.write(text)

    def close(self) -> None:
        self._file.close()
        self._drafting.__exit__(None, None, None)


def _is_number(stem: str) -> bool:
    return stem.isascii() and stem.isdecimal() and len(stem) < 19


# fmt: off
RESULTS: Table[Results] = Table("kind of results", {
    "coco": Results("detections.json: COCO's results, with names of images and labels", _Coco),
    "csv":  Results("detections.csv: a line per box, px", _Csv),
    "yolo": Results("labels/*.txt and classes.txt", _Yolo),
})
# fmt: on
"""The formats in which detections can be written."""
