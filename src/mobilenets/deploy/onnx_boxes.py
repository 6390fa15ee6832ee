"""Boxes in ONNX: decoding and non-maximum suppression as nodes, for any batch size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mobilenets.deploy import operators as op
from mobilenets.runtime.detect.decode import LARGEST


class Nodes(Protocol):
    """The interface for appending nodes and constants, which the writer of `write_onnx` implements."""

    def constant(self, name: str, values: object, kind: type = ...) -> str:
        """Add a constant and return its name."""
        ...

    def node(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:  # Any: what attributes hold
        """Add a node with one output and return that."""
        ...

    def several(self, kind: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> None:  # Any: as above
        """Add a node with several outputs."""
        ...


class _Steps:
    """Appends nodes and constants and numbers them under a common prefix."""

    def __init__(self, nodes: Nodes, name: str) -> None:
        self._nodes, self._name, self._count = nodes, name, 0

    def constant(self, values: object, kind: type = np.float32) -> str:
        return self._nodes.constant(self._next("constant"), values, kind)

    def __call__(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:  # Any: what attributes hold
        return self._nodes.node(kind, inputs, output or self._next(kind.lower()), **attributes)

    def best(self, values: str, most: str, *, axis: int, scores: str = "") -> tuple[str, str]:
        """The `most` largest values along an axis, and their indices."""
        names = scores or self._next("best"), self._next("places")
        self._nodes.several("TopK", [values, most], names, axis=axis)
        return names

    def _next(self, kind: str) -> str:
        self._count += 1
        return f"{self._name}/{kind}_{self._count}"


def write_boxes(nodes: Nodes, operator: op.Boxes, anchors: NDArray[Any]) -> None:
    """Write the decoding of boxes."""
    add = _Steps(nodes, operator.output)
    [offsets] = operator.inputs
    sides = np.asarray(anchors[:, 2:] - anchors[:, :2], np.float32)
    centers = anchors[:, :2] + np.float32(0.5) * sides
    moved = add("Mul", offsets, add.constant(operator.variances))
    begin, middle, end, axis = (add.constant([value], np.int64) for value in (0, 2, 4, 2))
    shift, growth = add("Slice", moved, begin, middle, axis), add("Slice", moved, middle, end, axis)
    side = add.constant(sides)
    center = add("Add", add("Mul", shift, side), add.constant(centers))
    grown = add("Mul", add("Exp", add("Min", growth, add.constant(LARGEST))), side)
    half = add("Mul", grown, add.constant(0.5))
    boxes = add("Concat", add("Sub", center, half), add("Add", center, half), axis=-1)
    height, width = operator.size
    inside = add("Min", boxes, add.constant([width, height, width, height]))
    add("Max", inside, add.constant(0), output=operator.output)


def write_nms(nodes: Nodes, operator: op.Nms, thresholds: NDArray[Any], count: int) -> None:
    """Write non-maximum suppression.

    Args:
        nodes: the writer to append to.
        operator: the operator to write.
        thresholds: of each class.
        count: number of boxes.
    """
    add, classes = _Steps(nodes, operator.output), len(thresholds)
    boxes, whole = operator.inputs
    made_boxes, made_scores, made_classes = operator.made
    if operator.first:
        first, last, axis = (add.constant([value], np.int64) for value in (operator.first, operator.first + classes, 2))
        whole = add("Slice", whole, first, last, axis)  # N A classes
    scores = add("Transpose", whole, perm=[0, 2, 1])  # N classes A
    # Keep scores above their thresholds, and of these the best of each class; set all others to 0.
    above = add("Where", add("Greater", scores, add.constant(thresholds[:, np.newaxis])), scores, add.constant(0))
    best, places = add.best(above, add.constant([min(operator.candidates, count)], np.int64), axis=2)
    scores = add("ScatterElements", add("Sub", above, above), places, best, axis=2)
    # The operator expects boxes as y x y x; x y x y gives the same overlaps.
    most = add.constant([operator.most], np.int64)
    kept = add("NonMaxSuppression", boxes, scores, most, add.constant([operator.iou]), add.constant([0.0]))  # M x (n, class, A)
    survivors = add("ScatterND", add("Sub", scores, scores), kept, add("GatherND", scores, kept))  # N classes A
    flat = add("Reshape", survivors, add.constant([0, -1], np.int64))
    places_in_all = add.constant([min(operator.most, count * classes)], np.int64)
    found, cells = add.best(flat, places_in_all, axis=1, scores=made_scores)
    length, end = add.constant(count, np.int64), add.constant([-1], np.int64)
    anchors = add("Unsqueeze", add("Mod", cells, length), end)  # N K 1
    real = add("Greater", found, add.constant(0))
    add("Where", real, add("Div", cells, length), add.constant(-1, np.int64), output=made_classes)
    at = add("GatherND", boxes, anchors, batch_dims=1)
    add("Where", add("Unsqueeze", real, end), at, add.constant(0), output=made_boxes)
