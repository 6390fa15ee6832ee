"""How `mobilenets train` begins: the dataset looked through, the first weights, and the recipe; or the run that goes on."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mobilenets.cli.output import note, progress
from mobilenets.cli.reading import Reading
from mobilenets.errors import DataError, MissingExtraError, UsageError, WeightsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mobilenets.data.samples import Dataset
    from mobilenets.model import Model
    from mobilenets.training.recipe import Recipe

NAMED = 5  # files that a message names
_USUAL: dict[str, dict[str, str]] = {  # recipe of each task, with weights to begin with and without
    "classify": {"weights": "finetune", "scratch": "scratch-small"},
    "detect": {"weights": "detect", "scratch": "detect"},
    "segment": {"weights": "segment", "scratch": "segment"},
}


@dataclass(frozen=True, slots=True)
class Chosen:
    """What the user chose of network and recipe; None for what the recipe says."""

    model: str | None = None
    width: float | None = None
    size: int | None = None
    weights: str = "auto"
    recipe: str | None = None
    overrides: tuple[str, ...] = ()
    epochs: int | None = None
    seed: int | None = None

    def keys(self) -> list[str]:
        """As overrides of a recipe."""
        options = {"model": self.model, "width": self.width, "size": self.size, "epochs": self.epochs, "seed": self.seed}
        return [*(f"{name}={value}" for name, value in options.items() if value is not None), *self.overrides]


@dataclass(frozen=True, slots=True)
class Start:
    """What a training begins with.

    Args:
        dataset: looked through.
        model: the first weights.
        recipe: how it is trained.
        weights: what the first weights were loaded from.
        reading: how the dataset was opened.
        resumes: whether a run goes on from a checkpoint.
        folds: how many trainings measure the run, where it is known from an earlier start; else None.
    """

    dataset: Dataset
    model: Model
    recipe: Recipe
    weights: str
    reading: Reading
    resumes: bool = False
    folds: int | None = None


def resumed(run: Path, data: str, chosen: Sequence[str], overrides: Sequence[str]) -> Start:
    """The run that goes on; from its beginning if it was killed before its first checkpoint.

    Args:
        run: its folder.
        data: where its dataset is.
        chosen: options that the user gave and that only a new run can take.
        overrides: of the recipe.

    Raises:
        UsageError: there are such options.
        CheckpointError: there is no run.
    """
    from mobilenets import checkpoint
    from mobilenets.data.readers.lists import in_splits, split_names
    from mobilenets.training import record
    from mobilenets.training.recipe import with_overrides

    if chosen:
        raise UsageError(f"--resume keeps the settings of '{run}'; leave out {', '.join(chosen)}")
    told = record.read_run(run)["data"]
    recipe = with_overrides(record.recipe_of(run), overrides)
    reading = Reading.from_data(told.get("reading", {}))
    dataset = reading.open(data, seed=recipe.seed)
    dataset = repaired(in_splits(dataset, split_names(run / "splits.csv")))  # without images that came later
    weights = str(told.get("weights") or "auto")
    folds = told.get("folds", 0)
    if checkpoint.settled(run / "last").is_dir():
        return Start(dataset, checkpoint.load(run / "last"), recipe, weights, reading, resumes=True, folds=folds)
    _say(f"'{run}' was stopped before its first checkpoint; starting over")
    model = _with_weights(recipe, weights, named=()) or _scratch(dataset, recipe)
    return Start(dataset, model, recipe, weights, reading, folds=folds)


def fresh(dataset: Dataset, chosen: Chosen, reading: Reading) -> Start:
    """A new run, with one line on its weights and one on its network.

    Raises:
        UsageError: options contradict each other.
    """
    from mobilenets.training import recipes
    from mobilenets.training.heads import without_effect
    from mobilenets.training.recipe import keys_of, with_overrides

    name = chosen.recipe or _USUAL[dataset.task]["scratch" if chosen.weights == "none" else "weights"]
    recipe = with_overrides(recipes.recipe(name), chosen.keys())
    if recipe.quantize == "int8" and chosen.weights in ("auto", "none"):
        raise UsageError(
            "quantize=int8 starts from a float network that was trained on this dataset, and needs its weights",
            hint="--weights RUN, a run of mobilenets train",
        )
    model = _with_weights(recipe, chosen.weights, named=keys_of(chosen.keys()))
    if model is None and chosen.recipe is None:
        name = _USUAL[dataset.task]["scratch"]
        recipe = with_overrides(recipes.recipe(name), chosen.keys())
    if model is None and recipe.freeze_blocks == -1:
        raise UsageError(
            f"recipe '{name}' freezes the backbone, which is useless without weights",
            hint="--weights PATH, or another recipe",
        )
    if model is None:
        model = _scratch(dataset, recipe)
    elif warning := without_effect(model.spec.head, dataset.task, recipe, keys_of(chosen.overrides)):
        _say(f"warning: {warning}")
    body = model.spec.backbone
    recipe = replace(recipe, model=body.name, width=body.width)
    px = recipe.size or model.spec.input.size
    _say(f"{body.name} {body.width:g} at {px if recipe.wide in (0, px) else f'{px} x {recipe.wide}'} px, recipe {name}")
    return Start(dataset, model, recipe, chosen.weights, reading)


def first_weights(start: Start) -> Model:
    """The weights that a run began with, also where it is resumed."""
    if not start.resumes:
        return start.model
    return _with_weights(start.recipe, start.weights, named=()) or _scratch(start.dataset, start.recipe)


def repaired(dataset: Dataset) -> Dataset:
    """The dataset with the boxes it trains on put right; what was decided in reading and repairing it is said."""
    from mobilenets.data.checks.boxes import repaired

    _say(*dataset.notes)
    if dataset.task != "detect":
        return dataset
    mended = repaired(dataset)
    _say(*mended.notes[len(dataset.notes) :])
    return mended


def checked(dataset: Dataset, *, skip_bad: bool, main: bool) -> Dataset:
    """The dataset after the quick check, without unreadable files where the user agreed to that."""
    from mobilenets.data.checks.boxes import REPAIRED
    from mobilenets.data.checks.check import quick_check, without
    from mobilenets.data.checks.codes import CURES, in_brief
    from mobilenets.data.checks.leaks import copied_leaks

    if not main:
        return without(dataset, quick_check(dataset).broken) if skip_bad else dataset
    with progress("checking", len(dataset.samples)) as advance:
        findings = quick_check(dataset, advance=advance)
    for line in in_brief(finding for finding in findings.items if finding.level == "warning" or finding.code in REPAIRED):
        note(f"warning: {line}")
    for leak in copied_leaks(dataset):
        note(f"warning: {leak}, so results on {leak.split} look better than they are; mobilenets check DATA lists them")
    serious = [finding for finding in findings.at("error") if finding.code not in REPAIRED]
    errors = [finding for finding in serious if not (skip_bad and set(finding.files) & findings.broken)]
    if errors:
        messages = [f"{finding.message}: {_some(finding.files)}" if finding.files else finding.message for finding in errors]
        message = "; ".join(messages[:NAMED]) + (f"; and {len(messages) - NAMED} more" if len(messages) > NAMED else "")
        hint = "mobilenets check DATA lists all; --skip-bad trains without unreadable files"
        cure = CURES.get(errors[0].code, "")
        say_more = f"{cure}; mobilenets check DATA says more" if cure else "mobilenets check DATA says more"
        raise DataError(message, hint=hint if findings.broken else say_more)
    if findings.broken:
        note(f"skipped {len(findings.broken)} files that cannot be read: {_some(sorted(findings.broken))}")
        return without(dataset, findings.broken)
    return dataset


def _scratch(dataset: Dataset, recipe: Recipe) -> Model:
    """The recipe's network with freshly drawn weights."""
    from mobilenets.model import create
    from mobilenets.specs.families import backbone
    from mobilenets.specs.model import InputContract
    from mobilenets.training.heads import spec_for

    shape = backbone(recipe.model, width=recipe.width)
    return create(spec_for(dataset, shape, InputContract(size=recipe.size or shape.size), recipe), seed=recipe.seed)


