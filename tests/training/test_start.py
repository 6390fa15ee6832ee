"""The model a run begins with, as a spec first."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mobilenets.data.samples import Dataset
from mobilenets.errors import CheckpointError, RecipeError
from mobilenets.model import Model, create
from mobilenets.specs.deeplab import DeepLabHead, deeplab
from mobilenets.specs.families import backbone
from mobilenets.specs.lraspp import lraspp
from mobilenets.specs.model import InputContract, ModelSpec
from mobilenets.training import record, state
from mobilenets.training.loop import train
from mobilenets.training.recipe import Recipe
from mobilenets.training.start import YoungNorms, final_spec, first_model, unused_norms
from mobilenets.weights import norms


@pytest.mark.parametrize(("size", "images"), [(32, 48), (448, 32)])
def test_norms_observe_fewer_of_large_images(
    size: int, images: int, model: Model, dataset: Dataset, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, ...]] = []

    def reinsert(_: nn.Module, batches: Iterable[Tensor]) -> None:
        seen.extend(tuple(batch.shape) for batch in batches)

    monkeypatch.setattr(norms, "folded", lambda _: True)
    monkeypatch.setattr(norms, "reinsert", reinsert)
    first_model(model, dataset, replace(recipe, size=size))
    assert seen == [(8, 3, size, size)] * (images // 8)


def test_what_the_recipe_leaves_open_is_the_models(dataset: Dataset) -> None:
    body = backbone("mobilenet_v2", width=0.1, dropout=0.5, stochastic_depth=0.3, norm_momentum=0.07)
    spec = ModelSpec(body, dataset.labels, InputContract(size=32))
    assert final_spec(spec, dataset, Recipe()).backbone == body
    changed = final_spec(spec, dataset, Recipe(dropout=0.0, stochastic_depth=0.0, norm_momentum=0.0)).backbone
    assert (changed.dropout, changed.stochastic_depth, changed.norm_momentum) == (0.0, 0.0, 0.0)


def test_dropout_is_that_of_the_head_in_deeplab_and_refused_where_there_is_none(rectangles: Dataset) -> None:
    masked = replace(rectangles, task="segment", labels=("ground", "red", "blue"))
    body, recipe = backbone("mobilenet_v2", width=0.1), Recipe(task="segment", dropout=0.4)
    head = final_spec(deeplab(body, masked.labels, size=64), masked, recipe).head
    assert isinstance(head, DeepLabHead)
    assert head.dropout == 0.4
    with pytest.raises(RecipeError, match=r"dropout=0.4 has no effect: head=lraspp has no dropout"):
        final_spec(lraspp(body, masked.labels, size=64), masked, recipe)


def test_a_crop_is_refused_where_the_network_sees_the_whole_image(dataset: Dataset) -> None:
    spec = ModelSpec(backbone("mobilenet_v2", width=0.1), dataset.labels, InputContract(size=32, resize="stretch", crop=1.0))
    assert final_spec(spec, dataset, Recipe(input_crop=1.0)).input.crop == 1.0
    with pytest.raises(RecipeError, match=r"input_crop=0.9 has no effect"):
        final_spec(spec, dataset, Recipe(input_crop=0.9))


def test_where_weights_came_from_decides_nothing(model: Model, dataset: Dataset, recipe: Recipe) -> None:
    recipe = replace(recipe, epochs=1)
    named = create(replace(model.spec, weights="a name for display"))
    one, two = train(model, dataset, recipe), train(named, dataset, recipe)
    assert [step.loss for step in one] == [step.loss for step in two]
    ours, theirs = one.model.state_dict(), two.model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_unused_norms_average_over_all_batches_so_far_and_others_keep_their_momentum() -> None:
    fresh, used = nn.BatchNorm2d(1, momentum=0.1), nn.BatchNorm2d(1, momentum=0.1)
    assert fresh.running_mean is not None
    assert used.running_mean is not None
    used.running_mean.fill_(0.5)
    model = nn.Sequential(fresh, used)
    assert unused_norms(model) == ("0",)
    young = YoungNorms(model, unused_norms(model))
    values = [2.0, 4.0, 9.0]
    for update, value in enumerate(values):
        young.before(update)
        fresh(torch.full((2, 1, 1, 1), value))
        used(torch.full((2, 1, 1, 1), value))
    assert fresh.running_mean.item() == pytest.approx(sum(values) / 3)
    assert used.running_mean.item() == pytest.approx(((0.5 * 0.9 + 0.2) * 0.9 + 0.4) * 0.9 + 0.9)


def test_fine_tuning_a_run_from_scratch_keeps_its_running_statistics(model: Model, dataset: Dataset, recipe: Recipe) -> None:
    first = train(model, dataset, replace(recipe, epochs=2, ema=0.0))
    list(first)
    assert first.model.spec.weights == "scratch"
    second = train(first.model, dataset, replace(recipe, epochs=1, ema=0.0, norm_momentum=0.0, learning_rate=0.0))
    list(second)
    before, after = first.model.state_dict(), second.model.state_dict()
    kept = [name for name in before if "running_" in name]
    assert kept
    assert all(torch.equal(before[name], after[name]) for name in kept)


def test_a_network_from_scratch_takes_a_momentum_of_zero(model: Model, dataset: Dataset, recipe: Recipe) -> None:
    steps = train(model, dataset, replace(recipe, epochs=1, norm_momentum=0.0))
    assert len(list(steps)) == 4
    assert unused_norms(steps.model) == ()  # they average over all batches


@pytest.mark.parametrize("task", ["classify", "detect", "segment"])
def test_recipes_in_runs_of_the_version_before_are_read(task: str, tmp_path: Path) -> None:
    written = json.loads((Path(__file__).parent / "runs" / f"{task}.json").read_text(encoding="utf-8"))
    (tmp_path / record.RUN).write_text(json.dumps(written), encoding="utf-8")
    recipe = record.recipe_of(tmp_path)
    assert recipe.task == task
    for name in ("epochs", "batch", "learning_rate", "weight_decay", "size", "wide", "ema", "lovasz", "zoom_out", "auxiliary"):
        assert getattr(recipe, name) == written["recipe"][name], name
    assert recipe.norm_momentum == 0.1
    written["recipe"]["norm_momentum"] = 0.0  # which kept the model's
    (tmp_path / record.RUN).write_text(json.dumps(written), encoding="utf-8")
    assert record.recipe_of(tmp_path).norm_momentum is None


def test_a_recipe_with_a_key_of_a_later_version_is_named(tmp_path: Path) -> None:
    (tmp_path / record.RUN).write_text('{"format": 2, "recipe": {"epochs": 3, "lookahead": 5}, "data": {}}')
    with pytest.raises(CheckpointError, match="a recipe of another version: unknown recipe key 'lookahead'"):
        record.recipe_of(tmp_path)


@pytest.mark.parametrize(
    "text", ["[]", "{", '{"recipe": [], "data": {}}', '{"recipe": {}, "data": 3}', '{"recipe": {}, "data": {"reading": 1}}']
)
def test_a_damaged_run_json_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / record.RUN).write_text(text)
    with pytest.raises(CheckpointError, match="is damaged"):
        record.recipe_of(tmp_path)


@pytest.mark.parametrize("text", ["[]", '{"step": "x"}', '{"step": -1}', '{"steps": 1e400}', '{"pace": 3}', "[" * 100_000])
def test_a_damaged_training_state_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "last").mkdir()
    (tmp_path / "last" / state.PROGRESS).write_text(text)
    with pytest.raises(CheckpointError, match="is damaged"):
        state.progress_of(tmp_path / "last")
