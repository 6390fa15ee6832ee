"""Trains the networks of an ablation with several seeds each, and stores which test images each classifies correctly.

Finished trainings are reused and interrupted ones resumed: a run is identified by its network, recipe, data and seed, so that
ablations share common networks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mobilenets import checkpoint
from mobilenets.data.open import fingerprint, open_dataset
from mobilenets.data.samples import Dataset
from mobilenets.errors import CheckpointError, DataError
from mobilenets.evaluation.classify.evaluate import evaluate_classification
from mobilenets.files import alone, claimed, drafted
from mobilenets.model import Model, TorchEngine, create
from mobilenets.runtime.manifest import manifest_of
from mobilenets.runtime.predictor import Predictor
from mobilenets.science.ablation.networks import SIZE
from mobilenets.science.entry import Asked
from mobilenets.specs.codec import to_json
from mobilenets.specs.model import InputContract, ModelSpec
from mobilenets.specs.rows import BackboneSpec
from mobilenets.training.loop import train
from mobilenets.training.recipe import Recipe

RIGHT = "right.npy"
"""File with, for each image of the test split in order of name, whether a run classifies it correctly."""

RECIPE = Recipe(  # ours: one for all variants, chosen before any of them was compared
    size=SIZE,
    input_crop=1.0,
    batch=128,
    optimizer="sgd",
    learning_rate=0.1,
    weight_decay=5e-4,
    decay_depthwise=False,  # V1, section 3.2
    warmup_epochs=0.5,
    crop_scale_min=0.5,
    dropout=0.0,
    norm_momentum=0.1,  # the papers' momenta need more steps than these runs have
    workers=0,
    save_every_seconds=60.0,
)


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """The correctly classified images of the networks of an ablation.

    Args:
        names: names of the test images, N.
        right: whether each is classified correctly, by variant, seeds N.
    """

    names: tuple[str, ...]
    right: Mapping[str, NDArray[np.bool_]]


def trained(variants: Mapping[str, BackboneSpec], asked: Asked) -> Trained:
    """Train every variant with every seed, and evaluate each once on the test split.

    Raises:
        DataError: the dataset is not for classification, or has no split "test".
        TrainingError: a training failed; the same command resumes it.
    """
    assert asked.data is not None  # `check_options` asks for it
    dataset = open_dataset(asked.data, val=0.0)
    if dataset.task != "classify":
        raise DataError(
            f"'{asked.data}' has boxes or masks, but the ablations train classifiers",
            hint="--data takes labeled images, such as CIFAR-10",
        )
    if not dataset.split("test"):
        raise DataError(f"'{asked.data}' has no test images", hint="the ablations are compared on images that no run has seen")
    right: dict[str, list[NDArray[np.bool_]]] = {name: [] for name in variants}
    for seed in range(asked.seeds):  # all variants with one seed, then the next: comparable after a stop
        for name, spec in variants.items():
            right[name].append(_right(name, spec, seed, dataset, asked))
    names = tuple(sorted(sample.name for sample in dataset.split("test")))
    return Trained(names, {name: np.stack(each) for name, each in right.items()})


def recipe_of(asked: Asked, seed: int) -> Recipe:
    """The recipe of one run."""
    return replace(RECIPE, epochs=asked.epochs, seed=seed)


def _right(name: str, spec: BackboneSpec, seed: int, dataset: Dataset, asked: Asked) -> NDArray[np.bool_]:
    """Which test images a run classifies correctly, from disk or by training."""
    contract = InputContract(size=SIZE, resize="stretch", crop=1.0)
    whole = ModelSpec(spec, dataset.labels, contract)
    recipe = recipe_of(asked, seed)
    run = asked.folder / "runs" / _key(whole, recipe, dataset)
    file = run / RIGHT
    run.mkdir(parents=True, exist_ok=True)
    with claimed(run) as free:
        if not free and not file.exists():
            asked.telling.said(f"{name}, seed {seed}: another process trains it; waiting until it ends")
    with alone(run):  # another ablation may be training this network
        if not file.exists():
            model = _model(name, whole, recipe, dataset, run, asked)
            predictor = Predictor(manifest_of(model.spec), TorchEngine(model))
            asked.telling.said(f"{name}, seed {seed}: looking at {len(dataset.split('test')):,} test images")
            report = evaluate_classification(predictor, dataset.split("test"), dataset.labels)
            if report.unreadable:
                image, reason = report.unreadable[0]
                raise DataError(f"{len(report.unreadable)} test images cannot be read; '{image}': {reason}")
            order = np.argsort(report.names)
            with drafted(file) as draft, draft.open("wb") as opened:
                np.save(opened, (report.logits.argmax(axis=1) == report.truth)[order])
    found: NDArray[np.bool_] = np.load(file, allow_pickle=False)
    if found.shape != (len(dataset.split("test")),) or found.dtype != np.bool_:
        raise CheckpointError(f"'{file}' is damaged", hint="delete it; the same command writes it again")
    return found


def _model(name: str, spec: ModelSpec, recipe: Recipe, dataset: Dataset, run: Path, asked: Asked) -> Model:
    """The last model of a run, which is started, resumed or loaded."""
    begun = checkpoint.settled(run / "last").is_dir()
    training = train(create(spec, seed=recipe.seed), dataset, recipe, run, resume=begun)
    with closing(training):
        first = next(training, None)
        if first is not None:  # else it was done, but for the test split
            how = "goes on" if begun else "training begins"
            asked.telling.said(f"{name}, seed {recipe.seed}: {how} at step {first.step:,} of {first.steps:,}")
            with asked.telling.progress(f"{name}, seed {recipe.seed}", first.steps - first.step) as advance:
                for _ in training:
                    advance(1)
    return checkpoint.load(run / "last").eval()


def _key(spec: ModelSpec, recipe: Recipe, dataset: Dataset) -> str:
    text = "\n".join((to_json(spec), recipe.to_json(), fingerprint(dataset)))
    return f"{spec.backbone.name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}-seed{recipe.seed}"
