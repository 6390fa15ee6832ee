"""`export_checked`: a model lowered, written, opened by the runtime, compared with torch, and only then given its name."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from mobilenets.data.samples import Sample
from mobilenets.deploy.graph import Graph
from mobilenets.deploy.profile import profiled
from mobilenets.deploy.tails import TAILS, Tail
from mobilenets.errors import CheckpointError, ExportError, GraphError
from mobilenets.evaluation.evaluators import evaluate
from mobilenets.exporters.agreement import COMPARE
from mobilenets.exporters.drafts import drafted, settle
from mobilenets.exporters.format import Format
from mobilenets.exporters.lower import lower
from mobilenets.exporters.parity import TOLERANCE, Accuracy, Parity, differences
from mobilenets.model import Model, TorchEngine
from mobilenets.runtime.engines.base import Engine, Outputs
from mobilenets.runtime.engines.gate import Gate
from mobilenets.runtime.images.prepare import load_input
from mobilenets.runtime.predictor import Predictor
from mobilenets.specs.model import Task

RANDOM_BATCHES = (1, 2, 5)
"""Sizes of the batches of made-up images that two networks are compared on."""

METRICS: dict[Task, str] = {"classify": "top1", "detect": "map", "segment": "miou"}
"""The metric by which both are measured on labeled images."""

_IMAGES_A_BATCH = 8
_FINEST = 64  # cells on a side of the finest blobs of a made-up image


@dataclass(frozen=True, slots=True)
class Labeled:
    """Labeled images on which the model and the exported network are measured.

    Args:
        samples: with labels, boxes or masks.
        labels: names of their classes.
    """

    samples: Sequence[Sample]
    labels: Sequence[str]


def export_checked(
    model: Model,
    path: Path,
    format: Format,
    *,
    images: Sequence[bytes | Path] = (),
    tolerance: float = TOLERANCE,
    labeled: Labeled | None = None,
    tail: Tail | None = None,
    batch: int | None = None,
) -> Parity:
    """Write `path`, after comparing what the runtime computes from it with what the model computes.

    The file is written elsewhere first: a failed export leaves `path` as it was.

    Args:
        model: is left as it is.
        path: the file to write; its folder is made.
        format: what writes the file and runs it.
        images: files or encoded bytes to compare on, besides made-up images.
        tolerance: largest difference, relative to the largest value of an output in a batch.
        labeled: images to measure both networks on.
        tail: what decodes the outputs inside the file; None to leave them as they are.
        batch: the only number of images that the file takes at once; by default what the format does.

    Raises:
        CheckpointError: there are more classes than the tail can hold.
        DataError: a labeled image cannot be read, or has a class that the model does not know.
        ExportError: the model cannot be lowered, the runtime does not have the tail, the file cannot be written or run, or its
            outputs differ by more than `tolerance`.
        ImageError: an image cannot be decoded.
        MissingExtraError: a library that the format needs is not installed.
    """
    runtime = f"{format.title} {format.version()}"
    _refuse(model, format, tail)
    original = copy.deepcopy(model).cpu().eval()
    try:
        graph = lower(original)
        graph = replace(graph, manifest=replace(graph.manifest, precision=format.precision))
        tailed = graph if tail is None else profiled(TAILS[tail].add(graph))
    except GraphError as error:
        raise ExportError(f"'{original.spec.backbone.name}' cannot be exported: {error}") from error
    batch, tolerance = batch or format.batch, max(tolerance, format.tolerance)
    reference, manifest = TorchEngine(original), graph.manifest
    batches = list(prepared_batches(original, images))
    expected = [reference.run(batch_images) for batch_images in batches]
    parity = Parity(runtime, tolerance, len(images), tuple(len(batch_images) for batch_images in batches), (), note=format.note)
    if tail is not None and format.raw_too:
        with tempfile.TemporaryDirectory() as folder:
            format.write(graph, Path(folder, path.name), batch)
            with closing(_opened(format, Path(folder, path.name), graph)) as engine:
                parity = replace(parity, outputs=differences(zip(expected, _run(engine, batches), strict=True)))
    with drafted(path, "new") as drafts:
        draft = drafts / path.name
        fast = format.write(tailed, draft, batch)
        with closing(_opened(format, draft, tailed)) as engine:
            pairs = list(zip(expected, _run(engine, batches), strict=True))
            outputs, agreement = COMPARE[manifest.task](pairs, manifest, tolerance=tolerance)
            if tail is None:
                parity = replace(parity, outputs=differences(pairs))
            else:
                parity = replace(parity, outputs=(*parity.outputs, *outputs))
            parity = replace(
                parity,
                agreements=(agreement,),
                accuracies=() if labeled is None else (_accuracy(reference, engine, labeled),),
                fast_path=fast or engine.fast_path(),
            )
        if not parity.passed:
            parity = replace(parity, rounding=model_rounding(original, zip(batches, expected, strict=True)))
        parity.check()
        settle(drafts, path)
    return parity


def prepared_batches(model: Model, images: Sequence[bytes | Path]) -> Iterator[NDArray[np.float32]]:
    """What networks are compared on: made-up images that are smooth as photos are, then the given ones, preprocessed.

    Raises:
        ImageError: an image cannot be decoded.
    """
    yield from _random_batches(model)
    for i in range(0, len(images), _IMAGES_A_BATCH):
        yield np.stack([load_input(image, model.spec.input) for image in images[i : i + _IMAGES_A_BATCH]])


def model_rounding(model: Model, runs: Iterable[tuple[NDArray[np.float32], Outputs]]) -> float:
    """How far a model in 32 bits is from itself in 64, relative to the largest value of an output in a batch; the worst.

    A network whose outputs are nearly 0, or that attention makes sensitive, differs from itself more than others do.

    Args:
        model: is left as it is.
        runs: batches, and what the model in 32 bits makes of them.
    """
    precise = copy.deepcopy(model).double().eval()
    pairs = []
    with torch.inference_mode():
        for batch, expected in runs:
            named = precise.named(precise(torch.from_numpy(batch).double()))
            pairs.append(({name: output.numpy() for name, output in named.items()}, expected))
    return max(output.max_rel for output in differences(pairs))


def _refuse(model: Model, format: Format, tail: Tail | None) -> None:
    """Raise the error for a tail that the model's task or the runtime does not have."""
    if tail is None:
        return
    task, known = model.spec.task, TAILS[tail]
    if task != known.task:
        options = [f"{other.option} {other.gives}" for other in TAILS.values() if other.task == task]
        raise ExportError(
            f"'{model.spec.backbone.name}' is to {task}: {known.only}", hint=next(iter(options), f"leave {known.option} out")
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


def _accuracy(reference: Engine, exported: Engine, labeled: Labeled) -> Accuracy:
    """What both networks reach on labeled images."""
    manifest = reference.manifest()
    metric = METRICS[manifest.task]
    reports = [
        evaluate(Predictor(manifest, engine, threads=1), labeled.samples, labeled.labels) for engine in (reference, exported)
    ]
    values = [report.metric(metric).value for report in reports]
    return Accuracy(metric, float(values[0]), float(values[1]), len(reports[0]))


def _random_batches(model: Model) -> Iterator[NDArray[np.float32]]:
    contract = model.spec.input
    mean, std = (np.reshape(np.broadcast_to(values, contract.channels), (-1, 1, 1)) for values in (contract.mean, contract.std))
    generator = np.random.default_rng(0)
    for n in RANDOM_BATCHES:
        pixels = np.stack([_blobs(generator, contract.channels, contract.shape) for _ in range(n)])
        yield ((pixels - mean) / std).astype(np.float32)


def _blobs(generator: np.random.Generator, channels: int, shape: tuple[int, int]) -> NDArray[np.float64]:
    """A made-up image, C H W, 0 to 1: blobs of every size, the larger the stronger, as in photos.

    Plain noise would be unlike any image. Networks with attention amplify rounding on it, which says nothing about photos.
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
