"""A batch in parts changes the weights as the whole batch does."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from mobilenets.data.samples import Dataset
from mobilenets.model import Model, create
from mobilenets.specs.deeplab import deeplab
from mobilenets.specs.rows import BackboneSpec
from mobilenets.specs.ssd import ssdlite
from mobilenets.training.loop import train
from mobilenets.training.recipe import Recipe


def _after_one_step(model: Model, dataset: Dataset, recipe: Recipe, accumulate: int) -> tuple[float, dict[str, torch.Tensor]]:
    steps = train(model, dataset, replace(recipe, accumulate=accumulate), device="cpu")
    loss = next(steps).loss
    weights = steps.model.state_dict()
    steps.close()
    return loss, weights


def _assert_equal(model: Model, dataset: Dataset, recipe: Recipe) -> None:
    # Batch norm sees one part at a time, so the norms are frozen; plain gradient descent shows the gradients themselves.
    loss, whole = _after_one_step(model, dataset, recipe, 1)
    other_loss, parts = _after_one_step(model, dataset, recipe, 4)
    assert other_loss == pytest.approx(loss, rel=1e-5)
    first = model.state_dict()
    changed = [name for name in whole if name in first and first[name].shape == whole[name].shape]
    assert any(not torch.equal(first[name], whole[name]) for name in changed)
    for name in whole:
        torch.testing.assert_close(parts[name], whole[name], rtol=1e-4, atol=1e-6, msg=name)


def _recipe(task: str, **changes: object) -> Recipe:
    values: dict[str, object] = {
        "task": task,
        "size": 96,
        "epochs": 1,
        "batch": 8,
        "optimizer": "sgd",
        "learning_rate": 0.1,
        "momentum": 0.0,
        "freeze_norms": True,
        "stochastic_depth": 0.0,
        "precision": "fp32",
        "workers": 0,
        **changes,
    }
    return Recipe(**values)  # type: ignore[arg-type]  # keys of a recipe by name


@pytest.mark.parametrize("focal", [False, True])
def test_of_a_detector_by_the_anchors_of_the_whole_batch(focal: bool, rectangles: Dataset, tiny: BackboneSpec) -> None:
    samples = tuple(replace(one, boxes=one.boxes[: i % 3]) for i, one in enumerate(rectangles.samples))  # 0 to 2 boxes
    boxed = replace(rectangles, task="detect", samples=samples)
    activation = "sigmoid" if focal else "softmax"
    model = create(ssdlite(tiny, boxed.labels, size=96, extras=(), activation=activation))  # type: ignore[arg-type]
    keys = {"focal_gamma": 2.0} if focal else {}
    _assert_equal(model, boxed, _recipe("detect", **keys))


@pytest.mark.parametrize("balance", ["none", "loss"])
def test_of_a_segmenter_by_the_pixels_of_the_whole_batch(balance: str, rectangles: Dataset, tiny: BackboneSpec) -> None:
    masked = replace(rectangles, task="segment", labels=("ground", "red", "blue"))
    model = create(deeplab(tiny, masked.labels, size=96, rates=(), filters=16, auxiliary="s8"))
    _assert_equal(model, masked, _recipe("segment", dropout=0.0, scale_min=0.3, scale_max=1.5, balance=balance))


def test_of_a_classifier(model: Model, dataset: Dataset) -> None:
    _assert_equal(model, dataset, _recipe("classify", size=32, dropout=0.0, balance="loss"))
