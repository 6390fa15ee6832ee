"""ONNX: one file with the weights, the labels and the input contract inside, checked against torch before it appears."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from mobilenets.errors import CheckpointError, ExportError, MissingExtraError
from mobilenets.exporters.drafts import drafted
from mobilenets.exporters.parity import TOLERANCE, Parity, compare
from mobilenets.model import Model, TorchEngine
from mobilenets.runtime.engines.onnx import OnnxEngine
from mobilenets.runtime.images.prepare import load_input
from mobilenets.runtime.manifest import METADATA_KEY, manifest_of

if TYPE_CHECKING:
    from torch.onnx import ONNXProgram

OPSET = 20  # the first with Gelu as one operator; ONNX Runtime runs it since 1.17, and the base install asks for 1.20
INPUT = "image"
RANDOM_BATCHES = (1, 2, 5)
IMAGES_A_BATCH = 8


def export_onnx(
    model: Model,
    path: str | Path,
    *,
    images: Sequence[bytes | Path] = (),
    tolerance: float = TOLERANCE,
) -> Parity:
    """Write `path`, one ONNX file that `runtime.Predictor.open` takes, after comparing it with the model.

    The input is "image", N C H W of any N, prepared as the input contract inside the file says; the outputs are those of the
    model, for a classifier "logits", N classes. The file is written elsewhere, compared with the model in ONNX Runtime on
    random input of several batch sizes and on `images`, and only then moved to `path`: a failed export leaves it as it was.

    Args:
        model: is left as it is.
        path: the file to write; its folder is made.
        images: files or encoded bytes to compare on, besides random input.
        tolerance: largest difference, relative to the largest logit of a batch.

    Raises:
        ExportError: the exporter failed, the file cannot be written, or the outputs differ by more than `tolerance`.
        ImageError: an image cannot be decoded.
        MissingExtraError: onnx or onnxscript is not installed.
    """
    path = Path(path)
    original = copy.deepcopy(model).cpu().eval()
    program = _program(original)
    with drafted(path, "new") as drafts:
        draft = drafts / path.name
        program.save(str(draft), external_data=False)
        parity = _compare(original, draft, images, tolerance=tolerance)
        parity.check()
        draft.replace(path)
    return parity


def _program(model: Model) -> ONNXProgram:
    contract = model.spec.input
    example = torch.zeros(2, contract.channels, *contract.shape)
    try:
        with _quiet():
            program = torch.onnx.export(
                model,
                (example,),
                input_names=[INPUT],
                output_names=list(model.outputs),
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
    except ImportError as error:
        raise MissingExtraError(error.name or "onnxscript", "train") from error
    except (torch.onnx.errors.OnnxExporterError, RuntimeError, ValueError) as error:
        raise ExportError(f"torch cannot export {model.spec.backbone.name}: {str(error).strip().splitlines()[0]}") from error
    if program is None:
        raise ExportError(f"torch exported nothing for {model.spec.backbone.name}")
    program.model.metadata_props[METADATA_KEY] = manifest_of(model.spec).to_json()
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()  # stack traces with the paths of this machine
    return program


def _compare(model: Model, path: Path, images: Sequence[bytes | Path], *, tolerance: float) -> Parity:
    import onnxruntime

    try:
        exported = OnnxEngine(path)
    except CheckpointError as error:
        raise ExportError(f"the exported network does not run: {error}") from error
    chunks = _chunks(images)
    return Parity(
        runtime=f"onnxruntime {onnxruntime.__version__}",
        tolerance=tolerance,
        images=len(images),
        batches=(*RANDOM_BATCHES, *(len(chunk) for chunk in chunks)),
        outputs=compare(TorchEngine(model), exported, prepared_batches(model, images)),
    )


def prepared_batches(model: Model, images: Sequence[bytes | Path]) -> Iterator[NDArray[np.float32]]:
    """What networks are compared on: noise over the range that prepared pixels have, then the images.

    Raises:
        ImageError: an image cannot be decoded.
    """
    yield from _random_batches(model)
    for chunk in _chunks(images):
        yield np.stack([load_input(image, model.spec.input) for image in chunk])


def _chunks(images: Sequence[bytes | Path]) -> list[Sequence[bytes | Path]]:
    return [images[i : i + IMAGES_A_BATCH] for i in range(0, len(images), IMAGES_A_BATCH)]


def _random_batches(model: Model) -> Iterator[NDArray[np.float32]]:
    contract = model.spec.input
    mean, std = (np.reshape(np.broadcast_to(values, contract.channels), (-1, 1, 1)) for values in (contract.mean, contract.std))
    generator = np.random.default_rng(0)
    for n in RANDOM_BATCHES:
        pixels = generator.random((n, contract.channels, *contract.shape))
        yield ((pixels - mean) / std).astype(np.float32)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences what the exporter says about its own work."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
