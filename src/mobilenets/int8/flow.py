"""`quantized`: quantizes a float graph with images and measures everything that is written and reported about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from mobilenets.data.text import counted
from mobilenets.deploy.graph import Graph
from mobilenets.deploy.quantize.weights import EIGHT_BITS, Grid
from mobilenets.errors import DataError
from mobilenets.int8.answers import Answer, answers
from mobilenets.int8.doubts import Doubts, doubts
from mobilenets.int8.engines import on_runtime_of
from mobilenets.int8.gate import Gated, gated
from mobilenets.int8.images import Inputs, Picture, inputs, place_of
from mobilenets.int8.timing import latencies_ms
from mobilenets.int8.truth import Truth
from mobilenets.runtime.predictor import Predictor
from mobilenets.telling import Telling

ANSWERS = 256
"""Most images whose predictions are compared one by one for the report."""

_NAMED = 5  # most unreadable images that a message names
_OTHERS = 32  # most images not used for calibration that are examined


@dataclass(frozen=True, slots=True)
class Latency:
    """Median latency per image on one thread, in milliseconds.

    Args:
        real: of the float network.
        int8: of the quantized network.
        whole: of the network with every layer quantized; None if that is the quantized network.
    """

    real: float
    int8: float
    whole: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Quantized:
    """A quantization and its measurements.

    Args:
        graph: the float network.
        calibration: the calibration images.
        gated: the attempts and the drop.
        doubts: how representative the calibration images are.
        latency: of both networks.
        answers: the predictions of both networks, for each image.
        labels: names of the true classes; empty if unknown.
        weights: the integers that weights may take.
        cautions: reasons why the drop may differ on new images.
    """

    graph: Graph
    calibration: Inputs
    gated: Gated
    doubts: Doubts
    latency: Latency
    answers: tuple[Answer, ...]
    labels: tuple[str, ...] = ()
    weights: Grid = EIGHT_BITS
    cautions: tuple[str, ...] = ()

    @property
    def int8(self) -> Graph:
        """The quantized network."""
        return self.gated.last.result.graph

    @property
    def changed(self) -> list[Answer]:
        """The images whose predictions differ, the most different first."""
        return sorted((answer for answer in self.answers if answer.same < 1), key=lambda answer: answer.same)


def quantized(
    graph: Graph,
    pictures: Sequence[Picture],
    truth: Truth,
    *,
    count: int,
    limit: float,
    folder: Path,
    others: Sequence[Picture] = (),
    weights: Grid = EIGHT_BITS,
    cautions: Sequence[str] = (),
    telling: Telling | None = None,
) -> Quantized:
    """Quantize a network and measure it.

    Args:
        graph: the float network.
        pictures: candidates for calibration images, in the order in which they are used.
        truth: measures the drop of the quantized network.
        count: number of calibration images.
        limit: the largest drop allowed, in percentage points.
        folder: for intermediate files; it must exist as long as the result is used.
        others: images not used for calibration; by default those that the network is evaluated on.
        weights: the integers that weights may take.
        cautions: facts about the images, known beforehand, because of which the drop may differ on new ones.
        telling: shows progress.

    Raises:
        DataError: no image can be read, or the drop cannot be measured on these images.
        GraphError: the graph cannot be quantized.
    """
    telling = telling or Telling()
    contract = graph.manifest.input
    with telling.progress("reading images", min(count, len(pictures))) as advance:
        calibration = inputs(pictures, contract, count, advance=advance)
    for name, reason in calibration.unreadable[:_NAMED]:
        telling.said(f"{name}: {reason}")
    if calibration.unreadable:
        unreadable = len(calibration.unreadable)
        said = counted(unreadable, "image could not be read and is", "images could not be read and are")
        telling.said(f"{said} left out")
    taken = {place_of(picture) for picture in calibration.pictures}
    own = [picture for picture in truth.pictures if place_of(picture) in taken]
    if own:
        both = (
            f"{counted(len(own), 'image')} of {len(truth.pictures):,} used to measure the int8 model "
            f"{'is' if len(own) == 1 else 'are'} calibration images too; the drop on new images may be larger"
        )
        cautions = (*cautions, both)
    for text in cautions:
        telling.said(f"note: {text}")
    unseen = [picture for picture in others or truth.pictures if place_of(picture) not in taken]
    try:
        other = inputs(unseen, contract, _OTHERS).values if unseen else None
    except DataError:
        other = None
    gate = gated(
        graph, calibration.values, truth, limit=limit, folder=folder, bar=telling.progress, say=telling.said, weights=weights
    )
    real, last = gate.real, gate.last
    measured = doubts(
        graph,
        last.result,
        calibration.values,
        other,
        real=real,
        int8=last.running,
        folder=folder,
        bar=telling.progress,
        keep=gate.float_operators,
        weights=weights,
    )
    timed = [on_runtime_of(last.running, graph, real, folder / "float-timed", calibration.values), last.running]
    if len(gate.attempts) > 1:
        whole = gate.attempts[0]
        alike = on_runtime_of(last.running, whole.result.graph, whole.running, folder / "int8-timed", calibration.values)
        if alike.title == last.running.title:  # latencies on two different runtimes say nothing about the layers
            timed.append(alike)
    times = latencies_ms([ready.engine for ready in timed])
    latency = Latency(times[0], times[1], times[2] if len(times) == 3 else None)
    compared = list(islice(truth.pictures, ANSWERS))
    with telling.progress("comparing answers", len(compared)) as advance:
        pairs = tuple(
            answers(
                Predictor(graph.manifest, real.engine),
                Predictor(last.result.graph.manifest, last.running.engine),
                compared,
                advance=advance,
            )
        )
    return Quantized(graph, calibration, gate, measured, latency, pairs, tuple(truth.labels), weights, tuple(cautions))
