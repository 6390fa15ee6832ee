"""How large a dataset's objects are on the network's input, and how well a detector's anchors overlap them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mobilenets.data.samples import Dataset
from mobilenets.runtime.detect.anchors import anchors
from mobilenets.runtime.detect.nms import ious
from mobilenets.specs.families import backbone
from mobilenets.specs.ssd import SsdHead, ssdlite

EDGES = (0.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, float("inf"))
"""Bounds of the bins, as the square root of a box's area in px of the input."""

SMALLEST = 8.0
"""The square root of an area in px of the input; smaller objects can hardly be distinguished from their surroundings."""

MATCHED = 0.5
"""An anchor whose overlap with a box is at least this is trained on it (SSD, section 2.2)."""

UNCOVERED = 0.25
"""A box whose best overlap with any anchor is lower can hardly be learned: its side is half that of the smallest anchor."""

_MOST = 50_000  # maximum number of boxes that are compared with the anchors
_BLOCK = 256


@dataclass(frozen=True, slots=True)
class SizeBin:
    """The objects in one range of sizes.

    Args:
        low, high: bounds of the square root of a box's area, px of the input.
        boxes: the number of boxes.
        overlap: mean overlap with the best anchor, 0 to 1.
        matched: share of boxes that an anchor overlaps by at least `MATCHED`.
        uncovered: share of boxes that no anchor overlaps by `UNCOVERED`.
    """

    low: float
    high: float
    boxes: int
    overlap: float
    matched: float
    uncovered: float


@dataclass(frozen=True, slots=True, eq=False)
class BoxSizes:
    """The size of every object of a dataset on the network's input, and its overlap with the best anchor.

    Args:
        labels: class names.
        classes: the class of each object, N.
        sides: the square root of each object's area, px of the input, N.
        overlaps: the overlap of each object with its best anchor, 0 to 1, N.
        shape: height and width of the input, px.
    """

    labels: tuple[str, ...]
    classes: NDArray[np.int64]
    sides: NDArray[np.float32]
    overlaps: NDArray[np.float32]
    shape: tuple[int, int]

    def bins(self) -> tuple[SizeBin, ...]:
        """The objects by size, the smallest first, without empty bins at the ends."""
        bins = []
        for low, high in pairwise(EDGES):
            best = self.overlaps[(self.sides >= low) & (self.sides < high)]
            shares = (
                (float(best.mean()), float((best >= MATCHED).mean()), float((best < UNCOVERED).mean()))
                if len(best)
                else (0.0,) * 3
            )
            bins.append(SizeBin(low, high, len(best), *shares))
        filled = [i for i, sizes in enumerate(bins) if sizes.boxes]
        return tuple(bins[filled[0] : filled[-1] + 1]) if filled else ()


def default_head(labels: Sequence[str]) -> SsdHead:
    """The head of the detector that is trained by default."""
    head = ssdlite(backbone("mobilenet_v2"), labels or ["object"]).head
    assert isinstance(head, SsdHead)
    return head


def box_sizes(dataset: Dataset, images: Sequence[tuple[int, int] | None], head: SsdHead, shape: tuple[int, int]) -> BoxSizes:
    """Sizes and overlaps of a dataset's objects on an input to which images are stretched.

    Boxes without area, crowds and difficult objects are skipped, because no anchor is trained on them. Of more than 50,000
    boxes, every k-th is taken.

    Args:
        dataset: a detection dataset.
        images: width and height of each sample's upright image, px; None if it is not known.
        head: the head whose anchors are compared.
        shape: height and width of the input, px.
    """
    boxes, classes = [], []
    for sample, size in zip(dataset.samples, images, strict=True):
        if size is None:
            continue
        across, down = shape[1] / size[0], shape[0] / size[1]
        for box in sample.boxes:
            if box.width > 0 and box.height > 0 and not (box.crowd or box.difficult):
                boxes.append((box.x0 * across, box.y0 * down, box.x1 * across, box.y1 * down))
                classes.append(box.label)
    step = max(1, -(-len(boxes) // _MOST))
    placed = np.array(boxes[::step], np.float32).reshape(-1, 4)
    sides = np.sqrt((placed[:, 2] - placed[:, 0]) * (placed[:, 3] - placed[:, 1]))
    every = anchors(head, shape)
    blocks = (placed[first : first + _BLOCK] for first in range(0, len(placed), _BLOCK))
    best = [ious(block, every).max(axis=1) for block in blocks]
    overlaps = np.concatenate(best) if best else np.zeros(0, np.float32)
    return BoxSizes(dataset.labels, np.array(classes[::step], np.int64), sides, overlaps, shape)
