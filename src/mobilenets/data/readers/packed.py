"""Annotations in tar shards: the label, boxes or mask that a key has for its image.

- A label is the content of `key.cls` or `key.txt`, or "label" in `key.json`. A number counts the lines of `labels.txt`.
- Boxes are the list "boxes" in `key.json`. Each has a "label" and either the edges "x0", "y0", "x1", "y1" in px, or COCO's
  "bbox" of `[x, y, width, height]`; "difficult" and "crowd" may be true. An empty list says that there is nothing in the image.
- A mask is `key.mask.png` (or `key.seg.png`), whose values are the lines of `labels.txt`; 255 is ignored.
- `key.json` may also have "split", "weight", "group", and the "width" and "height" of the image in px.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from mobilenets import documents
from mobilenets.data import masks
from mobilenets.data.addresses import file_name, is_remote
from mobilenets.data.boxes import NamedBox
from mobilenets.data.entries import SPLIT_WORDS, Entry, in_order
from mobilenets.data.faults import Fault
from mobilenets.data.located import Located
from mobilenets.data.masks import Color, Mask
from mobilenets.data.readers.format import Asked
from mobilenets.data.readers.mask_classes import named_classes
from mobilenets.data.readers.members import SHARD_HINT, Key
from mobilenets.data.samples import Split
from mobilenets.data.text import class_name
from mobilenets.errors import DataError, DocumentError
from mobilenets.specs.model import Task

LABELS_FILE = "labels.txt"
"""The file beside the shards with the class names, one per line; line i names the class that `.cls` files call i."""

_LABEL_KEYS = ("label", "class", "cls")
_PEEKED = 30  # number of masks whose palette is read


@dataclass(frozen=True, slots=True)
class Packed:
    """An image in a shard.

    Args:
        key: its key, which has an image.
        shard: the file or address of the shard.
        name: the image's name in reports.
        about: the key's JSON; empty if it has none.
    """

    key: Key
    shard: str
    name: str
    about: Mapping[str, Any] = field(default_factory=dict)  # Any: JSON

    @property
    def where(self) -> str:
        """The image's location, for messages."""
        return f"{shard_name(self.shard)}/{self.key.name}{self.key.suffix}"

    @property
    def label(self) -> str:
        """The class as written: a name, or a line number of `labels.txt`; "" if there is none."""
        if self.key.label_suffix != ".json":
            return self.key.label
        return str(next((self.about[name] for name in _LABEL_KEYS if name in self.about), ""))

    def entry(self, group: str) -> Entry:
        """The image without its annotation.

        Raises:
            DataError: its split or weight is not valid.
        """
        remote = is_remote(self.shard)
        return Entry(
            Path(shard_name(self.shard) if remote else self.shard),
            "",
            self.name,
            split=self._split(),
            weight=_weight(self.about.get("weight", 1.0), self.where),
            group=str(self.about.get(group, "")),
            member=(self.key.offset, self.key.size),
            url=self.shard if remote else "",
            stated=self._stated(),
            checksum=self.key.checksum,
        )

    def mask_file(self) -> Located | None:
        """The location of its mask; None if it has none."""
        part = self.key.mask
        if part is None:
            return None
        remote = is_remote(self.shard)
        file = shard_name(self.shard)
        path = Path(file if remote else self.shard)
        return Located(path, (part.offset, part.size), self.shard if remote else "", part.checksum, f"{file}/{part.name}")

    def _stated(self) -> tuple[int, int] | None:
        width, height = self.about.get("width"), self.about.get("height")
        if isinstance(width, int) and isinstance(height, int) and min(width, height) > 0:
            return int(width), int(height)
        return None

    def _split(self) -> Split | None:
        if "split" not in self.about:
            return SPLIT_WORDS.get(re.split(r"[^a-zA-Z]", shard_name(self.shard), maxsplit=1)[0].lower())
        word = str(self.about["split"])
        if word.lower() not in SPLIT_WORDS:
            raise DataError(f"'{self.where}' has the split '{word}'", hint="splits are train, val and test")
        return SPLIT_WORDS[word.lower()]


