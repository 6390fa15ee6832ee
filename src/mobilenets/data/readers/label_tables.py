"""Recognizes tables of labels: a column that names images, and a label or a column of 0 and 1 for each class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mobilenets.data.locate import Locator
from mobilenets.data.readers.rows import Rows, columns_of, first_cells, read_header, read_rows
from mobilenets.data.text import columns_shown, counted, shown, some
from mobilenets.data.walk import SUFFIXES, Tree, suffix_of
from mobilenets.errors import DataError

COLUMNS: dict[str, tuple[str, ...]] = {
    "path": (
        "path", "file", "filename", "file_name", "filepath", "image", "image_path", "image_id", "id", "image_name", "id_code",
        "img", "image_index",
    ),
    "label": ("label", "class", "category", "target", "labels", "class_name", "breed", "species", "diagnosis", "label_name",
              "choice", "dx", "finding_labels"),
    "split": ("split", "subset", "set", "partition"),
    "group": ("group",),
}  # fmt: skip
"""The columns that are read in any program's tables, each with its possible names."""

_TEXTS = 40  # number of text files that are examined: detection datasets have one per image
_DEEPEST = 2  # how many folders below the dataset's a table may be
_BOXES = (
    "bbox",
    "bboxes",
    "box",
    "boxes",
    "bounding_box",
    "bounding_boxes",
    "xmin",
    "x_center",
    "region_shape_attributes",
    "boxes_string",
    "prediction_string",
)
RUNS = ("encodedpixels", "encoded_pixels", "rle", "rle_mask", "mask_rle", "segmentation")
"""The columns that hold masks as run lengths."""
_NO, _YES = ("0", "0.0", "false"), ("1", "1.0", "true")
_FLAGGED: dict[str, tuple[str, ...]] = {
    "val": ("is_valid", "is_val", "is_validation"),
    "test": ("is_test",),
}
"""Columns that are true for the images of a split."""


def with_names(rows: Rows, tree: Tree) -> Rows:
    """A table without a known column of paths: the only column that names the folder's images becomes that column.

    If there are two columns, the other one holds labels, and neither needs a name.
    """
    if "path" in columns_of(rows.header, COLUMNS):
        return rows
    images = _Images(tree, rows)
    if len(rows.header) != 2:
        files = (i for i in range(len(rows.header)) if all(suffix_of(cell) in SUFFIXES for cell in first_cells(rows, i)))
        named = [i for i in files if images.most(first_cells(rows, i))]  # row numbers may be names of images too
        header = ["path" if [i] == named else name for i, name in enumerate(rows.header)]
        return replace(rows, header=tuple(header))
    for i, names in enumerate((("path", "label"), ("label", "path"))):
        if images.most(first_cells(rows, i)):
            bare = [] if images.missing([rows.header[i]]) else [(1, list(rows.header))]
            return replace(rows, header=names, cells=(*bare, *rows.cells))
    return rows


def with_splits(rows: Rows) -> Rows:
    """A table with columns such as fastai's `is_valid`, which say what images are not for training: with a column `split`."""
    if "split" in columns_of(rows.header, COLUMNS):
        return rows
    flags = columns_of(rows.header, _FLAGGED)
    if not flags or any(_cell(row, i) not in (*_NO, *_YES, "") for _, row in rows.cells for i in flags.values()):
        return rows
    kept = [i for i in range(len(rows.header)) if i not in flags.values()]

    def told(row: list[str]) -> list[str]:
        split = next((name for name, i in flags.items() if _cell(row, i) in _YES), "train")
        return [*(row[i] if i < len(row) else "" for i in kept), split]

    cells = tuple((line, told(row)) for line, row in rows.cells)
    return replace(rows, header=(*(rows.header[i] for i in kept), "split"), cells=cells)


def affirmed(rows: Rows) -> tuple[Rows, tuple[str, ...]]:
    """The rows without those whose confidence is 0, and what is said about them: in Open Images a person denied the label."""
    column = columns_of(rows.header, {"confidence": ("confidence",)}).get("confidence")
    if column is None:
        return rows, ()
    kept = tuple((line, row) for line, row in rows.cells if _cell(row, column) not in ("0", "0.0"))
    denied = len(rows.cells) - len(kept)
    note = f"{counted(denied, 'row')} with a confidence of 0 {'says' if denied == 1 else 'say'} what an image does not show"
    return replace(rows, cells=kept), ((f"{note}; {'it is' if denied == 1 else 'they are'} left out",) if denied else ())


