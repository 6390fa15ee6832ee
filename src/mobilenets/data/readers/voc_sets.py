"""Pascal VOC's split files: ImageSets/Main/ for boxes, ImageSets/Segmentation/ for masks, one stem a line."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from mobilenets.data.entries import SPLIT_WORDS
from mobilenets.data.faults import Fault
from mobilenets.data.samples import Split
from mobilenets.data.words import text_of

_FLAGS = ("1", "0", "-1")  # what VOC's files of one class add to a stem
_ORDER: dict[Split | None, int] = {"train": 0, "val": 1, "test": 2, None: 3}


def read_sets(folder: Path, stems: Collection[str]) -> tuple[dict[str, Split | None], list[Fault]]:
    """The split of each stem: val and test as listed, trainval is train where no file says val, and CVAT's default is none.

    Args:
        folder: with `train.txt` and the others, any of which may be missing.
        stems: of the images there are, by which a name that ends in a number is told from a name and a class's flag.

    Returns:
        The splits, train first; and a fault for each stem in two of them, which stays in the one that measures.

    Raises:
        DataError: a file cannot be read.
    """
    found: dict[str, Split | None] = {}
    faults: list[Fault] = []
    for name in ("test", "val", "train", "trainval", "default"):
        path = folder / f"{name}.txt"
        if not path.is_file():
            continue
        split: Split | None = "train" if name == "trainval" else SPLIT_WORDS.get(name)
        for line in text_of(path).splitlines():
            stem = _stem(line, stems)
            if not stem:
                continue
            first = found.setdefault(stem, split)
            if first != split and not (name == "trainval" and first == "val") and name != "default":
                faults.append(Fault("split-twice", f"is in {first} and in {name}; it stays in {first} only", stem))
    return dict(sorted(found.items(), key=lambda item: (_ORDER[item[1]], item[0]))), faults


def _stem(line: str, stems: Collection[str]) -> str:
    whole = line.strip()
    words = whole.rsplit(maxsplit=1)
    return words[0] if len(words) == 2 and words[1] in _FLAGS and whole not in stems else whole
