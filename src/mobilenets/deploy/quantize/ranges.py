"""The range of a value: which reals its 256 integers stand for, chosen by the error on numbers that did not choose it.

The ways that are tried (Krishnamoorthi 2018, section 2.4; Nagel et al. 2021, section 2.3): all that was seen, all but the
rarest numbers, the least squared error, and the least loss of entropy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenets.deploy.quantization import HIGHEST, LOWEST, Quantization

Numbers = NDArray[np.float32]
Ends = tuple[float, float]
Error = Callable[[float, float], float]
"""The mean squared error that a range leaves, by its ends."""

Way = Callable[[Numbers, Error], Ends]
Seen = Callable[[Numbers], Numbers]
"""What becomes of numbers before an error in them counts, row by row where they have several axes."""

LEAST_SCALE = 2.0**-20
"""A value that is 0 on every image still gets a scale that runtimes accept."""

_STEPS = HIGHEST - LOWEST
SAMPLES = 1 << 16  # numbers that a range is chosen by
_SHARES = np.linspace(1, 0.3, 36)
_BINS = 2048


@dataclass(frozen=True, slots=True)
class Choice:
    """A range, and how it was chosen.

    Args:
        low, high: the reals that the least and the greatest integer stand for, about.
        way: a key of `WAYS`.
        error: mean squared error on numbers that were not looked at to choose.
    """

    low: float
    high: float
    way: str
    error: float

    def quantization(self, *, least: float = LEAST_SCALE) -> Quantization:
        """Scale and zero point; 0 is an integer exactly."""
        return affine(self.low, self.high, least=least)


def affine(low: float, high: float, *, least: float = LEAST_SCALE) -> Quantization:
    """The quantization whose integers reach from `low` to `high`, both widened to hold 0.

    >>> affine(0.0, 255.0).zero_point, affine(-1.0, 1.0).zero_point
    (-128, 0)
    """
    low, high = min(low, 0.0), max(high, 0.0)
    scale = max((high - low) / _STEPS, least)
    zero = int(np.clip(np.rint(LOWEST - low / scale), LOWEST, HIGHEST))
    return Quantization((scale,), zero)


def snapped(numbers: Numbers, quantization: Quantization) -> Numbers:
    """The reals that the numbers become as 8-bit integers."""
    scale, zero = np.float32(quantization.scale), quantization.zero_point
    steps = np.clip(np.rint(numbers / scale), LOWEST - zero, HIGHEST - zero)
    nearest: Numbers = steps * scale
    return nearest


def chosen(
    made: Numbers, meant: Numbers, ways: Mapping[str, Way] | None = None, *, seen: Seen = lambda numbers: numbers
) -> Choice:
    """The range that brings the numbers, once they are integers, closest to what they are meant to be.

    Each way proposes a range for one half of the images and is judged by the other half, both ways round. The best way then
    proposes a range for all.

    An error counts where it is seen. Numbers that make up the gates of squeeze-and-excite may be far beyond those at which a
    gate is fully open or closed, and are judged by the gates.

    Args:
        made: what the quantized network makes, before it is 8 bits, image after image along the first axis.
        meant: what the float network makes in the same places.
        ways: how ranges are proposed; `WAYS` by default.
        seen: what becomes of numbers before their error counts.
    """
    ways = ways or WAYS
    middle = len(made) // 2
    cuts = (slice(middle), slice(middle, None)) if middle else (slice(None),) * 2  # of one number the same twice
    halves = [(made[cut], _error_of(made[cut], meant[cut], seen)) for cut in cuts]
    errors = {
        way: sum(error(*propose(*looked)) for looked, (_, error) in (halves, halves[::-1])) for way, propose in ways.items()
    }
    best = min(errors, key=errors.__getitem__)
    return Choice(*ways[best](made, _error_of(made, meant, seen)), best, errors[best] / 2)


def ways_for(count: int) -> Mapping[str, Way]:
    """How the range of so many numbers is proposed: beyond all of them only where there are few.

    Where all numbers are looked at, other images have larger ones. Where a sample stands for many more, most of what a range
    beyond it gains is the square of a few numbers, and every other number, of every image, becomes coarser for it.
    """
    return WAYS if count <= SAMPLES else {way: propose for way, propose in WAYS.items() if way not in _BEYOND}


def sampled(numbers: NDArray[Any]) -> Numbers:  # Any: floats of 16 or 32 bits
    """Enough of the numbers to choose a range by, one axis, in their order; the same places of each array of a size."""
    flat = numbers.reshape(-1)
    if flat.size > SAMPLES:
        flat = flat[np.sort(np.random.default_rng(flat.size).integers(0, flat.size, SAMPLES))]
    return flat.astype(np.float32)


def _error_of(made: Numbers, meant: Numbers, seen: Seen) -> Error:
    """The error of any range on these numbers."""
    wanted = seen(meant)

    def error(low: float, high: float) -> float:
        return float(np.mean(np.square(seen(snapped(made, affine(low, high))) - wanted), dtype=np.float64))

    return error


def _all(made: Numbers, error: Error) -> Ends:
    return float(made.min()), float(made.max())


def _more(made: Numbers, error: Error, *, room: float) -> Ends:
    low, high = _all(made, error)
    return room * low, room * high


def _common(made: Numbers, error: Error, *, rare: float) -> Ends:
    low, high = np.quantile(made, (rare, 1 - rare))
    return float(low), float(high)


def _nearest(made: Numbers, error: Error) -> Ends:
    """The least squared error over shares of the whole range, one end after the other."""
    low, high = _all(made, error)
    for _ in range(2):
        high = min((float(share) * high for share in _SHARES), key=lambda end: error(low, end))
        low = min((float(share) * low for share in _SHARES), key=lambda end: error(end, high))
    return low, high


def _entropy(made: Numbers, error: Error) -> Ends:
    """The top at which the histogram of 256 steps loses least against the whole one (Migacz 2017)."""
    low, top = min(float(made.min()), 0.0), float(made.max())
    if top <= 0:
        return low, top
    counts, edges = np.histogram(made, bins=_BINS, range=(low, top))
    best, cut = np.inf, _BINS
    for end in range(_STEPS + 1, _BINS + 1, 64):
        reference = counts[:end].astype(np.float64)
        reference[-1] += counts[end:].sum()
        group = np.minimum(np.arange(end) * (_STEPS + 1) // end, _STEPS)
        seen = reference > 0
        totals = np.bincount(group, counts[:end], _STEPS + 1)
        filled = np.maximum(np.bincount(group, seen, _STEPS + 1), 1)
        model = np.where(seen, (totals / filled)[group], 0)
        share, other = reference / max(reference.sum(), 1), model / max(model.sum(), 1)
        loss = float(np.sum(share[seen] * np.log(share[seen] / np.maximum(other[seen], 1e-12))))
        if loss < best:
            best, cut = loss, end
    return low, float(edges[cut])


WAYS: dict[str, Way] = {
    "min-max": _all,
    "min-max + 10%": partial(_more, room=1.1),
    "min-max + 25%": partial(_more, room=1.25),
    "99.9%": partial(_common, rare=1e-3),
    "99.99%": partial(_common, rare=1e-4),
    "99.999%": partial(_common, rare=1e-5),
    "mse": _nearest,
    "entropy": _entropy,
}
"""How ranges are proposed; the percentiles keep that share of the numbers at each end."""

_BEYOND = ("min-max + 10%", "min-max + 25%")

FAMILIES: dict[str, str] = {
    "min-max": "min-max",
    "min-max + 10%": "min-max",
    "min-max + 25%": "min-max",
    "99.9%": "percentile",
    "99.99%": "percentile",
    "99.999%": "percentile",
    "mse": "mse",
    "entropy": "entropy",
}
"""The idea behind each of `WAYS`."""
