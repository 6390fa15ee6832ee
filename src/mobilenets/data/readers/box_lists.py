"""Reads CSV and TSV lists of boxes: `path,x0,y0,x1,y1,label[,split,difficult,crowd,group]`, one row per box, edges in px.

Instead of the four edges, a list may give a corner or the center with the width and height of the box, or one column with all
four numbers, `[x, y, width, height]`. If all of them lie between 0 and 1, they are shares of the image. An image without
objects has one row with only its path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mobilenets.data.boxes import NamedBox
from mobilenets.data.entries import SPLIT_WORDS, Entry, Listing, in_order
from mobilenets.data.readers.format import NOTHING, Asked, Format
from mobilenets.data.readers.mask_instances import OBJECT
from mobilenets.data.readers.rows import (
    UNASSIGNED,
    ImageRows,
    Rows,
    columns_of,
    image_rows,
    read_header,
    read_rows,
    refuse_half_splits,
    split_of,
)
from mobilenets.data.readers.shares import NOTE, are_shares, in_px
from mobilenets.data.source import Source
from mobilenets.data.text import class_name, shown, whole
from mobilenets.data.walk import Tree
from mobilenets.data.writers.lists import CORNERS
from mobilenets.errors import DataError

COLUMNS: dict[str, tuple[str, ...]] = {
    "path": ("path", "file", "filename", "file_name", "filepath", "image", "image_path", "image_id"),
    "label": ("label", "class", "category", "target", "name", "class_name", "label_name"),
    "split": ("split", "subset", "set", "partition"),
    "difficult": ("difficult",),
    "crowd": ("crowd", "iscrowd", "is_group_of"),
    "group": ("group",),
    "picture": ("picture",),
    "width": ("width",),
    "height": ("height",),
}
"""The columns that are read, each with the names that it may have in a list; width and height are the image's."""


@dataclass(frozen=True, slots=True)
class Form:
    """A way to write a box as four numbers.

    Args:
        columns: for each of the four columns, in the order of `CORNERS`, the names that it may have.
        edges: the edges x0, y0, x1, y1 of the four numbers.
    """

    columns: tuple[tuple[str, ...], ...]
    edges: Callable[[float, float, float, float], tuple[float, float, float, float]]


_SIZES = (("w", "width", "box_width", "bbox_width"), ("h", "height", "box_height", "bbox_height"))
_EDGES = Form(
    (
        ("x0", "xmin", "x_min", "x1", "left"),
        ("y0", "ymin", "y_min", "y1", "top"),
        ("x1", "xmax", "x_max", "x2", "right"),
        ("y1", "ymax", "y_max", "y2", "bottom"),
    ),
    lambda x0, y0, x1, y1: (x0, y0, x1, y1),
)
_CORNER = Form(
    (("x", "left", "x_min", "bbox_x", "box_x"), ("y", "top", "y_min", "bbox_y", "box_y"), *_SIZES),
    lambda x, y, width, height: (x, y, x + width, y + height),
)
_BESIDE_SIZES = Form(  # the same beside the width and height of the image
    (("bbox_x", "box_x"), ("bbox_y", "box_y"), ("bbox_width", "box_width"), ("bbox_height", "box_height")), _CORNER.edges
)
_CENTER = Form(
    (("x_center", "center_x", "cx", "x_c"), ("y_center", "center_y", "cy", "y_c"), *_SIZES),
    lambda x, y, width, height: (x - width / 2, y - height / 2, x + width / 2, y + height / 2),
)

_REQUIRED = ("path", *CORNERS, "label")  # also the columns of a list without a header, such as RetinaNet's
_AUTOML = ("split", "path", "label", "x0", "y0", "", "", "x1", "y1", "", "")  # Vertex AI's, which has no header either
_OWN = ("picture",)
_WHOLE = ("bbox", "bounding_box")  # one column with all four numbers, as in Kaggle's wheat heads
_BRACKETS = str.maketrans("[](),", "     ")
_HINT = (
    "the first line names the columns: path,x0,y0,x1,y1,label and optionally split,difficult,crowd,group; "
    "in place of the edges, x,y,width,height, or one column bbox with [x, y, width, height]"
)
_TRUE, _FALSE = ("1", "true", "yes"), ("", "0", "false", "no")


