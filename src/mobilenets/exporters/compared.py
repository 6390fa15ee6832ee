"""`export_compared`: writes a graph, and compares it with a reference in its runtime before the file gets its name."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mobilenets.data.samples import Sample
from mobilenets.deploy.graph import Graph
from mobilenets.deploy.operators import Dequantize
from mobilenets.deploy.profile import profiled
from mobilenets.deploy.quantization import HIGHEST, LOWEST
from mobilenets.deploy.tails import TAILS, Tail
from mobilenets.errors import CheckpointError, ExportError, GraphError
from mobilenets.evaluation.evaluators import evaluate
from mobilenets.exporters.agreement import COMPARE
from mobilenets.exporters.drafts import drafted, settle
from mobilenets.exporters.format import HALF_PRECISIONS, Facts, Format
from mobilenets.exporters.parity import Accuracy, Parity, differences
from mobilenets.runtime.engines.base import Engine, Outputs
from mobilenets.runtime.engines.gate import Gate
from mobilenets.runtime.images.prepare import load_input
from mobilenets.runtime.manifest import Manifest
from mobilenets.runtime.predictor import Predictor
from mobilenets.specs.model import InputContract, Task

RANDOM_BATCHES = (1, 2, 5)
"""Batch sizes of the synthetic images on which two networks are compared."""

STEPS = 16.0
"""Largest allowed difference of an output from the int8 reference, in steps of 256; the mean may be a quarter of it. Runtimes
round differently, and one different rounding leads to others: trained networks differed by up to 3 steps on average and by 12
at most."""

INT8_TOLERANCE = 0.05
"""Largest allowed difference of a float output, relative to its largest value; also the share of boxes or pixels that may
differ."""

METRICS: dict[Task, str] = {"classify": "top1", "detect": "map", "segment": "miou"}
"""The metric for labeled images."""

_IMAGES_A_BATCH = 8
_FINEST = 64  # cells per side of the finest blobs in a synthetic image

Run = tuple[NDArray[np.float32], Outputs]
"""A batch of preprocessed images, and the outputs for it."""


@dataclass(frozen=True, slots=True)
class Labeled:
    """Labeled images on which the model and the exported network are measured.

    Args:
        samples: images with labels, boxes or masks.
        labels: names of their classes.
    """

    samples: Sequence[Sample]
    labels: Sequence[str]


@dataclass(frozen=True, slots=True)
class Standard:
    """The reference that an exported file must match.

    Args:
        graph: the network without a tail; its manifest goes into the file.
        reference: computes the expected outputs.
        tolerance: the largest allowed difference of a float output, relative to its largest value in a batch.
        steps: the largest allowed difference of an int8 network's output, in steps of its scale.
        before: the network whose accuracy is reported next to the file's; None for the reference.
        rounding: computes the rounding error of the reference, as `model_rounding`; called only if the tolerance is exceeded.
    """

    graph: Graph
    reference: Engine
    tolerance: float
    steps: float = 0.0
    before: Engine | None = None
    rounding: Callable[[Sequence[Run]], float] = lambda runs: 0.0

    def scales(self, expected: Sequence[Outputs]) -> dict[str, float]:
        """The scale of each output of an int8 network.

        If the last layer is in floats, its inputs were still rounded; the scale is then the output's range divided by 255.

        Args:
            expected: the outputs for some images.
        """
        if not self.graph.quantization:
            return {}
        made = {operator.output: operator.inputs for operator in self.graph.operators if isinstance(operator, Dequantize)}
        return {
            name: self.graph.quantization[made[value][0]].scale
            if value in made
            else _range([outputs[name] for outputs in expected]) / (HIGHEST - LOWEST)
            for name, value in self.graph.outputs.items()
        }


def export_compared(
    standard: Standard,
    path: Path,
    format: Format,
    *,
    images: Sequence[bytes | Path] = (),
    labeled: Labeled | None = None,
    tail: Tail | None = None,
    batch: int | None = None,
) -> Parity:
    """Write `path` after comparing the runtime's outputs with the reference.

    The file is first written to a separate folder: a failed export leaves `path` as it was. If this machine cannot run the
    format, nothing is compared, and the note says so.

    Args:
        standard: the reference.
        path: the file to write; its folder is created.
        format: writes the file and opens it.
        images: files or encoded bytes to compare on, in addition to synthetic images.
        labeled: images to measure the accuracy of both networks on.
        tail: decodes the outputs inside the file; None for the raw outputs.
        batch: a fixed batch size; by default that of the format.

    Raises:
        CheckpointError: there are more classes than the tail can hold.
        DataError: a labeled image cannot be read, or has a class that the model does not know.
        ExportError: the runtime does not support the tail, the file cannot be written or run, or its outputs differ too much.
        ImageError: an image cannot be decoded.
        MissingExtraError: a library that the format needs is not installed.
    """
    runtime = f"{format.title} {format.version()}".strip()
    graph, manifest = standard.graph, standard.graph.manifest
    _refuse(manifest, format, tail)
    try:
        tailed = graph if tail is None else profiled(TAILS[tail].add(graph))
    except GraphError as error:
        raise ExportError(f"'{manifest.model}' cannot be exported: {error}") from error
    batch = batch or format.batch
    if reason := format.unchecked():
        return _export_unchecked(tailed, path, format, Parity(runtime, standard.tolerance, 0, (), (), note=reason), batch)
    batches = list(prepared_batches(manifest.input, images))
    expected = [standard.reference.run(batch_images) for batch_images in batches]
    scales = standard.scales(expected)
    sizes = tuple(len(batch_images) for batch_images in batches)
    parity = Parity(runtime, standard.tolerance, len(images), sizes, (), note=format.note, steps=standard.steps)
    if tail is not None and format.raw_too:
        with tempfile.TemporaryDirectory() as folder:
            format.write(graph, Path(folder, path.name), batch)
            with closing(_opened(format, Path(folder, path.name), graph)) as engine:
                parity = replace(parity, outputs=differences(zip(expected, _run(engine, batches), strict=True), scales))
    with drafted(path, "new") as drafts:
        draft = drafts / path.name
        facts = format.write(tailed, draft, batch) or Facts()
        with closing(_opened(format, draft, tailed)) as engine:
            pairs = list(zip(expected, _run(engine, batches), strict=True))
            outputs, agreement = COMPARE[manifest.task](pairs, manifest, tolerance=standard.tolerance)
            if tail is None:
                parity = replace(parity, outputs=differences(pairs, scales))
            else:
                parity = replace(parity, outputs=(*parity.outputs, *outputs))
            before = standard.before or standard.reference
            parity = replace(
                parity,
                agreements=(agreement,),
                accuracies=() if labeled is None else (_accuracy(before, engine, labeled, floats=standard.before is not None),),
                fast_path=facts.fast_path or engine.fast_path(),
                memory=facts.memory,
            )
        if not parity.passed:
            parity = replace(parity, rounding=standard.rounding(list(zip(batches, expected, strict=True))))
        parity.check()
        settle(drafts, path)
    return parity


def _range(values: Sequence[NDArray[np.float32]]) -> float:
    low, high = min(float(some.min()) for some in values), max(float(some.max()) for some in values)
    return max(high - low, float(np.finfo(np.float32).tiny))


def _export_unchecked(graph: Graph, path: Path, format: Format, parity: Parity, batch: int | None) -> Parity:
    """Write `path` without a comparison, because nothing here can run it."""
    with drafted(path, "new") as drafts:
        facts = format.write(graph, drafts / path.name, batch) or Facts()
        settle(drafts, path)
    return replace(parity, memory=facts.memory)


def refuse_half(format: Format, to: str) -> None:
    """Check that a network with 8-bit weights is not exported to a format with 16-bit weights.

    Args:
        format: the format.
        to: its name among the exporters.

    Raises:
        ExportError: the weights of the format have 16 bits.
    """
    if format.precision in HALF_PRECISIONS:
        full = to.removesuffix("-half")
        raise ExportError(f"weights of 8 bits cannot be kept in 16, as {to} does", hint=f"--to {full} keeps them in 8 bits")


def prepared_batches(contract: InputContract, images: Sequence[bytes | Path]) -> Iterator[NDArray[np.float32]]:
    """Preprocessed batches for a comparison: synthetic images, smooth like photos, then the given ones.

    Args:
        contract: the input contract of the networks.
        images: files or encoded bytes.

    Raises:
        ImageError: an image cannot be decoded.
    """
    yield from _random_batches(contract)
    for i in range(0, len(images), _IMAGES_A_BATCH):
        yield np.stack([load_input(image, contract) for image in images[i : i + _IMAGES_A_BATCH]])


_KINDS = {"classify": "classifier", "detect": "detector", "segment": "segmenter"}


def _refuse(manifest: Manifest, format: Format, tail: Tail | None) -> None:
    """Raise an error for a tail that the model's task or the runtime does not support."""
    if tail is None:
        return
    task, known = manifest.task, TAILS[tail]
    if task != known.task:
        options = [f"{other.option} {other.gives}" for other in TAILS.values() if other.task == task]
        raise ExportError(
            f"'{manifest.model}' is a {_KINDS[task]}: {known.only}", hint=next(iter(options), f"leave {known.option} out")
        )
    if tail in format.refused:
        raise ExportError(
            f"{format.refused[tail]}, so {format.title} cannot take {known.option}",
            hint=f"leave {known.option} out, as 'predict' decodes boxes itself; or export to onnx, openvino or tflite",
        )