@dataclass(frozen=True, slots=True)
class Annotated:
    """The images of shards with their annotations.

    Args:
        entries: the annotated images.
        labels: the class names.
        colors: the labels' colors, if masks have palettes.
        notes: what was decided, one line each for people to read.
        faults: the images that were left out.
    """

    entries: tuple[Entry, ...]
    labels: tuple[str, ...]
    colors: tuple[Color, ...] = ()
    notes: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()


def packed(key: Key, shard: str, lead: str) -> Packed:
    """An image in a shard, with what its JSON says.

    Args:
        key: the image's key.
        shard: the file or address of the shard.
        lead: prefix of the image's name if there are several shards.

    Raises:
        DataError: its JSON cannot be read.
    """
    name = f"{lead}/{key.name}{key.suffix}" if lead else f"{key.name}{key.suffix}"
    image = Packed(key, shard, name)
    if key.label_suffix != ".json":
        return image
    try:
        about = documents.parse_with_file_names(key.label)
    except DocumentError as error:
        raise DataError(f"the JSON of '{image.where}' cannot be read: {error}") from error
    if not isinstance(about, Mapping):
        raise DataError(f"the JSON of '{image.where}' is not an object")
    return replace(image, about=about)


def task_of(images: Sequence[Packed]) -> Task:
    """The default task for shards: boxes take precedence over labels, and labels over masks."""
    if any("boxes" in image.about for image in images):
        return "detect"
    return "segment" if any(image.key.mask for image in images) and not any(image.label for image in images) else "classify"


def labelled(images: Sequence[Packed], names: tuple[str, ...], asked: Asked) -> Annotated:
    """The images with their labels.

    Raises:
        DataError: an image has no label.
    """
    entries = tuple(_labelled(image, names, asked) for image in images)
    notes = ("the labels were read; the shards also have masks, for the task segment",) if _have_masks(images) else ()
    return Annotated(entries, _labels((entry.label for entry in entries), names), notes=notes)


def boxed(images: Sequence[Packed], names: tuple[str, ...], asked: Asked) -> Annotated:
    """The images with their boxes. An image whose JSON has no list of boxes is left out and reported.

    Raises:
        DataError: no image has boxes, or a box is not valid.
    """
    entries, faults = [], []
    for image in images:
        if "boxes" in image.about:
            boxes = _boxes(image.about["boxes"], image.where, names)
            entries.append(replace(image.entry(asked.group or "group"), boxes=boxes))
        else:
            faults.append(Fault("unannotated", "has no list 'boxes' in its JSON and is left out", image.name))
    if not entries:
        raise DataError(
            f"no image of '{shard_name(images[0].shard)}' has boxes",
            hint='key.json beside key.jpg lists them: {"boxes": [{"label": "cat", "x0": 1, "y0": 2, "x1": 30, "y1": 40}]}',
        )
    notes = ("the boxes were read; the shards also have masks, for the task segment",) if _have_masks(images) else ()
    labels = _labels((box.label for entry in entries for box in entry.boxes), names)
    return Annotated(tuple(entries), labels, notes=notes if asked.task is None else (), faults=tuple(faults))


def masked(images: Sequence[Packed], names: tuple[str, ...], asked: Asked) -> Annotated:
    """The images with their masks. An image without a mask is left out and reported.

    Raises:
        DataError: no image has a mask, or the classes are not named.
    """
    files = [image.mask_file() for image in images]
    if not any(files):
        hint = "a mask is key.mask.png beside key.jpg"
        raise DataError(f"no image of '{shard_name(images[0].shard)}' has a mask", hint=hint)
    if not asked.classes and not names:
        raise DataError(
            f"nothing names the classes of the masks in '{shard_name(images[0].shard)}'",
            hint=f"put {LABELS_FILE} beside the shards, one name per line in the order of the values; or give --classes",
        )
    known = named_classes(asked.classes or names, ignore=asked.ignore)
    values = [known.table.index(label) for label in range(len(known.labels))]
    palettes = (masks.palette(file, values) for file in islice(filter(None, files), _PEEKED))
    entries, faults = [], []
    for image, file in zip(images, files, strict=True):
        if file is None:
            faults.append(Fault("unannotated", "has no mask and is left out", image.name))
        else:
            mask = Mask(file.path, known.coding, known.table, within=file)
            entries.append(replace(image.entry(asked.group or "group"), mask=mask))
    colors = known.colors or next((colors for colors in palettes if colors), ())
    return Annotated(tuple(entries), known.labels, colors, faults=tuple(faults))


