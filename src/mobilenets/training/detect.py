"""The detection lesson: anchors matched with boxes as targets, SSD's losses, COCO's metrics. See also `tasks/detect.py`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mobilenets.data.samples import Sample
from mobilenets.errors import RecipeError
from mobilenets.evaluation.detect import coco as detect_coco
from mobilenets.evaluation.detect.metrics import Judged
from mobilenets.evaluation.detect.thresholds import fit_thresholds
from mobilenets.evaluation.detect.truth import truth_of
from mobilenets.feeding.augment_boxes import BoxAugmentation
from mobilenets.feeding.boxes import Boxed
from mobilenets.runtime.detect import decode as runtime
from mobilenets.runtime.detect.anchors import anchors
from mobilenets.runtime.manifest import Manifest, manifest_of
from mobilenets.specs.model import Head, ModelSpec
from mobilenets.specs.ssd import SsdHead
from mobilenets.tasks import detect
from mobilenets.training.lesson import Lesson, unmixed
from mobilenets.training.recipe import Recipe, shared
from mobilenets.training.validation import Chunk

COLUMNS = ("val_map50", "val_map", "val_map75", "val_recall")
RANK = ("val_map", "val_map50")


@dataclass(frozen=True, slots=True)
class Answers:
    """The detector's predictions for the validation images.

    Args:
        judged: detections and ground truth of each image.
        classes: number of labels.
        numbers: whether every output was finite.
    """

    judged: tuple[Judged, ...]
    classes: int
    numbers: bool

    @property
    def images(self) -> int:
        """Number of validation images."""
        return len(self.judged)

    def metrics(self) -> dict[str, float]:
        """COCO's metrics, 0 to 1."""
        if not self.numbers:
            return dict.fromkeys(COLUMNS, 0.0)
        coco = detect_coco.coco_metrics(self.judged, self.classes)
        values = (coco.map50, coco.map, coco.map75, coco.recall)
        return {name: float(np.nan_to_num(value)) for name, value in zip(COLUMNS, values, strict=True)}

    def finite(self) -> bool:
        """Whether every output was finite."""
        return self.numbers

    def fitted(self, head: Head) -> Head:
        """The head with a fitted score threshold for each class."""
        assert isinstance(head, SsdHead)
        return replace(head, class_thresholds=fit_thresholds(self.judged, self.classes))

    def joined(self, others: Sequence[Answers]) -> Answers:
        """The images of this and the other processes."""
        every = (self, *others)
        judged = tuple(pair for answers in every for pair in answers.judged)
        return Answers(judged, self.classes, all(answers.numbers for answers in every))


def lesson(spec: ModelSpec, samples: Sequence[Sample], recipe: Recipe, device: torch.device) -> Lesson:
    """The lesson that teaches the bounding boxes of images.

    Args:
        spec: specification of the model to train.
        samples: the training split.
        recipe: how images are augmented, anchors matched, and losses weighted.
        device: the model's device; targets are built in the workers.

    Raises:
        RecipeError: the recipe's loss does not fit the head.
    """
    head, contract = spec.head, spec.input
    assert isinstance(head, SsdHead)
    if recipe.focal_gamma and head.activation != "sigmoid":
        raise RecipeError("the focal loss needs a head with sigmoid scores", hint="set activation=sigmoid, or focal_gamma=0")
    height, width = contract.shape
    fill = round(255 * sum(contract.mean) / len(contract.mean))
    augmentation = BoxAugmentation(height=height, width=width, fill=fill, **shared(recipe, BoxAugmentation))
    all_anchors = torch.from_numpy(anchors(head, contract.shape).copy())

    def targets(boxes: Tensor, labels: Tensor, ignored: Tensor) -> tuple[Tensor, ...]:
        return detect.match(boxes, labels, all_anchors, variances=head.variances, threshold=recipe.match_iou, ignored=ignored)

    def count(targets: tuple[Tensor, ...], weights: Tensor) -> Tensor:
        return detect.matched_anchors(detect.Targets(*targets), weights)

    def loss(outputs: tuple[Tensor, Tensor], targets: tuple[Tensor, ...], weights: Tensor, over: Tensor) -> Tensor:
        logits, offsets = outputs
        wanted = detect.Targets(*targets)
        if recipe.focal_gamma:
            return detect.focal_loss(
                logits,
                offsets,
                wanted,
                weights,
                gamma=recipe.focal_gamma,
                alpha=recipe.focal_alpha,
                box_share=recipe.box_share,
                over=over,
            )
        return detect.loss(
            logits,
            offsets,
            wanted,
            weights,
            activation=head.activation,
            negatives=recipe.negatives,
            box_share=recipe.box_share,
            over=over,
        )

    manifest = manifest_of(replace(spec, head=head.fresh()))

    def outcome(chunks: Iterable[tuple[Chunk, Mapping[str, Any]]]) -> Answers:  # Any: arrays
        return answers(chunks, manifest)

    return Lesson(Boxed(augmentation, targets, channels=contract.channels), unmixed, count, loss, outcome, COLUMNS, RANK)


def answers(chunks: Iterable[tuple[Chunk, Mapping[str, Any]]], manifest: Manifest) -> Answers:  # Any: arrays
    """The detections of all chunks with the boxes of their samples."""
    columns = range(len(manifest.labels))
    judged: list[Judged] = []
    numbers = True
    for chunk, outputs in chunks:
        if not all(np.isfinite(output).all() for output in outputs.values()):
            numbers = False
            break
        decoded = runtime.decode_detections(outputs, manifest, chunk.placements)
        judged += zip(decoded, (truth_of(sample.boxes, columns) for sample in chunk.samples), strict=True)
    return Answers(tuple(judged), len(manifest.labels), numbers)
