"""The value of a proposed network: by short training and validation, or without training, by its loss on some images."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from mobilenets.data.samples import Dataset, Sample, Split
from mobilenets.errors import DataError
from mobilenets.feeding.augment import seed_of
from mobilenets.model import Model
from mobilenets.runtime.cores import cores
from mobilenets.training.lesson import Lesson
from mobilenets.training.lessons import lesson
from mobilenets.training.loop import train
from mobilenets.training.recipe import Recipe, with_overrides
from mobilenets.training.validation import Prepared

_IMAGES_AT_ONCE = 32
_CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Judged:
    """A network and its value.

    Args:
        model: the network with the weights that it was judged with.
        value: higher is better.
        metrics: measured metrics, by name.
    """

    model: Model
    value: float
    metrics: Mapping[str, float]


class Judge(Protocol):
    """Judges networks of one task on one dataset."""

    @property
    def title(self) -> str:
        """The name of its values for users: "accuracy"."""
        ...

    def __call__(self, model: Model, seed: int) -> Judged:
        """Judge a network, after a short training if the judge trains; the given model is not modified.

        Args:
            model: a network with inherited weights.
            seed: random seed.
        """
        ...

    def measured(self, model: Model) -> Judged:
        """The value of a network without training."""
        ...


class ByLoss:
    """Judges without training: recomputes batch norm statistics on some training images, then takes the loss on these images.

    Detectors and segmenters, whose losses need special targets, are judged by their metric on these images.

    Args:
        dataset: the images are drawn from its train split.
        recipe: recipe of the training that would follow.
        images: number of images.
        seed: seed for drawing them.
    """

    def __init__(self, dataset: Dataset, recipe: Recipe, *, images: int = 128, seed: int = 0) -> None:
        self._samples = drawn(dataset.split("train"), images, seed_of(seed, "search"))
        self._recipe, self._task = recipe, dataset.task
        self._prepared: dict[object, Prepared] = {}

    @property
    def title(self) -> str:
        """What its values are."""
        return "loss" if self._task == "classify" else TITLES[self._task]

    def __call__(self, model: Model, seed: int) -> Judged:
        """See `Judge`."""
        fresh = model.like(model.spec)
        _renew_norms(fresh, (chunk.images for chunk in self._images(model).chunks()))
        return self.measured(fresh)

    def measured(self, model: Model) -> Judged:
        """See `Judge`."""
        metrics, task = _outcome(model, self._images(model), self._recipe, self._samples)
        return Judged(model, -metrics["val_loss"] if "val_loss" in metrics else _value(metrics, task), metrics)

    def _images(self, model: Model) -> Prepared:
        contract = model.spec.input
        if contract not in self._prepared:
            self._prepared[contract] = prepared(self._samples, model, self._recipe)
        return self._prepared[contract]


class ByTraining:
    """Judges by the validation metric after a short training.

    Args:
        dataset: for training and validation.
        recipe: recipe of the training; its learning rate is reduced for the short duration.
        steps: number of optimizer steps.
        images: most images of the validation split.
        seed: seed for drawing them.
        device: "auto" or "cpu".
    """

    def __init__(
        self, dataset: Dataset, recipe: Recipe, *, steps: int, images: int = 1000, seed: int = 0, device: str = "auto"
    ) -> None:
        split: Split = "val" if dataset.split("val") else "train"
        self._validation = drawn(dataset.split(split), images, seed_of(seed, "search"))
        self._dataset, self._steps, self._device = dataset, steps, device
        self._recipe = short(recipe, steps=steps, images=len(dataset.split("train")))
        self._prepared: dict[object, Prepared] = {}

    @property
    def title(self) -> str:
        """What its values are."""
        return TITLES[self._dataset.task]

    def __call__(self, model: Model, seed: int) -> Judged:
        """See `Judge`."""
        wanted = self._steps * self._recipe.batch
        chosen = drawn(self._dataset.split("train"), wanted, seed_of(seed, "images"))
        part = replace(self._dataset, samples=tuple(replace(sample, split="train") for sample in chosen))
        training = train(model, part, replace(self._recipe, seed=seed), device=self._device)
        for _ in training:
            pass
        return self.measured(training.model)

    def measured(self, model: Model) -> Judged:
        """See `Judge`."""
        contract = model.spec.input
        if contract not in self._prepared:
            self._prepared[contract] = prepared(self._validation, model, self._recipe)
        metrics, task = _outcome(model, self._prepared[contract], self._recipe, self._validation)
        return Judged(model, _value(metrics, task), metrics)


TITLES = {"classify": "accuracy", "detect": "mAP", "segment": "mIoU"}
"""The metric by which networks of each task are ranked."""


def for_shapes(recipe: Recipe) -> Recipe:
    """The recipe for networks that already have their input size and weights: all layers are trained, in floats."""
    keep = ["size=0", "wide=0", "input_crop=0", "freeze_blocks=0", "freeze_norms=false", "cached_features=false"]
    return with_overrides(recipe, [*keep, "quantize=none", "norm_momentum=none", "stochastic_depth=none", "dropout=none"])


def short(recipe: Recipe, *, steps: int, images: int) -> Recipe:
    """The recipe for a short training.

    Args:
        recipe: recipe of the full training.
        steps: number of optimizer steps.
        images: number of training images.
    """
    batch = min(recipe.batch, images)
    epochs = max(1, math.ceil(steps * batch / images))
    cut = [f"epochs={epochs}", f"batch={batch}", "accumulate=1", "ema=0", "warmup_epochs=0", "time_budget_minutes=0"]
    rate = f"learning_rate={recipe.learning_rate / 3}"
    return with_overrides(recipe, [*cut, rate, "patience_epochs=0", f"evaluate_every_epochs={epochs}", "tensorboard=false"])


def drawn(samples: Sequence[Sample], most: int, seed: int) -> tuple[Sample, ...]:
    """A random subset of the samples, in the original order.

    Raises:
        DataError: there are none.
    """
    if not samples:
        raise DataError("there are no images to judge networks by", hint="does the dataset have a train split?")
    if len(samples) <= most:
        return tuple(samples)
    chosen = np.random.default_rng(seed).permutation(len(samples))[:most]
    return tuple(samples[i] for i in sorted(chosen))


def prepared(samples: Sequence[Sample], model: Model, recipe: Recipe) -> Prepared:
    """Preprocessed images for the model, kept in memory."""
    megabytes = max(recipe.cache_mb, 256)
    return Prepared(samples, model.spec.input, batch=_IMAGES_AT_ONCE, megabytes=megabytes, threads=cores())


def _outcome(model: Model, images: Prepared, recipe: Recipe, samples: Sequence[Sample]) -> tuple[dict[str, float], Lesson]:
    task = lesson(model.spec, samples, recipe, _CPU)
    model = model.eval()

    def named(output: Any) -> dict[str, Any]:  # Any: a tensor or a tuple of tensors, then arrays
        return {name: value.float().cpu().numpy() for name, value in model.named(output).items()}

    outcome = task.outcome((chunk, named(output)) for chunk, output in images.through(model, _CPU))
    if not outcome.images:
        raise DataError("none of the images to judge networks by can be read", hint="run 'mobilenets check' on the data")
    return outcome.metrics(), task


def _value(metrics: Mapping[str, float], task: Lesson) -> float:
    """The metric by which the task ranks; higher is better."""
    name = task.rank[0]
    return -metrics[name[1:]] if name.startswith("-") else metrics[name]


def _renew_norms(model: Model, batches: Iterable[torch.Tensor]) -> None:
    """Recompute the batch norm statistics as averages over some images."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches
        norm.train()
    with torch.no_grad():
        for images in batches:
            model(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
