"""Pictures at another size by looking at single places, as networks do that resize with torch's plain interpolation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mobilenets.runtime.upsample import Axis, axis


def sampled(image: Image.Image, shape: tuple[int, int]) -> NDArray[np.float32]:
    """A picture at this height and width, H W C or H W of grey, 0 to 255: each pixel from the four nearest to its center.

    It is neither antialiased nor rounded: `torch.nn.functional.interpolate(mode="bilinear")`.
    """
    pixels = np.asarray(image)
    height, width = shape
    rows = _across(pixels, axis(height, pixels.shape[0], size=height))
    return _across(rows.swapaxes(0, 1), axis(width, pixels.shape[1], size=width)).swapaxes(0, 1)


def _across(values: NDArray[np.uint8] | NDArray[np.float32], side: Axis) -> NDArray[np.float32]:
    """The values between places of the first axis."""
    found: NDArray[np.float32] = values[side.low].astype(np.float32)
    share = side.share.reshape(-1, *(1,) * (values.ndim - 1))
    found += (values[np.minimum(side.low + 1, side.places - 1)] - found) * share
    return found
