"""The gate: reverts layers to floats, the most sensitive first, until the accuracy drop is within the limit."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mobilenets.data.text import counted
from mobilenets.deploy.graph import Graph
from mobilenets.deploy.profile import profiled
from mobilenets.deploy.quantize.prepare import prepared
from mobilenets.deploy.quantize.quantize import Result, quantize
from mobilenets.deploy.quantize.weights import EIGHT_BITS, Grid
from mobilenets.int8.engines import Running, running
from mobilenets.int8.sensitivity import Sensitivity, images_of, layers_of, sensitivities
from mobilenets.int8.truth import Drop, Truth
from mobilenets.runtime.predictor import Predictor
from mobilenets.telling import Bar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST_SHARE = 0.5
"""Largest share of layers that may stay in floats; with more, a network is hardly an int8 network any more."""

_MARGIN = 0.7  # the next attempt aims at this share of the limit, since noise and drop are not exactly proportional


@dataclass(frozen=True, slots=True, eq=False)
class Attempt:
    """One quantized network and its drop.

    Args:
        float_layers: the layers that stay in floats, the most sensitive first.
        drop: its drop.
        result: the network.
        running: the network on a runtime.
    """

    float_layers: tuple[str, ...]
    drop: Drop
    result: Result
    running: Running


@dataclass(frozen=True, slots=True, eq=False)
class Gated:
    """The result of the gate.

    Args:
        real: the float network, on the same runtime.
        attempts: at least one; the last one counts.
        sensitivities: of all layers, measured on the first attempt, in the order of the network.
        limit: the largest drop allowed, in percentage points.
    """

    real: Running
    attempts: tuple[Attempt, ...]
    sensitivities: tuple[Sensitivity, ...]
    limit: float

    @property
    def last(self) -> Attempt:
        """The attempt that counts."""
        return self.attempts[-1]

    @property
    def float_operators(self) -> frozenset[str]:
        """The operators of the layers that stay in floats."""
        return frozenset(
            name for layer in self.sensitivities if layer.layer in self.last.float_layers for name in layer.operators
        )

    @property
    def passed(self) -> bool:
        """Whether the drop is within the limit."""
        return self.last.drop.points <= self.limit


def gated(
    graph: Graph,
    images: NDArray[np.float32],
    truth: Truth,
    *,
    limit: float,
    folder: Path,
    bar: Bar,
    say: Callable[[str], object],
    weights: Grid = EIGHT_BITS,
) -> Gated:
    """Quantize a network, then again with more and more layers in floats as long as the drop exceeds the limit.

    The drop is assumed to be proportional to the noise of the quantized layers. Each attempt keeps as many layers in floats as
    this predicts, measures the drop, and the next attempt starts from there.

    Args:
        graph: the float network.
        images: preprocessed calibration images, N C H W.
        truth: measures the drop.
        limit: the largest drop allowed, in percentage points.
        folder: for the files of the attempts.
        bar: shows progress.
        say: called with a message about each attempt.
        weights: the integers that weights may take.
    """
    layers = layers_of(graph, prepared(graph))
    operators = sum(map(len, layers.values()))
    real: Running | None = None
    attempts: list[Attempt] = []

    def attempt(kept: tuple[str, ...]) -> Running:
        with bar("quantizing", operators) as advance:
            keep = frozenset(name for layer in kept for name in layers[layer])
            result = quantize(graph, images, keep=keep, weights=weights, advance=advance)
        result = replace(result, graph=profiled(result.graph))
        ready = running(result.graph, folder / f"int8-{len(attempts)}", images, like=real)
        both = real or running(graph, folder / "float", images, like=ready)
        drop = truth.drop(Predictor(graph.manifest, both.engine), Predictor(result.graph.manifest, ready.engine))
        attempts.append(Attempt(kept, drop, result, ready))
        return both

    real = attempt(())
    if real.file is None:
        say("note: no runtime here can write and run these files, so the slow reference executor is used: pip install onnx")
    with bar("finding where the noise comes from", min(images_of(graph), len(images)) * len(layers)) as advance:
        noise = sensitivities(graph, attempts[0].result, images, advance=advance)
    ranked = sorted((layer for layer in noise if layer.share > 0), key=lambda layer: -layer.share)
    most = int(MOST_SHARE * len(ranked))
    while (last := attempts[-1]).drop.points > limit and len(last.float_layers) < most:
        kept = _next(ranked, len(last.float_layers), last.drop.points, limit)[:most]
        say(
            f"{told(last.drop)}, but at most {limit:g} may be lost; "
            f"trying again with the {counted(len(kept), 'layer')} that add the most noise in float"
        )
        attempt(kept)
    return Gated(real, tuple(attempts), noise, limit)


def told(drop: Drop) -> str:
    """A sentence about a drop.

    >>> told(Drop("top1", "accuracy", 0.85, 0.83, 0.5, 3.5, 200))
    'accuracy falls by 2.00 points (0.50 to 3.50, paired, with 95% confidence) on 200 images'
    """
    interval = f" ({drop.low:.2f} to {drop.high:.2f}, paired, with 95% confidence)" if not math.isnan(drop.low) else ""
    on = f" on {counted(drop.images, 'image')}"
    if drop.metric == "same_answers":
        return f"{drop.points:.2f} of 100 answers change{interval.replace(', paired', '')}{on}"
    if drop.points < 0:
        rise = f" ({0 - drop.high:.2f} to {0 - drop.low:.2f}, paired, with 95% confidence)" if interval else ""
        return f"{drop.title} rises by {-drop.points:.2f} points{rise}{on}"
    return f"{drop.title} falls by {drop.points:.2f} points{interval}{on}"


def _next(ranked: Sequence[Sensitivity], kept: int, points: float, limit: float) -> tuple[str, ...]:
    """The layers to keep in floats next: enough to reduce the remaining noise by the same ratio as the drop must fall.

    Args:
        ranked: the most sensitive first.
        kept: how many layers already stay in floats.
        points, limit: the drop with these, and the largest drop allowed.
    """
    left = sum(layer.share for layer in ranked[kept:])
    wanted = left * max(_MARGIN * limit, 0.0) / points
    count = kept
    while count < len(ranked) and (left > wanted or count == kept):
        left -= ranked[count].share
        count += 1
    return tuple(layer.layer for layer in ranked[:count])
