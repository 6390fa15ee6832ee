"""Boxes in TFLite: decoding with builtin operators, and the custom operator for non-maximum suppression.

That operator, `TFLite_Detection_PostProcess`, is not in the schema, but every TFLite runtime has it. It decodes boxes itself,
slightly differently from us: it does not clip them. So we decode and clip the boxes, then encode them again relative to an
anchor that covers the input, as center and logarithm of the size. The operator then decodes exactly these boxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenets.deploy import operators as op
from mobilenets.deploy.tflite_file import Draft
from mobilenets.deploy.tflite_metadata import OUTPUTS
from mobilenets.runtime.detect.decode import LARGEST

_OPERATOR = "TFLite_Detection_PostProcess"
_SMALLEST = 1e-6  # smallest side, as a share of the input's: the operator refuses empty boxes


class _Steps:
    """Appends operators and numbers their outputs under a common prefix."""

    def __init__(self, draft: Draft, name: str) -> None:
        self.draft, self._name, self._count = draft, name, 0

    def name(self, kind: str) -> str:
        self._count += 1
        return f"{self._name}/{kind.lower()}_{self._count}"

    def constant(self, values: object, kind: type = np.float32) -> int:
        return self.draft.constant(self.name("constant"), np.asarray(values, kind))

    def __call__(
        self, kind: str, inputs: Sequence[int], shape: Sequence[int], *, type_: str = "FLOAT32", **options: Any
    ) -> int:  # Any: what options hold
        return self.draft.operator(kind, inputs, self.draft.value(self.name(kind), shape, kind=type_), **options)

    def slice(self, source: int, shape: Sequence[int], first: int) -> int:
        """Part of the last axis, starting at `first`."""
        begin = self.constant([0] * (len(shape) - 1) + [first], np.int32)
        return self("SLICE", [source, begin, self.constant(shape, np.int32)], shape)


def write_boxes(
    draft: Draft, operator: op.Boxes, offsets: int, anchors: NDArray[Any], *, made: int, batch: int
) -> None:  # Any: floats
    """Write the decoding of boxes.

    Args:
        draft: the file to append to.
        operator: the operator to write.
        offsets: index of the input tensor, N A 4.
        anchors: x0 y0 x1 y1 in px, A 4.
        made: index of the output tensor, N A 4.
        batch: N.
    """
    add = _Steps(draft, operator.output)
    sides = np.asarray(anchors[:, 2:] - anchors[:, :2], np.float32)
    centers = anchors[:, :2] + np.float32(0.5) * sides
    half, whole = (batch, len(anchors), 2), (batch, len(anchors), 4)
    plain = {"fusedActivationFunction": "NONE"}
    moved = add("MUL", [offsets, add.constant(operator.variances)], whole, **plain)
    shift, growth = add.slice(moved, half, 0), add.slice(moved, half, 2)
    side = add.constant(sides)
    center = add("ADD", [add("MUL", [shift, side], half, **plain), add.constant(centers)], half, **plain)
    limited = add("MINIMUM", [growth, add.constant([LARGEST])], half)
    grown = add("MUL", [add("EXP", [limited], half), side], half, **plain)
    reach = add("MUL", [grown, add.constant([0.5])], half, **plain)
    low, high = (add(kind, [center, reach], half, **plain) for kind in ("SUB", "ADD"))
    boxes = add("CONCATENATION", [low, high], whole, axis=2, **plain)
    height, width = operator.size
    inside = add("MINIMUM", [boxes, add.constant([width, height, width, height])], whole)
    draft.operator("MAXIMUM", [inside, add.constant([0.0])], made)


def write_nms(
    draft: Draft,
    operator: op.Nms,
    boxes: int,
    scores: int,
    thresholds: NDArray[Any],  # Any: floats
    *,
    shape: Sequence[int],
    size: tuple[int, int],
) -> dict[str, int]:
    """Write non-maximum suppression; returns the indices of its output tensors, by the names of `OUTPUTS`.

    Args:
        draft: the file to append to.
        operator: the operator to write.
        boxes, scores: indices of the input tensors, 1 A 4 and 1 A columns.
        thresholds: of each class.
        shape: shape of the scores, A columns.
        size: height and width of the network's input.
    """
    add, (count, columns) = _Steps(draft, operator.output), shape
    half, whole, all_scores = (1, count, 2), (1, count, 4), (1, count, columns)
    plain = {"fusedActivationFunction": "NONE"}
    height, width = size
    shares = add("MUL", [boxes, add.constant([1 / width, 1 / height, 1 / width, 1 / height])], whole, **plain)
    turned = add("GATHER", [shares, add.constant([1, 0, 3, 2], np.int32)], whole, axis=2)  # y0 x0 y1 x1
    low, high = add.slice(turned, half, 0), add.slice(turned, half, 2)
    center = add("MUL", [add("ADD", [low, high], half, **plain), add.constant([0.5])], half, **plain)
    extent = add("MAXIMUM", [add("SUB", [high, low], half, **plain), add.constant([_SMALLEST])], half)
    coded = add("CONCATENATION", [center, add("LOG", [extent], half)], whole, axis=2, **plain)
    if len(set(thresholds.tolist())) > 1:
        background = [2.0] * operator.first  # more than any score
        limits = add.constant([*background, *thresholds.tolist()])
        scores = _where(add, "GREATER", scores, limits, all_scores)
    if operator.candidates < count:
        rows = (1, columns, count)
        turned_scores = add("TRANSPOSE", [scores, add.constant([0, 2, 1], np.int32)], rows)
        best, places = ((1, columns, operator.candidates) for _ in range(2))
        where = draft.value(add.name("places"), places, kind="INT32")
        top = draft.value(add.name("best"), best)
        draft.operator("TOPK_V2", [turned_scores, add.constant(operator.candidates, np.int32)], top, where)
        last = add.slice(top, (1, columns, 1), operator.candidates - 1)
        limits = add("TRANSPOSE", [last, add.constant([0, 2, 1], np.int32)], (1, 1, columns))
        scores = _where(add, "GREATER_EQUAL", scores, limits, all_scores)
    # The operator keeps scores >= the threshold; ours must exceed it.
    threshold = float(np.nextafter(thresholds.min(), np.float32(1), dtype=np.float32))
    anchors = add.constant(np.tile(np.asarray([0, 0, 1, 1], np.float32), (count, 1)))  # center y x, height, width
    most = operator.most
    shapes = {"location": (1, most, 4), "category": (1, most), "score": (1, most), "number of detections": (1,)}
    made = {name: draft.value(name, shapes[name]) for name in OUTPUTS}
    options: dict[str, int | float | bool] = {
        "max_detections": most,
        "max_classes_per_detection": 1,
        "detections_per_class": most,
        "use_regular_nms": True,
        "nms_score_threshold": threshold,
        "nms_iou_threshold": operator.iou,
        "num_classes": columns - operator.first,
        "y_scale": 1.0,
        "x_scale": 1.0,
        "h_scale": 1.0,
        "w_scale": 1.0,
    }
    draft.custom(_OPERATOR, [coded, scores, anchors], list(made.values()), options)
    return made


def _where(add: _Steps, kind: str, scores: int, limits: int, shape: Sequence[int]) -> int:
    """The scores for which the comparison with the limits holds; 0 in place of the others."""
    mask = add(kind, [scores, limits], shape, type_="BOOL")
    factor = add("CAST", [mask], shape, inDataType="BOOL", outDataType="FLOAT32")
    return add("MUL", [scores, factor], shape, fusedActivationFunction="NONE")
