"""Checks of the calibration images: noise on other images, values beyond their range, and images that look like noise."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mobilenets.deploy import reference
from mobilenets.deploy.graph import Graph
from mobilenets.deploy.quantization import HIGHEST, LOWEST, Quantization
from mobilenets.deploy.quantize.quantize import Result, quantize
from mobilenets.deploy.quantize.weights import EIGHT_BITS, Grid
from mobilenets.int8.engines import Running, running, signal_to_noise
from mobilenets.telling import Bar

if TYPE_CHECKING:
    from numpy.typing import NDArray

WORSE_DB = 6.0
"""Warn if the signal-to-noise ratio is this much lower on other images, that is with four times the noise. Weights and ranges
always fit the images that they were chosen on slightly better."""

GAIN_DB = 1.0
"""Warn if doubling the number of calibration images gained at least this much."""

FEW = 64
"""With fewer images than this, the gain from doubling their number is measured."""

PHOTO_LIKE = 0.5
"""Images look like noise if the correlation of neighboring pixels is below this. Photos have 0.8 or more."""

_IMAGES = 32  # images for measuring noise
_CLIPPED_ON = 8  # images for measuring how much lies beyond the ranges


@dataclass(frozen=True, slots=True)
class Clipped:
    """How much of a float value lies beyond its quantization range.

    Args:
        value: name of the value.
        calibration: share of its numbers beyond the range on calibration images, 0 to 1.
        other: the same on images not used for calibration; NaN if there are none.
    """

    value: str
    calibration: float
    other: float


@dataclass(frozen=True, slots=True)
class Doubts:
    """How representative the calibration images are.

    Args:
        calibration_db: signal-to-quantization-noise ratio of the outputs on calibration images, in dB.
        other_db: the same on other images; None if there are none.
        half_db: the same on other images, after calibration on half of the images; None if it was not measured.
        correlation: median correlation of neighboring pixels in the calibration images, -1 to 1.
        clipped: the share beyond the range, for each value whose range was chosen.
        warnings: messages with the measured figures.
    """

    calibration_db: float
    other_db: float | None
    half_db: float | None
    correlation: float
    clipped: tuple[Clipped, ...]
    warnings: tuple[str, ...]


def doubts(
    graph: Graph,
    result: Result,
    images: NDArray[np.float32],
    others: NDArray[np.float32] | None,
    *,
    real: Running,
    int8: Running,
    folder: Path,
    bar: Bar,
    keep: frozenset[str] = frozenset(),
    weights: Grid = EIGHT_BITS,
) -> Doubts:
    """Measure how representative the calibration images are.

    Args:
        graph: the float network.
        result: the network quantized with `images`.
        images: the calibration images, N C H W.
        others: images not used for calibration, N C H W; None if there are none.
        real, int8: both networks on a runtime.
        folder: for the file of a network that is quantized with half of the images.
        bar: shows progress.
        keep: names of the operators that stay in floats.
        weights: the integers that weights may take.
    """
    calibration_db = signal_to_noise(real.engine, int8.engine, images[:_IMAGES])
    other_db = None if others is None else signal_to_noise(real.engine, int8.engine, others[:_IMAGES])
    half_db = None
    if others is not None and 2 <= len(images) < FEW:
        with bar("quantizing with half of the images", len(result.prepared.operators)) as advance:
            half = quantize(graph, images[: len(images) // 2], keep=keep, weights=weights, advance=advance)
        ready = running(half.graph, folder / "half", images, like=real)
        half_db = signal_to_noise(real.engine, ready.engine, others[:_IMAGES])
        ready.engine.close()
    clipped = _clipped(result, images, others)
    correlation = neighbor_correlation(images)
    warnings = _warnings(calibration_db, other_db, half_db, correlation, clipped, len(images))
    return Doubts(calibration_db, other_db, half_db, correlation, clipped, tuple(warnings))


def neighbor_correlation(images: NDArray[np.float32]) -> float:
    """The correlation of horizontally neighboring pixels, -1 to 1: the median over the images.

    Images of a single color count as 1.

    Args:
        images: N C H W.

    >>> neighbor_correlation(np.tile(np.arange(8, dtype=np.float32), (1, 1, 8, 1)))
    1.0
    """
    left = images[..., :-1].reshape(len(images), -1).astype(np.float64)
    right = images[..., 1:].reshape(len(images), -1).astype(np.float64)
    left, right = left - left.mean(1, keepdims=True), right - right.mean(1, keepdims=True)
    spread = np.sqrt(np.square(left).sum(1) * np.square(right).sum(1))
    each = np.where(spread > 0, (left * right).sum(1) / np.maximum(spread, 1e-30), 1.0)
    return round(float(np.median(each)), 6)


def _clipped(result: Result, images: NDArray[np.float32], others: NDArray[np.float32] | None) -> tuple[Clipped, ...]:
    chosen = {
        noise.value: result.graph.quantization[noise.value]
        for noise in result.noise
        if noise.choice is not None and noise.value in result.graph.quantization
    }
    own = _shares(result.prepared, images[:_CLIPPED_ON], chosen)
    other = {} if others is None else _shares(result.prepared, others[:_CLIPPED_ON], chosen)
    return tuple(Clipped(name, own[name], other.get(name, float("nan"))) for name in chosen)


def _shares(graph: Graph, images: NDArray[np.float32], ranges: dict[str, Quantization]) -> dict[str, float]:
    """The share of each value's numbers that lie beyond its range by more than half a step."""
    totals = dict.fromkeys(ranges, 0.0)
    for i in range(len(images)):
        values = reference.run_all(graph, images[i : i + 1])
        for name, quantization in ranges.items():
            steps = values[name] / quantization.scale + quantization.zero_point
            totals[name] += float(((steps < LOWEST - 0.5) | (steps > HIGHEST + 0.5)).mean())
    return {name: total / len(images) for name, total in totals.items()}


def _warnings(
    calibration_db: float,
    other_db: float | None,
    half_db: float | None,
    correlation: float,
    clipped: tuple[Clipped, ...],
    count: int,
) -> list[str]:
    warnings = []
    if correlation < PHOTO_LIKE:
        warnings.append(
            f"The calibration images look like noise: neighboring pixels correlate by {correlation:.2f}, and in photos by 0.8 "
            "or more. Ranges from noise do not fit photos."
        )
    if other_db is not None and calibration_db - other_db >= WORSE_DB:
        worst = max(clipped, key=lambda value: value.other - value.calibration, default=None)
        beyond = ""
        if worst is not None and worst.other > worst.calibration:
            beyond = (
                f", and {worst.other:.2%} of '{worst.value}' lies beyond its range (on the calibration images "
                f"{worst.calibration:.2%})"
            )
        warnings.append(
            f"On images that were not calibrated on, signal to noise is {other_db:.1f} dB instead of {calibration_db:.1f} dB"
            f"{beyond}. The calibration images are too few, or unlike the images that the model will see."
        )
    if half_db is not None and other_db is not None and other_db - half_db >= GAIN_DB:
        warnings.append(
            f"With half of the {count} calibration images, signal to noise on other images is {half_db:.1f} dB; with all of "
            f"them {other_db:.1f} dB. More images would probably help further."
        )
    return warnings