def class_columns(rows: Rows, known: Mapping[str, int]) -> tuple[int, ...]:
    """The positions of the columns of 0 and 1 that say for each class whether an image shows it.

    () if there are fewer than two such columns, or if most images show several classes or none, since the columns then mean
    something else.

    Args:
        rows: the table.
        known: the positions of the columns that mean something else.
    """
    unknown = (i for i in range(len(rows.header)) if i not in known.values())
    classes = tuple(i for i in unknown if all(_cell(row, i) in _NO or _cell(row, i) in _YES for _, row in rows.cells))
    only_one = sum(sum(_cell(row, i) in _YES for i in classes) == 1 for _, row in rows.cells)
    return classes if len(classes) > 1 and 2 * only_one >= len(rows.cells) > 0 else ()


def only_class(rows: Rows, classes: Sequence[int], row: Sequence[str], where: str) -> str:
    """The name of the only class column of a row that is 1.

    Raises:
        DataError: there are several, or there is none.
    """
    names = [rows.header[i] for i in classes if _cell(row, i) in _YES]
    if len(names) != 1:
        found = f"{counted(len(names), 'class', 'classes')}: {some(names)}" if names else "no class"
        raise DataError(f"{where} has {found}; a classifier learns one class for each image")
    return names[0]


def is_text_list(path: Path) -> bool:
    """Whether a text file has an image and a label on each line, as `train/cat 1.jpg 0`, by its first line."""
    header = read_header(path)
    return path.suffix.lower() == ".txt" and len(header) == 2 and suffix_of(header[0]) in SUFFIXES


def tables(tree: Tree) -> list[str]:
    """The tables in a folder that may describe its images; submission forms of competitions are skipped."""
    texts = [path for path in tree.with_suffix(".txt")[:_TEXTS] if is_text_list(tree.root / path)]
    found = [*tree.with_suffix(".csv", ".tsv", ".jsonl"), *texts]
    return [path for path in found if path.count("/") <= _DEEPEST and "submission" not in path.lower()]


def label_lists(tree: Tree) -> list[str]:
    """The tables with labels for images in the folder. At least half of the first images in a table must exist."""
    return [path for path in tables(tree) if not _fault(tree, path)] if tree.images() else []


def unread_table(tree: Tree) -> str:
    """Why the first table in a folder does not describe its images; "" if there is no table."""
    return next((_fault(tree, path) for path in tables(tree)), "")


def boxes_in(path: Path) -> str:
    """The column in which a table has boxes that cannot be read, and examples; "" if it has none."""
    header = read_header(path)
    boxed = columns_of(header, {"boxes": _BOXES})
    if not boxed:
        return ""
    read = "boxes are read from the columns path,x0,y0,x1,y1,label or path,x,y,width,height,label, or path,bbox,label"
    return f"has boxes in the column '{header[boxed['boxes']]}'; {read}"


def _cell(row: Sequence[str], i: int) -> str:
    return row[i].strip().lower() if i < len(row) else ""


def _lacks(header: Sequence[str]) -> str:
    """The columns that a table of labels lacks, and those that it has."""
    columns = columns_of(header, COLUMNS)
    lacking = [f"the {what} (call it '{what}')" for what in ("path", "label") if what not in columns]
    return f"has the columns {columns_shown(header)}, but none for {' and '.join(lacking)}"


def _fault(tree: Tree, path: str) -> str:
    """Why a table does not describe the images in the folder; "" if it does."""
    header = read_header(tree.root / path)
    if boxed := boxes_in(tree.root / path):
        return f"'{path}' {boxed}"
    if masked := columns_of(header, {"runs": RUNS}):
        return f"'{path}' has masks in the column '{header[masked['runs']]}'; they are for the task segment"
    try:
        rows = with_names(read_rows(tree.root / path), tree)
        columns = columns_of(rows.header, COLUMNS)
        if "path" not in columns or ("label" not in columns and not class_columns(rows, columns)):
            return f"'{path}' {_lacks(header)}"
        images, written = _Images(tree, rows), list(first_cells(rows, columns["path"]))
        if images.most(written):
            return ""
        missing = images.missing(written)
    except DataError as error:
        return str(error)
    return f"'{path}' names images that are not there, such as {shown(missing[0])}" if missing else f"'{path}' lists no image"


class _Images:
    """The images of a folder, as a table in it names them."""

    def __init__(self, tree: Tree, rows: Rows) -> None:
        self._tree = tree
        self._where = f"'{rows.path}'"
        self._locator = Locator(tree, (rows.path.parent.relative_to(tree.root).as_posix().removeprefix("."), ""))

    def missing(self, cells: Iterable[str]) -> list[str]:
        """The cells that name no image."""
        found = ((cell, self._locator.find(cell, self._where)) for cell in cells if cell)
        return [
            cell for cell, path in found if self._locator.name(path) not in self._tree or suffix_of(path.name) not in SUFFIXES
        ]

    def most(self, cells: Iterable[str]) -> bool:
        """Whether at least half of the cells name images."""
        named = [cell for cell in cells if cell]
        return bool(named) and 2 * len(self.missing(named)) <= len(named)
