from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from mobilenets.data.samples import Dataset
from mobilenets.errors import DataError
from mobilenets.model import Model
from mobilenets.search.judge import ByLoss, ByTraining, drawn, for_shapes, short
from mobilenets.training.recipe import Recipe


def test_a_network_that_guesses_has_the_loss_of_chance_and_stays_as_it_is(
    model: Model, dataset: Dataset, recipe: Recipe
) -> None:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with torch.no_grad():
        model.head.linear.weight.zero_()
        before["head.linear.weight"].zero_()
    judged = ByLoss(dataset, recipe)(model, 0)
    assert judged.value == pytest.approx(-0.6931, abs=1e-3)  # ln 2, of two classes
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    name = "backbone.blocks.0.norm.running_mean"
    assert not torch.equal(judged.model.get_buffer(name), before[name])


def test_a_short_training_learns_and_is_the_same_for_the_same_seed(model: Model, dataset: Dataset, recipe: Recipe) -> None:
    judge = ByTraining(dataset, replace(recipe, learning_rate=0.02, norm_momentum=0.1), steps=12, device="cpu")
    one, again = judge(model, 3), judge(model, 3)
    assert one.value == again.value
    assert one.metrics["val_loss"] < judge.measured(model).metrics["val_loss"]
    assert all(torch.equal(tensor, again.model.state_dict()[name]) for name, tensor in one.model.state_dict().items())


def test_what_is_judged_by_is_said(dataset: Dataset, recipe: Recipe) -> None:
    assert ByLoss(dataset, recipe).title == "loss"
    assert ByLoss(replace(dataset, task="segment"), recipe).title == "mIoU"
    assert ByTraining(dataset, recipe, steps=1).title == "accuracy"


def test_a_short_recipe_has_as_many_steps_as_asked() -> None:
    made = short(Recipe(epochs=30, batch=16, warmup_epochs=2.0, ema=0.9, learning_rate=0.03), steps=10, images=64)
    assert (made.epochs, made.batch, made.warmup_epochs, made.ema) == (3, 16, 0.0, 0.0)  # 4 steps an epoch
    assert made.learning_rate == pytest.approx(0.01)
    assert short(Recipe(batch=64), steps=2, images=20).batch == 20


def test_a_recipe_for_shapes_lets_everything_learn_at_the_networks_own_size() -> None:
    made = for_shapes(Recipe(size=96, freeze_blocks=-1, freeze_norms=True, cached_features=True, norm_momentum=None))
    assert (made.size, made.freeze_blocks, made.freeze_norms, made.cached_features) == (0, 0, False, False)


def test_images_are_drawn_by_seed_and_none_are_refused(dataset: Dataset) -> None:
    train = dataset.split("train")
    assert drawn(train, 5, 1) == drawn(train, 5, 1) != drawn(train, 5, 2)
    assert drawn(train, 1000, 1) == train
    with pytest.raises(DataError, match="no images to judge"):
        drawn((), 5, 1)
