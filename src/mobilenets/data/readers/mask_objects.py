"""Draws objects as the mask of one image: a pixel has the class of the smallest object on it, or is background."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mobilenets.data.entries import Entry
from mobilenets.data.limits import PIXELS
from mobilenets.data.masks import IGNORE, Mask
from mobilenets.data.regions import Region
from mobilenets.errors import DataError, ImageError
from mobilenets.runtime.images.decode import upright_size
from mobilenets.runtime.segment.palette import BACKGROUND

NO_OBJECT = "background"
"""The label of pixels outside all objects, which comes first, unless a class has a name in `palette.BACKGROUND`."""


@dataclass(frozen=True, slots=True)
class Outlined:
    """An object of an image.

    Args:
        label: its class.
        region: its pixels, with label 0.
        area: its area, px; infinite if that is not known.
        crowd: whether it is a crowd, which lies below all other objects.
        layer: objects of higher layers lie above those of lower ones; in a layer, the smaller above the larger.
    """

    label: str
    region: Region
    area: float
    crowd: bool = False
    layer: int = 0


def counted_labels(names: Sequence[str], ignore: Sequence[str], source: str) -> list[str]:
    """The labels that count, the background first.

    Args:
        names: the classes of the objects.
        ignore: those whose pixels are ignored.
        source: the dataset, for errors.

    Raises:
        DataError: there is no such class to ignore, or there are too many classes.
    """
    unknown = [name for name in ignore if name not in names]
    if unknown:
        raise DataError(f"'{source}' has no category '{unknown[0]}' to ignore")
    kept = [name for name in names if name not in ignore]
    own = [name for name in kept if name.lower() in BACKGROUND]
    labels = [*(own or [NO_OBJECT]), *(name for name in kept if name not in own)]
    if len(labels) > IGNORE:
        raise DataError(f"'{source}' has {len(labels)} classes; a mask of 8 bits holds {IGNORE}")
    return labels


def sized(entry: Entry, file: Path) -> Entry:
    """The entry with the image's size, which is read from the image if the file does not state it.

    Raises:
        DataError: the size is not known, or too large to draw masks.
    """
    if entry.stated is None:
        try:
            entry = replace(entry, stated=upright_size(entry.path))
        except ImageError as error:
            raise DataError(f"'{file}' says no width and height of '{entry.name}', and {error}") from error
    assert entry.stated is not None
    width, height = entry.stated
    if width * height > PIXELS:
        raise DataError(f"'{file}' says that '{entry.name}' is {width} x {height}; at most {PIXELS:,} pixels are drawn")
    return entry


def is_far_outside(region: Region, size: tuple[int, int]) -> bool:
    """Whether a polygon extends beyond its image by more than ten times its size, so that drawing it would take too long."""
    corners = [np.abs(np.frombuffer(polygon, np.float64)) for polygon in region.polygons]
    return any(float(values.max()) > 10 * max(size) for values in corners)


def drawn(objects: Sequence[Outlined], size: tuple[int, int], index: Mapping[str, int]) -> Mask:
    """The mask of an image's objects.

    Args:
        objects: the objects, in any order.
        size: width and height of the image, px.
        index: the class of each label; objects of other labels are ignored.
    """
    order = sorted(objects, key=lambda item: (not item.crowd, item.layer, -item.area))
    painted = tuple(replace(item.region, label=index.get(item.label, IGNORE)) for item in order)
    return Mask(regions=painted, width=size[0], height=size[1])
