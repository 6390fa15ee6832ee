"""ONNX export with bounding boxes as outputs: `runtime.detect.decode` as operators appended to the network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mobilenets.exporters.onnx_tail import Batches, Compared, Tail, export_with_tail, not_for, pairs
from mobilenets.exporters.parity import TOLERANCE, Agreement, OutputParity, Parity
from mobilenets.model import Model
from mobilenets.runtime.detect import decode as detect
from mobilenets.runtime.detect.anchors import anchors
from mobilenets.runtime.detect.decode import Detections
from mobilenets.runtime.engines.base import Engine
from mobilenets.runtime.manifest import Manifest
from mobilenets.specs.ssd import SsdHead

if TYPE_CHECKING:
    import onnx

STRAY = 0.01
"""Share of detections that may be unmatched: equal scores, and overlaps right at the threshold, can be decided either way."""

_NEAR = 1e-3  # share of the input's longer side: how far apart matched boxes may be


def export_onnx_nms(
    model: Model,
    path: Path,
    *,
    images: Sequence[bytes | Path] = (),
    tolerance: float = TOLERANCE,
) -> Parity:
    """Export a detector to `path`, an ONNX file that outputs boxes, after comparing it with the model decoded in NumPy.

    The input is "image", as in `export_onnx`. Each image gets as many slots as the head's `detections`, highest score
    first: "boxes", N K 4, x0 y0 x1 y1 in px of the input; "scores", N K; and "classes", N K, indices into the labels of the
    manifest inside the file. Unused slots have score 0 and class -1. The head's thresholds are built in.

    Args:
        model: a detector; it is not modified.
        path: the file to write; its folder is created.
        images: files or encoded bytes to compare on, in addition to random input.
        tolerance: the largest allowed difference of two scores, and of the network's outputs as in `export_onnx`.

    Raises:
        ExportError: the model is not a detector, the exporter failed, the file cannot be written, or the detections differ.
        ImageError: an image cannot be decoded.
        MissingExtraError: onnx is not installed.
    """
    if not isinstance(model.spec.head, SsdHead):
        raise not_for(model, "only detectors have boxes", option="--nms")
    return export_with_tail(model, path, extend=with_nms, compare=compare_detections, images=images, tolerance=tolerance)


def with_nms(model: onnx.ModelProto, manifest: Manifest) -> onnx.ModelProto:
    """A copy of a detector's ONNX model that outputs "boxes", "scores" and "classes" instead of logits and offsets.

    Args:
        model: has the outputs "logits" and "offsets", for any batch size.
        manifest: the detector's manifest.
    """
    from onnx import TensorProto

    head = manifest.head
    assert isinstance(head, SsdHead)
    tail = Tail("nms")
    count, classes = len(anchors(head, manifest.input.shape)), len(manifest.labels)
    scores = _scores(tail, head, count=count, classes=classes)
    boxes = _boxes(tail, head, manifest.input.shape)
    _best(tail, boxes, scores, head, count=count, classes=classes)
    most = min(head.detections, count * classes)
    outputs = {
        "boxes": (TensorProto.FLOAT, (most, 4)),
        "scores": (TensorProto.FLOAT, (most,)),
        "classes": (TensorProto.INT64, (most,)),
    }
    return tail.behind(model, outputs)


def compare_detections(reference: Engine, decoding: Engine, batches: Batches, manifest: Manifest) -> Compared:
    """The largest score difference between the detections of two networks, and how many detections are unmatched.

    Args:
        reference: outputs logits and offsets, which are decoded in NumPy.
        decoding: outputs boxes.
        batches: preprocessed images.
        manifest: the manifest of both networks.
    """
    near = _NEAR * max(manifest.input.shape)
    worst, strays, total = 0.0, 0, 0
    for one, other in pairs(detect.decode_detections, reference, decoding, batches, manifest):
        for first, second in ((one, other), (other, one)):
            difference, alone = _partners(first, second, near)
            worst, strays, total = max(worst, difference), strays + alone, total + len(first)
    return (OutputParity("detections", worst, worst),), Agreement("detections", "boxes", strays, total, STRAY)


def _scores(add: Tail, head: SsdHead, *, count: int, classes: int) -> str:
    """The scores above their thresholds, limited to the best `candidates` of each class; all others are 0: N classes A."""
    if head.activation == "sigmoid":
        scores = add("Sigmoid", "logits")
    else:
        whole = add("Softmax", "logits", axis=-1)
        first, last, axis = (add.constant([value], np.int64) for value in (1, classes + 1, 2))
        scores = add("Slice", whole, first, last, axis)  # N A classes
    scores = add("Transpose", scores, perm=[0, 2, 1])  # N classes A
    nothing = add.constant(0)
    thresholds = add.constant(detect.thresholds_of(head, classes)[:, np.newaxis])
    above = add("Where", add("Greater", scores, thresholds), scores, nothing)
    most = add.constant([min(head.candidates, count)], np.int64)
    best, places = add.several("TopK", above, most, names=("nms/best", "nms/places"), axis=2)
    return add("ScatterElements", _zeros_like(add, above), places, best, axis=2)


def _boxes(add: Tail, head: SsdHead, shape: tuple[int, int]) -> str:
    """Boxes x0 y0 x1 y1, clipped to the input: N A 4."""
    own = anchors(head, shape)
    sides = own[:, 2:] - own[:, :2]
    centers = own[:, :2] + np.float32(0.5) * sides
    moved = add("Mul", "offsets", add.constant(head.variances))
    begin, middle, end, axis = (add.constant([value], np.int64) for value in (0, 2, 4, 2))
    shift, growth = add("Slice", moved, begin, middle, axis), add("Slice", moved, middle, end, axis)
    side = add.constant(sides)
    center = add("Add", add("Mul", shift, side), add.constant(centers))
    grown = add("Mul", add("Exp", add("Min", growth, add.constant(detect.LARGEST))), side)
    half = add("Mul", grown, add.constant(0.5))
    boxes = add("Concat", add("Sub", center, half), add("Add", center, half), axis=-1)
    height, width = shape
    return add("Max", add("Min", boxes, add.constant([width, height, width, height])), add.constant(0))


def _best(add: Tail, boxes: str, scores: str, head: SsdHead, *, count: int, classes: int) -> None:
    """The boxes that non-maximum suppression keeps, over all classes, by descending score."""
    most = add.constant([head.detections], np.int64)
    # The operator expects boxes as y x y x; we pass x y x y, because the overlaps are the same.
    kept = add(
        "NonMaxSuppression", boxes, scores, most, add.constant([head.iou]), add.constant([0.0])
    )  # M x (n, class, anchor)
    survivors = add("ScatterND", _zeros_like(add, scores), kept, add("GatherND", scores, kept))  # N classes A
    flat = add("Reshape", survivors, add.constant([0, -1], np.int64))
    places_in_all = add.constant([min(head.detections, count * classes)], np.int64)
    found, cells = add.several("TopK", flat, places_in_all, names=("scores", "nms/cells"), axis=1)
    length = add.constant(count, np.int64)
    last = add.constant([-1], np.int64)
    places = add("Unsqueeze", add("Mod", cells, length), last)  # N K 1
    real = add("Greater", found, add.constant(0))
    add("Where", real, add("Div", cells, length), add.constant(-1, np.int64), name="classes")
    add("Where", add("Unsqueeze", real, last), add("GatherND", boxes, places, batch_dims=1), add.constant(0), name="boxes")


def _zeros_like(add: Tail, values: str) -> str:
    return add("Sub", values, values)


def _partners(first: Detections, second: Detections, near: float) -> tuple[float, int]:
    """The largest score difference of matched detections (same class, within `near` px), and how many have no match."""
    if not len(first) or not len(second):
        return 0.0, len(first)
    far = np.abs(first.boxes[:, np.newaxis] - second.boxes).max(axis=2) > near
    far |= first.classes[:, np.newaxis] != second.classes
    differences = np.abs(first.scores[:, np.newaxis].astype(np.float64) - second.scores)
    least = np.where(far, np.inf, differences).min(axis=1)
    with_partner = np.isfinite(least)
    return float(least[with_partner].max(initial=0)), int((~with_partner).sum())