def _with_weights(recipe: Recipe, weights: str, *, named: Sequence[str]) -> Model | None:
    """The model with the weights asked for; none if "auto" finds none, or none are wanted.

    Args:
        recipe: names the network.
        weights: as the option has them.
        named: keys of the recipe that the user chose.
    """
    from mobilenets.model import with_spec
    from mobilenets.weights.load import load, load_best

    if weights == "none":
        _say("weights: none, as requested; training from scratch")
        return None
    if weights == "auto":
        if not recipe.from_weights:
            _say("weights: none, because this recipe trains from scratch (--weights NAME starts from public ones)")
            return None
        try:
            model = load_best(recipe.model, recipe.width)
        except (WeightsError, MissingExtraError) as error:
            _say(f"weights: none, training from scratch: {error}")
            return None
        _say(f"weights: {model.spec.weights}")
        return model
    model = load(weights)
    spec = model.spec
    if "model" in named and spec.backbone.name != recipe.model:
        raise UsageError(f"'{weights}' holds weights of {spec.backbone.name}, but --model is {recipe.model}")
    if "width" in named and spec.backbone.width != recipe.width:
        raise UsageError(f"'{weights}' holds weights of width {spec.backbone.width:g}, but --width is {recipe.width:g}")
    _say(f"weights: {weights}")
    return with_spec(model, replace(spec, weights=weights)) if spec.weights == "scratch" else model


def _say(*lines: str) -> None:
    """Tell what was decided; of several processes only the first is heard."""
    for line in lines:
        logging.getLogger("mobilenets").info(line)


def _some(names: tuple[str, ...] | list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(f"'{name}'" for name in names[:NAMED]) + more
