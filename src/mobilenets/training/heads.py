"""The heads that a recipe can ask for: how each is built on a backbone, and how a recipe changes a head that is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from mobilenets.data.samples import Dataset
from mobilenets.errors import RecipeError
from mobilenets.keys import names
from mobilenets.specs.deeplab import DeepLabHead, deeplab
from mobilenets.specs.families import BACKBONES
from mobilenets.specs.lraspp import LrasppHead, lraspp
from mobilenets.specs.model import TASK_NOUNS, ClassifierHead, Head, InputContract, ModelSpec, Task
from mobilenets.specs.rows import BackboneSpec
from mobilenets.specs.segment import On
from mobilenets.specs.ssd import SsdHead, ssd, ssd_anchors, ssdlite
from mobilenets.training.parts import FreshHead, HeadName
from mobilenets.training.recipe import Recipe

HEADS: dict[Task, tuple[HeadName, ...]] = {"classify": (), "detect": ("ssdlite", "ssd"), "segment": ("deeplab", "lraspp")}
"""The heads of each task, the default first."""
DEFAULT_SIZE = 320
"""Input size of new detectors and segmenters, px."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of head, as a run needs it.

    Args:
        build: returns the network for a dataset, a backbone with a new head. Mean and std of the contract are those of the
            backbone's weights.
        adapted: returns a head of this kind with the settings of dataset and recipe, without values fitted on other data.
    """

    build: Callable[[Dataset, BackboneSpec, InputContract, Recipe], ModelSpec]
    adapted: Callable[[Any, Dataset, Recipe], Head]  # Any: the record of this kind


def is_kept(head: Head, task: Task, recipe: Recipe) -> bool:
    """Whether a run keeps a model's head: the head fits the task, and the recipe does not name another one."""
    return head.task == task and recipe.head in ("default", head.name)


def without_effect(head: Head, task: Task, recipe: Recipe, keys: Iterable[str]) -> str:
    """A message for a user who set keys that only shape new heads, although the model's head is kept; otherwise ""."""
    idle = [f"{key}={getattr(recipe, key)}" for key in keys if key in names(FreshHead)]
    if not idle or not is_kept(head, task, recipe):
        return ""
    others = " or ".join(f"head={name}" for name in HEADS[task] if name != head.name)
    kept = f"the weights' head, {head.name}, is kept: {', '.join(idle)} changes nothing"
    return f"{kept}; {others} would start a new one" if others else kept


def spec_for(dataset: Dataset, backbone: BackboneSpec, contract: InputContract, recipe: Recipe) -> ModelSpec:
    """The network for a dataset: a backbone with the recipe's new head.

    Args:
        dataset: provides the task, labels and colors.
        backbone: the backbone of the weights or the recipe.
        contract: provides the mean and std that the backbone's weights expect.
        recipe: selects the head and its size.

    Raises:
        RecipeError: the recipe's head does not exist for the task.
    """
    known = HEADS[dataset.task]
    if recipe.head != "default" and recipe.head not in known:
        raise RecipeError(
            f"head={recipe.head}, but '{dataset.name}' is a {TASK_NOUNS[dataset.task]} dataset",
            hint=f"heads for it: {', '.join(known) or 'only the default one'}",
        )
    name = known[0] if recipe.head == "default" and known else recipe.head
    return KINDS[name].build(dataset, backbone, contract, recipe)


def _classifier(dataset: Dataset, backbone: BackboneSpec, contract: InputContract, _recipe: Recipe) -> ModelSpec:
    return ModelSpec(backbone, dataset.labels, contract)


def _ssdlite(dataset: Dataset, backbone: BackboneSpec, contract: InputContract, recipe: Recipe) -> ModelSpec:
    return _anchored(ssdlite(backbone, dataset.labels, size=_size(recipe), contract=contract), recipe)


def _ssd(dataset: Dataset, backbone: BackboneSpec, contract: InputContract, recipe: Recipe) -> ModelSpec:
    return _anchored(ssd(backbone, dataset.labels, size=_size(recipe), contract=contract), recipe)


