"""Small datasets as people have them, written into a folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

N = 3
BOX = "<bndbox><xmin>2</xmin><ymin>2</ymin><xmax>5</xmax><ymax>5</ymax></bndbox>"
CSV = "filename,width,height,class,xmin,ymin,xmax,ymax\n"
LINE = "0 .5 .5 .2 .2\n"


def photo(path: Path) -> None:
    """An image of 8 x 6 px in which no two pixels are alike."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)).save(path)


def mask(path: Path, high: int = 1, mode: str = "L") -> Path:
    """A mask whose left half is 0."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.zeros((6, 8), np.uint8)
    values[:, 4:] = high
    if mode == "A":
        Image.fromarray(np.dstack([np.zeros((6, 8, 3), np.uint8), values])).save(path)
    else:
        Image.fromarray(values).save(path)
    return path


def text(path: Path, content: str, encoding: str = "utf-8") -> Path:
    """A text file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode(encoding))
    return path


def xml(name: str = "cat", file: str = "") -> str:
    """An annotation with one box."""
    return f"<annotation><filename>{file}</filename><object><name>{name}</name>{BOX}</object></annotation>"


def coco(*names: str, **more: object) -> str:
    """A COCO file with a box on each image; a key that is given as None is left out."""
    box = {"category_id": 1, "bbox": [1, 1, 3, 3], **more}
    boxes = [{"id": i, "image_id": i, **{k: v for k, v in box.items() if v is not None}} for i in range(len(names))]
    images = [{"id": i, "width": 8, "height": 6, "file_name": name} for i, name in enumerate(names)]
    return json.dumps({"images": images, "categories": [{"id": 1, "name": "cat"}], "annotations": boxes})


def each(folder: Path, image: str, annotation: str, content: str, encoding: str = "utf-8") -> Path:
    """Images with a text file each; `*` is their number."""
    for i in range(N):
        photo(folder / image.replace("*", str(i)))
        text(folder / annotation.replace("*", str(i)), content, encoding)
    return folder


def split_each(folder: Path, image: str, annotation: str, content: str) -> Path:
    """The same in train and val; `%` is the split."""
    for split in ("train", "val"):
        each(folder, image.replace("%", split), annotation.replace("%", split), content)
    return folder


def photos(folder: Path, pattern: str) -> tuple[str, ...]:
    """Images alone; their names."""
    names = [pattern.replace("*", str(i)) for i in range(N)]
    for name in names:
        photo(folder / name)
    return tuple(Path(name).name for name in names)


Layout = Callable[[Path], object]


def pairs_of(image: str, mask_name: str, high: int = 255, mode: str = "L") -> Layout:
    """Images with masks."""

    def write(d: Path) -> None:
        for i in range(N):
            photo(d / image.replace("*", str(i)))
            mask(d / mask_name.replace("*", str(i)), high, mode)

    return write


def classes(d: Path, *folders: str) -> Path:
    for folder in folders:
        photos(d, f"{folder}/{folder.replace('/', '-')}*.png")
    return d
