"""Decoding of detections: from the scores and offsets at every anchor to boxes on the image."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mobilenets.errors import CheckpointError
from mobilenets.runtime.detect.anchors import anchors
from mobilenets.runtime.detect.draw import draw_detections
from mobilenets.runtime.detect.nms import nms
from mobilenets.runtime.images.placement import Placement
from mobilenets.runtime.manifest import Manifest
from mobilenets.runtime.rows import EDGE_DIGITS, SCORE_DIGITS, Record, Row, json_line
from mobilenets.specs.ssd import SsdHead

Corners = tuple[float, float, float, float]
"""A box: x0 y0 x1 y1, px."""

EDGES = ("x0", "y0", "x1", "y1")
"""Names of a box's edges in rows."""

LARGEST = math.log(1000 / 16)
"""Limit of the predicted log width and height: a box is at most 62.5 times its anchor, as in torchvision's BoxCoder."""

_ROUNDING = 1e-3  # margin for logits: an anchor this close below the threshold is decoded, since rounding may lift it
_FIRST = 8  # this many times more boxes than are kept are decoded first


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Detections:
    """A detector's boxes on one image, by descending score.

    Args:
        labels: the model's class names.
        boxes: x0 y0 x1 y1 in px of the upright original image, K x 4.
        scores: the score of each box, 0 to 1, K.
        classes: the index into `labels` of each box, K.
        width, height: size of the image, px; 0 if unknown.
    """

    labels: tuple[str, ...]
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    classes: NDArray[np.int64]
    width: int = 0
    height: int = 0

    def __len__(self) -> int:
        return len(self.scores)

    def __repr__(self) -> str:
        best = ", ".join(f"{self.labels[i]} {score:.1%}" for i, score in zip(self.classes[:3], self.scores[:3], strict=True))
        return f"Detections({len(self)}: {best}{', ...' if len(self) > 3 else ''})" if len(self) else "Detections(none)"

    @property
    def names(self) -> tuple[str, ...]:
        """The label of each box."""
        return tuple(self.labels[i] for i in self.classes)

    def each(self) -> list[tuple[str, float, Corners]]:
        """Label, score and box x0 y0 x1 y1 of each detection, as plain Python values without rounding."""
        triples = zip(self.names, self.scores.tolist(), self.boxes.tolist(), strict=True)
        return [(name, score, (x0, y0, x1, y1)) for name, score, (x0, y0, x1, y1) in triples]

    def rows(self) -> list[Row]:
        """A row for each box: `label`, `score`, and `x0`, `y0`, `x1`, `y1` in px."""
        rows: list[Row] = []
        for label, score, box in self.each():
            edges = {name: round(edge, EDGE_DIGITS) for name, edge in zip(EDGES, box, strict=True)}
            rows.append({"label": label, "score": round(score, SCORE_DIGITS), **edges})
        return rows

    def record(self) -> Record:
        """The record for JSON: the size of the image, and the rows."""
        return {"width": self.width, "height": self.height, "boxes": self.rows()}

    def to_json(self) -> str:
        """The record as one line of JSON."""
        return json_line(self.record())

    def summary(self) -> str:
        """The number of boxes per label, the most frequent label first, for people."""
        return ", ".join(f"{count} {label}" for label, count in Counter(self.names).most_common()) or "nothing"

    def draw(self, image: Image.Image) -> Image.Image:
        """A copy of the image in RGB with each box, its label and its score.

        Args:
            image: upright and at its full size, as `decode_image` gives it.
        """
        return draw_detections(image, self)

    def take(self, chosen: NDArray[np.int64] | NDArray[np.bool_]) -> Detections:
        """The detections at these indices, or where the mask is true."""
        return replace(self, boxes=self.boxes[chosen], scores=self.scores[chosen], classes=self.classes[chosen])

    def above(self, thresholds: float | Sequence[float]) -> Detections:
        """The detections whose score exceeds the threshold: one threshold for all labels, or one per label."""
        each = np.broadcast_to(np.asarray(thresholds, np.float32), len(self.labels))
        return self.take(self.scores > each[self.classes])


def none(labels: tuple[str, ...], width: int = 0, height: int = 0) -> Detections:
    """An empty result for an image of this size, px."""
    return Detections(labels, np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64), width, height)


