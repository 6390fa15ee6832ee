"""Finds the COCO files in a folder by their content, whatever their names are."""

from __future__ import annotations

import mmap
import re
from pathlib import Path

from mobilenets.data.entries import SPLIT_WORDS, split_in, split_word
from mobilenets.data.readers.foreign import unread_file
from mobilenets.data.samples import Split
from mobilenets.data.source import Source
from mobilenets.data.walk import Tree
from mobilenets.errors import DataError

LAYOUT = "expected a COCO file, with the lists images, annotations and categories, in the folder or below it"

_IMAGES = re.compile(rb'"images"\s{0,100}:\s{0,100}\[')
_OTHERS = re.compile(rb'"(?:annotations|categories)"\s{0,100}:\s{0,100}\[')
_OF_OTHER_TASKS = ("captions", "keypoints", "panoptic", "stuff", "image_info", "labels_tr_val")
_DEEPEST = 3  # how many folders below the dataset's a file may be


def is_coco(source: Source) -> bool:
    """Whether this is a COCO file, or a folder with such files in one of the usual places."""
    if source.tree is None:
        if source.suffix != ".json":
            return False
        return has_coco_lists(source.path) or (not _is_array(source.path) and unread_file(source) is None)
    return bool(coco_files(source.tree))


def has_coco_lists(path: Path) -> bool:
    """Whether a JSON file has a list of images and one of annotations or categories; it is searched and not parsed."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            if data[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in data[:4]:
                plain = data[: 1 << 20].replace(b"\0", b"")  # UTF-16 without its zero bytes
                return _IMAGES.search(plain) is not None and _OTHERS.search(plain) is not None
            return _IMAGES.search(data) is not None and _OTHERS.search(data) is not None
    except (OSError, ValueError):
        return False


def coco_files(tree: Tree) -> list[str]:
    """The COCO files of a folder, in the order train, val, test, other.

    Files called instances_* take precedence over all others, and files with a split over those without. Captions, keypoints
    and the like count only if there is nothing else.
    """
    candidates = [path for path in tree.with_suffix(".json") if path.count("/") <= _DEEPEST]
    files = [path for path in candidates if has_coco_lists(tree.root / path)]
    for wanted in (_is_instances, _is_of_boxes, _has_split):
        files = [path for path in files if wanted(path)] or files
    order = {"train": 0, "val": 1, "test": 2}
    return sorted(files, key=lambda path: (order.get(coco_split(path) or "", 3), path))


def one_per_split(files: list[str], folder: str) -> list[str]:
    """The same files, refused if several could be the annotations of one split.

    Raises:
        DataError: two files have the same split, or several have none.
    """
    by_split: dict[tuple[Split | None, str], list[str]] = {}
    for path in files:
        by_split.setdefault((coco_split(path), path.rpartition("/")[0] if coco_split(path) is None else ""), []).append(path)
    for (split, _), paths in by_split.items():
        if len(paths) > 1:
            what = f"of the {split} split" if split else "that name no split"
            raise DataError(
                f"'{folder}' holds {len(paths)} COCO files {what}: '{paths[0]}' and '{paths[1]}'", hint="give the file itself"
            )
    return files


def coco_split(path: str) -> Split | None:
    """The split in a file's name, or else in the name of the innermost folder that has one."""
    folder, _, name = path.rpartition("/")
    stem = name.rpartition(".")[0].lower()
    whole = SPLIT_WORDS.get(stem.removeprefix("instances_").rstrip("0123456789_-"))
    return whole or split_word(stem) or split_in(path) or SPLIT_WORDS.get(folder.rpartition("/")[2].lower())


def _is_array(path: Path) -> bool:
    """Whether a JSON file is a list, which a COCO file is not."""
    try:
        with path.open("rb") as file:
            return file.read(200).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")
    except OSError:
        return False


def _is_instances(path: str) -> bool:
    return path.rpartition("/")[2].lower().startswith("instances")


def _is_of_boxes(path: str) -> bool:
    return not any(word in path.rpartition("/")[2].lower() for word in _OF_OTHER_TASKS)


def _has_split(path: str) -> bool:
    return coco_split(path) is not None
