"""Weights in the order in which kernels read them: panels of 16 output channels, integers in groups of four."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

PANEL = 16
"""Output channels that are computed side by side."""

DEPTH = 4
"""Integers that one step of a sum multiplies."""

TAPS = 2
"""Taps of a depthwise convolution of integers that one step multiplies."""

Numbers = NDArray[Any]  # Any: floats or integers


def stretches(weight: Numbers, dilation: Sequence[int]) -> Numbers:
    """Filters O C kh kw, or a matrix O C, as O stretches numbers: what lies side by side under a filter is one stretch.

    Args:
        weight: of a convolution or a linear layer.
        dilation: down and across; with gaps between taps, each tap is a stretch.
    """
    taps = weight.reshape(*weight.shape[:2], -1).swapaxes(1, 2)  # O kh·kw C
    across = weight.shape[3] if weight.ndim == 4 and dilation[1] == 1 else 1
    return taps.reshape(len(weight), taps.shape[1] // across, -1)


def float_panels(weight: Numbers) -> Numbers:
    """Weights O stretches numbers as panels: panel stretch number 16."""
    return _paneled(weight).transpose(0, 2, 3, 1)


def byte_panels(weight: Numbers) -> Numbers:
    """Weights O stretches numbers as panels: panel stretch group 16 4."""
    padded = np.pad(weight, ((0, 0), (0, 0), (0, -weight.shape[2] % DEPTH)))
    paneled = _paneled(padded)  # panel 16 stretch number
    return paneled.reshape(*paneled.shape[:3], -1, DEPTH).transpose(0, 2, 3, 1, 4)


def float_taps(weight: Numbers) -> Numbers:
    """Filters C 1 kh kw as panels: panel tap 16."""
    return _paneled(weight.reshape(len(weight), -1)).transpose(0, 2, 1)


def byte_taps(weight: Numbers) -> Numbers:
    """Filters C 1 kh kw as panels: panel pair tap 16. Where their number is odd, the last tap is 0."""
    taps = weight.reshape(len(weight), -1)
    paneled = _paneled(np.pad(taps, ((0, 0), (0, -taps.shape[1] % TAPS))))  # panel 16 tap
    return paneled.reshape(*paneled.shape[:2], -1, TAPS).transpose(0, 2, 3, 1)


def padded(numbers: Numbers) -> Numbers:
    """Numbers of each channel, for whole panels."""
    return np.pad(numbers, (0, -len(numbers) % PANEL))


def _paneled(weight: Numbers) -> Numbers:
    """Channels in panels: panel 16 and the other axes."""
    filled = np.pad(weight, ((0, -len(weight) % PANEL), *[(0, 0)] * (weight.ndim - 1)))
    return filled.reshape(-1, PANEL, *weight.shape[1:])
