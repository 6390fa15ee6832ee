"""The classification lesson: labels as targets, cross entropy loss, accuracy metrics. See also `tasks/classify.py`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mobilenets.data.samples import Sample
from mobilenets.evaluation.classify.calibration import fit_temperature, negative_log_likelihood
from mobilenets.evaluation.classify.metrics import balanced_accuracy
from mobilenets.feeding.augment import Augmentation, Mix
from mobilenets.feeding.loader import Labelled, class_weights, log_priors
from mobilenets.runtime.views import axes_of
from mobilenets.specs.model import ClassifierHead, Head, ModelSpec
from mobilenets.tasks import classify
from mobilenets.training.lesson import Lesson
from mobilenets.training.recipe import Recipe, shared
from mobilenets.training.validation import Chunk

COLUMNS = ("val_loss", "val_accuracy", "val_balanced_accuracy")
RANK = ("val_accuracy", "-val_loss")


@dataclass(frozen=True, slots=True)
class Answers:
    """The model's predictions for the validation images.

    Args:
        logits: logits of each image, N classes.
        truth: index of each image's true class, N.
    """

    logits: NDArray[np.float32]
    truth: NDArray[np.int64]

    @property
    def images(self) -> int:
        """Number of validation images."""
        return len(self.truth)

    def metrics(self) -> dict[str, float]:
        """Loss (in nats, without label smoothing), accuracy, and mean recall over the classes."""
        predicted = self.logits.argmax(axis=1)
        return {
            "val_loss": negative_log_likelihood(self.logits, self.truth),
            "val_accuracy": float((predicted == self.truth).mean()),
            "val_balanced_accuracy": balanced_accuracy(self.truth, predicted, self.logits.shape[1]),
        }

    def finite(self) -> bool:
        """Whether every logit is finite."""
        return bool(np.isfinite(self.logits).all())

    def fitted(self, head: Head) -> Head:
        """The head with its temperature fitted; see `fit_temperature`."""
        assert isinstance(head, ClassifierHead)
        return replace(head, temperature=fit_temperature(self.logits, self.truth))

    def joined(self, others: Sequence[Answers]) -> Answers:
        """The rows of this and the other processes."""
        every = (self, *others)
        logits = np.concatenate([answers.logits for answers in every])
        return Answers(logits, np.concatenate([answers.truth for answers in every]))


def lesson(spec: ModelSpec, samples: Sequence[Sample], recipe: Recipe, device: torch.device) -> Lesson:
    """The lesson that teaches the labels of images.

    Args:
        spec: specification of the model to train.
        samples: the training split, which gives the class frequencies.
        recipe: how images are augmented and mixed, and how classes are balanced.
        device: the model's device.
    """
    contract = spec.input
    augmentation = Augmentation(
        size=contract.size,
        fill=round(255 * sum(contract.mean) / len(contract.mean)),
        **shared(recipe, Augmentation),
    )
    mix = Mix(
        spec.classes, mixup_alpha=recipe.mixup_alpha, cutmix_alpha=recipe.cutmix_alpha, probability=recipe.mix_probability
    )
    weights = class_weights(samples, spec.classes).to(device) if recipe.balance == "loss" else None
    priors = log_priors(samples, spec.classes).to(device) if recipe.balance == "logits" else None

    def prepare(x: Tensor, targets: tuple[Tensor, ...], seed: int) -> tuple[Tensor, tuple[Tensor, ...]]:
        mixed, shares = mix(x, targets[0], seed)
        return mixed, (shares,)

    def count(_targets: tuple[Tensor, ...], of_images: Tensor) -> Tensor:
        return torch.tensor(float(len(of_images)))

    def loss(logits: Tensor, targets: tuple[Tensor, ...], of_images: Tensor, over: Tensor) -> Tensor:
        return classify.loss(
            logits.float(),
            targets[0],
            of_images,
            label_smoothing=recipe.label_smoothing,
            class_weights=weights,
            log_priors=priors,
            over=over,
        )

    def outcome(chunks: Iterable[tuple[Chunk, Mapping[str, Any]]]) -> Answers:  # Any: arrays
        return answers(chunks, spec.classes)

    return Lesson(
        Labelled(augmentation, channels=contract.channels), prepare, count, loss, outcome, COLUMNS, RANK, axes_of(spec.head)
    )


def answers(chunks: Iterable[tuple[Chunk, Mapping[str, Any]]], classes: int) -> Answers:  # Any: arrays
    """The logits of all chunks, possibly none, with the labels of their samples."""
    logits, truth = [np.zeros((0, classes), np.float32)], []
    for chunk, outputs in chunks:
        logits.append(outputs["logits"])
        truth += [sample.label for sample in chunk.samples]
    return Answers(np.concatenate(logits), np.array(truth, np.int64))
