"""Recipes and tasks."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from mobilenets.errors import RecipeError
from mobilenets.specs.model import TASK_NOUNS, Task
from mobilenets.training.lessons import AUGMENTATIONS, LESSONS, check
from mobilenets.training.recipe import Recipe, with_overrides
from mobilenets.training.recipes import RECIPES


def test_every_task_has_a_lesson_and_an_augmentation() -> None:
    assert LESSONS.keys() == AUGMENTATIONS.keys() == {"classify", "detect", "segment"}


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_fits_its_own_task(name: str) -> None:
    check(RECIPES[name], RECIPES[name].task)


@pytest.mark.parametrize(("name", "task"), [("finetune", "detect"), ("segment", "detect"), ("detect", "classify")])
def test_a_recipe_of_another_task_is_refused(name: str, task: Task) -> None:
    with pytest.raises(RecipeError, match=f"for {TASK_NOUNS[RECIPES[name].task]}, but the data is for {TASK_NOUNS[task]}"):
        check(RECIPES[name], task)


@pytest.mark.parametrize(
    ("task", "change"),
    [
        ("classify", "zoom_out=0.5"),
        ("classify", "dice=1"),
        ("classify", "head=ssd"),
        ("detect", "mixup_alpha=0.2"),
        ("detect", "brightness=0.2"),
        ("detect", "output_stride=8"),
        ("detect", "balance=sample"),
        ("segment", "dihedral=true"),
        ("segment", "crop_scale_min=0.5"),
        ("segment", "focal_gamma=2"),
        ("segment", "balance=logits"),
    ],
)
def test_what_means_nothing_to_a_task_is_refused_and_not_passed_over(task: Task, change: str) -> None:
    with pytest.raises(RecipeError, match=change.partition("=")[0]):
        with_overrides(replace(Recipe(), task=task), [change])


def test_a_detector_has_no_features_to_cache() -> None:
    with pytest.raises(RecipeError, match="cached_features=True means nothing to the task detect"):
        replace(RECIPES["head"], task="detect", label_smoothing=0.0, input_crop=0.0, dropout=None)


@pytest.mark.parametrize(
    ("task", "change"),
    [("classify", "erase=0.2"), ("detect", "crop_scale_min=0.5"), ("detect", "dihedral=true"), ("segment", "balance=loss")],
)
def test_what_a_task_has_is_taken(task: Task, change: str) -> None:
    check(with_overrides(replace(Recipe(), task=task), [change]), task)


def test_every_key_of_an_augmentation_is_a_key_of_recipes() -> None:
    keys = {field.name for field in fields(Recipe)}
    drawn_elsewhere = {"size", "height", "width", "fill", "keep_ratio"}  # of the model and its input
    assert {field.name for record in AUGMENTATIONS.values() for field in fields(record)} <= keys | drawn_elsewhere
