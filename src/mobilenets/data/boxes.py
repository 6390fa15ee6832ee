"""`Box`: the bounding box and class of an object in an image."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Box:
    """One object, with edges in px of the upright original image: the leftmost column of pixels is between x = 0 and x = 1.

    A reader keeps the edges in its files, even if the box is outside the image, empty, or has swapped corners.

    Args:
        label: index into the dataset's labels.
        x0, y0: left and top edge.
        x1, y1: right and bottom edge; `x1 - x0` is the width in px.
        difficult: whether it is hard to recognize even for people (Pascal VOC). It counts neither as a hit nor as a miss, and
            in training it is neither a positive nor a negative example.
        crowd: whether it contains many objects (COCO). A detection inside it is not an error, and training ignores it too.
    """

    label: int
    x0: float
    y0: float
    x1: float
    y1: float
    difficult: bool = False
    crowd: bool = False

    @property
    def corners(self) -> tuple[float, float, float, float]:
        """`x0, y0, x1, y1`."""
        return self.x0, self.y0, self.x1, self.y1

    @property
    def width(self) -> float:
        """Width in px; not positive if the box is empty or its corners are swapped."""
        return self.x1 - self.x0

    @property
    def height(self) -> float:
        """Height in px; not positive if the box is empty or its corners are swapped."""
        return self.y1 - self.y0


@dataclass(frozen=True, slots=True)
class NamedBox:
    """A box as a reader finds it, before labels become indices.

    Args:
        label: the name of its class.
        x0, y0, x1, y1, difficult, crowd: as in `Box`.
    """

    label: str
    x0: float
    y0: float
    x1: float
    y1: float
    difficult: bool = False
    crowd: bool = False

    def numbered(self, label: int) -> Box:
        """The same box with the index of its class."""
        return Box(label, self.x0, self.y0, self.x1, self.y1, self.difficult, self.crowd)
