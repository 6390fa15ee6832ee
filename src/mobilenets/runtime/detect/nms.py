"""Overlap of boxes and non-maximum suppression, in NumPy.

The suppression sorts the boxes along one axis, so that only boxes near each other are compared, as arrays of pairs. It visits
the boxes in blocks by descending score. Each block is first thinned out by the boxes kept so far, then within itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Real = TypeVar("Real", np.float32, np.float64)

BLOCK = 1024  # number of candidates that are compared with one another at once
PAIRS = 1_000_000  # number of pairs examined at once: bounds the memory if all boxes overlap
_SLACK = 1e-3  # px; the sorted order is only a coarse filter, and rounding must not make it miss a box


def areas(boxes: NDArray[Real]) -> NDArray[Real]:
    """Areas of boxes x0 y0 x1 y1, N x 4, in px squared."""
    areas_px: NDArray[Real] = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])  # N
    return areas_px


def intersections(first: NDArray[Real], second: NDArray[Real]) -> NDArray[Real]:
    """Area of the intersection of each pair of boxes, px squared. The arrays broadcast; their last axis is x0 y0 x1 y1."""
    sides = np.minimum(first[..., 2:], second[..., 2:])  # ... 2: right and lower edges
    sides -= np.maximum(first[..., :2], second[..., :2])  # ... 2: width and height of the intersection
    np.maximum(sides, 0, out=sides)
    shared: NDArray[Real] = sides[..., 0] * sides[..., 1]
    return shared


def ious(first: NDArray[Real], second: NDArray[Real]) -> NDArray[Real]:
    """Intersection over union of every box of `first`, N x 4, with every one of `second`, M x 4; 0 where both are empty.

    >>> ious(np.array([[0, 0, 2, 2]], np.float32), np.array([[1, 0, 3, 2], [5, 5, 6, 6]], np.float32)).round(3).tolist()
    [[0.3330000042915344, 0.0]]
    """
    shared = intersections(first[:, np.newaxis], second[np.newaxis])  # N M
    union = areas(first)[:, np.newaxis] + areas(second) - shared  # N M
    overlaps: NDArray[Real] = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return overlaps


def nms(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    classes: NDArray[np.int64],
    iou: float,
    *,
    most: int | None = None,
) -> NDArray[np.int64]:
    """The boxes that remain after each box suppresses lower-scoring boxes of its own class that overlap it.

    The result is that of `torchvision.ops.batched_nms`; of equal scores the earlier box comes first. Only boxes near each other
    are compared, so many boxes far apart cost little. Memory is bounded even if all boxes lie on top of one another.

    Args:
        boxes: x0 y0 x1 y1, N x 4.
        scores: the score of each box, N.
        classes: the class of each box, N.
        iou: a box is suppressed if its overlap with a higher-scoring one exceeds this.
        most: how many boxes to keep, the best ones; all by default.

    Returns:
        Indices of the remaining boxes, by descending score.
    """
    order = np.argsort(-scores, kind="stable")  # N, by descending score: a lower position means a higher score
    line = _line(boxes[order], classes[order])
    limit = len(order) if most is None else most
    kept = np.zeros(0, np.int64)  # positions in `line`, as everywhere below
    length = min(BLOCK, max(64, 2 * limit))
    for start in range(0, len(order), length):
        block = np.arange(start, min(start + length, len(order)))
        block = _survivors(line, _unbeaten(line, kept, block, iou), iou)  # by earlier blocks, then within the block
        kept = np.concatenate([kept, block])
        if len(kept) >= limit:
            break
    return order[kept[:limit]]


def float32_below(value: float) -> np.float32:
    """The largest 32-bit float that does not exceed `value`, so that comparisons with 32-bit floats are exact."""
    nearest = np.float32(value)
    return nearest if float(nearest) <= value else np.nextafter(nearest, np.float32(-np.inf))


@dataclass(frozen=True, slots=True)
class _Line:
    """Boxes along one axis. The classes are placed one after another with gaps, so boxes of different classes are never near.

    Args:
        boxes: N x 4.
        areas: N.
        classes: N.
        begin: left edge, or upper edge if the boxes spread wider vertically, N.
        side: length along that axis, N.
    """

    boxes: NDArray[np.float32]
    areas: NDArray[np.float32]
    classes: NDArray[np.int64]
    begin: NDArray[np.float64]
    side: NDArray[np.float64]


def _line(boxes: NDArray[np.float32], classes: NDArray[np.int64]) -> _Line:
    low, high = boxes[:, :2].astype(np.float64), boxes[:, 2:].astype(np.float64)
    sides = np.maximum(high - low, 0)
    spread = np.ptp(low, axis=0) / np.maximum(sides.mean(axis=0), 1e-9) if len(boxes) else np.zeros(2)
    axis = int(spread.argmax())
    begin, side = low[:, axis], sides[:, axis]
    length = np.ptp(begin) + side.max() + 1 if len(boxes) else 1.0
    return _Line(boxes, areas(boxes), classes, begin + classes * length, side)


def _unbeaten(line: _Line, kept: NDArray[np.int64], block: NDArray[np.int64], iou: float) -> NDArray[np.int64]:
    """The boxes of a block that no box in `kept` suppresses."""
    if not len(kept):
        return block
    alive = np.ones(len(line.begin), np.bool_)
    for _, losers in _rivals(line, kept, block, iou):
        alive[losers] = False
    for losers, _ in _rivals(line, block, kept, iou):
        alive[losers] = False
    return block[alive[block]]


def _survivors(line: _Line, block: NDArray[np.int64], iou: float) -> NDArray[np.int64]:
    """The boxes of a block that are not suppressed by a surviving box of a higher score, which is one at a lower position.

    Whether a box survives depends only on higher-scoring boxes. The first round therefore settles the boxes that nothing
    overlaps, and each further round settles the next link of every chain, until nothing changes.
    """
    pairs = list(_rivals(line, block, block, iou))
    first, second = (np.concatenate([pair[i] for pair in pairs]) for i in (0, 1)) if pairs else (block[:0], block[:0])
    winners, losers = np.minimum(first, second), np.maximum(first, second)
    alive = np.ones(len(line.begin), np.bool_)
    while True:
        following = np.ones(len(line.begin), np.bool_)
        following[losers[alive[winners]]] = False
        if (following == alive).all():
            return block[alive[block]]
        alive = following


def _rivals(
    line: _Line, first: NDArray[np.int64], second: NDArray[np.int64], iou: float
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Pairs of boxes of one class that overlap by more than `iou`, where the box of `first` begins first; in portions.

    The overlap of two boxes is at most the overlap of their sides on the axis. To overlap by `iou`, the second box must
    therefore begin within the first (1 - iou) of the first box's side, a range that `searchsorted` finds.
    """
    second = second[np.argsort(line.begin[second], kind="stable")]
    begin, reach = line.begin[first], (1 - iou) * line.side[first] + _SLACK
    low = np.searchsorted(line.begin[second], begin - _SLACK, "left")  # per box of `first`: the first box near it
    counts = np.searchsorted(line.begin[second], begin + reach, "right") - low  # per box of `first`: how many boxes are near it
    portion = (np.cumsum(counts) - counts) // PAIRS  # each portion of rows has about PAIRS pairs
    at_most = float32_below(iou)
    for rows in np.split(np.arange(len(first)), np.flatnonzero(np.diff(portion)) + 1):
        count = counts[rows]
        left = np.repeat(rows, count)  # P: the row of each pair
        offsets = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)  # P: 0, 1, ... within each row
        i, j = first[left], second[low[left] + offsets]  # P: the boxes of each pair
        shared = intersections(line.boxes[i], line.boxes[j])
        with np.errstate(invalid="ignore", divide="ignore"):  # two empty boxes give NaN, which exceeds nothing
            over = shared / (line.areas[i] + line.areas[j] - shared) > at_most
        over &= (i != j) & (line.classes[i] == line.classes[j])
        yield i[over], j[over]
