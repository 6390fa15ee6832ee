"""The head a run trains where the model it begins with has none of the data's task, or another than the recipe names."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace

from mobilenets.data.samples import Dataset
from mobilenets.errors import RecipeError
from mobilenets.feeding.augment import seed_of
from mobilenets.model import Model, create
from mobilenets.specs.deeplab import DeepLabHead, deeplab
from mobilenets.specs.families import BACKBONES
from mobilenets.specs.lraspp import LrasppHead, lraspp
from mobilenets.specs.model import Head, InputContract, ModelSpec, Task
from mobilenets.specs.rows import BackboneSpec
from mobilenets.specs.segment import On
from mobilenets.specs.ssd import SsdHead, ssd, ssd_anchors, ssdlite
from mobilenets.training.recipe import HeadName, Recipe

log = logging.getLogger("mobilenets.training")

HEADS: dict[Task, tuple[HeadName, ...]] = {"classify": (), "detect": ("ssdlite", "ssd"), "segment": ("deeplab", "lraspp")}
"""The heads of each task, its usual one first."""

SHAPING = (
    "head_filters",
    "output_stride",
    "aspp",
    "on",
    "decoder",
    "auxiliary",
    "activation",
    "anchor_smallest",
    "anchor_scale_min",
    "anchor_scale_max",
)
"""Keys of a recipe that mean something to a fresh head alone."""


def name_of(head: Head) -> HeadName:
    """What recipes call a head."""
    if isinstance(head, SsdHead):
        return "ssdlite" if head.separable else "ssd"
    if isinstance(head, DeepLabHead):
        return "deeplab"
    return "lraspp" if isinstance(head, LrasppHead) else "default"


def is_kept(head: Head, task: Task, recipe: Recipe) -> bool:
    """Whether a run goes on with a model's head: it is of the task, and the recipe names no other."""
    return head.task == task and recipe.head in ("default", name_of(head))


def without_effect(head: Head, task: Task, recipe: Recipe, keys: Iterable[str]) -> str:
    """What to tell a user who set keys that shape fresh heads alone, where the model's head is kept; else ""."""
    idle = [f"{key}={getattr(recipe, key)}" for key in keys if key in SHAPING]
    if not idle or not is_kept(head, task, recipe):
        return ""
    others = " or ".join(f"head={name}" for name in HEADS[task] if name != name_of(head))
    kept = f"the weights' head, {name_of(head)}, is kept: {', '.join(idle)} changes nothing"
    return f"{kept}; {others} would draw a fresh one" if others else kept


def with_task(model: Model, dataset: Dataset, recipe: Recipe) -> Model:
    """The recipe's head for the data's task on a model's backbone, with the backbone's weights.

    Args:
        model: of another task, or with another head of it.
        dataset: its task, labels and colors.
        recipe: says which head.

    Raises:
        RecipeError: the recipe's head is not one of the task.
    """
    spec = spec_for(dataset, model.spec.backbone, model.spec.input, recipe)
    if model.spec.task == dataset.task:
        left = name_of(model.spec.head)
        log.info("head=%s: a fresh one on the backbone; the %s head of the weights is left out", recipe.head, left)
    made = create(replace(spec, weights=model.spec.weights), seed=seed_of(recipe.seed, "head"))
    ours = made.backbone.state_dict()
    theirs = {name: tensor for name, tensor in model.backbone.state_dict().items() if name in ours}
    fitting = {name: tensor for name, tensor in theirs.items() if tensor.shape == ours[name].shape}
    if len(fitting) < len(ours):
        log.info("%d of %d tensors of the backbone are new: its last block differs", len(ours) - len(fitting), len(ours))
    made.backbone.load_state_dict(fitting, strict=False)
    return made


def spec_for(dataset: Dataset, backbone: BackboneSpec, contract: InputContract, recipe: Recipe) -> ModelSpec:
    """The network for a dataset: a backbone under the recipe's head.

    Args:
        dataset: its task, labels and colors.
        backbone: as its weights or the recipe have it.
        contract: mean and std that the backbone's weights take.
        recipe: says which head, at which size.

    Raises:
        RecipeError: the recipe's head is not one of the task.
    """
    known = HEADS[dataset.task]
    if recipe.head != "default" and recipe.head not in known:
        raise RecipeError(
            f"head={recipe.head}, but '{dataset.name}' is to {dataset.task}",
            hint=f"heads for it: {', '.join(known) or 'only the default one'}",
        )
    name = known[0] if recipe.head == "default" and known else recipe.head
    on: On = "last" if _is_cut(backbone) else recipe.on
    if dataset.task == "classify":
        return ModelSpec(backbone, dataset.labels, contract)
    size = (recipe.size or 320, recipe.wide or recipe.size or 320)
    if dataset.task == "detect":
        build = ssd if name == "ssd" else ssdlite
        made = build(backbone, dataset.labels, size=size, contract=contract)
        assert isinstance(made.head, SsdHead)
        scales = (recipe.anchor_scale_min, recipe.anchor_scale_max)
        anchors = ssd_anchors(len(made.head.strides), scales=scales, smallest=recipe.anchor_smallest)
        return replace(made, head=replace(made.head, anchors=anchors, activation=recipe.activation))
    if name == "lraspp":
        made = lraspp(
            backbone,
            dataset.labels,
            output_stride=recipe.output_stride,
            on=on,
            filters=recipe.head_filters or 128,
            auxiliary=recipe.auxiliary,
            size=size,
            colors=dataset.colors,
        )
    else:
        made = deeplab(
            backbone,
            dataset.labels,
            output_stride=recipe.output_stride,
            rates=None if recipe.aspp else (),
            on=on,
            filters=recipe.head_filters or 256,
            decoder=recipe.decoder,
            auxiliary=recipe.auxiliary,
            size=size,
            colors=dataset.colors,
        )
    look = replace(made.input, mean=contract.mean, std=contract.std, interpolation=contract.interpolation)
    return replace(made, input=look)


def _is_cut(backbone: BackboneSpec) -> bool:
    """Whether it ends before its paper's does, as those of segmenters on the second-last map."""
    return backbone.name in BACKBONES and len(backbone.rows) < len(BACKBONES[backbone.name]().rows)
