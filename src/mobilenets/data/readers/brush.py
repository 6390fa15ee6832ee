"""Decodes Label Studio's brush strokes: the bits of thi.ng/rle-pack, which hold red, green, blue and alpha of each pixel.

A header has 32 bits for the number of values, 5 bits for the length of a value, and 4 x 4 bits for the four possible lengths
of a run's count. A run is one bit that says whether a single value is repeated, 2 bits that select one of the four lengths, a
count, and its values.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mobilenets.data.limits import PIXELS
from mobilenets.errors import ImageError

_CHANNELS = 4
_HEADER = 32 + 5 + 4 * 4


def decoded_brush(data: Sequence[int], width: int, height: int) -> NDArray[np.bool_]:
    """The painted pixels, H W: those whose alpha is not 0.

    Raises:
        ImageError: the bytes do not represent an image of this size.
    """
    count = _CHANNELS * width * height
    try:
        bits = np.unpackbits(np.array(data, np.uint8))
    except (OverflowError, TypeError, ValueError) as error:
        raise ImageError("its run lengths are not bytes") from error
    if len(bits) < _HEADER or count > PIXELS or _number(bits, 0, 32) != count:
        raise ImageError(f"its run lengths are not of an image of {width} x {height}")
    word = _number(bits, 32, 5) + 1
    lengths = [_number(bits, 37 + 4 * i, 4) + 1 for i in range(4)]
    values = np.zeros(count, np.uint32)
    done, at = 0, _HEADER
    while done < count:
        repeated, length = _number(bits, at, 1), lengths[_number(bits, at + 1, 2)]
        run = _number(bits, at + 3, length) + 1
        at += 3 + length
        literal = 1 if repeated else run
        end = at + word * literal
        if end > len(bits) or done + run > count:
            raise ImageError("its run lengths are damaged")
        values[done : done + run] = bits[at:end].reshape(literal, word) @ _powers(word)
        done, at = done + run, end
    return values[_CHANNELS - 1 :: _CHANNELS].reshape(height, width) > 0


def _number(bits: NDArray[np.uint8], start: int, length: int) -> int:
    """The number in some bits, highest first; missing bits after the end are 0."""
    return int.from_bytes(np.packbits(bits[start : start + length]).tobytes(), "big") >> (-length % 8)


def _powers(length: int) -> NDArray[np.uint32]:
    return (1 << np.arange(length - 1, -1, -1, dtype=np.uint64)).astype(np.uint32)