def _opened(format: Format, draft: Path, graph: Graph) -> Engine:
    try:
        return format.open(draft, graph)
    except CheckpointError as error:
        raise ExportError(f"the exported network does not run: {error}") from error


def _run(engine: Engine, batches: Sequence[NDArray[np.float32]]) -> list[Outputs]:
    gate = Gate(engine, 1)
    return [gate.run(batch) for batch in batches]


def _accuracy(reference: Engine, exported: Engine, labeled: Labeled, *, floats: bool) -> Accuracy:
    """The accuracy of both networks on labeled images."""
    manifest = reference.manifest()
    metric = METRICS[manifest.task]
    reports = [
        evaluate(Predictor(manifest, engine, threads=1), labeled.samples, labeled.labels) for engine in (reference, exported)
    ]
    values = [report.metric(metric).value for report in reports]
    return Accuracy(metric, float(values[0]), float(values[1]), len(reports[0]), floats)


def _random_batches(contract: InputContract) -> Iterator[NDArray[np.float32]]:
    mean, std = (np.reshape(np.broadcast_to(values, contract.channels), (-1, 1, 1)) for values in (contract.mean, contract.std))
    generator = np.random.default_rng(0)
    for n in RANDOM_BATCHES:
        pixels = np.stack([_blobs(generator, contract.channels, contract.shape) for _ in range(n)])
        yield ((pixels - mean) / std).astype(np.float32)


def _blobs(generator: np.random.Generator, channels: int, shape: tuple[int, int]) -> NDArray[np.float64]:
    """A synthetic image, C H W, 0 to 1: blobs of every size, the larger the stronger, as in photos.

    White noise is unlike any photo: on it, networks with attention amplify rounding errors in a way that they do not on photos.
    """
    height, width = shape
    total = np.zeros((channels, height, width))
    cells = 2
    while cells <= min(_FINEST, max(shape)):
        for channel in range(channels):
            grid = Image.fromarray(generator.normal(size=(cells, cells)).astype(np.float32), mode="F")
            total[channel] += np.asarray(grid.resize((width, height), Image.Resampling.BICUBIC)) / cells
        cells *= 2
    low, high = total.min(), total.max()
    image: NDArray[np.float64] = (total - low) / max(high - low, 1e-9)
    return image
