"""The heads that a recipe can ask for: how each is built on a backbone, and what a recipe changes of one that is kept."""

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
from mobilenets.specs.model import ClassifierHead, Head, InputContract, ModelSpec, Task
from mobilenets.specs.rows import BackboneSpec
from mobilenets.specs.segment import On
from mobilenets.specs.ssd import SsdHead, ssd, ssd_anchors, ssdlite
from mobilenets.training.parts import FreshHead, HeadName
from mobilenets.training.recipe import Recipe

HEADS: dict[Task, tuple[HeadName, ...]] = {"classify": (), "detect": ("ssdlite", "ssd"), "segment": ("deeplab", "lraspp")}
"""The heads of each task, its usual one first."""
DEFAULT_SIZE = 320
"""Input size of new detectors and segmenters, px."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a run needs to know of a kind of head.

    Args:
        build: a network for a dataset: a backbone under a new head. The contract's mean and std are those of the backbone's
            weights.
        adapted: a head of this kind with what the dataset and the recipe say, and nothing that was fitted on other data.
    """

    build: Callable[[Dataset, BackboneSpec, InputContract, Recipe], ModelSpec]
    adapted: Callable[[Any, Dataset, Recipe], Head]  # Any: the record of this kind


def is_kept(head: Head, task: Task, recipe: Recipe) -> bool:
    """Whether a run goes on with a model's head: it is of the task, and the recipe names no other."""
    return head.task == task and recipe.head in ("default", head.name)


def without_effect(head: Head, task: Task, recipe: Recipe, keys: Iterable[str]) -> str:
    """What to tell a user who set keys that shape new heads alone, where the model's head is kept; else ""."""
    idle = [f"{key}={getattr(recipe, key)}" for key in keys if key in names(FreshHead)]
    if not idle or not is_kept(head, task, recipe):
        return ""
    others = " or ".join(f"head={name}" for name in HEADS[task] if name != head.name)
    kept = f"the weights' head, {head.name}, is kept: {', '.join(idle)} changes nothing"
    return f"{kept}; {others} would draw a fresh one" if others else kept


def spec_for(dataset: Dataset, backbone: BackboneSpec, contract: InputContract, recipe: Recipe) -> ModelSpec:
    """The network for a dataset: a backbone under a new head, the recipe's.

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
    return KINDS[name].build(dataset, backbone, contract, recipe)


def _classifier(dataset: Dataset, backbone: BackboneSpec, contract: InputContract, _recipe: Recipe) -> ModelSpec:
    return ModelSpec(backbone, dataset.labels, contract)


def _ssdlite(dataset: Dataset, backbone: BackboneSpec, contract: InputContract, recipe: Recipe) -> ModelSpec:
    return _anchored(ssdlite(backbone, dataset.labels, size=_size(recipe), contract=contract), recipe)


def _ssd(dataset: Dataset, backbone: BackboneSpec, contract: InputContract, recipe: Recipe) -> ModelSpec:
    return _anchored(ssd(backbone, dataset.labels, size=_size(recipe), contract=contract), recipe)


def _anchored(spec: ModelSpec, recipe: Recipe) -> ModelSpec:
    """The detector with the recipe's anchors and scores."""
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
    """The segmenter with the pixel values that the backbone's weights take."""
    look = replace(spec.input, mean=contract.mean, std=contract.std, interpolation=contract.interpolation)
    return replace(spec, input=look)


def _size(recipe: Recipe) -> tuple[int, int]:
    """Height and width of a new network's input, px."""
    height = recipe.size or DEFAULT_SIZE
    return height, recipe.wide or height


def _on(backbone: BackboneSpec, recipe: Recipe) -> On:
    """The map that a new head stands on: of a backbone that is cut already, as those of other segmenters, the last."""
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
"""Every kind of head, by its name."""
