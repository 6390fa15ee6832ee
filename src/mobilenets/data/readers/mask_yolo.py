"""Reads YOLO's polygons as masks: a pixel has the class of the smallest polygon on it, or is background."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mobilenets.data import regions
from mobilenets.data.entries import Entry, Listing
from mobilenets.data.faults import EMPTY
from mobilenets.data.readers.format import NOTHING, Asked, Format
from mobilenets.data.readers.mask_objects import Outlined, counted_labels, drawn
from mobilenets.data.readers.yolo import is_yolo, places_of, read_yolo
from mobilenets.data.readers.yolo_lines import read_lines
from mobilenets.data.readers.yolo_places import Places
from mobilenets.data.source import Source
from mobilenets.data.text import counted, read_text
from mobilenets.errors import DataError, ImageError
from mobilenets.runtime.images.decode import upright_size


def read_yolo_masks(source: Source, asked: Asked = NOTHING) -> Listing:
    """The images of a YOLO dataset with masks of their polygons.

    Where polygons overlap, the smaller one is on top. An image without polygons is all background.

    Args:
        source: as for `yolo.read_yolo`.
        asked: the classes to ignore.

    Raises:
        DataError: a file cannot be read, a line is not valid, or there is no polygon; the message names it.
    """
    listing, places = read_yolo(source), places_of(source)
    labels = counted_labels(list(places.names.values()), asked.ignore, source.text)
    index = {label: i for i, label in enumerate(labels)}
    entries, boxed, outlined = [], 0, 0
    for entry in listing.entries:
        try:
            size = upright_size(entry.path)
        except ImageError:
            size = 1, 1  # reported as broken when it is decoded
        objects = _objects(places, entry, size)
        boxed += len(entry.boxes) - len(objects)
        outlined += len(objects)
        entries.append(replace(entry, boxes=(), mask=drawn(objects, size, index)))
    if not outlined:
        if boxed:
            raise DataError(f"'{source.text}' has YOLO's boxes, but no polygons", hint="is it a dataset of boxes?")
        images = counted(len(entries), "image")
        raise DataError(f"'{source.text}' has no polygon or box on its {images}: all label files are empty", hint=EMPTY)
    left_out = (f"{boxed:,} of {boxed + outlined:,} objects have no polygon and are left out",) if boxed else ()
    notes = (*places.notes, *left_out)
    return replace(listing, entries=tuple(entries), labels=tuple(labels), notes=notes, task="segment")


def _objects(places: Places, entry: Entry, size: tuple[int, int]) -> list[Outlined]:
    """The polygons of an image's label file, in px; `read_yolo` reports those of unknown classes."""
    path = places.labels.get(entry.path)
    if path is None or not entry.boxes:
        return []
    objects = []
    for line in read_lines(path, read_text(path).lines, places.keypoints):
        if line.polygon and line.class_index in places.names:
            corners = np.reshape(line.polygon, (-1, 2)) * size
            x, y = corners.T
            area = abs(float(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))) / 2
            objects.append(Outlined(places.names[line.class_index], regions.from_polygons(0, [corners.ravel().tolist()]), area))
    return objects


FORMAT = Format("YOLO's label files with polygons", is_yolo, read_yolo_masks, "segment", ("ignore",))
