"""Segmenters through the training loop."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mobilenets import checkpoint
from mobilenets.data.masks import Mask
from mobilenets.data.samples import Dataset, Sample
from mobilenets.errors import RecipeError
from mobilenets.evaluation.evaluators import evaluate
from mobilenets.feeding.augment_masks import MaskAugmentation
from mobilenets.feeding.masks import Masked
from mobilenets.model import Model, TorchEngine, create, rebuilt
from mobilenets.runtime.manifest import manifest_of
from mobilenets.runtime.predictor import Predictor
from mobilenets.runtime.segment.decode import Segmentation
from mobilenets.specs.deeplab import DeepLabHead, deeplab
from mobilenets.specs.families import backbone
from mobilenets.specs.lraspp import LrasppHead
from mobilenets.specs.model import InputContract, ModelSpec
from mobilenets.specs.rows import BackboneSpec
from mobilenets.training.heads import spec_for, without_effect
from mobilenets.training.loop import train
from mobilenets.training.parts import HeadName
from mobilenets.training.recipe import Recipe
from mobilenets.training.recipes import recipe as recipe_of
from mobilenets.training.segment import class_weights
from mobilenets.training.start import final_spec, first_model
from mobilenets.weights import norms
from mobilenets.weights.load import load

COLORS = ((0, 0, 0), (200, 0, 0), (0, 0, 200))
RECIPE = Recipe(
    task="segment",
    size=96,
    epochs=10,
    batch=8,
    optimizer="adamw",
    learning_rate=0.01,
    norm_momentum=0.1,
    scale_min=0.8,
    scale_max=1.2,
    evaluate_every_epochs=5,
    precision="fp32",
    workers=0,
    save_every_seconds=1e6,
)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def masked(rectangles: Dataset) -> Dataset:
    return replace(rectangles, task="segment", labels=("ground", "red", "blue"), colors=COLORS)


@pytest.fixture(scope="module")
def segmenter(masked: Dataset, tiny: BackboneSpec) -> Model:
    """R-ASPP; training copies it."""
    return create(deeplab(tiny, masked.labels, size=96, rates=(), filters=128))


@pytest.fixture(scope="module")
def run(segmenter: Model, masked: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole training."""
    folder = tmp_path_factory.mktemp("segmenter") / "run"
    torch.set_num_threads(1)
    list(train(segmenter, masked, RECIPE, folder, device="cpu"))
    return folder


def losses(run: Path) -> list[float]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


def test_a_segmenter_learns_the_colors_of_rectangles(run: Path) -> None:
    found = losses(run)
    assert sum(found[-3:]) < 0.5 * sum(found[:3])
    assert checkpoint.read(run).metrics["val_miou"] > 0.6  # 0.25 with ground everywhere


def test_the_table_of_a_run_has_the_metrics_of_segmenters(run: Path) -> None:
    header, *rows = (run / "metrics.csv").read_text().splitlines()
    assert {"val_miou", "val_pixel_accuracy", "val_mean_accuracy", "train_loss"} <= set(header.split(","))
    assert len(rows) == RECIPE.epochs


def test_the_kept_metrics_are_those_of_the_shipped_predictor(run: Path, masked: Dataset) -> None:
    best = checkpoint.load(run)
    report = evaluate(Predictor(manifest_of(best.spec), TorchEngine(best)), masked.split("val"), masked.labels)
    kept = checkpoint.read(run).metrics
    assert report.metric("miou").value == pytest.approx(kept["val_miou"], abs=1e-6)
    assert report.metric("pixel_accuracy").value == pytest.approx(kept["val_pixel_accuracy"], abs=1e-6)


def test_names_and_colors_of_the_classes_travel_in_the_model(run: Path, masked: Dataset) -> None:
    best = checkpoint.load(run)
    found = Predictor(manifest_of(best.spec), TorchEngine(best)).predict(masked.split("val")[0].path)
    assert isinstance(found, Segmentation)
    assert (found.labels, tuple(found.colors)) == (masked.labels, COLORS)


