from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from mobilenets.training.optim import Average, RMSpropTF, add_l2, learning_rate, optimizer, parameter_groups
from mobilenets.training.recipe import Recipe


def test_rmsprop_is_the_formula_of_tensorflow() -> None:
    random = np.random.default_rng(0)
    weight = random.normal(size=(4, 3))
    gradients = random.normal(size=(6, 4, 3))
    ours = nn.Parameter(torch.tensor(weight))
    steps = RMSpropTF([ours], 0.05, decay=0.9, momentum=0.8, eps=0.002, weight_decay=0.01)
    mean_square, buffer = np.ones_like(weight), np.zeros_like(weight)
    for i, gradient in enumerate(gradients):
        rate = 0.05 * 0.9**i  # a rate that changes shows that it is inside the buffer
        decayed = gradient + 0.01 * weight
        mean_square = mean_square * 0.9 + 0.1 * decayed**2
        buffer = buffer * 0.8 + rate * decayed / np.sqrt(mean_square + 0.002)
        weight = weight - buffer
        steps.param_groups[0]["lr"] = rate
        ours.grad = torch.tensor(gradient)
        steps.step()
    np.testing.assert_allclose(ours.detach().numpy(), weight, rtol=1e-12)


def test_rmsprop_agrees_with_timm() -> None:
    timm_optim = pytest.importorskip("timm.optim", reason="timm is not installed")
    torch.manual_seed(0)
    ours, theirs = nn.Linear(8, 5), nn.Linear(8, 5)
    theirs.load_state_dict(ours.state_dict())
    one = RMSpropTF(ours.parameters(), 0.1, decay=0.9, momentum=0.9, eps=1e-3, weight_decay=1e-5)
    other = timm_optim.RMSpropTF(theirs.parameters(), 0.1, alpha=0.9, momentum=0.9, eps=1e-3, weight_decay=1e-5)
    for _ in range(10):
        x = torch.randn(16, 8)
        for model, steps in ((ours, one), (theirs, other)):
            steps.zero_grad()
            model(x).square().mean().backward()
            steps.step()
    torch.testing.assert_close(ours.weight, theirs.weight, rtol=1e-5, atol=1e-7)


class _Layers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.full = nn.Conv2d(3, 8, 3, bias=False)
        self.depthwise = nn.Conv2d(8, 8, 3, groups=8, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.linear = nn.Linear(8, 2)


def _decaying(recipe: Recipe) -> set[str]:
    model = _Layers()
    names = {id(weight): name for name, weight in model.named_parameters()}
    return {names[id(w)] for group in parameter_groups(model, recipe) if group["weight_decay"] for w in group["params"]}


def test_depthwise_norms_and_biases_do_not_decay_where_the_recipe_says_so() -> None:
    assert _decaying(Recipe(weight_decay=1e-4, decay_depthwise=False)) == {"full.weight", "linear.weight"}
    assert _decaying(Recipe(weight_decay=1e-4)) == {"full.weight", "linear.weight", "depthwise.weight"}
    assert len(_decaying(Recipe(weight_decay=1e-4, decay_norms=True))) == 6


def test_frozen_parameters_are_in_no_group() -> None:
    model = _Layers()
    model.full.requires_grad_(False)
    groups = parameter_groups(model, Recipe(weight_decay=1e-4))
    assert all(weight is not model.full.weight for group in groups for weight in group["params"])


def test_l2_is_added_to_the_gradient_of_adamw_and_to_the_decay_of_the_others() -> None:
    model = nn.Linear(2, 2, bias=False)
    adamw = optimizer(model, Recipe(optimizer="adamw", l2=0.5, weight_decay=0.1))
    assert adamw.param_groups[0]["weight_decay"] == 0.1
    model.weight.grad = torch.zeros(2, 2)
    add_l2(adamw)
    torch.testing.assert_close(model.weight.grad, 0.5 * model.weight.detach())
    sgd = optimizer(model, Recipe(optimizer="sgd", l2=0.5, weight_decay=0.1))
    assert (sgd.param_groups[0]["weight_decay"], sgd.param_groups[0]["l2"]) == (0.6, 0.0)


def test_exponential_decay_is_a_staircase_of_epochs() -> None:
    recipe = Recipe(schedule="exponential", learning_rate=0.045, decay_factor=0.94, decay_every_epochs=2.5, epochs=10)
    assert learning_rate(recipe, 0, 100) == 0.045
    assert learning_rate(recipe, 249, 100) == 0.045
    assert learning_rate(recipe, 250, 100) == pytest.approx(0.045 * 0.94)
    assert learning_rate(recipe, 999, 100) == pytest.approx(0.045 * 0.94**3)


def test_cosine_ends_at_its_floor_after_the_warm_up() -> None:
    recipe = Recipe(learning_rate=2.0, epochs=12, warmup_epochs=2, warmup_start=0.25, cosine_floor=0.1)
    assert learning_rate(recipe, 0, 10) == 0.5
    assert learning_rate(recipe, 10, 10) == pytest.approx(2.0 * (0.25 + 0.75 / 2))
    assert learning_rate(recipe, 20, 10) == 2.0
    assert learning_rate(recipe, 70, 10) == pytest.approx(2.0 * 0.55)
    assert learning_rate(recipe, 120, 10) == pytest.approx(0.2)


def test_average_follows_weights_and_running_statistics() -> None:
    norm = nn.BatchNorm1d(1)
    assert norm.running_mean is not None
    average = Average(norm, 0.9999)
    with torch.no_grad():
        norm.weight.fill_(3.0)
        norm.running_mean.fill_(5.0)
    average.update(1)  # the decay of the first step is 2 / 11
    assert average.tensors["weight"].item() == pytest.approx(1 + 2 * 9 / 11)
    assert average.tensors["running_mean"].item() == pytest.approx(5 * 9 / 11)
    with average.applied():
        assert norm.weight.item() == pytest.approx(1 + 2 * 9 / 11)
    assert norm.weight.item() == 3.0


def test_average_keeps_at_most_its_decay() -> None:
    model = nn.Linear(1, 1, bias=False)
    average = Average(model, 0.5)
    before = average.tensors["weight"].item()
    with torch.no_grad():
        model.weight.add_(1.0)
    average.update(1000)
    assert average.tensors["weight"].item() == pytest.approx(before + 0.5)
