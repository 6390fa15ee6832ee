"""A detector's anchors: the default boxes that its predicted offsets move."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mobilenets.specs.ssd import SsdHead


def anchors(head: SsdHead, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Every anchor as x0 y0 x1 y1 in px of the input, A x 4, ordered by feature map, row and column, then by anchor shape.

    The cells of a feature map are spread evenly over the input. An anchor may extend beyond the input.

    Args:
        head: defines the feature maps and their anchors.
        shape: height and width of the input, px.

    Returns:
        A read-only array, because calls with the same arguments share it.
    """
    return _anchors(head, shape)


def map_sizes(head: SsdHead, shape: tuple[int, int]) -> list[tuple[int, int]]:
    """Height and width of every feature map for an input of this height and width: divided by the map's stride, rounded up."""
    height, width = shape
    return [(-(-height // stride), -(-width // stride)) for stride in head.strides]


@lru_cache(maxsize=16)
def _anchors(head: SsdHead, shape: tuple[int, int]) -> NDArray[np.float32]:
    input_wh = np.array(shape[::-1], np.float32)
    centers, sides = [], []  # as shares of the input's width and height, as in torchvision
    for (h, w), each in zip(map_sizes(head, shape), head.anchors, strict=True):
        y, x = np.meshgrid((np.arange(h) + 0.5) / h, (np.arange(w) + 0.5) / w, indexing="ij")
        centers.append(np.repeat(np.stack([x, y], axis=-1).reshape(-1, 2), len(each), axis=0))
        scale, root = np.array([(scale, ratio**0.5) for scale, ratio in each]).T
        shares = np.stack([scale * root, scale / root], axis=1) * (min(shape) / np.array(shape[::-1]))
        sides.append(np.tile(np.minimum(shares, 1) if head.clip else shares, (h * w, 1)))
    center = np.concatenate(centers).astype(np.float32)
    half = np.float32(0.5) * np.concatenate(sides).astype(np.float32)
    boxes = np.concatenate([(center - half) * input_wh, (center + half) * input_wh], axis=1)  # A 4
    boxes.setflags(write=False)
    return boxes
