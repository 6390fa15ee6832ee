"""The starting point of quantization-aware training (quantize=int8): the float network, quantized with training images."""

from __future__ import annotations

import logging

import torch

from mobilenets.data.samples import Dataset
from mobilenets.deploy.graph import Graph
from mobilenets.deploy.quantize.quantize import quantize
from mobilenets.errors import GraphError, RecipeError
from mobilenets.exporters.lower import lower
from mobilenets.model import Model, rebuilt
from mobilenets.qat.model import QuantizedModel
from mobilenets.training.heads import is_kept
from mobilenets.training.ranks import Ranks
from mobilenets.training.recipe import Recipe
from mobilenets.training.start import final_spec, observed

log = logging.getLogger("mobilenets.training")

_FIRST = "train in floats first, then pass that run with --weights"


def first_int8(model: Model, dataset: Dataset, recipe: Recipe, ranks: Ranks) -> QuantizedModel:
    """The quantized network that a run starts from, equal to the post-training quantization of the float network.

    A model from an earlier quantization-aware training continues with its quantization.

    Args:
        model: a float model trained on the labels of the dataset.
        dataset: its training images serve as calibration images.
        recipe: a recipe with quantize=int8.
        ranks: the processes; the first one quantizes for all.

    Raises:
        DataError: none of the training images can be read.
        RecipeError: the model is not trained for this dataset, or has an operation that cannot be quantized.
    """
    if not is_kept(model.spec.head, dataset.task, recipe):
        raise RecipeError(f"quantize=int8 keeps the head of its weights, which is '{model.spec.head.name}'", hint=_FIRST)
    if model.spec.labels != dataset.labels:
        raise RecipeError(
            f"quantize=int8 needs weights that were trained on the labels of '{dataset.name}': these know "
            f"{len(model.spec.labels)} labels, '{model.spec.labels[0]}' first, and the dataset has {len(dataset.labels)}, "
            f"'{dataset.labels[0]}' first",
            hint=_FIRST,
        )
    spec = final_spec(model.spec, dataset, recipe)
    if isinstance(model, QuantizedModel) and spec.input == model.spec.input:
        log.info("quantize: starting from the ranges of the int8 weights")
        return model.like(spec)
    floats = rebuilt(model, spec)
    graph = ranks.first(_quantized(floats, dataset, recipe) if ranks.main else None)
    assert graph is not None
    made = QuantizedModel(spec, graph)
    made.load_state_dict(floats.state_dict(), strict=False)
    return made


def _quantized(model: Model, dataset: Dataset, recipe: Recipe) -> Graph:
    images = torch.cat(observed(dataset.split("train"), model.spec.input, recipe.seed)).numpy()
    try:
        graph = quantize(lower(model), images).graph
    except GraphError as error:
        raise RecipeError(f"'{model.spec.backbone.name}' cannot be quantized: {error}") from error
    log.info("quantize: initial ranges from %d training images", len(images))
    return graph
