"""Boxes whose edges are shares of their image's width and height, whatever format they are written in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from mobilenets.data.entries import Entry
from mobilenets.errors import DataError, ImageError
from mobilenets.runtime.images.decode import upright_size

_LEAST = 3  # fewest boxes that are taken for shares of the image if all lie within one px of its corner
NOTE = "all edges of boxes lie between 0 and 1; they were read as shares of the image's width and height"


def are_shares(edges: Sequence[tuple[float, float, float, float]]) -> bool:
    """Whether the edges x0 y0 x1 y1 of all boxes lie between 0 and 1.

    >>> are_shares([(0.1, 0.2, 0.5, 1.0)] * 3), are_shares([(0.1, 0.2, 0.5, 9.0)] * 3)
    (True, False)
    """
    return len(edges) >= _LEAST and all(0 <= edge <= 1 for box in edges for edge in box)


def in_px(path: Path, entries: Iterable[Entry]) -> Iterator[Entry]:
    """The images whose edges are shares of their width and height, with edges in px.

    Args:
        path: the file or folder that lists them, for errors.
        entries: the images.

    Raises:
        DataError: the size of an image on a web server is not known.
    """
    for entry in entries:
        if entry.boxes and entry.url and entry.stated is None:
            message = f"'{path}' has edges as shares of images on a web server, whose sizes are not known"
            raise DataError(message, hint="add the columns width and height, or write edges in px")
        try:
            width, height = entry.stated if entry.url and entry.stated is not None else upright_size(entry.path)
        except ImageError:
            yield replace(entry, boxes=())  # named as broken when it is looked at
            continue
        boxes = (
            replace(box, x0=box.x0 * width, y0=box.y0 * height, x1=box.x1 * width, y1=box.y1 * height) for box in entry.boxes
        )
        yield replace(entry, boxes=tuple(boxes))