def _anchored(spec: ModelSpec, recipe: Recipe) -> ModelSpec:
    """The detector with the recipe's anchors and score activation."""
    assert isinstance(spec.head, SsdHead)
    scales = (recipe.anchor_scale_min, recipe.anchor_scale_max)
    anchors = ssd_anchors(len(spec.head.strides), scales=scales, smallest=recipe.anchor_smallest)
    return replace(spec, head=replace(spec.head, anchors=anchors, activation=recipe.activation))


def _deeplab(dataset: Dataset, backbone: BackboneSpec, contract: InputContract, recipe: Recipe) -> ModelSpec:
    made = deeplab(
        backbone,
        dataset.labels,
        output_stride=recipe.output_stride,
        rates=None if recipe.aspp else (),
        on=_on(backbone, recipe),
        filters=recipe.head_filters or 256,
        decoder=recipe.decoder,
        auxiliary=recipe.auxiliary,
        size=_size(recipe),
        colors=dataset.colors,
    )
    return _looking_alike(made, contract)


def _lraspp(dataset: Dataset, backbone: BackboneSpec, contract: InputContract, recipe: Recipe) -> ModelSpec:
    if not recipe.aspp or recipe.decoder:
        wrong = "aspp=False" if not recipe.aspp else f"decoder={recipe.decoder}"
        raise RecipeError(f"{wrong} has no effect with head=lraspp", hint="leave it out, or set head=deeplab")
    made = lraspp(
        backbone,
        dataset.labels,
        output_stride=recipe.output_stride,
        on=_on(backbone, recipe),
        filters=recipe.head_filters or 128,
        auxiliary=recipe.auxiliary,
        size=_size(recipe),
        colors=dataset.colors,
    )
    return _looking_alike(made, contract)


def _looking_alike(spec: ModelSpec, contract: InputContract) -> ModelSpec:
    """The segmenter with the pixel normalization that the backbone's weights expect."""
    look = replace(spec.input, mean=contract.mean, std=contract.std, interpolation=contract.interpolation)
    return replace(spec, input=look)


def _size(recipe: Recipe) -> tuple[int, int]:
    """Height and width of a new network's input, px."""
    height = recipe.size or DEFAULT_SIZE
    return height, recipe.wide or height


def _on(backbone: BackboneSpec, recipe: Recipe) -> On:
    """The feature map that a new head is attached to; the last one if the backbone was already cut for a segmenter."""
    is_cut = backbone.name in BACKBONES and len(backbone.rows) < len(BACKBONES[backbone.name]().rows)
    return "last" if is_cut else recipe.on


def _adapted_classifier(head: ClassifierHead, _dataset: Dataset, recipe: Recipe) -> Head:
    return replace(head.fresh(), mirrors=recipe.mirrors)


def _adapted_detector(head: SsdHead, _dataset: Dataset, recipe: Recipe) -> Head:
    return replace(head.fresh(), norm_momentum=_or(recipe.norm_momentum, head.norm_momentum))


def _adapted_deeplab(head: DeepLabHead, dataset: Dataset, recipe: Recipe) -> Head:
    return replace(
        head,
        colors=dataset.colors or head.colors,
        norm_momentum=_or(recipe.norm_momentum, head.norm_momentum),
        dropout=_or(recipe.dropout, head.dropout),
    )


def _adapted_lraspp(head: LrasppHead, dataset: Dataset, recipe: Recipe) -> Head:
    if recipe.dropout is not None:
        raise RecipeError(f"dropout={recipe.dropout:g} has no effect: head=lraspp has no dropout", hint="leave it out")
    return replace(head, colors=dataset.colors or head.colors, norm_momentum=_or(recipe.norm_momentum, head.norm_momentum))


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


KINDS: dict[str, Kind] = {
    "default": Kind(_classifier, _adapted_classifier),
    "ssdlite": Kind(_ssdlite, _adapted_detector),
    "ssd": Kind(_ssd, _adapted_detector),
    "deeplab": Kind(_deeplab, _adapted_deeplab),
    "lraspp": Kind(_lraspp, _adapted_lraspp),
}
"""Every kind of head, by name."""
