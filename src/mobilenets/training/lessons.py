"""The lesson of each task."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from mobilenets.data.samples import Sample
from mobilenets.errors import RecipeError
from mobilenets.feeding.augment import Augmentation
from mobilenets.feeding.augment_boxes import BoxAugmentation
from mobilenets.feeding.augment_masks import MaskAugmentation
from mobilenets.specs.model import TASK_NOUNS, ModelSpec, Task
from mobilenets.training import classify, detect, segment
from mobilenets.training.lesson import Lesson
from mobilenets.training.recipe import Recipe

LESSONS: dict[Task, Callable[[ModelSpec, Sequence[Sample], Recipe, torch.device], Lesson]] = {
    "classify": classify.lesson,
    "detect": detect.lesson,
    "segment": segment.lesson,
}


AUGMENTATIONS: dict[Task, type] = {"classify": Augmentation, "detect": BoxAugmentation, "segment": MaskAugmentation}


def check(recipe: Recipe, task: Task) -> None:
    """Refuse a recipe that is meant for another task.

    Raises:
        RecipeError: the recipe is for another task; the message says which recipe fits.
    """
    if recipe.task != task:
        raise RecipeError(
            f"the recipe is for {TASK_NOUNS[recipe.task]}, but the data is for {TASK_NOUNS[task]}",
            hint=f"use the recipe '{task}', or set task={task}" if task != "classify" else "set task=classify",
        )


def lesson(spec: ModelSpec, samples: Sequence[Sample], recipe: Recipe, device: torch.device) -> Lesson:
    """The lesson for a model's task.

    Args:
        spec: specification of the model to train.
        samples: the training split.
        recipe: how to train.
        device: the model's device.

    Raises:
        RecipeError: the recipe does not fit the task.
    """
    return LESSONS[spec.task](spec, samples, recipe, device)
