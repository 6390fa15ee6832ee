"""Training in 8-bit integers: it begins as post-training quantization leaves the network, learns, and resumes exactly."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.deploy.conftest import trained
from tests.deploy.min_max import quantized_by_min_max
from tests.deploy.test_quantize import _images

from mobilenets import checkpoint
from mobilenets.data.samples import Dataset, Sample
from mobilenets.deploy import reference
from mobilenets.errors import CheckpointError, RecipeError
from mobilenets.evaluation.evaluators import evaluate
from mobilenets.exporters.lower import lower
from mobilenets.model import Model, TorchEngine, create
from mobilenets.qat.model import QuantizedModel
from mobilenets.runtime.manifest import manifest_of
from mobilenets.runtime.predictor import Predictor
from mobilenets.specs.families import backbone
from mobilenets.specs.lraspp import lraspp
from mobilenets.specs.model import InputContract, ModelSpec
from mobilenets.specs.ssd import ssdlite
from mobilenets.training import distill
from mobilenets.training.loop import train
from mobilenets.training.recipe import INT8, Recipe, with_overrides

SCRIPT = """
import pickle, sys
from mobilenets.training.loop import train
job = pickle.loads(open(sys.argv[1], "rb").read())
for step in train(*job, device="cpu"):
    pass
"""


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def floats() -> Model:
    """MobileNetV1 0.1 for images of 32 px, with norms as training leaves them."""
    spec = ModelSpec(backbone("mobilenet_v1", width=0.1), ("dark", "bright"), InputContract(size=32))
    return trained(create(spec))


@pytest.fixture(scope="module")
def started() -> QuantizedModel:
    """The same in integers, from plain ranges."""
    floats = trained(create(ModelSpec(backbone("mobilenet_v1", width=0.1), ("dark", "bright"), InputContract(size=32))))
    graph = lower(floats)
    made = QuantizedModel(floats.spec, quantized_by_min_max(graph, _images(graph, 4)))
    made.load_state_dict(floats.state_dict(), strict=False)
    return made


@pytest.fixture
def int8() -> Recipe:
    """Two epochs of two steps."""
    base = Recipe(batch=12, workers=0, save_every_seconds=0.0)
    return with_overrides(base, ["quantize=int8", "epochs=2", "learning_rate=0.001"])


@pytest.fixture
def few(dataset: Dataset) -> Dataset:
    """24 images for training and 8 for validation."""
    return replace(dataset, samples=tuple(sample for i, sample in enumerate(dataset.samples) if i < 24 or i >= 56))


def test_a_run_trains_validates_and_leaves_its_integers(floats: Model, few: Dataset, int8: Recipe, tmp_path: Path) -> None:
    steps = list(train(floats, few, int8, tmp_path / "run"))
    best = checkpoint.load(tmp_path / "run")
    assert isinstance(best, QuantizedModel)
    for name, tensor in floats.state_dict().items():
        assert torch.equal(best.state_dict()[name], tensor)  # the teacher stays as it was
    graph = lower(best)
    assert graph.manifest.precision == "int8"
    assert graph.quantization
    images = np.random.default_rng(0).normal(size=(2, 3, 32, 32)).astype(np.float32)
    made = TorchEngine(best).run(images)["logits"]
    step = graph.quantization[graph.operators[-1].inputs[0]].scale
    assert abs(made - reference.run(graph, images)["logits"]).max() <= 1.001 * step
    told = checkpoint.read(tmp_path / "run").metrics["val_accuracy"]
    assert told == max(step.metrics.get("val_accuracy", 0.0) for step in steps)
    report = evaluate(Predictor(manifest_of(best.spec), TorchEngine(best)), few.split("val"), few.labels)
    assert report.metric("top1").value == pytest.approx(told)  # validated in integers


def test_a_stopped_run_ends_with_the_same_weights(started: Model, few: Dataset, int8: Recipe, tmp_path: Path) -> None:
    recipe = replace(int8, accumulate=2, ema=0.9, distill=0.5, time_budget_minutes=100.0)
    list(train(started, few, recipe, tmp_path / "whole"))
    for step in (steps := train(started, few, recipe, tmp_path / "parts")):
        if step.step == 3:
            break
    steps.close()
    list(train(checkpoint.load(tmp_path / "parts" / "last"), few, recipe, tmp_path / "parts", resume=True))
    for folder in ("last", "best"):
        whole, parts = (checkpoint.read(tmp_path / run / folder).weights for run in ("whole", "parts"))
        assert whole.keys() == parts.keys()
        assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_ranges_stay_at_the_end(started: Model, few: Dataset, int8: Recipe) -> None:
    steps = train(started, few, replace(int8, frozen_ranges=0.5))
    ranges = []
    for _ in steps:
        network = steps._running.learner.model.int8  # type: ignore[union-attr]  # in a test of it
        ranges.append(torch.cat([scale.detach().flatten().clone() for scale in network.ranges()]))  # type: ignore[union-attr, operator]
    assert not torch.equal(ranges[0], ranges[1])
    assert torch.equal(ranges[1], ranges[2])
    assert torch.equal(ranges[2], ranges[3])


def test_training_goes_on_from_integers_and_from_their_float_network(started: Model, few: Dataset, int8: Recipe) -> None:
    first = started
    for _ in (again := train(first, few, replace(int8, epochs=1, learning_rate=0.0))):
        pass
    for name, tensor in again.model.state_dict().items():
        assert torch.equal(first.state_dict()[name], tensor), name
    plain = Recipe(batch=12, epochs=1, workers=0, learning_rate=0.0, norm_momentum=0.0)
    for _ in (back := train(first, few, plain)):
        pass
    assert not isinstance(back.model, QuantizedModel)
    assert torch.equal(back.model.state_dict()["head.linear.weight"], first.state_dict()["head.linear.weight"])


def test_what_quantize_brings_along_can_be_chosen_otherwise() -> None:
    recipe = with_overrides(Recipe(dropout=0.2, freeze_norms=True, ema=0.99), ["quantize=int8", "epochs=7"])
    assert recipe.epochs == 7
    assert (recipe.ema, recipe.learning_rate) == (INT8["ema"], INT8["learning_rate"])
    assert recipe.dropout is None
    assert not recipe.freeze_norms
    again = with_overrides(recipe, ["learning_rate=0.5"])
    assert (again.epochs, again.learning_rate) == (7, 0.5)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("compile=true", "compile=True has no effect with quantize=int8"),
        ("freeze_norms=true", "freeze_norms=True has no effect with quantize=int8"),
        ("dropout=0.3", "dropout=0.3 has no effect with quantize=int8"),
        ("cached_features=true", "cached_features=True has no effect with quantize=int8"),
        ("precision=bf16", "precision=bf16 rounds more coarsely than the 8-bit steps"),
        ("distill=2", "distill=2.0 is not between 0 and 1"),
    ],
)
def test_what_does_not_go_with_integers_is_refused(override: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        with_overrides(Recipe(), ["quantize=int8", override])


def test_weights_of_other_labels_are_refused(floats: Model, few: Dataset, int8: Recipe) -> None:
    other = replace(few, labels=("night", "day"))
    with pytest.raises(RecipeError, match="needs weights that were trained on the labels of 'shades'") as caught:
        list(train(floats, other, int8))
    assert "--weights" in caught.value.hint


def test_a_damaged_structure_is_refused(started: Model, tmp_path: Path) -> None:
    checkpoint.save(started, tmp_path / "run" / "best")
    path = tmp_path / "run" / "best" / "model.json"
    description = json.loads(path.read_text())
    description["int8"]["operators"][1]["inputs"] = ["nothing"]
    path.write_text(json.dumps(description))
    with pytest.raises(CheckpointError, match="describes a network that cannot be built"):
        checkpoint.load(tmp_path / "run")


def test_a_teacher_of_the_same_answers_asks_for_nothing() -> None:
    draw = torch.Generator().manual_seed(0)
    head = ssdlite(backbone("mobilenet_v2"), ("a", "b"), size=(320, 320)).head
    for axis_of, shape in (("classify", (3, 5)), ("segment", (3, 5, 4, 4))):
        logits = torch.randn(shape, generator=draw)
        distance = distill.DISTANCES[axis_of]  # type: ignore[index]  # a task
        assert distance(logits, logits, head).abs().max() < 1e-6
        assert (distance(logits + torch.randn(shape, generator=draw), logits, head) > 0.01).all()
    for activation in ("softmax", "sigmoid"):
        outputs = torch.randn(3, 7, 3, generator=draw), torch.randn(3, 7, 4, generator=draw)
        told = replace(head, activation=activation)  # type: ignore[type-var]  # a record
        assert distill.detect(outputs, outputs, told).abs().max() < 1e-5
        assert (distill.detect((outputs[0] + 1 * torch.randn(3, 7, 3, generator=draw), outputs[1]), outputs, told) > 0.01).all()


def test_the_distance_of_two_classes_by_hand() -> None:
    taught, outputs = torch.tensor([[0.0, 0.0]]), torch.log(torch.tensor([[0.25, 0.75]]))
    expected = 0.5 * np.log(0.5 / 0.25) + 0.5 * np.log(0.5 / 0.75)
    head = ModelSpec(backbone("mobilenet_v1"), ("a", "b")).head
    assert distill.classify(outputs, taught, head).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("task", ["classify", "detect", "segment"])
def test_every_task_trains_in_integers(task: str, accumulate: int, rectangles: Dataset, few: Dataset, tmp_path: Path) -> None:
    body = backbone("mobilenet_v3_small", width=0.35)
    data = few
    spec = ModelSpec(body, few.labels, InputContract(size=48))
    if task == "detect":
        kept = tuple(replace(sample, mask=None) for sample in rectangles.samples)
        data, spec = replace(rectangles, samples=kept, task="detect"), ssdlite(body, rectangles.labels, size=(96, 96))
    if task == "segment":
        labels = ("background", *rectangles.labels)
        kept = tuple(Sample(sample.path, -1, sample.split, name=sample.name, mask=sample.mask) for sample in rectangles.samples)
        data = replace(rectangles, samples=kept, task="segment", labels=labels)
        spec = lraspp(body, labels, size=(64, 64))
    model = trained(create(spec))
    base = Recipe(task=task, batch=8, accumulate=accumulate, workers=0)  # type: ignore[arg-type]  # a task
    recipe = with_overrides(base, ["quantize=int8", "epochs=1", "distill=0.5"])
    list(train(model, data, recipe, tmp_path / "run"))
    best = checkpoint.load(tmp_path / "run")
    images = np.random.default_rng(0).normal(size=(2, 3, *best.spec.input.shape)).astype(np.float32)
    graph, made = lower(best), TorchEngine(best).run(images)
    expected = reference.run(graph, images)
    steps = {operator.output: graph.quantization[operator.inputs[0]].scale for operator in graph.operators[-2:]}
    for name, value in graph.outputs.items():
        assert (abs(made[name] - expected[name]) > 1.001 * steps.get(value, max(steps.values()))).mean() <= 0.01


@pytest.mark.slow
def test_two_processes_train_as_one_that_computes_two_parts(floats: Model, few: Dataset, int8: Recipe, tmp_path: Path) -> None:
    recipe = replace(int8, precision="fp32", save_every_seconds=1e6)
    list(train(floats, few, replace(recipe, accumulate=2), tmp_path / "one"))
    (tmp_path / "job.pickle").write_bytes(pickle.dumps((floats, few, recipe, tmp_path / "two")))
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    ended = subprocess.run(
        [*command, str(tmp_path / "script.py"), str(tmp_path / "job.pickle")],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    one, two = (checkpoint.read(tmp_path / run / "last").weights for run in ("one", "two"))
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-3, atol=1e-4)
