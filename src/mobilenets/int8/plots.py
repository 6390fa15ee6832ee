"""The plots of the quantization report."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from mobilenets.deploy.quantization import HIGHEST, LOWEST
from mobilenets.deploy.quantize.ranges import FAMILIES
from mobilenets.int8.flow import Quantized
from mobilenets.reports.plots import ACCENT, AMBER, INK, MUTED, TEAL, WRONG, Plot, figure_of, legend_above, short

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LAYERS = 24
"""Number of layers, the most sensitive ones, in the plot of sensitivities."""


def plots(done: Quantized) -> Iterator[Plot]:
    """The plots, in order.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    yield Plot(
        "noise",
        "Noise through the network",
        "Signal to quantization noise of each value, from the input to the outputs, on the calibration images. Higher is "
        "better; 6 dB more means half the error.",
        noise(done),
        wide=True,
    )
    yield Plot(
        "sensitivity",
        "Where the noise comes from",
        "Share of the noise in the outputs when only that layer is int8; the most sensitive layers.",
        sensitivity(done),
    )
    if len(done.gated.attempts) > 1:
        yield Plot("gate", "The gate", "The drop for each number of layers in float. The line is the limit.", attempts(done))
    yield Plot(
        "ranges",
        "Ranges",
        "From the smallest to the largest number that each value can represent, in network order.",
        ranges(done),
        wide=True,
    )


def noise(done: Quantized) -> Figure:
    """Signal-to-noise ratio of each value, in the order of the network."""
    figure, axes = figure_of(9.0, 3.4)
    values = [entry.decibels for entry in done.gated.last.result.noise]
    known = [(i, value) for i, value in enumerate(values) if math.isfinite(value)]
    axes.plot([i for i, _ in known], [value for _, value in known], "-", color=ACCENT, linewidth=1.6)
    kept = _float_places(done)
    marked = [(i, value) for i, value in known if i in kept]
    if marked:
        axes.plot([i for i, _ in marked], [value for _, value in marked], "o", color=AMBER, markersize=5, label="in float")
        legend_above(axes, 1)
    axes.set(xlabel="operator", ylabel="dB")
    return figure


def sensitivity(done: Quantized) -> Figure:
    """A bar for each of the most sensitive layers."""
    layers = sorted(done.gated.sensitivities, key=lambda layer: -layer.share)[:LAYERS]
    layers = [layer for layer in layers if layer.share > 0] or layers[:1]
    figure, axes = figure_of(5.6, 1.2 + 0.28 * len(layers))
    places = np.arange(len(layers))[::-1]
    kept = done.gated.last.float_layers
    colors = [AMBER if layer.layer in kept else ACCENT for layer in layers]
    axes.barh(places, [100 * layer.share for layer in layers], height=0.62, color=colors, alpha=0.75)
    axes.set_yticks(places, [short(layer.layer, 34) for layer in layers])
    axes.set_ylim(-0.6, len(layers) - 0.4)
    axes.set_xlabel("% of the noise" + ("; amber: in float" if kept else ""))
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    return figure


def attempts(done: Quantized) -> Figure:
    """The drop of each attempt over the number of layers in float."""
    figure, axes = figure_of(4.6, 3.4)
    x = [len(attempt.float_layers) for attempt in done.gated.attempts]
    axes.plot(x, [attempt.drop.points for attempt in done.gated.attempts], "o-", color=ACCENT, markersize=6)
    axes.axhline(done.gated.limit, color=WRONG, linewidth=1.2, linestyle="--")
    axes.set(xlabel="layers in float", ylabel="points lost")
    axes.locator_params(axis="x", integer=True)
    return figure


def ranges(done: Quantized) -> Figure:
    """The range of each value as a line from its smallest to its largest number."""
    figure, axes = figure_of(9.0, 3.4)
    result = done.gated.last.result
    colors = {"min-max": ACCENT, "percentile": TEAL, "mse": AMBER, "entropy": INK}
    seen: set[str] = set()
    for i, entry in enumerate(result.noise):
        quantization = result.graph.quantization.get(entry.value)
        if quantization is None:
            continue
        low, high = (quantization.scale * (end - quantization.zero_point) for end in (LOWEST, HIGHEST))
        way = FAMILIES[entry.choice.way] if entry.choice else "fixed"
        axes.plot([i, i], [low, high], color=colors.get(way, MUTED), linewidth=2, label=None if way in seen else way)
        seen.add(way)
    axes.set_yscale("symlog", linthresh=1.0)
    axes.set(xlabel="operator", ylabel="value")
    if seen:
        legend_above(axes, len(seen))
    return figure


def _float_places(done: Quantized) -> set[int]:
    """Positions in the network of the operators that stayed in floats."""
    kept = done.gated.float_operators
    return {i for i, entry in enumerate(done.gated.last.result.noise) if entry.operator in kept}
