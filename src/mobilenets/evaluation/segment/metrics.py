"""Segmentation metrics in NumPy, computed from a small confusion matrix and a few counts per image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mobilenets.data.masks import IGNORE

if TYPE_CHECKING:
    from numpy.typing import NDArray

TOLERANCE = 0.0075
"""Distance within which two boundaries match, as a share of the image's diagonal (Csurka et al. 2013)."""

_AT_ONCE = 1 << 20  # pixels that are counted at once; counting takes eight bytes per pixel
_BITS = 64  # number of classes whose boundaries are processed together


@dataclass(frozen=True, slots=True, eq=False)
class Boundaries:
    """Boundary pixels of each class in one image.

    Args:
        predicted, true: number of boundary pixels in the prediction and in the ground truth.
        predicted_hits, true_hits: how many of these have a boundary pixel of the same class on the other side within the
            tolerance.
    """

    predicted: NDArray[np.int64]
    predicted_hits: NDArray[np.int64]
    true: NDArray[np.int64]
    true_hits: NDArray[np.int64]

    @property
    def f_scores(self) -> NDArray[np.float64]:
        """F-score of each class, 0 to 1; NaN for a class without a boundary on either side."""
        precision = shares(self.predicted_hits, self.predicted)
        recall = shares(self.true_hits, self.true)
        return shares(2 * precision * recall, precision + recall, empty=0.0, known=self.predicted + self.true > 0)


def confusion(truth: NDArray[np.uint8], predicted: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    """Pixels of one image per `[true class, predicted class]`; pixels whose true class is `IGNORE` are not counted.

    Args:
        truth, predicted: H W, or any equal shapes.
        classes: number of classes.
    """
    total = np.zeros((256 if truth.size else 0) * classes, np.int64)
    flat_truth, flat_predicted = truth.ravel(), predicted.ravel()
    for first in range(0, len(flat_truth), _AT_ONCE):
        part = flat_truth[first : first + _AT_ONCE].astype(np.intp)
        part *= classes
        part += flat_predicted[first : first + _AT_ONCE]
        total += np.bincount(part, minlength=256 * classes)
    return total[: classes * classes].reshape(classes, classes)


def ious(hits: NDArray[np.int64], support: NDArray[np.int64], called: NDArray[np.int64]) -> NDArray[np.float64]:
    """Intersection over union of each class, 0 to 1; NaN for a class that is neither in the ground truth nor predicted.

    Args:
        hits: correctly predicted pixels of each class.
        support: pixels that truly belong to the class.
        called: pixels that were predicted as the class.
    """
    return shares(hits, support + called - hits)


def mean_iou(hits: NDArray[np.int64], support: NDArray[np.int64], called: NDArray[np.int64]) -> float:
    """Mean intersection over union of the classes in the ground truth; NaN if there are none. Arguments as for `ious`."""
    present = support > 0
    return float(ious(hits, support, called)[present].mean()) if present.any() else float("nan")


def mean_accuracy(hits: NDArray[np.int64], support: NDArray[np.int64]) -> float:
    """Mean recall of the classes in the ground truth; NaN if there are none."""
    present = support > 0
    return float((hits[present] / support[present]).mean()) if present.any() else float("nan")


def boundaries(truth: NDArray[np.uint8], predicted: NDArray[np.uint8], classes: int, *, radius: int) -> Boundaries:
    """How well the boundaries of each class match in one image.

    The boundary of a class is its pixels next to another class. Ignored pixels and their neighbors have no boundary.

    Each boundary pixel sets the bit of its class. Dilating the bits by a disk marks everything within the radius. A boundary
    pixel matches if its own bit is set in the other side's dilated bits.

    Args:
        truth, predicted: H W.
        classes: number of classes.
        radius: distance within which boundaries match, px.
    """
    counts = np.zeros((4, classes), np.int64)
    predicted = np.where(truth == IGNORE, np.uint8(IGNORE), predicted)
    edges = [_edges(predicted), _edges(truth)]
    for first in range(0, classes, _BITS):
        own = [_bits(mask, edge, first) for mask, edge in zip((predicted, truth), edges, strict=True)]  # H W each
        near = [_within(bits, radius) for bits in own]
        for i, (mask, edge, bits, other) in enumerate(
            ((predicted, edges[0], own[0], near[1]), (truth, edges[1], own[1], near[0]))
        ):
            counts[2 * i] += _counts(mask[edge & (bits != 0)], classes)
            counts[2 * i + 1] += _counts(mask[(bits & other) != 0], classes)
    return Boundaries(*counts)


def tolerance(height: int, width: int) -> int:
    """Distance within which boundaries match in an image of this size, px; at least 1."""
    return max(1, round(TOLERANCE * float(np.hypot(height, width))))


def shares(
    part: NDArray[np.int64] | NDArray[np.float64],
    whole: NDArray[np.int64] | NDArray[np.float64],
    *,
    empty: float = float("nan"),
    known: NDArray[np.bool_] | None = None,
) -> NDArray[np.float64]:
    """`part / whole`; `empty` where the whole is 0, and NaN where `known` is false."""
    part, whole = np.nan_to_num(part.astype(np.float64)), np.nan_to_num(whole.astype(np.float64))
    quotient: NDArray[np.float64] = np.divide(part, whole, out=np.full(len(part), empty), where=whole > 0)
    return quotient if known is None else np.where(known, quotient, np.nan)


def means(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of each column, ignoring NaNs; NaN for a column of only NaNs."""
    return shares(np.nan_to_num(values).sum(axis=0), (~np.isnan(values)).sum(axis=0))


def _edges(mask: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Pixels with a neighbor of another class above, below, left or right; `IGNORE` does not count as a class."""
    edge = np.zeros(mask.shape, np.bool_)
    known = mask != IGNORE
    for first, second in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        differs = (mask[first] != mask[second]) & known[first] & known[second]
        edge[first] |= differs
        edge[second] |= differs
    return edge


def _bits(mask: NDArray[np.uint8], edge: NDArray[np.bool_], first: int) -> NDArray[np.uint64]:
    """A bit for the class of each edge pixel, counting from class `first`; 0 for other pixels and classes."""
    table = np.zeros(256, np.uint64)
    last = min(first + _BITS, IGNORE)
    table[first:last] = np.uint64(1) << np.arange(last - first, dtype=np.uint64)
    return np.where(edge, table[mask], np.uint64(0))


def _within(bits: NDArray[np.uint64], radius: int) -> NDArray[np.uint64]:
    """The bits of all pixels within `radius` px, dilated by a disk built row by row."""
    height, width = bits.shape
    result = bits.copy()
    wide = bits.copy()  # bits within `reach` px in the same row
    reach = 0
    for up in range(radius, -1, -1):
        while reach < int((radius * radius - up * up) ** 0.5 + 1e-9):
            reach += 1
            if reach < width:
                wide[:, reach:] |= bits[:, :-reach]
                wide[:, :-reach] |= bits[:, reach:]
        if up == 0:
            result |= wide
        elif up < height:
            result[up:] |= wide[:-up]
            result[:-up] |= wide[up:]
    return result


def _counts(values: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    return np.bincount(values, minlength=256)[:classes]
