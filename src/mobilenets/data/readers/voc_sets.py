"""Reads Pascal VOC's split files: ImageSets/Main/ for boxes, ImageSets/Segmentation/ for masks, one image per line."""

from __future__ import annotations

from collections.abc import Collection

from mobilenets.data.entries import SPLIT_WORDS
from mobilenets.data.faults import Fault
from mobilenets.data.samples import Split
from mobilenets.data.text import read_text
from mobilenets.data.walk import SUFFIXES, Tree, stem_of, suffix_of

_FLAGS = ("1", "0", "-1")  # flags that VOC's files of a single class add to a stem
_ORDER: dict[Split | None, int] = {"train": 0, "val": 1, "test": 2, None: 3}


def read_sets(tree: Tree, folder: str | None, stems: Collection[str]) -> tuple[dict[str, Split | None], list[Fault]]:
    """The split of each image, by its name without folders and ending.

    A name that is only in trainval.txt belongs to train; CVAT's default.txt names no split.

    Args:
        tree: the dataset's files.
        folder: the folder with `train.txt` and the other files, any of which may be missing; None if there is none.
        stems: names of the existing images, which tell a name that ends in a number from a name with the flag of a class.

    Returns:
        The splits, train first; and a fault for each image in two splits, which stays only in the one that is not train.

    Raises:
        DataError: a file cannot be read.
    """
    split_of: dict[str, Split | None] = {}
    faults: list[Fault] = []
    if folder is None:
        return split_of, faults
    for name in ("test", "testing", "val", "valid", "validation", "train", "training", "trainval", "default"):
        path = tree.child(folder, f"{name}.txt")
        if path is None:
            continue
        split: Split | None = "train" if name == "trainval" else SPLIT_WORDS.get(name)
        text = read_text(tree.root / path)
        faults += text.faults(path)
        for line in text.lines:
            stem = _stem(line, stems)
            if not stem:
                continue
            first = split_of.setdefault(stem, split)
            if first != split and not (name == "trainval" and first == "val") and name != "default":
                faults.append(Fault("split-twice", f"is in {first} and in {name}; it stays in {first} only", stem))
    return dict(sorted(split_of.items(), key=lambda item: (_ORDER[item[1]], item[0]))), faults


def _stem(line: str, stems: Collection[str]) -> str:
    """The image on a line, which may have folders, an extension, and the flag of a class."""
    whole = line.strip()
    if whole in stems:
        return whole
    words = whole.rsplit(maxsplit=1)
    if len(words) == 2 and words[1] in _FLAGS:
        whole = words[0]
    if whole in stems:
        return whole
    bare = whole.replace("\\", "/").rpartition("/")[2]
    return stem_of(bare) if suffix_of(bare) in SUFFIXES and bare not in stems else bare
