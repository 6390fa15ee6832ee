"""`export_checked`: a model lowered, written, opened by the runtime, compared with torch, and only then given its name."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mobilenets.deploy.graph import Graph
from mobilenets.errors import CheckpointError, ExportError, GraphError
from mobilenets.exporters.drafts import drafted, settle
from mobilenets.exporters.lower import lower
from mobilenets.exporters.parity import Parity, compare
from mobilenets.model import Model, TorchEngine
from mobilenets.runtime.engines.base import Engine, FastPath
from mobilenets.runtime.engines.gate import Gate
from mobilenets.runtime.images.prepare import load_input

RANDOM_BATCHES = (1, 2, 5)
"""Sizes of the batches of random input that two networks are compared on."""

_IMAGES_A_BATCH = 8


def export_checked(
    model: Model,
    path: Path,
    *,
    write: Callable[[Graph, Path], FastPath | None],
    open_engine: Callable[[Path], Engine],
    runtime: str,
    images: Sequence[bytes | Path],
    tolerance: float,
) -> Parity:
    """Write `path`, after comparing what the runtime computes from it with what the model computes.

    The file is written elsewhere first: a failed export leaves `path` as it was.

    Args:
        model: is left as it is.
        path: the file to write; its folder is made.
        write: writes a graph to a file; returns how much runs on fast kernels, or None where the engine says that.
        open_engine: opens the file with its runtime.
        runtime: its name and version, for the report.
        images: files or encoded bytes to compare on, besides random input.
        tolerance: largest difference, relative to the largest value of an output in a batch.

    Raises:
        ExportError: the model cannot be lowered, the file cannot be written or run, or its outputs differ by more than
            `tolerance`.
        ImageError: an image cannot be decoded.
    """
    original = copy.deepcopy(model).cpu().eval()
    try:
        graph = lower(original)
    except GraphError as error:
        raise ExportError(f"'{original.spec.backbone.name}' cannot be exported: {error}") from error
    with drafted(path, "new") as drafts:
        draft = drafts / path.name
        fast = write(graph, draft)
        try:
            engine = open_engine(draft)
        except CheckpointError as error:
            raise ExportError(f"the exported network does not run: {error}") from error
        parity = Parity(
            runtime=runtime,
            tolerance=tolerance,
            images=len(images),
            batches=(*RANDOM_BATCHES, *(len(chunk) for chunk in _chunks(images))),
            outputs=compare(TorchEngine(original), Gate(engine, 1), prepared_batches(original, images)),
            fast_path=fast or engine.fast_path(),
        )
        engine.close()
        parity.check()
        settle(drafts, path)
    return parity


def prepared_batches(model: Model, images: Sequence[bytes | Path]) -> Iterator[NDArray[np.float32]]:
    """What networks are compared on: noise over the range that preprocessed pixels have, then the images.

    Raises:
        ImageError: an image cannot be decoded.
    """
    yield from _random_batches(model)
    for chunk in _chunks(images):
        yield np.stack([load_input(image, model.spec.input) for image in chunk])


def _chunks(images: Sequence[bytes | Path]) -> list[Sequence[bytes | Path]]:
    return [images[i : i + _IMAGES_A_BATCH] for i in range(0, len(images), _IMAGES_A_BATCH)]


def _random_batches(model: Model) -> Iterator[NDArray[np.float32]]:
    contract = model.spec.input
    mean, std = (np.reshape(np.broadcast_to(values, contract.channels), (-1, 1, 1)) for values in (contract.mean, contract.std))
    generator = np.random.default_rng(0)
    for n in RANDOM_BATCHES:
        pixels = generator.random((n, contract.channels, *contract.shape))
        yield ((pixels - mean) / std).astype(np.float32)
