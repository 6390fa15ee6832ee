"""Weights packed in the order in which kernels read them: panels of 16 output channels, integers in groups of four."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

PANEL = 16
"""Output channels that a kernel computes side by side."""

DEPTH = 4
"""Products of integers that one instruction step adds to a sum."""

TAPS = 2
"""Taps of an int8 depthwise convolution that one step multiplies."""

Numbers = NDArray[Any]  # Any: floats or integers


def stretches(weight: Numbers, dilation: Sequence[int]) -> Numbers:
    """Filters O C kh kw, or a matrix O C, as O stretches numbers; a stretch covers inputs that are contiguous in memory.

    Args:
        weight: the weight of a convolution or linear layer.
        dilation: vertical and horizontal; with gaps between taps, each tap is a stretch.
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
    """Filters C 1 kh kw as panels: panel pair tap 16. If the number of taps is odd, a zero is added."""
    taps = weight.reshape(len(weight), -1)
    paneled = _paneled(np.pad(taps, ((0, 0), (0, -taps.shape[1] % TAPS))))  # panel 16 tap
    return paneled.reshape(*paneled.shape[:2], -1, TAPS).transpose(0, 2, 3, 1)


def padded(numbers: Numbers) -> Numbers:
    """One number per channel, padded with zeros to whole panels."""
    return np.pad(numbers, (0, -len(numbers) % PANEL))


def _paneled(weight: Numbers) -> Numbers:
    """Split the channels into panels: panel 16 and the other axes."""
    filled = np.pad(weight, ((0, -len(weight) % PANEL), *[(0, 0)] * (weight.ndim - 1)))
    return filled.reshape(-1, PANEL, *weight.shape[1:])
