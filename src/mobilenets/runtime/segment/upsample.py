"""From a segmenter's coarse logits to a class for every pixel, with bilinear interpolation only where it matters.

If the four logits around a pixel favor the same class, every weighted mean of them does too. So only the cells whose corners
disagree are interpolated. The result is the same as interpolating everything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_AT_ONCE = 1 << 15  # values of one class that are interpolated together, few enough to stay in the cache
_PAIRS = 1 << 18  # places of one row of the map that are processed together


@dataclass(frozen=True, slots=True, eq=False)
class Axis:
    """Where the pixels along one side of an image lie between the places along one side of a map.

    Args:
        low: the place before each pixel, ascending.
        share: the weight of the place after it, 0 to 1.
        places: number of places.
    """

    low: NDArray[np.intp]
    share: NDArray[np.float32]
    places: int

    @property
    def high(self) -> NDArray[np.intp]:
        """The place after each pixel; the last place has none, so it repeats."""
        return np.minimum(self.low + 1, self.places - 1)

    def part(self, first: int, last: int) -> Axis:
        """The axis of only the pixels from `first` to before `last`."""
        return Axis(self.low[first:last], self.share[first:last], self.places)


def axis(pixels: int, places: int, *, size: float, scale: float = 1.0, start: float = 0.0, align_corners: bool = False) -> Axis:
    """How the pixels along one side of an image lie on a map. Pixels beyond the map are moved to its ends.

    Args:
        pixels: length of the image's side.
        places: length of the map's side.
        size: length of the network's input that the map covers, px.
        scale: px of the image per px of the input.
        start: position of the input on the image, px.
        align_corners: whether the first and last place are aligned with the centers of the input's first and last pixel, as in
            TensorFlow's DeepLab; otherwise each place is at the center of its share of the input.
    """
    edges = (np.arange(pixels) + 0.5 - start) / scale
    at = (edges - 0.5) * ((places - 1) / max(size - 1, 1)) if align_corners else edges * (places / size) - 0.5
    at = np.clip(at, 0, places - 1)
    low = np.minimum(np.floor(at), max(places - 2, 0)).astype(np.intp)
    return Axis(low, (at - low).astype(np.float32), places)


def upsampled(values: NDArray[np.float32], rows: Axis, columns: Axis) -> NDArray[np.float32]:
    """The values interpolated at every pixel.

    Args:
        values: the map, C h w.
        rows, columns: where the pixels lie on the map.

    Returns:
        C H W.
    """
    first, last = int(rows.low[0]), int(rows.low[-1]) + 2
    values = values[:, first:last]
    wide = values[:, :, columns.low]  # C h W
    wide += (values[:, :, columns.high] - wide) * columns.share  # C h W
    above = rows.low - first
    below = np.minimum(above + 1, wide.shape[1] - 1)
    tall: NDArray[np.float32] = wide[:, above]  # C H W
    tall += (wide[:, below] - tall) * rows.share[:, np.newaxis]  # C H W
    return tall


def largest(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Index along the first axis of the largest value; ties go to the first. At most 256 values."""
    classes = np.zeros(values.shape[1:], np.uint8)
    best = values[0].copy()
    for k in range(1, len(values)):
        np.copyto(classes, k, where=values[k] > best)
        np.maximum(best, values[k], out=best)
    return classes


def upsampled_largest(values: NDArray[np.float32], rows: Axis, columns: Axis) -> NDArray[np.uint8]:
    """The same as `largest(upsampled(values, rows, columns))`, several times faster and with little memory.

    Every pixel first takes the class of the place before it. Then the cells whose corners differ are resolved: a band is the
    pixel rows between two rows of the map, and each pixel column of a mixed cell in it is one line to interpolate.

    Args:
        values: the map, C h w.
        rows, columns: where the pixels lie on the map.

    Returns:
        H W.
    """
    values = _with_two_places(values)
    preferred = largest(values)  # h w
    classes: NDArray[np.uint8] = preferred[:, columns.low][rows.low]  # H W
    mixed = (preferred[1:] != preferred[:-1])[:, :-1] | (preferred[1:] != preferred[:-1])[:, 1:]  # h-1 w-1: cells
    mixed |= (preferred[:, 1:] != preferred[:, :-1])[:-1]
    flat = np.ascontiguousarray(values).reshape(len(values), -1)  # C h*w
    first = np.searchsorted(rows.low, np.arange(values.shape[1]))  # h: the first pixel row of each band
    step = max(1, _PAIRS // len(columns.low))
    for band in range(0, len(mixed), step):
        bands, across = np.nonzero(mixed[band : band + step][:, columns.low])
        bands += band
        height = int((first[band + 1 : band + step + 1] - first[band : band + step][: len(mixed) - band]).max())
        chunk = max(1, _AT_ONCE // max(height, 1))
        for i in range(0, len(bands) if height else 0, chunk):
            _resolve(flat, classes, rows, columns, first, bands[i : i + chunk], across[i : i + chunk], height)
    return classes


def _resolve(
    flat: NDArray[np.float32],
    classes: NDArray[np.uint8],
    rows: Axis,
    columns: Axis,
    first: NDArray[np.intp],
    bands: NDArray[np.intp],
    across: NDArray[np.intp],
    height: int,
) -> None:
    """Fill in the pixels of `classes` in these columns of these bands; `height` is that of the tallest band.

    Down a column, the value of each class is linear: `top + change * ratio`. The largest one wins, class by class.
    """
    width = max(columns.places, 2)
    corner = bands * width + columns.low[across]
    share = columns.share[across]
    top = flat[:, corner]  # C n: the upper edge of each cell, at the column
    top += (flat[:, corner + 1] - top) * share
    change = flat[:, corner + width]
    change += (flat[:, corner + width + 1] - change) * share
    change -= top  # C n
    # Rows beyond a shorter band repeat its last row, which is then written twice with the same class.
    down = np.minimum(first[bands] + np.arange(height)[:, np.newaxis], np.maximum(first[bands + 1] - 1, 0))
    ratio = rows.share[down]
    best = top[0] + change[0] * ratio  # height n
    answer = np.zeros(best.shape, np.uint8)
    value, more = np.empty_like(best), np.empty(best.shape, np.bool_)
    for k in range(1, len(flat)):
        np.multiply(ratio, change[k], out=value)
        value += top[k]
        np.greater(value, best, out=more)
        np.copyto(answer, k, where=more)
        np.maximum(best, value, out=best)
    here = first[bands] < first[bands + 1]  # a band between two pixel rows is empty
    if not here.all():
        down, across, answer = down[:, here], across[here], answer[:, here]
    classes[down, across] = answer


def _with_two_places(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The values with each side of length 1 doubled, so that there are cells to interpolate."""
    for side in (1, 2):
        if values.shape[side] == 1:
            values = np.repeat(values, 2, axis=side)
    return values
