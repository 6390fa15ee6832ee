"""`export_checked`: a model lowered, written, opened by the runtime, compared with torch, and only then given its name."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mobilenets.deploy.tails import Tail
from mobilenets.errors import ExportError, GraphError
from mobilenets.exporters.compared import INT8_TOLERANCE, STEPS, Labeled, Standard, export_compared
from mobilenets.exporters.format import Format
from mobilenets.exporters.lower import lower
from mobilenets.exporters.parity import TOLERANCE, Parity, differences
from mobilenets.model import Model, TorchEngine
from mobilenets.runtime.engines.base import Outputs


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
        tolerance: largest difference, relative to the largest value of an output in a batch. Outputs in 8-bit integers may
            differ by `STEPS` of their steps instead.
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
    original = copy.deepcopy(model).cpu().eval()
    try:
        graph = lower(original)
    except GraphError as error:
        raise ExportError(f"'{original.spec.backbone.name}' cannot be exported: {error}") from error
    if graph.quantization:
        integers = Standard(graph, TorchEngine(original), tolerance=INT8_TOLERANCE, steps=STEPS)
        return export_compared(integers, path, format, images=images, labeled=labeled, tail=tail, batch=batch)
    graph = replace(graph, manifest=replace(graph.manifest, precision=format.precision))
    standard = Standard(
        graph,
        TorchEngine(original),
        tolerance=max(tolerance, format.tolerance),
        rounding=lambda runs: model_rounding(original, runs),
    )
    return export_compared(standard, path, format, images=images, labeled=labeled, tail=tail, batch=batch)


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
