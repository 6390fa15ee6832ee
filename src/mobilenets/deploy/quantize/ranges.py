"""Choice of a value's quantization range, the interval of reals that its 256 integers cover, by cross-validated error.

Methods tried (Krishnamoorthi 2018, section 2.4; Nagel et al. 2021, section 2.3): minimum and maximum, percentiles, least
squared error, and least loss of entropy.
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
"""The mean squared error for a range with the given ends."""

Way = Callable[[Numbers, Error], Ends]
Seen = Callable[[Numbers], Numbers]
"""A function applied to activations before their error is measured; it works on each row if they have several axes."""

LEAST_SCALE = 2.0**-20
"""The smallest scale, so that a value that is 0 on every image still gets one that runtimes accept."""

_STEPS = HIGHEST - LOWEST
SAMPLES = 1 << 16  # size of the sample of activations from which a range is chosen
_SHARES = np.linspace(1, 0.3, 36)
_BINS = 2048


@dataclass(frozen=True, slots=True)
class Choice:
    """A quantization range, and how it was chosen.

    Args:
        low, high: the reals that the smallest and the largest integer represent, approximately.
        way: the method, a key of `WAYS`.
        error: mean squared error on activations that the method did not see.
    """

    low: float
    high: float
    way: str
    error: float

    def quantization(self, *, least: float = LEAST_SCALE) -> Quantization:
        """Scale and zero point for this range; an integer represents 0 exactly."""
        return affine(self.low, self.high, least=least)


def affine(low: float, high: float, *, least: float = LEAST_SCALE) -> Quantization:
    """The quantization whose integers cover `low` to `high`, a range that is first widened to contain 0.

    >>> affine(0.0, 255.0).zero_point, affine(-1.0, 1.0).zero_point
    (-128, 0)
    """
    low, high = min(low, 0.0), max(high, 0.0)
    scale = max((high - low) / _STEPS, least)
    zero = int(np.clip(np.rint(LOWEST - low / scale), LOWEST, HIGHEST))
    return Quantization((scale,), zero)


def snapped(numbers: Numbers, quantization: Quantization) -> Numbers:
    """The numbers after quantization to 8-bit integers and dequantization."""
    scale, zero = np.float32(quantization.scale), quantization.zero_point
    steps = np.clip(np.rint(numbers / scale), LOWEST - zero, HIGHEST - zero)
    nearest: Numbers = steps * scale
    return nearest


def chosen(
    made: Numbers, meant: Numbers, ways: Mapping[str, Way] | None = None, *, seen: Seen = lambda numbers: numbers
) -> Choice:
    """The range with which the quantized activations come closest to those of the float network, in mean squared error.

    Two-fold cross-validation selects the method: each proposes a range from one half of the images and is judged on the other
    half. The best method then proposes a range from all images.

    The error is measured after `seen`. For example, the inputs of a squeeze-and-excite gate may lie far beyond the values at
    which the gate is fully open or closed; such a range is judged by the error of the gates.

    Args:
        made: activations of the quantized network before they are rounded to 8 bits, ordered by image along the first axis.
        meant: activations of the float network in the same places.
        ways: methods that propose a range; `WAYS` by default.
        seen: applied to the activations before their error is measured.
    """
    ways = ways or WAYS
    middle = len(made) // 2
    cuts = (slice(middle), slice(middle, None)) if middle else (slice(None),) * 2  # a single row serves as both halves
    halves = [(made[cut], _error_of(made[cut], meant[cut], seen)) for cut in cuts]
    errors = {
        way: sum(error(*propose(*looked)) for looked, (_, error) in (halves, halves[::-1])) for way, propose in ways.items()
    }
    best = min(errors, key=errors.__getitem__)
    return Choice(*ways[best](made, _error_of(made, meant, seen)), best, errors[best] / 2)


def ways_for(count: int) -> Mapping[str, Way]:
    """The methods to try for a value with this many activations; ranges wider than minimum to maximum only if there are few.

    If all activations are examined, images not seen yet may well have larger ones, so that a wider range can pay off. If they
    are a sample of many more, a wider range mostly helps a few outliers, whose squares are large, and costs every other
    activation of every image resolution.
    """
    return WAYS if count <= SAMPLES else {way: propose for way, propose in WAYS.items() if way not in _BEYOND}


def sampled(numbers: NDArray[Any]) -> Numbers:  # Any: floats of 16 or 32 bits
    """A random sample of at most `SAMPLES` numbers, flattened, in order; arrays of one size are sampled in the same places."""
    flat = numbers.reshape(-1)
    if flat.size > SAMPLES:
        flat = flat[np.sort(np.random.default_rng(flat.size).integers(0, flat.size, SAMPLES))]
    return flat.astype(np.float32)


def _error_of(made: Numbers, meant: Numbers, seen: Seen) -> Error:
    """A function that measures the error of a range on these activations."""
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
    """The range with the least squared error; each end in turn is shrunk to a fraction of the full range."""
    low, high = _all(made, error)
    for _ in range(2):
        high = min((float(share) * high for share in _SHARES), key=lambda end: error(low, end))
        low = min((float(share) * low for share in _SHARES), key=lambda end: error(end, high))
    return low, high


def _entropy(made: Numbers, error: Error) -> Ends:
    """The upper end at which a histogram of 256 bins diverges least from the full histogram (KL divergence, Migacz 2017)."""
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
"""The methods that propose a range; a percentile method keeps that share of the numbers at each end."""

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
"""The family of each method in `WAYS`."""
