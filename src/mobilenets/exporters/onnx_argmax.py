"""ONNX export with per-pixel classes as output: `runtime.segment.decode` as operators appended to the network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mobilenets.exporters.onnx_tail import Batches, Compared, Tail, export_with_tail, not_for, pairs
from mobilenets.exporters.parity import TOLERANCE, Agreement, Parity
from mobilenets.model import Model
from mobilenets.runtime.engines.base import Engine
from mobilenets.runtime.manifest import Manifest
from mobilenets.runtime.segment import decode as segment

if TYPE_CHECKING:
    import onnx

NEAR_TIES = 0.001
"""Share of pixels whose class may differ: if two logits are equal up to rounding, either class is correct."""


def export_onnx_argmax(
    model: Model,
    path: Path,
    *,
    images: Sequence[bytes | Path] = (),
    tolerance: float = TOLERANCE,
) -> Parity:
    """Export a segmenter to `path`, one ONNX file that outputs pixel classes directly, after comparing them with the model's.

    The input is "image", as in `export_onnx`. The output is "classes", N H W in 8 bits: for each pixel of the input, an index
    into the labels of the manifest inside the file. For images larger than the input, a file from `export_onnx` gives finer
    masks, because its logits are interpolated to the image's own size, while classes can only be repeated.

    Args:
        model: a segmenter; it is not modified.
        path: the file to write; its folder is created.
        images: files or encoded bytes to compare on, in addition to random input.
        tolerance: the largest allowed difference of the logits, as in `export_onnx`.

    Raises:
        CheckpointError: there are more classes than fit in 8 bits.
        ExportError: the model is not a segmenter, the exporter failed, the file cannot be written, or the classes differ.
        ImageError: an image cannot be decoded.
        MissingExtraError: onnx is not installed.
    """
    if model.spec.task != "segment":
        raise not_for(model, "only segmenters have classes of pixels", option="--argmax")
    return export_with_tail(model, path, extend=with_argmax, compare=compare_classes, images=images, tolerance=tolerance)


def with_argmax(model: onnx.ModelProto, manifest: Manifest) -> onnx.ModelProto:
    """A copy of a segmenter's ONNX model that outputs "classes" instead of logits.

    Args:
        model: has the output "logits", N C h w, for any batch size.
        manifest: the segmenter's manifest.
    """
    from onnx import TensorProto

    shape = manifest.input.shape
    add = Tail("argmax")
    # Batch size and channels are read from the logits, as torch exports it: not every runtime supports Resize with axes.
    size = add("Concat", add("Shape", "logits", start=0, end=2), add.constant(shape, np.int64), axis=0)
    mode = "align_corners" if segment.align_corners(manifest) else "half_pixel"
    large = add("Resize", "logits", "", "", size, mode="linear", coordinate_transformation_mode=mode)  # N C H W
    best = add("ArgMax", large, axis=1, keepdims=0)  # the first of equal values, as in NumPy
    add("Cast", best, to=TensorProto.UINT8, name="classes")
    return add.behind(model, {"classes": (TensorProto.UINT8, shape)})


def compare_classes(reference: Engine, decoding: Engine, batches: Batches, manifest: Manifest) -> Compared:
    """Count the pixels whose classes differ.

    Args:
        reference: outputs logits, which are decoded in NumPy.
        decoding: outputs classes.
        batches: preprocessed images.
        manifest: the manifest of both networks.
    """
    differing = total = 0
    for one, other in pairs(segment.decode_segmentations, reference, decoding, batches, manifest):
        differing += int((one.classes != other.classes).sum())
        total += one.classes.size
    return (), Agreement("classes", "pixels", differing, total, NEAR_TIES)
