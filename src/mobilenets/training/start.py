"""The model that a run starts from: its specification, the transfer of weights to it, and the parts that stay frozen."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mobilenets.data.samples import Dataset, Sample
from mobilenets.errors import DataError, ImageError, RecipeError
from mobilenets.feeding.augment import seed_of
from mobilenets.model import Model, rebuilt
from mobilenets.qat.model import QuantizedModel
from mobilenets.runtime.images.prepare import load_input
from mobilenets.specs.model import InputContract, ModelSpec
from mobilenets.training.heads import KINDS, is_kept, spec_for
from mobilenets.training.recipe import Recipe
from mobilenets.weights import norms

log = logging.getLogger("mobilenets.training")

WHOLE = ("stretch", "letterbox", "sample")
"""The resize rules that show the network the whole image."""
_IMAGES_FOR_NORMS = (32, 128)  # minimum and maximum number of images
_PIXELS_FOR_NORMS = 128 * 224 * 224  # number of input pixels: with large images fewer images are enough
_IMAGES_AT_ONCE = 8


def final_spec(weights: ModelSpec, dataset: Dataset, recipe: Recipe) -> ModelSpec:
    """The network that a run trains.

    Args:
        weights: the network that the initial weights belong to.
        dataset: provides the task, labels and colors.
        recipe: provides the head if it names another one, the size, dropout and batch norm settings.

    Raises:
        RecipeError: the recipe's head does not exist for the task, or one of its keys has no effect on this network.
    """
    kept = is_kept(weights.head, dataset.task, recipe)
    spec = weights if kept else spec_for(dataset, weights.backbone, weights.input, recipe)
    head = spec.head if spec.labels == dataset.labels else spec.head.fresh()
    if recipe.input_crop not in (0, 1) and spec.input.resize in WHOLE:
        raise RecipeError(
            f"input_crop={recipe.input_crop} has no effect: this network sees the whole image ('{spec.input.resize}')",
            hint="leave it out",
        )
    contract = replace(
        spec.input,
        size=recipe.size or spec.input.size,
        wide=recipe.wide or (spec.input.wide if not recipe.size else 0),
        crop=recipe.input_crop or spec.input.crop,
    )
    body = spec.backbone
    backbone = replace(
        body,
        norm_momentum=body.norm_momentum if recipe.norm_momentum is None else recipe.norm_momentum,
        stochastic_depth=body.stochastic_depth if recipe.stochastic_depth is None else recipe.stochastic_depth,
        dropout=body.dropout if recipe.dropout is None else recipe.dropout,
    )
    return ModelSpec(backbone, dataset.labels, contract, KINDS[head.name].adapted(head, dataset, recipe), weights.weights)


def first_model(model: Model, dataset: Dataset, recipe: Recipe) -> Model:
    """A model of `final_spec`, with the weights of `model` where they fit.

    Batch norm that was folded into convolutions is restored, from training images, in the layers that will be trained.

    Raises:
        DataError: none of the images for restoring batch norm can be read.
        RecipeError: the recipe's head does not exist for the task, or one of its keys has no effect on this network.
    """
    made = rebuilt(model, final_spec(model.spec, dataset, recipe), seed=seed_of(recipe.seed, "head"))
    if model.spec.task == dataset.task and not is_kept(model.spec.head, dataset.task, recipe):
        left = model.spec.head.name
        log.info("head=%s: a new one on the backbone; the %s head of the weights is left out", recipe.head, left)
    theirs, ours = model.backbone.state_dict(), made.backbone.state_dict()
    fresh = [name for name, tensor in ours.items() if name not in theirs or theirs[name].shape != tensor.shape]
    if fresh:
        log.info("%d of %d tensors of the backbone are new: its last block differs", len(fresh), len(ours))
    if recipe.freeze_blocks != -1 and not recipe.freeze_norms and norms.folded(made):
        norms.reinsert(made, observed(dataset.split("train"), made.spec.input, recipe.seed))
    return made


def freeze(model: Model, recipe: Recipe) -> None:
    """Freeze the first blocks, as many as the recipe says.

    Raises:
        RecipeError: the network has fewer blocks.
    """
    if recipe.freeze_blocks > len(model.backbone.blocks):
        raise RecipeError(f"freeze_blocks={recipe.freeze_blocks}, but the network has {len(model.backbone.blocks)} blocks")
    for module in _frozen(model, recipe):
        module.requires_grad_(False)
    if isinstance(model, QuantizedModel):
        model.int8.freeze(recipe.freeze_blocks)


def to_training(model: Model, recipe: Recipe) -> None:
    """Set training mode, except for frozen parts, which keep their running statistics."""
    model.train()
    for module in _frozen(model, recipe):
        module.eval()
    if recipe.freeze_norms:
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d | nn.SyncBatchNorm):
                module.eval()


def unused_norms(model: nn.Module) -> tuple[str, ...]:
    """Names of the batch norms whose running statistics are unused: mean 0 and variance 1."""
    return tuple(
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.BatchNorm2d | nn.SyncBatchNorm)
        and module.running_mean is not None
        and module.running_var is not None
        and not module.running_mean.any()
        and bool((module.running_var == 1).all())
    )


class YoungNorms:
    """Batch norms that started at mean 0 and variance 1: at first, their statistics average over all batches so far.

    Without this, a short run would be validated with statistics that still contain the initial 0 and 1.

    Args:
        model: the model that they belong to.
        names: names of the batch norms.
    """

    def __init__(self, model: nn.Module, names: Iterable[str]) -> None:
        modules = dict(model.named_modules())
        norms = [modules[name] for name in names]
        self._norms = [(norm, norm.momentum) for norm in norms if isinstance(norm, nn.BatchNorm2d | nn.SyncBatchNorm)]

    def before(self, update: int) -> None:
        """Set the weight of the next batch in the statistics.

        Args:
            update: index of the update, counted from 0 over the whole run.
        """
        for norm, momentum in self._norms:
            norm.momentum = max(momentum or 0.0, 1 / (update + 1))


def _frozen(model: Model, recipe: Recipe) -> Sequence[nn.Module]:
    if recipe.freeze_blocks == -1:
        return [model.backbone]
    return list(model.backbone.blocks)[: recipe.freeze_blocks]


def observed(samples: Sequence[Sample], contract: InputContract, seed: int) -> list[Tensor]:
    """Some training images, drawn by seed and preprocessed, in batches N C H W.

    Raises:
        DataError: none of them can be read.
    """
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
