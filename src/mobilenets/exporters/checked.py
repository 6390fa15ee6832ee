"""`export_checked`: lowers a model, writes it, and compares it with torch in its runtime before the file gets its name."""

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
    """Write `path` after comparing the runtime's outputs with the model's.

    The file is first written to a separate folder: a failed export leaves `path` as it was.

    Args:
        model: the model to export; it is not modified.
        path: the file to write; its folder is created.
        format: writes the file and opens it.
        images: files or encoded bytes to compare on, in addition to synthetic images.
        tolerance: the largest allowed difference, relative to the largest value of an output in a batch. Outputs of an int8
            model may differ by `STEPS` steps instead.
        labeled: images to measure the accuracy of both networks on.
        tail: decodes the outputs inside the file; None for the raw outputs.
        batch: a fixed batch size; by default that of the format.

    Raises:
        CheckpointError: there are more classes than the tail can hold.
        DataError: a labeled image cannot be read, or has a class that the model does not know.
        ExportError: the model cannot be lowered, the runtime does not support the tail, the file cannot be written or run, or
            its outputs differ by more than `tolerance`.
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
    """The rounding error of a model in 32-bit floats, compared with 64 bits, relative to the largest output of a batch.

    The largest error over all batches counts. It is large for networks with outputs near 0, or sensitive due to attention.

    Args:
        model: the model; it is not modified.
        runs: batches, and the outputs of the model in 32 bits for them.
    """
    precise = copy.deepcopy(model).double().eval()
    pairs = []
    with torch.inference_mode():
        for batch, expected in runs:
            named = precise.named(precise(torch.from_numpy(batch).double()))
            pairs.append(({name: output.numpy() for name, output in named.items()}, expected))
    return max(output.max_rel for output in differences(pairs))