def decode_detections(
    outputs: Mapping[str, NDArray[np.float32]], manifest: Manifest, placements: Sequence[Placement]
) -> list[Detections]:
    """The detections of each image of the batch, as torchvision's SSD computes them.

    For each class, the best `candidates` boxes above its threshold go through non-maximum suppression. The best boxes of all
    classes are then mapped to the image.

    Args:
        outputs: an engine's outputs: `"logits"`, N A classes + background, and `"offsets"`, N A 4. A network with a built-in
            decoder gives `"boxes"`, N K 4 in px of the input, `"scores"`, N K, and `"classes"`, N K, where -1 means no box. A
            TFLite file with a built-in decoder gives `"location"`, N K 4, y0 x0 y1 x1 as shares of the input, `"score"` and
            `"category"`.
        manifest: the network's manifest.
        placements: where the network's input lies on each image.

    Raises:
        CheckpointError: the network has no such outputs, or they do not fit its manifest.
    """
    if "location" in outputs:
        outputs = _of_tasks(outputs, manifest)
    if "boxes" in outputs:
        return _decoded_inside(outputs, manifest, placements)
    head = _head(manifest)
    logits, offsets = (_output(outputs, name) for name in ("logits", "offsets"))
    own = anchors(head, manifest.input.shape)
    columns = head.columns(len(manifest.labels))
    if logits.shape[1:] != (len(own), columns) or offsets.shape[1:] != (len(own), 4):
        raise CheckpointError(
            f"the network gives logits of shape {_shape(logits)} and offsets of shape {_shape(offsets)}, but its manifest has "
            f"{len(own)} anchors and {columns} columns of scores"
        )
    thresholds = thresholds_of(head, len(manifest.labels))
    lowest = thresholds.min(initial=1)
    detections = []
    for i, placement in enumerate(placements):
        at = _likely(logits[i], head, lowest)
        scores = activate(logits[i, at], head)
        detections.append(
            _image(scores, offsets[i, at], own[at], thresholds, manifest=manifest, head=head, placement=placement)
        )
    return detections


def activate(logits: NDArray[np.float32], head: SsdHead) -> NDArray[np.float32]:
    """Scores of the labels from logits, ... x columns: sigmoid, or softmax with the background, the first column, dropped."""
    if head.activation == "sigmoid":
        with np.errstate(over="ignore"):  # a very low logit overflows to 1 / infinity, which is the right score
            scores: NDArray[np.float32] = np.float32(1) / (np.float32(1) + np.exp(-logits))
        return scores
    exponents = logits - logits.max(axis=-1, keepdims=True)
    np.exp(exponents, out=exponents)
    shares: NDArray[np.float32] = exponents[..., 1:]
    shares *= 1 / exponents.sum(axis=-1, keepdims=True)
    return shares


def _likely(logits: NDArray[np.float32], head: SsdHead, lowest: np.float32) -> NDArray[np.int64]:
    """The anchors where some label may score above `lowest`. They are few, and scores are computed only for them.

    With softmax, the best label's score is at most exp(its logit - the background's logit), whatever the other logits are.
    """
    if not 0 < lowest < 1:
        return np.arange(len(logits))
    softmax = head.activation == "softmax"
    most = logits[:, 1:].max(axis=1) - logits[:, 0] if softmax else logits.max(axis=1)
    return np.flatnonzero(most > np.log(lowest) - _ROUNDING - (0 if softmax else np.log1p(-lowest)))


def boxes_of(
    offsets: NDArray[np.float32], anchors: NDArray[np.float32], variances: tuple[float, float, float, float]
) -> NDArray[np.float32]:
    """Boxes x0 y0 x1 y1 from offsets tx ty tw th at their anchors (SSD, eq. 2), not clipped.

    Args:
        offsets: N x 4.
        anchors: x0 y0 x1 y1, N x 4.
        variances: factors that the offsets are multiplied by.
    """
    sides = anchors[:, 2:] - anchors[:, :2]
    centers = anchors[:, :2] + np.float32(0.5) * sides
    moved = offsets * np.asarray(variances, np.float32)
    centers = moved[:, :2] * sides + centers
    half = np.float32(0.5) * (np.exp(np.minimum(moved[:, 2:], np.float32(LARGEST))) * sides)
    return np.concatenate([centers - half, centers + half], axis=1)


def thresholds_of(head: SsdHead, classes: int) -> NDArray[np.float32]:
    """The score that a box of each class must exceed: the larger of the class's threshold and the common threshold."""
    own = np.asarray(head.class_thresholds or (0.0,) * classes, np.float32)
    return np.maximum(own, np.float32(head.score_threshold))


def _image(
    scores: NDArray[np.float32],
    offsets: NDArray[np.float32],
    anchors: NDArray[np.float32],
    thresholds: NDArray[np.float32],
    *,
    manifest: Manifest,
    head: SsdHead,
    placement: Placement,
) -> Detections:
    height, width = manifest.input.shape
    corners = np.array([width, height, width, height], np.float32)
    for above in _falling(scores, thresholds, _FIRST * head.detections):
        indices, classes = candidates(scores, above, head.candidates)
        boxes = np.clip(boxes_of(offsets[indices], anchors[indices], head.variances), 0, corners)
        chosen_scores = scores[indices, classes]
        kept = nms(boxes, chosen_scores, classes, head.iou, most=head.detections)
        if len(kept) == head.detections:
            break
    return Detections(
        manifest.labels, placed(boxes[kept], placement), chosen_scores[kept], classes[kept], placement.width, placement.height
    )