def is_box_list(source: Source) -> bool:
    """Whether this is a CSV or TSV file, or a file of JSON lines, with columns for the four edges."""
    return source.suffix in (".csv", ".tsv", ".jsonl") and has_box_columns(source.path)


def has_box_columns(path: Path) -> bool:
    """Whether a table has a column of paths and four for a box."""
    _, columns = _columns(_apart(read_header(path)))
    return all(column in columns for column in ("path", *CORNERS))


def read_box_file(source: Source, asked: Asked = NOTHING) -> Listing:
    """The images of a list with their boxes: see `read_box_list`."""
    return read_box_list(source.path, group=asked.group)


def read_box_list(path: Path, *, group: str | None = None, tree: Tree | None = None) -> Listing:
    """The images of a list with their boxes; paths are relative to its folder.

    Args:
        path: the list.
        group: the column that names groups; by default the column called "group".
        tree: the dataset's folder, in which images are looked for; by default the folder of the list.

    Raises:
        DataError: the list cannot be read, a column is missing, or a row is not valid; the message names the line.
        UnknownNameError: there is no column named `group`.
    """
    rows, notes = _unpacked(read_rows(path))
    form, columns = _columns(rows.header)
    names = _names_of_bare(rows.header)
    if names:
        rows = replace(rows, header=names, cells=((1, list(rows.header)), *rows.cells))
    required = [column for column in _REQUIRED if column != "label" or not notes]
    images = image_rows(rows, columns, required=required, own=_OWN, group=group, tree=tree, hint=_HINT)
    entries: dict[str, Entry] = {}
    boxes: dict[str, list[NamedBox]] = {}
    for where, cells in images.cells():
        entry = _entry(where, cells, images, form)
        first = entries.setdefault(entry.name, entry)
        if first.split != entry.split:
            raise DataError(f"{where}: {shown(entry.name)} is in the splits '{first.split or ''}' and '{entry.split or ''}'")
        boxes.setdefault(entry.name, []).extend(entry.boxes)
    if not entries:
        raise DataError(f"'{path}' lists no image", hint=_HINT)
    refuse_half_splits(path, entries.values())
    gathered = tuple(replace(entry, boxes=tuple(boxes[name])) for name, entry in entries.items())
    labels = in_order(box.label for listed in boxes.values() for box in listed)
    edges = [(box.x0, box.y0, box.x1, box.y1) for listed in boxes.values() for box in listed]
    if not images.own and are_shares(edges):
        gathered, notes = tuple(in_px(path, gathered)), (*notes, NOTE)
    return Listing(gathered, labels, path.stem, notes, task="detect", faults=rows.faults)


def _columns(header: Sequence[str]) -> tuple[Form, dict[str, int]]:
    """How boxes are written, and the position of each column that is read; edges are assumed if no form has all its columns."""
    names = _names_of_bare(header)
    if names:
        return _EDGES, {column: i for i, column in enumerate(names) if column}
    found = [(form, _positions(header, form)) for form in (_EDGES, _CENTER, _BESIDE_SIZES, _CORNER)]
    return next((each for each in found if all(corner in each[1] for corner in CORNERS)), found[0])


def _positions(header: Sequence[str], form: Form) -> dict[str, int]:
    """The position of each column that is read; `x1` is the left edge only if there is an `x2`."""
    lower = [name.strip().lower() for name in header]
    unlike = {"x0": "x1", "y0": "y1"} if "x2" not in lower else {"x1": "x1", "y1": "y1"}
    known = COLUMNS | dict(zip(CORNERS, form.columns, strict=True))
    of_boxes = () if form in (_EDGES, _BESIDE_SIZES) else ("width", "height")
    return columns_of(
        header,
        {
            column: [name for name in names if name != unlike.get(column)]
            for column, names in known.items()
            if column not in of_boxes
        },
    )


