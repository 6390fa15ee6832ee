"""The lesson of each task, and which keys of a recipe mean something to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields

import torch

from mobilenets.data.samples import Sample
from mobilenets.errors import RecipeError
from mobilenets.feeding.augment import Augmentation
from mobilenets.feeding.augment_boxes import BoxAugmentation
from mobilenets.feeding.augment_masks import MaskAugmentation
from mobilenets.specs.model import ModelSpec, Task
from mobilenets.training import classify, detect, segment
from mobilenets.training.lesson import Lesson
from mobilenets.training.recipe import Recipe

LESSONS: dict[Task, Callable[[ModelSpec, Sequence[Sample], Recipe, torch.device], Lesson]] = {
    "classify": classify.lesson,
    "detect": detect.lesson,
    "segment": segment.lesson,
}


AUGMENTATIONS: dict[Task, type] = {"classify": Augmentation, "detect": BoxAugmentation, "segment": MaskAugmentation}

# fmt: off
_KEYS: dict[str, tuple[Task, ...]] = {  # of losses and heads: the tasks they mean something to
    "wide":               ("detect", "segment"),
    "head":               ("detect", "segment"),
    "label_smoothing":    ("classify",),
    "mixup_alpha":        ("classify",),
    "cutmix_alpha":       ("classify",),
    "cached_features":    ("classify",),
    "mirrors":            ("classify",),
    "activation":         ("detect",),
    "anchor_smallest":    ("detect",),
    "anchor_scale_min":   ("detect",),
    "anchor_scale_max":   ("detect",),
    "match_iou":          ("detect",),
    "negatives":          ("detect",),
    "focal_gamma":        ("detect",),
    "focal_alpha":        ("detect",),
    "box_share":          ("detect",),
    "head_filters":       ("segment",),
    "output_stride":      ("segment",),
    "aspp":               ("segment",),
    "on":                 ("segment",),
    "decoder":            ("segment",),
    "auxiliary":          ("segment",),
    "auxiliary_share":    ("segment",),
    "dice":               ("segment",),
    "lovasz":             ("segment",),
}
_BALANCES: dict[Task, tuple[str, ...]] = {
    "classify": ("none", "sample", "loss", "logits"), "detect": ("none",), "segment": ("none", "loss"),
}
# fmt: on


def check(recipe: Recipe, task: Task) -> None:
    """Refuse a recipe that is for another task, or that changes what means nothing to this one.

    Raises:
        RecipeError: says which key.
    """
    if recipe.task != task:
        raise RecipeError(
            f"the recipe is for the task {recipe.task}, but the data is to {task}",
            hint=f"take the recipe '{task}', or set task={task}" if task != "classify" else "set task=classify",
        )
    augmented = {field.name for record in AUGMENTATIONS.values() for field in fields(record)}
    own = {field.name for field in fields(AUGMENTATIONS[task])}
    for field in fields(Recipe):
        name, value = field.name, getattr(recipe, field.name)
        foreign = task not in _KEYS[name] if name in _KEYS else name in augmented - own - {"size", "width"}
        if foreign and value != field.default:
            raise RecipeError(f"{name}={value} means nothing to the task {task}", hint="leave it out")
    if recipe.balance not in _BALANCES[task]:
        known = ", ".join(_BALANCES[task])
        raise RecipeError(f"balance={recipe.balance} is not for the task {task}; known: {known}")


def lesson(spec: ModelSpec, samples: Sequence[Sample], recipe: Recipe, device: torch.device) -> Lesson:
    """The lesson of a model's task.

    Args:
        spec: of the model that learns.
        samples: the training split.
        recipe: how to train.
        device: where the model is.

    Raises:
        RecipeError: the recipe does not fit the task.
    """
    return LESSONS[spec.task](spec, samples, recipe, device)
