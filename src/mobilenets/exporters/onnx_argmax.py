"""ONNX with classes of pixels as output: what `runtime.segment.decode` does, as operators behind the network."""

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
"""Share of the pixels that may have another class: where two logits are equal but for rounding, either is right."""


def export_onnx_argmax(
    model: Model,
    path: Path,
    *,
    images: Sequence[bytes | Path] = (),
    tolerance: float = TOLERANCE,
) -> Parity:
    """Write `path`, one ONNX file that gives classes of pixels by itself, after comparing them with the model's.

    The input is "image", as of `export_onnx`; the output is "classes", N H W in 8 bits: for each pixel of the input the index
    into the labels of the manifest inside the file. Where an image is larger than the input, the file of `export_onnx` gives
    finer masks: its logits are enlarged to the image's own size, classes can only be repeated.

    Args:
        model: a segmenter; is left as it is.
        path: the file to write; its folder is made.
        images: files or encoded bytes to compare on, besides random input.
        tolerance: largest difference of the logits, as for `export_onnx`.

    Raises:
        CheckpointError: there are more classes than 8 bits hold.
        ExportError: the model is no segmenter, the exporter failed, the file cannot be written, or classes differ.
        ImageError: an image cannot be decoded.
        MissingExtraError: onnx is not installed.
    """
    if model.spec.task != "segment":
        raise not_for(model, "only segmenters have classes of pixels", option="--argmax")
    return export_with_tail(model, path, extend=with_argmax, compare=compare_classes, images=images, tolerance=tolerance)


def with_argmax(model: onnx.ModelProto, manifest: Manifest) -> onnx.ModelProto:
    """A copy of a segmenter's ONNX model that gives "classes" in place of logits.

    Args:
        model: with the output "logits", N C h w, of any batch size.
        manifest: of the segmenter.
    """
    from onnx import TensorProto

    shape = manifest.input.shape
    add = Tail("argmax")
    # Batch and channels are taken from the logits, as torch exports it: not every runtime knows Resize with axes.
    size = add("Concat", add("Shape", "logits", start=0, end=2), add.constant(shape, np.int64), axis=0)
    mode = "align_corners" if segment.align_corners(manifest) else "half_pixel"
    large = add("Resize", "logits", "", "", size, mode="linear", coordinate_transformation_mode=mode)  # N C H W
    best = add("ArgMax", large, axis=1, keepdims=0)  # of equal ones the first, as in NumPy
    add("Cast", best, to=TensorProto.UINT8, name="classes")
    return add.behind(model, {"classes": (TensorProto.UINT8, shape)})


def compare_classes(reference: Engine, decoding: Engine, batches: Batches, manifest: Manifest) -> Compared:
    """How many pixels have another class.

    Args:
        reference: gives logits, which are decoded in NumPy.
        decoding: gives classes.
        batches: prepared images.
        manifest: of both.
    """
    differing = total = 0
    for one, other in pairs(segment.decode_segmentations, reference, decoding, batches, manifest):
        differing += int((one.classes != other.classes).sum())
        total += one.classes.size
    return (), Agreement("classes", "pixels", differing, total, NEAR_TIES)
