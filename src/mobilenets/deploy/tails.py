"""Tails: operators that decode a network's outputs, appended to its graph so that a file returns boxes or classes of pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from mobilenets.deploy import operators as op
from mobilenets.deploy.graph import Graph
from mobilenets.deploy.operators import Operator
from mobilenets.errors import GraphError
from mobilenets.runtime.detect.anchors import anchors
from mobilenets.runtime.detect.decode import thresholds_of
from mobilenets.runtime.segment.decode import MOST, align_corners
from mobilenets.specs.model import Task
from mobilenets.specs.ssd import SsdHead

Tail = Literal["nms", "argmax"]


def with_argmax(graph: Graph) -> Graph:
    """A segmenter that returns "classes": the index of each input pixel's label, N H W in 8 bits.

    Args:
        graph: a segmenter whose output is "logits", C h w.

    Raises:
        GraphError: the graph has other outputs, or more labels than 8 bits can hold.
    """
    [logits] = _outputs(graph, "logits")
    if len(graph.manifest.labels) > MOST:
        raise GraphError(f"it has {len(graph.manifest.labels)} labels, but a class of 8 bits is one of {MOST}")
    operators: list[Operator] = []
    if graph.shapes()[logits][1:] != graph.manifest.input.shape:
        coordinates: op.Coordinates = "align_corners" if align_corners(graph.manifest) else "half_pixel"
        size = graph.manifest.input.shape
        operators.append(
            op.Resize(name="tail.large", inputs=(logits,), output="tail.large", size=size, coordinates=coordinates)
        )
        logits = "tail.large"
    operators.append(op.ArgMax(name="tail.best", inputs=(logits,), output="tail.best"))
    return replace(graph, operators=(*graph.operators, *operators), outputs={"classes": "tail.best"})


def with_nms(graph: Graph) -> Graph:
    """A detector that returns boxes, the highest score first, K of them at most: the head's `detections`.

    The outputs are "boxes", N K 4, x0 y0 x1 y1 in px of the input; "scores", N K; and "classes", N K, indices into the labels.
    Unused places have score 0 and class -1. The head's thresholds are built in.

    Args:
        graph: a detector whose outputs are "logits", A columns, and "offsets", A 4.

    Raises:
        GraphError: the graph has other outputs, or is not a detector.
    """
    logits, offsets = _outputs(graph, "logits", "offsets")
    head, shape = graph.manifest.head, graph.manifest.input.shape
    if not isinstance(head, SsdHead):
        raise GraphError(f"it has a {type(head).__name__}, which detects nothing")
    sigmoid = head.activation == "sigmoid"
    scores: Operator = (
        op.Activation(name="tail.scores", inputs=(logits,), output="tail.scores", kind="sigmoid")
        if sigmoid
        else op.Softmax(name="tail.scores", inputs=(logits,), output="tail.scores")
    )
    boxes = op.Boxes(
        name="tail.boxes",
        inputs=(offsets,),
        output="tail.boxes",
        anchors="tail.anchors",
        variances=head.variances,
        size=shape,
    )
    nms = op.Nms(
        name="tail.nms",
        inputs=("tail.boxes", "tail.scores"),
        output="tail.nms",
        thresholds="tail.thresholds",
        first=0 if sigmoid else 1,
        iou=head.iou,
        candidates=head.candidates,
        most=head.detections,
    )
    tensors = {
        **graph.tensors,
        "tail.anchors": np.array(anchors(head, shape)),
        "tail.thresholds": thresholds_of(head, len(graph.manifest.labels)),
    }
    outputs = dict(zip(("boxes", "scores", "classes"), nms.made, strict=True))
    return replace(graph, operators=(*graph.operators, scores, boxes, nms), tensors=tensors, outputs=outputs)


def _outputs(graph: Graph, *names: str) -> list[str]:
    if sorted(graph.outputs) != sorted(names):
        raise GraphError(f"it returns {', '.join(graph.outputs)}, but the tail decodes {' and '.join(names)}")
    return [graph.outputs[name] for name in names]


@dataclass(frozen=True, slots=True)
class Known:
    """A tail and its description.

    Args:
        task: task of the models that may have this tail.
        option: the command line option for it.
        only: why other models cannot have it, for an error message.
        gives: what the option does, for messages.
        add: appends the tail to a graph.
    """

    task: Task
    option: str
    only: str
    gives: str
    add: Callable[[Graph], Graph]


# fmt: off
TAILS: dict[Tail, Known] = {
    "nms":    Known("detect", "--nms", "only detectors have boxes", "gives boxes", with_nms),
    "argmax": Known(
        "segment", "--argmax", "only segmenters have classes of pixels", "gives the class of each pixel", with_argmax
    ),
}
# fmt: on
"""Every tail, by the name that exports use for it."""