def _apart(header: Sequence[str]) -> tuple[str, ...]:
    """The names of the columns, with four in place of a column that holds whole boxes."""
    whole_box = columns_of(header, {"box": _WHOLE})
    if not whole_box or all(corner in _columns(header)[1] for corner in CORNERS):
        return tuple(header)
    i = whole_box["box"]
    return (*header[:i], *(names[0] for names in _BESIDE_SIZES.columns), *header[i + 1 :])


def _unpacked(rows: Rows) -> tuple[Rows, tuple[str, ...]]:
    """The rows with four columns in place of one that holds whole boxes, and a note about that; otherwise unchanged.

    Raises:
        DataError: a cell of that column does not hold four values; the message names the line.
    """
    header = _apart(rows.header)
    if header == rows.header:
        return rows, ()
    i = next(k for k, name in enumerate(header) if name not in rows.header)
    cells = []
    for line, row in rows.cells:
        text = row[i].strip() if i < len(row) else ""
        numbers = text.translate(_BRACKETS).split() or [""] * 4
        if len(numbers) != 4:
            message = f"'{rows.path}' line {line}: {rows.header[i]} is {shown(text)}, not four numbers [x, y, width, height]"
            raise DataError(message, hint=_HINT)
        cells.append((line, [*row[:i], *numbers, *row[i + 1 :]]))
    notes = [f"the column '{rows.header[i]}' was read as x, y, width and height of a box"]
    if "label" not in columns_of(header, COLUMNS):
        notes.append(f"no column is called label, so every box is of the class '{OBJECT}'")
    return replace(rows, header=header, cells=tuple(cells)), tuple(notes)


def _names_of_bare(header: Sequence[str]) -> tuple[str, ...]:
    """The names of the columns if the first line is data instead of a header, with four numbers as a box; () otherwise."""
    for names in (_REQUIRED, _AUTOML):
        if len(header) == len(names) and all(_is_number(header[names.index(corner)]) for corner in CORNERS):
            first = header[0].lower()
            return names if names is _REQUIRED or first in SPLIT_WORDS or first == UNASSIGNED else ()
    return ()


def _is_number(text: str) -> bool:
    return whole(text.partition(".")[0]) is not None


def _entry(where: str, cells: Mapping[str, str], images: ImageRows, form: Form) -> Entry:
    written = cells["path"]
    if not written:
        raise DataError(f"{where} has no path")
    path, url = images.image(written, where)
    size = whole(cells.get("width", "")), whole(cells.get("height", ""))
    return Entry(
        path,
        "",
        cells.get("picture") or written.replace("\\", "/"),
        split_of(where, cells.get("split", "")),
        group=cells.get("group", ""),
        url=url,
        boxes=tuple(_boxes(where, cells, images, form)),
        stated=(size[0], size[1]) if size[0] and size[1] else None,
    )


def _boxes(where: str, cells: Mapping[str, str], images: ImageRows, form: Form) -> Iterator[NamedBox]:
    """The box of a row, or none."""
    given = [cells[corner] for corner in CORNERS]
    if not any(given):
        return
    label = cells.get("label", OBJECT)
    if not label:
        raise DataError(f"{where} has a box without a label")
    a, b, c, d = (images.number(text, f"{where}: {names[0]}") for names, text in zip(form.columns, given, strict=True))
    x0, y0, x1, y1 = form.edges(a, b, c, d)
    yield NamedBox(
        label if "picture" in cells else class_name(label, where),
        x0,
        y0,
        x1,
        y1,
        _flag(where, cells, "difficult"),
        _flag(where, cells, "crowd"),
    )


def _flag(where: str, cells: Mapping[str, str], key: str) -> bool:
    text = cells.get(key, "").lower()
    if text not in _TRUE and text not in _FALSE:
        raise DataError(f"{where}: {key} is {shown(text)}, not 0 or 1")
    return text in _TRUE


FORMAT = Format(
    "a CSV or TSV file with the columns path,x0,y0,x1,y1,label[,split,difficult,crowd,group], or bbox for the edges",
    is_box_list,
    read_box_file,
    "detect",
    ("group",),
)