def test_colors_of_a_model_stay_where_the_data_has_none(segmenter: Model, masked: Dataset) -> None:
    colored = first_model(segmenter, masked, RECIPE)
    head = first_model(colored, replace(masked, colors=()), RECIPE).spec.head
    assert isinstance(head, DeepLabHead)
    assert head.colors == COLORS


def test_a_stopped_training_ends_with_the_very_same_weights(segmenter: Model, masked: Dataset, tmp_path: Path) -> None:
    recipe = replace(RECIPE, epochs=3, evaluate_every_epochs=1, ema=0.9, brightness=0.2, dice=0.5, lovasz=0.5, balance="loss")
    list(train(segmenter, masked, recipe, tmp_path / "whole", device="cpu"))
    steps = train(segmenter, masked, recipe, tmp_path / "stopped", device="cpu")
    while next(steps).step < 5:
        pass
    steps.close()
    list(train(segmenter, masked, recipe, tmp_path / "stopped", resume=True, device="cpu"))
    whole, stopped = (checkpoint.load(tmp_path / name / "last").state_dict() for name in ("whole", "stopped"))
    assert all(torch.equal(whole[name], stopped[name]) for name in whole)
    assert losses(tmp_path / "whole") == losses(tmp_path / "stopped")


@pytest.mark.parametrize("name", ["ssdlite", "ssd"])
def test_a_head_of_another_task_is_refused(name: HeadName, masked: Dataset, tiny: BackboneSpec) -> None:
    classifier = create(ModelSpec(tiny, ("a", "b"), InputContract(size=96)))
    with pytest.raises(RecipeError, match=f"head={name}, but 'rectangles' is a segmentation dataset") as caught:
        final_spec(classifier.spec, masked, replace(RECIPE, head=name))
    assert caught.value.hint == "heads for it: deeplab, lraspp"


def test_a_recipe_that_names_another_head_gets_it_fresh_on_the_backbone(
    segmenter: Model, masked: Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "mobilenets"):
        made = first_model(segmenter, masked, replace(RECIPE, head="lraspp", head_filters=16))
    assert isinstance(made.spec.head, LrasppHead)
    assert "head=lraspp: a new one on the backbone; the deeplab head of the weights is left out" in caplog.messages
    theirs, ours = segmenter.backbone.state_dict(), made.backbone.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_backbone_that_ends_in_the_second_last_map_is_not_cut_again(masked: Dataset) -> None:
    recipe, whole = replace(RECIPE, on="second_last"), backbone("mobilenet_v2", width=0.1)
    cut = spec_for(masked, whole, InputContract(), recipe).backbone
    again = spec_for(masked, cut, InputContract(), replace(recipe, head="lraspp")).backbone
    assert len(whole.rows) - 1 == len(cut.rows) == len(again.rows)


@pytest.mark.parametrize("name", ["default", "deeplab"])
def test_a_head_of_the_name_that_the_recipe_asks_for_is_kept(name: HeadName, segmenter: Model, masked: Dataset) -> None:
    made = first_model(segmenter, masked, replace(RECIPE, head=name, head_filters=16))
    assert torch.equal(made.head.classifier.weight, segmenter.head.classifier.weight)


