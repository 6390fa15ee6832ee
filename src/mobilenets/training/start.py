"""The model a run begins with: the dataset's labels, the recipe's settings, norms that can learn; and what stays frozen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mobilenets.data.samples import Dataset, Sample
from mobilenets.errors import DataError, ImageError, RecipeError
from mobilenets.feeding.augment import seed_of
from mobilenets.model import Model, with_labels, with_spec
from mobilenets.runtime.images.prepare import load_input
from mobilenets.specs.deeplab import DeepLabHead
from mobilenets.specs.lraspp import LrasppHead
from mobilenets.specs.model import ClassifierHead, Head, InputContract
from mobilenets.specs.ssd import SsdHead
from mobilenets.training.heads import is_kept, with_task
from mobilenets.training.recipe import Recipe
from mobilenets.weights import norms

_IMAGES_FOR_NORMS = (32, 128)  # least and most
_PIXELS_FOR_NORMS = 128 * 224 * 224  # of the input: of large images fewer are enough
_IMAGES_AT_ONCE = 8


def first_model(model: Model, dataset: Dataset, recipe: Recipe) -> Model:
    """A copy of `model` for the dataset's labels, with the recipe's head if it names another, its size, dropout and norms.

    Batch norm that was folded into the convolutions is put back where it will learn, from training images.

    Raises:
        DataError: none of the images that norms are observed on can be read.
        RecipeError: the recipe's head is not one of the task.
    """
    if not is_kept(model.spec.head, dataset.task, recipe):
        model = with_task(model, dataset, recipe)
    elif model.spec.labels != dataset.labels:
        model = with_labels(model, dataset.labels, seed=seed_of(recipe.seed, "head"))
    spec = model.spec
    contract = replace(
        spec.input,
        size=recipe.size or spec.input.size,
        wide=recipe.wide or (spec.input.wide if not recipe.size else 0),
        crop=recipe.input_crop or spec.input.crop,
    )
    backbone = replace(
        spec.backbone,
        norm_momentum=recipe.norm_momentum or spec.backbone.norm_momentum,
        stochastic_depth=recipe.stochastic_depth,
        dropout=recipe.dropout,
    )
    head = _of_data(spec.head, dataset, recipe.norm_momentum)
    if isinstance(head, ClassifierHead):
        head = replace(head, mirrors=recipe.mirrors)
    model = with_spec(model, replace(spec, input=contract, backbone=backbone, head=head))
    if recipe.freeze_blocks != -1 and not recipe.freeze_norms and norms.folded(model):
        norms.reinsert(model, _observed(dataset.split("train"), contract, recipe.seed))
    return model


def freeze(model: Model, recipe: Recipe) -> None:
    """Take the first blocks out of what learns, as the recipe says.

    Raises:
        RecipeError: there are not so many blocks.
    """
    if recipe.freeze_blocks > len(model.backbone.blocks):
        raise RecipeError(f"freeze_blocks={recipe.freeze_blocks}, but the network has {len(model.backbone.blocks)} blocks")
    for module in _frozen(model, recipe):
        module.requires_grad_(False)


def to_training(model: Model, recipe: Recipe) -> None:
    """Training mode, but for what is frozen, which keeps its running statistics."""
    model.train()
    for module in _frozen(model, recipe):
        module.eval()
    if recipe.freeze_norms:
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d | nn.SyncBatchNorm):
                module.eval()


def set_norm_momentum(model: Model, update: int) -> None:
    """From scratch, let the first steps' statistics average over all steps so far, until the spec's momentum is reached.

    Running statistics begin at mean 0 and variance 1; without this a short run would be validated with what is left of them.

    Args:
        model: whose norms are set.
        update: of the statistics, counted from 0.
    """
    momentum = model.spec.backbone.norm_momentum
    if model.spec.weights == "scratch" and update <= 1 / momentum + 1:
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d | nn.SyncBatchNorm):
                module.momentum = max(momentum, 1 / (update + 1))


def _frozen(model: Model, recipe: Recipe) -> Sequence[nn.Module]:
    if recipe.freeze_blocks == -1:
        return [model.backbone]
    return list(model.backbone.blocks)[: recipe.freeze_blocks]


def _of_data(head: Head, dataset: Dataset, momentum: float) -> Head:
    """The head without what was fitted, with the colors of the data, and with this momentum in its norms, if one is given."""
    fresh = head.fresh()
    if isinstance(fresh, SsdHead):
        return replace(fresh, norm_momentum=momentum or fresh.norm_momentum)
    if isinstance(fresh, DeepLabHead | LrasppHead) and isinstance(head, DeepLabHead | LrasppHead):
        colors = dataset.colors or head.colors
        return replace(fresh, colors=colors, norm_momentum=momentum or fresh.norm_momentum)
    return fresh


def _observed(samples: Sequence[Sample], contract: InputContract, seed: int) -> list[Tensor]:
    """Some training images, prepared, in batches."""
    least, most = _IMAGES_FOR_NORMS
    wanted = min(most, max(least, _PIXELS_FOR_NORMS // math.prod(contract.shape)))
    arrays: list[NDArray[np.float32]] = []
    for i in np.random.default_rng(seed_of(seed, "norms")).permutation(len(samples)):
        try:
            arrays.append(load_input(samples[i].read(), contract))
        except (ImageError, OSError):
            continue
        if len(arrays) == wanted:
            break
    if not arrays:
        raise DataError("none of the training images can be read", hint="run 'mobilenets check' on the data")
    return list(torch.split(torch.from_numpy(np.stack(arrays)), _IMAGES_AT_ONCE))
