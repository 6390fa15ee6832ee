"""Detectors through the training loop."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mobilenets import checkpoint
from mobilenets.data.samples import Dataset
from mobilenets.errors import RecipeError
from mobilenets.evaluation.evaluators import evaluate
from mobilenets.model import Model, TorchEngine, create, rebuilt
from mobilenets.runtime.detect.decode import Detections
from mobilenets.runtime.manifest import manifest_of
from mobilenets.runtime.predictor import Predictor
from mobilenets.specs.model import InputContract, ModelSpec
from mobilenets.specs.rows import BackboneSpec
from mobilenets.specs.ssd import SsdHead, ssdlite
from mobilenets.tasks.detect import IGNORED
from mobilenets.training.detect import lesson
from mobilenets.training.heads import spec_for
from mobilenets.training.loop import train
from mobilenets.training.parts import HeadName
from mobilenets.training.recipe import Recipe
from mobilenets.training.recipes import recipe as recipe_of
from mobilenets.training.start import final_spec, first_model
from mobilenets.weights import norms
from mobilenets.weights.load import load

RECIPE = Recipe(
    task="detect",
    size=96,
    epochs=10,
    batch=8,
    optimizer="adamw",
    learning_rate=5e-3,
    norm_momentum=0.1,
    crop=0.0,
    evaluate_every_epochs=5,
    precision="fp32",
    workers=0,
    save_every_seconds=1e6,
)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def boxed(rectangles: Dataset) -> Dataset:
    return replace(rectangles, task="detect")


@pytest.fixture(scope="module")
def detector(boxed: Dataset, tiny: BackboneSpec) -> Model:
    """Two maps, with anchors as large as the rectangles; training copies it."""
    anchors = (((0.3, 1.0), (0.45, 1.0)), ((0.35, 1.5), (0.35, 0.67)))
    return create(ssdlite(tiny, boxed.labels, size=96, extras=(), anchors=anchors))


@pytest.fixture(scope="module")
def run(detector: Model, boxed: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole training."""
    folder = tmp_path_factory.mktemp("detector") / "run"
    torch.set_num_threads(1)
    list(train(detector, boxed, RECIPE, folder, device="cpu"))
    return folder


def losses(run: Path) -> list[float]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


def head_of(folder: Path) -> SsdHead:
    head = checkpoint.load(folder).spec.head
    assert isinstance(head, SsdHead)
    return head


def test_a_detector_learns_to_find_rectangles(run: Path) -> None:
    found = losses(run)
    assert sum(found[-3:]) < 0.5 * sum(found[:3])
    assert checkpoint.read(run).metrics["val_map50"] > 0.6  # untrained: 0


def test_the_table_of_a_run_has_the_metrics_of_detectors(run: Path) -> None:
    header, *rows = (run / "metrics.csv").read_text().splitlines()
    assert {"val_map", "val_map50", "val_map75", "val_recall", "train_loss"} <= set(header.split(","))
    assert len(rows) == RECIPE.epochs


def test_the_best_checkpoint_has_a_threshold_per_label_and_the_last_has_none(run: Path) -> None:
    thresholds = head_of(run / "best").class_thresholds
    assert len(thresholds) == 2
    assert all(0.05 < threshold < 1 for threshold in thresholds)
    assert head_of(run / "last").class_thresholds == ()


def test_the_kept_metrics_are_those_of_the_shipped_predictor(run: Path, boxed: Dataset) -> None:
    best = checkpoint.load(run)
    predictor = Predictor(manifest_of(best.spec), TorchEngine(best))
    report = evaluate(predictor, boxed.split("val"), boxed.labels)
    kept = checkpoint.read(run).metrics
    assert {name: report.metric(name).value for name in ("map", "map50", "map75")} == pytest.approx(
        {name: kept[f"val_{name}"] for name in ("map", "map50", "map75")}, abs=1e-6
    )


def test_a_prediction_shows_what_scores_above_the_thresholds(run: Path, boxed: Dataset) -> None:
    best = checkpoint.load(run)
    assert isinstance(best.spec.head, SsdHead)
    found = Predictor(manifest_of(best.spec), TorchEngine(best)).predict(boxed.split("val")[0].path)
    assert isinstance(found, Detections)
    assert len(found)
    assert all(
        score > best.spec.head.class_thresholds[k]
        for score, k in zip(found.scores.tolist(), found.classes.tolist(), strict=True)
    )


def test_a_stopped_training_ends_with_the_very_same_weights(detector: Model, boxed: Dataset, tmp_path: Path) -> None:
    recipe = replace(RECIPE, epochs=3, evaluate_every_epochs=1, ema=0.9, crop=1.0, zoom_out=0.5, photometric=0.5)
    list(train(detector, boxed, recipe, tmp_path / "whole", device="cpu"))
    steps = train(detector, boxed, recipe, tmp_path / "stopped", device="cpu")
    while next(steps).step < 5:
        pass
    steps.close()
    list(train(detector, boxed, recipe, tmp_path / "stopped", resume=True, device="cpu"))
    whole, stopped = (checkpoint.load(tmp_path / name / "last").state_dict() for name in ("whole", "stopped"))
    assert all(torch.equal(whole[name], stopped[name]) for name in whole)
    assert losses(tmp_path / "whole") == losses(tmp_path / "stopped")
    assert head_of(tmp_path / "whole") == head_of(tmp_path / "stopped")