def test_what_shapes_fresh_heads_alone_is_said_to_change_nothing(segmenter: Model) -> None:
    head, recipe = segmenter.spec.head, replace(RECIPE, decoder="s4", batch=4)
    said = without_effect(head, "segment", recipe, ["batch", "decoder"])
    assert said == "the weights' head, deeplab, is kept: decoder=s4 changes nothing; head=lraspp would start a new one"
    assert without_effect(head, "segment", recipe, ["batch"]) == ""
    assert without_effect(head, "segment", replace(recipe, head="lraspp"), ["decoder"]) == ""
    assert without_effect(head, "detect", recipe, ["anchor_smallest"]) == ""


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"head": "lraspp", "auxiliary": "s8"}, LrasppHead),
        ({"head": "deeplab", "decoder": "s4", "output_stride": 8, "auxiliary": "s16", "head_filters": 16}, DeepLabHead),
        ({"on": "second_last", "aspp": False, "head_filters": 16, "wide": 64}, DeepLabHead),
    ],
)
def test_every_head_takes_a_step(
    changes: dict[str, str | int], kind: type, masked: Dataset, tiny: BackboneSpec, tmp_path: Path
) -> None:
    classifier = create(ModelSpec(tiny, ("a", "b"), InputContract(size=96)))
    recipe = replace(RECIPE, **changes)  # type: ignore[arg-type]  # fields of a recipe by name
    assert next(train(classifier, masked, recipe, tmp_path / "run", device="cpu")).loss > 0
    spec = checkpoint.load(tmp_path / "run" / "last").spec
    assert isinstance(spec.head, kind)
    assert spec.input.shape == (96, changes.get("wide", 96))


def test_rare_classes_weigh_more(tmp_path: Path) -> None:
    mask = np.zeros((10, 10), np.uint8)
    mask[0, :5], mask[1, :5] = 1, 255  # of 95 pixels 90 and 5; class 2 is absent
    for name, pixels in (("image.png", np.zeros((10, 10, 3), np.uint8)), ("mask.png", mask)):
        Image.fromarray(pixels).save(tmp_path / name)
    sample = Sample(tmp_path / "image.png", -1, "train", mask=Mask(tmp_path / "mask.png"))
    found = class_weights([sample], Masked(MaskAugmentation(10, 10), channels=3), 3)
    common, rare = 1 / np.log(1.02 + 90 / 95), 1 / np.log(1.02 + 5 / 95)  # 1.48 and 14.2
    np.testing.assert_allclose(found.numpy(), np.array([common, rare, 0]) / ((common + rare) / 2), rtol=1e-6)


def test_a_classifier_becomes_a_segmenter_with_its_backbone(masked: Dataset, tiny: BackboneSpec) -> None:
    contract = InputContract(size=64, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
    classifier = create(ModelSpec(tiny, ("a", "b", "c"), contract), seed=5)
    made = first_model(classifier, masked, replace(RECIPE, on="second_last", output_stride=8))
    assert (made.spec.task, made.spec.labels, made.spec.input.shape) == ("segment", masked.labels, (96, 96))
    assert (made.spec.input.mean, made.spec.input.std) == (contract.mean, contract.std)
    theirs, ours = classifier.backbone.state_dict(), made.backbone.state_dict()
    assert {name for name in theirs if name not in ours} == {name for name in theirs if name.startswith("blocks.4.")}
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_recipe_says_which_rates(masked: Dataset, tiny: BackboneSpec) -> None:
    for aspp, rates in ((True, (6, 12, 18)), (False, ())):
        head = spec_for(masked, tiny, InputContract(), replace(RECIPE, aspp=aspp)).head
        assert isinstance(head, DeepLabHead)
        assert (head.rates, head.colors) == (rates, COLORS)


def test_folded_norms_are_put_back_before_a_segmenter_learns(masked: Dataset, shared: Path) -> None:
    classifier = load(str(shared / "weights" / "mobilenet_v2_1.0_224_quant.tflite"))
    recipe = replace(recipe_of("segment"), size=96, norm_momentum=None)
    small = replace(masked, samples=masked.samples[:4])
    before, after = (
        rebuilt(classifier, final_spec(classifier.spec, small, recipe)).eval(),
        first_model(classifier, small, recipe).eval(),
    )
    assert (norms.folded(before), norms.folded(after)) == (True, False)
    x = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        a, b = before.backbone(x), after.backbone(x)
    torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3 * float(a.abs().max()))