def _falling(scores: NDArray[np.float32], thresholds: NDArray[np.float32], most: int) -> Iterator[NDArray[np.float32]]:
    """Thresholds to try in turn: first one that leaves about the `most` highest scores, if there are more; then the given ones.

    A box never suppresses one with a higher score. So if the highest scores already give enough boxes, the rest can be skipped.
    """
    lowest = _kth(scores.max(axis=1), most)  # by the best class of each anchor: quick, and never too high
    above = np.maximum(thresholds, np.nextafter(lowest, np.float32(0)))
    lowest = _kth(scores[scores > above], most)
    if (lowest > above).any():
        above = np.maximum(thresholds, np.nextafter(lowest, np.float32(0)))
    if (above > thresholds).any():
        yield above
    yield thresholds


def _kth(scores: NDArray[np.float32], k: int) -> np.float32:
    """The k-th highest score, 0 if there are fewer than `k`."""
    return np.partition(scores, len(scores) - k)[len(scores) - k] if len(scores) >= k else np.float32(0)


def candidates(
    scores: NDArray[np.float32], thresholds: NDArray[np.float32], most: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Anchor and class of the `most` highest scores per class that exceed its threshold, ordered by class, then by anchor."""
    indices, classes = np.divmod(np.flatnonzero(scores > thresholds), scores.shape[1])
    order = np.argsort(classes, kind="stable")
    indices, classes = indices[order], classes[order]
    counts = np.bincount(classes, minlength=scores.shape[1])
    if counts.max(initial=0) <= most:
        return indices, classes
    order = np.lexsort((-scores[indices, classes], classes))
    rank = np.arange(len(classes)) - np.repeat(np.cumsum(counts) - counts, counts)
    chosen = np.sort(order[rank < most])
    return indices[chosen], classes[chosen]


def placed(boxes: NDArray[np.float32], placement: Placement) -> NDArray[np.float32]:
    """Boxes converted from px of the input to px of the image, clipped to the image."""
    scale = np.array([placement.scale_x, placement.scale_y] * 2, np.float32)
    corner = np.array([placement.left, placement.top] * 2, np.float32)
    whole = np.array([placement.width, placement.height] * 2, np.float32)
    clipped: NDArray[np.float32] = np.clip(boxes * scale + corner, 0, whole)
    return clipped


def _of_tasks(outputs: Mapping[str, NDArray[np.float32]], manifest: Manifest) -> dict[str, NDArray[np.float32]]:
    """Boxes, scores and classes from outputs in the format of TFLite's Task Library."""
    height, width = manifest.input.shape
    location, score, category = (_output(outputs, name) for name in ("location", "score", "category"))
    if location.ndim != 3 or location.shape[2] != 4:
        raise CheckpointError(f"the network returns locations of shape {_shape(location)}; it must be N x K x 4")
    boxes = location[:, :, [1, 0, 3, 2]] * np.array([width, height, width, height], np.float32)
    return {"boxes": boxes, "scores": score, "classes": np.where(score > 0, category, np.float32(-1))}


def _decoded_inside(
    outputs: Mapping[str, NDArray[np.float32]], manifest: Manifest, placements: Sequence[Placement]
) -> list[Detections]:
    """The detections of a network with a built-in decoder."""
    boxes, scores, classes = (_output(outputs, name) for name in ("boxes", "scores", "classes"))
    thresholds = thresholds_of(_head(manifest), len(manifest.labels))
    if boxes.shape[1:] != (*scores.shape[1:], 4) or scores.shape[1:] != classes.shape[1:] or scores.ndim != 2:
        raise CheckpointError(
            f"the network returns boxes of shape {_shape(boxes)}, scores of shape {_shape(scores)} and classes of shape "
            f"{_shape(classes)}; it must be N x K x 4, N x K and N x K"
        )
    if classes.max(initial=-1) >= len(manifest.labels):
        raise CheckpointError(f"the network returns class {classes.max():g} but its manifest has {len(manifest.labels)} labels")
    detections = []
    for i, placement in enumerate(placements):
        classes_of_image = classes[i].astype(np.int64)
        real = (classes_of_image >= 0) & (scores[i] > thresholds[classes_of_image])  # the other places are padding
        boxes_on_image = placed(boxes[i][real], placement)
        size = placement.width, placement.height
        detections.append(Detections(manifest.labels, boxes_on_image, scores[i][real], classes_of_image[real], *size))
    return detections


def _head(manifest: Manifest) -> SsdHead:
    if not isinstance(manifest.head, SsdHead):
        raise CheckpointError(f"the network '{manifest.model}' has a {type(manifest.head).__name__}, which detects nothing")
    return manifest.head


def _output(outputs: Mapping[str, NDArray[np.float32]], name: str) -> NDArray[np.float32]:
    if name not in outputs:
        raise CheckpointError(f"the network has no output '{name}' but {', '.join(repr(output) for output in outputs)}")
    return outputs[name]


def _shape(array: NDArray[np.float32]) -> str:
    return " x ".join(str(length) for length in array.shape)