@pytest.mark.parametrize("flag", ["crowd", "difficult"])
def test_objects_that_are_not_to_be_learned_are_no_background_either(flag: str, detector: Model, boxed: Dataset) -> None:
    sample = boxed.split("train")[0]
    red, blue = sample.boxes
    changed = replace(sample, boxes=(replace(red, **{flag: True}), blue))
    teacher = lesson(detector.spec, boxed.samples, replace(RECIPE, flip_horizontal=0.0), torch.device("cpu")).teacher
    before, after = (teacher.show(teacher.load(one), one, 0)[1][0] for one in (sample, changed))
    assert (after == IGNORED).any()
    assert not (after == red.label + 1).any()
    assert (after[before == red.label + 1] == IGNORED).all()
    assert torch.equal(after == blue.label + 1, before == blue.label + 1)


@pytest.mark.parametrize("name", ["deeplab", "lraspp"])
def test_a_head_of_another_task_is_refused(name: HeadName, boxed: Dataset, tiny: BackboneSpec) -> None:
    classifier = create(ModelSpec(tiny, ("a", "b"), InputContract(size=96)))
    with pytest.raises(RecipeError, match=f"head={name}, but 'rectangles' is a detection dataset") as caught:
        final_spec(classifier.spec, boxed, replace(RECIPE, head=name))
    assert caught.value.hint == "heads for it: ssdlite, ssd"


def test_a_recipe_that_names_the_other_detector_gets_it(detector: Model, boxed: Dataset) -> None:
    head = first_model(detector, boxed, replace(RECIPE, head="ssd")).spec.head
    assert isinstance(head, SsdHead)
    assert not head.separable
    with pytest.raises(RecipeError, match="head=lraspp, but 'rectangles' is a detection dataset"):
        first_model(detector, boxed, replace(RECIPE, head="lraspp"))


def test_the_focal_loss_needs_sigmoid_scores(detector: Model, boxed: Dataset, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="sigmoid"):
        next(train(detector, boxed, replace(RECIPE, focal_gamma=2.0), tmp_path / "run"))


@pytest.mark.parametrize("changes", [{"activation": "sigmoid", "focal_gamma": 2.0}, {"head": "ssd", "activation": "sigmoid"}])
def test_other_losses_and_heads_take_a_step(
    changes: dict[str, str | float], boxed: Dataset, tiny: BackboneSpec, tmp_path: Path
) -> None:
    classifier = create(ModelSpec(tiny, ("a", "b"), InputContract(size=96)))
    recipe = replace(RECIPE, **changes)  # type: ignore[arg-type]  # fields of a recipe by name
    assert next(train(classifier, boxed, recipe, tmp_path / "run", device="cpu")).loss > 0
    assert head_of(tmp_path / "run" / "last").activation == "sigmoid"


def test_anchors_of_the_recipe_are_those_of_the_head(boxed: Dataset, tiny: BackboneSpec) -> None:
    recipe = replace(RECIPE, anchor_smallest=0.05, anchor_scale_min=0.1, anchor_scale_max=0.6)
    for name in ("ssdlite", "ssd"):
        head = spec_for(boxed, tiny, InputContract(), replace(recipe, head=name)).head
        assert isinstance(head, SsdHead)
        assert [each[0] for each in head.anchors] == [
            (0.05, 1.0),
            *((pytest.approx(scale), 1.0) for scale in (0.2, 0.3, 0.4, 0.5, 0.6)),
        ]


def test_a_classifier_becomes_a_detector_with_its_backbone(boxed: Dataset, tiny: BackboneSpec) -> None:
    contract = InputContract(size=64, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
    classifier = create(ModelSpec(tiny, ("a", "b", "c"), contract), seed=5)
    made = first_model(classifier, boxed, RECIPE)
    assert (made.spec.task, made.spec.labels, made.spec.input.shape) == ("detect", ("red", "blue"), (96, 96))
    assert (made.spec.input.mean, made.spec.input.std) == (contract.mean, contract.std)
    theirs, ours = classifier.backbone.state_dict(), made.backbone.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_folded_norms_are_put_back_before_a_detector_learns(boxed: Dataset, shared: Path) -> None:
    classifier = load(str(shared / "weights" / "mobilenet_v2_1.0_224_quant.tflite"))
    recipe = replace(recipe_of("detect"), size=96, norm_momentum=None)
    small = replace(boxed, samples=boxed.samples[:4])
    before, after = (
        rebuilt(classifier, final_spec(classifier.spec, small, recipe)).eval(),
        first_model(classifier, small, recipe).eval(),
    )
    assert (norms.folded(before), norms.folded(after)) == (True, False)
    x = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        a, b = before.backbone(x), after.backbone(x)
    torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3 * float(a.abs().max()))
