"""Draws objects as the mask of one image: a pixel has the class of the smallest object on it, or is background."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mobilenets.data.masks import IGNORE, Mask
from mobilenets.data.regions import Region
from mobilenets.errors import DataError
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
    """

    label: str
    region: Region
    area: float
    crowd: bool = False


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


def drawn(objects: Sequence[Outlined], size: tuple[int, int], index: Mapping[str, int]) -> Mask:
    """The mask of an image's objects.

    Args:
        objects: the objects, in any order.
        size: width and height of the image, px.
        index: the class of each label; objects of other labels are ignored.
    """
    order = sorted(objects, key=lambda item: (not item.crowd, -item.area))
    painted = tuple(replace(item.region, label=index.get(item.label, IGNORE)) for item in order)
    return Mask(regions=painted, width=size[0], height=size[1])
