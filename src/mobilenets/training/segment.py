"""The segmentation lesson: masks as targets, cross entropy per pixel, IoU metrics. See also `tasks/segment.py`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mobilenets.data.samples import Sample
from mobilenets.evaluation.segment import metrics as segment_metrics
from mobilenets.feeding.augment_masks import MaskAugmentation
from mobilenets.feeding.masks import Masked
from mobilenets.runtime.manifest import Manifest, manifest_of
from mobilenets.runtime.segment import decode as runtime
from mobilenets.specs.heads import SegmentationHead
from mobilenets.specs.model import Head, ModelSpec
from mobilenets.tasks import segment
from mobilenets.training.lesson import Lesson, unmixed
from mobilenets.training.recipe import Recipe, shared
from mobilenets.training.validation import Chunk

COLUMNS = ("val_miou", "val_pixel_accuracy", "val_mean_accuracy")
RANK = ("val_miou", "val_pixel_accuracy")


@dataclass(frozen=True, slots=True)
class Answers:
    """The segmenter's predictions for the validation images.

    Args:
        confusion: pixels per `[true class, predicted class]` of all images, at their own resolution.
        images: number of images.
        numbers: whether every output was finite.
    """

    confusion: NDArray[np.int64]
    images: int
    numbers: bool

    def metrics(self) -> dict[str, float]:
        """Mean IoU and accuracies, 0 to 1."""
        hits, support, called = (self.confusion.diagonal(), self.confusion.sum(1), self.confusion.sum(0))
        values = (
            segment_metrics.mean_iou(hits, support, called),
            hits.sum() / max(support.sum(), 1),
            segment_metrics.mean_accuracy(hits, support),
        )
        return {name: float(np.nan_to_num(value)) for name, value in zip(COLUMNS, values, strict=True)}

    def finite(self) -> bool:
        """Whether every output was finite."""
        return self.numbers

    def fitted(self, head: Head) -> Head:
        """The head unchanged: a segmenter has nothing to fit."""
        return head

    def joined(self, others: Sequence[Answers]) -> Answers:
        """The pixels of this and the other processes."""
        every = (self, *others)
        confusion = np.sum([answers.confusion for answers in every], axis=0)
        return Answers(confusion, sum(answers.images for answers in every), all(answers.numbers for answers in every))


def lesson(spec: ModelSpec, samples: Sequence[Sample], recipe: Recipe, device: torch.device) -> Lesson:
    """The lesson that teaches the masks of images.

    Args:
        spec: specification of the model to train.
        samples: the training split.
        recipe: how images are augmented and losses weighted.
        device: the model's device.
    """
    head, contract = spec.head, spec.input
    assert isinstance(head, SegmentationHead)
    height, width = contract.shape
    fill = round(255 * sum(contract.mean) / len(contract.mean))
    keep_ratio = contract.resize == "letterbox"
    augmentation = MaskAugmentation(
        height=height, width=width, fill=fill, keep_ratio=keep_ratio, **shared(recipe, MaskAugmentation)
    )
    teacher = Masked(augmentation, channels=contract.channels)
    shares = class_weights(samples, teacher, spec.classes) if recipe.balance == "loss" else None
    weights = None if shares is None else shares.to(device)

    def count(targets: tuple[Tensor, ...], _of_images: Tensor) -> Tensor:
        return segment.pixels(targets[0], class_weights=shares)

    def loss(outputs: Tensor | tuple[Tensor, Tensor], targets: tuple[Tensor, ...], of_images: Tensor, over: Tensor) -> Tensor:
        logits, auxiliary = outputs if isinstance(outputs, tuple) else (outputs, None)
        return segment.loss(
            logits.float(),
            targets[0].long(),
            of_images,
            class_weights=weights,
            dice=recipe.dice,
            lovasz=recipe.lovasz,
            auxiliary=None if auxiliary is None else auxiliary.float(),
            auxiliary_share=recipe.auxiliary_share,
            align_corners=head.align_corners,
            over=over,
        )

    manifest = manifest_of(spec)

    def outcome(chunks: Iterable[tuple[Chunk, Mapping[str, Any]]]) -> Answers:  # Any: arrays
        return answers(chunks, manifest)

    return Lesson(teacher, unmixed, count, loss, outcome, COLUMNS, RANK)


def answers(chunks: Iterable[tuple[Chunk, Mapping[str, Any]]], manifest: Manifest) -> Answers:  # Any: arrays
    """The pixels of all chunks, compared with the masks of their samples."""
    classes = len(manifest.labels)
    counts, images = np.zeros((classes, classes), np.int64), 0
    for chunk, outputs in chunks:
        if not np.isfinite(outputs["logits"]).all():
            return Answers(counts, images + len(chunk.samples), numbers=False)
        decoded = runtime.decode_segmentations(outputs, manifest, chunk.placements)
        for segmentation, sample in zip(decoded, chunk.samples, strict=True):
            assert sample.mask is not None
            counts += segment_metrics.confusion(sample.mask.read(), segmentation.classes, classes)
        images += len(chunk.samples)
    return Answers(counts, images, numbers=True)


def class_weights(samples: Sequence[Sample], teacher: Masked, classes: int) -> Tensor:
    """A weight per class, averaging 1: 1 / log(1.02 + its share of the pixels) (ENet, section 5.2); 0 for an absent class."""
    pixels = np.zeros(classes)
    for sample in samples:
        assert sample.mask is not None
        pixels += np.bincount(sample.mask.read().ravel(), minlength=256)[:classes]
    weights = np.where(pixels > 0, 1 / np.log(1.02 + pixels / max(pixels.sum(), 1)), 0)
    return torch.tensor(weights / weights[weights > 0].mean(), dtype=torch.float32)