ANNOTATED: Mapping[Task, Callable[[Sequence[Packed], tuple[str, ...], Asked], Annotated]] = {
    "classify": labelled,
    "detect": boxed,
    "segment": masked,
}
"""Reads the annotations of a task, given the images, the lines of `labels.txt`, and what the user says."""


def shard_name(shard: str) -> str:
    """The file name of a shard."""
    return file_name(shard) if is_remote(shard) else Path(shard).name


def _have_masks(images: Sequence[Packed]) -> bool:
    return any(image.key.mask for image in images)


def _labels(used: Iterable[str], names: tuple[str, ...]) -> tuple[str, ...]:
    """The names in `labels.txt` if they include all used names; otherwise the used names."""
    labels = in_order(used)
    return names if names and set(labels) <= set(names) else labels


def _labelled(image: Packed, names: tuple[str, ...], asked: Asked) -> Entry:
    if not image.label:
        raise DataError(f"'{image.where}' has no label", hint=SHARD_HINT)
    return replace(image.entry(asked.group or "group"), label=_named(image.label, image.where, names))


def _named(text: str, where: str, names: tuple[str, ...]) -> str:
    """The class that a label names: itself, or a line of `labels.txt`."""
    if text.isdecimal() and names and text not in names:
        if int(text) >= len(names):
            raise DataError(f"'{where}' has the class {text}, but {LABELS_FILE} names {len(names)} classes, from 0 on")
        return names[int(text)]
    return text


def _boxes(boxes: object, where: str, names: tuple[str, ...]) -> tuple[NamedBox, ...]:
    if not isinstance(boxes, list):
        raise DataError(f"the JSON of '{where}': boxes is not a list")
    return tuple(
        _box(box, f"the JSON of '{where}': boxes[{i}]", partial(_named, where=where, names=names))
        for i, box in enumerate(boxes)
    )


def _box(box: object, where: str, named: Callable[[str], str]) -> NamedBox:
    if not isinstance(box, Mapping):
        raise DataError(f"{where} is not an object")
    label = next((box[name] for name in (*_LABEL_KEYS, "category") if name in box), None)
    if not isinstance(label, str | int) or isinstance(label, bool):
        raise DataError(f"{where} has no label")
    if "bbox" in box:
        x, y, width, height = _numbers(box["bbox"], f"{where}.bbox")
        edges = (x, y, x + width, y + height)
    else:
        edges = _numbers([box.get(edge) for edge in ("x0", "y0", "x1", "y1")], f"{where}: x0, y0, x1, y1")
    flags = [bool(box.get(flag, False)) for flag in ("difficult", "crowd")]
    return NamedBox(class_name(named(str(label)), where), *edges, *flags)


def _numbers(values: object, where: str) -> tuple[float, float, float, float]:
    numbers = [float(value) for value in values if _is_number(value)] if isinstance(values, list) else []
    if not isinstance(values, list) or len(values) != 4 or len(numbers) != 4:
        raise DataError(f"{where} is not four numbers", hint="edges are in px of the upright image")
    return numbers[0], numbers[1], numbers[2], numbers[3]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _weight(value: Any, where: str) -> float:  # Any: JSON
    if not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise DataError(f"'{where}' has the weight {value!r}, which is not zero or more")
    return float(value)
