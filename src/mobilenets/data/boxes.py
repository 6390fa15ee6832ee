"""`Box`: where an object is in an image, and what it is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Box:
    """One object: px of the upright original image, as edges: the leftmost column of pixels lies between x 0 and x 1.

    A reader keeps what its files say, also where that lies outside the image, is empty or has its corners swapped.

    Args:
        label: index into the dataset's labels.
        x0, y0: left and top edge.
        x1, y1: right and bottom edge; `x1 - x0` is the width in px.
        difficult: hard to tell even for people (Pascal VOC): measured neither as a hit nor as a miss. A detector learns neither
            to find it nor to find nothing there.
        crowd: many objects in one box (COCO): finding one is no mistake. It is learned as little as a difficult one.
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
        """In px; not positive for a box that is none."""
        return self.x1 - self.x0

    @property
    def height(self) -> float:
        """In px; not positive for a box that is none."""
        return self.y1 - self.y0


@dataclass(frozen=True, slots=True)
class NamedBox:
    """A box as a reader finds it, before labels are numbered.

    Args:
        label: name of its class.
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
