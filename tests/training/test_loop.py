from __future__ import annotations

import json
import os
import pickle
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mobilenets import checkpoint
from mobilenets.data.open import open_dataset
from mobilenets.data.readers.lists import read_splits
from mobilenets.data.samples import Dataset
from mobilenets.data.writers.shards import write_shards
from mobilenets.errors import CheckpointError, DataError, RecipeError, TrainingError
from mobilenets.evaluation.classify.calibration import fit_temperature
from mobilenets.model import Model, TorchEngine
from mobilenets.runtime.images.prepare import load_input
from mobilenets.specs.model import ClassifierHead
from mobilenets.training import record, state
from mobilenets.training.loop import train
from mobilenets.training.recipe import Recipe

SCRIPT = """
import os, pickle, signal, sys
from mobilenets.training.loop import train

job = pickle.loads(open(sys.argv[1], "rb").read())
for step in train(job["model"], job["dataset"], job["recipe"], job["run"], device="cpu"):
    if step.step == job["kill_at"]:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def _in_a_process(folder: Path, launcher: list[str], **job: object) -> subprocess.CompletedProcess[str]:
    (folder / "job.pickle").write_bytes(pickle.dumps(job))
    (folder / "script.py").write_text(SCRIPT)
    command = [sys.executable, *launcher, str(folder / "script.py"), str(folder / "job.pickle")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def _losses(run: Path) -> list[float]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


def _tensors(folder: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    found = dict(load_file(folder / "model.safetensors"))
    if (folder / "training.safetensors").is_file():
        found.update(load_file(folder / "training.safetensors"))
    return found


def _equal(one: Path, other: Path) -> bool:
    a, b = _tensors(one), _tensors(other)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_a_run_learns_and_leaves_its_files(model: Model, dataset: Dataset, recipe: Recipe, tmp_path: Path) -> None:
    run = tmp_path / "run"
    easy = replace(recipe, epochs=16, optimizer="sgd", learning_rate=0.05, dropout=0.0, ema=0.0, crop_scale_min=0.5)
    easy = replace(easy, save_every_seconds=1e6)
    steps = list(train(model, dataset, easy, run))
    assert [step.step for step in steps] == list(range(1, 65))
    assert max(step.metrics.get("val_accuracy", 0.0) for step in steps) >= 0.9
    names = {"run.json", "splits.csv", "metrics.csv", "metrics.jsonl", "curves.png", "best", "last"}
    assert {path.name for path in run.iterdir()} == names
    rows = record.read_metrics(run)
    assert [row["epoch"] for row in rows] == list(range(1, 17))
    assert rows[-1]["val_accuracy"] == steps[-1].metrics["val_accuracy"]
    about = record.read_run(run)
    assert about["data"]["counts"]["train"] == [24, 24]
    assert record.recipe_of(run) == easy


def test_the_kept_metrics_are_those_of_the_shipped_predictor(
    model: Model, dataset: Dataset, recipe: Recipe, tmp_path: Path
) -> None:
    list(train(model, dataset, recipe, tmp_path / "run"))
    best = checkpoint.load(tmp_path / "run")
    samples = dataset.split("val")
    images = np.stack([load_input(sample.path, best.spec.input) for sample in samples])
    logits = TorchEngine(best).run(images)["logits"]
    predicted = logits.argmax(axis=1)
    accuracy = float((predicted == [sample.label for sample in samples]).mean())
    assert checkpoint.read(tmp_path / "run").metrics["val_accuracy"] == accuracy
    temperature = fit_temperature(logits, np.array([sample.label for sample in samples]))
    assert isinstance(best.spec.head, ClassifierHead)
    assert best.spec.head.temperature == pytest.approx(temperature, rel=1e-3)


def test_the_same_recipe_and_seed_give_the_same_weights_with_any_number_of_workers(
    model: Model, dataset: Dataset, recipe: Recipe, tmp_path: Path
) -> None:
    recipe = replace(recipe, epochs=1)
    list(train(model, dataset, recipe, tmp_path / "one"))
    list(train(model, dataset, replace(recipe, workers=2, cache_mb=0), tmp_path / "two"))
    assert _losses(tmp_path / "one") == _losses(tmp_path / "two")
    assert _equal(tmp_path / "one" / "last", tmp_path / "two" / "last")
    list(train(model, dataset, replace(recipe, seed=1), tmp_path / "three"))
    assert not _equal(tmp_path / "one" / "last", tmp_path / "three" / "last")


@pytest.mark.parametrize(("kill_at", "save_every_seconds"), [(7, 1000.0), (10, 0.0)])
def test_a_killed_run_ends_with_the_very_same_weights(
    kill_at: int, save_every_seconds: float, model: Model, dataset: Dataset, recipe: Recipe, tmp_path: Path
) -> None:
    recipe = replace(recipe, save_every_seconds=save_every_seconds, mixup_alpha=0.2, policy="trivial")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    list(train(model, dataset, recipe, whole, device="cpu"))
    done = _in_a_process(tmp_path, [], model=model, dataset=dataset, recipe=recipe, run=killed, kill_at=kill_at)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert state.progress_of(killed / "last").step in (kill_at, kill_at // 4 * 4)
    steps = list(train(model, dataset, recipe, killed, resume=True, device="cpu"))
    assert steps[-1].step == 12
    assert _equal(whole / "last", killed / "last")
    assert _equal(whole / "best", killed / "best")
    assert _losses(whole) == _losses(killed)
    timeless = [
        [{k: v for k, v in row.items() if k not in ("seconds", "images_per_second")} for row in record.read_metrics(run)]
        for run in (whole, killed)
    ]
    assert timeless[0] == timeless[1]


def test_two_processes_have_the_loss_of_one(model: Model, dataset: Dataset, recipe: Recipe, tmp_path: Path) -> None:
    # Batch norm sees the part of a batch that a process computes; one process that accumulates two parts sees the same.
    recipe = replace(recipe, dropout=0.0, epochs=2)
    list(train(model, dataset, replace(recipe, accumulate=2), tmp_path / "one", device="cpu"))
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = _in_a_process(tmp_path, launcher, model=model, dataset=dataset, recipe=recipe, run=tmp_path / "two", kill_at=0)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(_losses(tmp_path / "two"), _losses(tmp_path / "one"), rtol=1e-3)
    one, two = (checkpoint.load(tmp_path / name / "last") for name in ("one", "two"))
    for (name, a), b in zip(one.named_parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-2, atol=1e-3, msg=name)


def test_a_closed_iterator_can_be_resumed(model: Model, dataset: Dataset, recipe: Recipe, tmp_path: Path) -> None:
    recipe = replace(recipe, save_every_seconds=1000.0)
    list(train(model, dataset, recipe, tmp_path / "whole"))
    steps = train(model, dataset, recipe, tmp_path / "run")
    for _ in range(6):
        next(steps)
    steps.close()
    assert state.progress_of(tmp_path / "run" / "last").step == 6
    list(train(model, dataset, recipe, tmp_path / "run", resume=True))
    assert _equal(tmp_path / "whole" / "last", tmp_path / "run" / "last")


def test_a_loss_that_is_not_a_number_stops_with_the_last_checkpoint_named(
    model: Model, dataset: Dataset, recipe: Recipe, tmp_path: Path
) -> None:
    heavy = replace(dataset, samples=(replace(dataset.samples[0], weight=float("inf")), *dataset.samples[1:]))
    with pytest.raises(TrainingError, match=r"the loss of step \d is inf; the last good checkpoint is '.*last'") as caught:
        list(train(model, heavy, recipe, tmp_path / "run"))
    assert "smaller learning rate" in caught.value.hint
    assert checkpoint.load(tmp_path / "run" / "last")


@pytest.mark.parametrize("validates", [True, False])
def test_weights_that_are_not_finite_are_never_saved(
    validates: bool, model: Model, dataset: Dataset, recipe: Recipe, tmp_path: Path
) -> None:
    seen = dataset if validates else replace(dataset, samples=dataset.samples[:48])
    wild = replace(recipe, optimizer="sgd", learning_rate=1000.0, weight_decay=1.0, norm_momentum=None, ema=0.0, epochs=20)
    wild = replace(wild, save_every_seconds=1e6, evaluate_every_epochs=20)
    with pytest.raises(TrainingError, match=r"the last good checkpoint is '.*last', of step \d+") as caught:
        list(train(model, seen, wild, tmp_path / "run"))
    assert "smaller learning rate" in caught.value.hint
    for path in (tmp_path / "run").glob("*/*.safetensors"):
        assert all(bool(torch.isfinite(tensor).all()) for tensor in _tensors(path.parent).values()), path


def test_a_full_disk_stops_with_the_last_checkpoint_named(
    model: Model, dataset: Dataset, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = train(model, dataset, recipe, tmp_path / "run")
    next(steps)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(TrainingError, match=r"No space left on device.*last good checkpoint is '.*last', of step 1"):
        list(steps)
    monkeypatch.undo()
    assert checkpoint.load(tmp_path / "run" / "last")


def test_images_that_break_are_named_and_do_not_end_the_run(
    model: Model, dataset: Dataset, recipe: Recipe, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dataset.samples[3].path.write_bytes(b"\x89PNG\r\n broken")
    dataset.samples[60].path.unlink()
    steps = list(train(model, dataset, recipe, tmp_path / "run"))
    assert len(steps) == 12
    assert [list(step.broken) for step in steps if step.broken] == [["003.png"]]
    assert "left out '003.png'" in caplog.text
    assert "left out '060.png'" in caplog.text


def test_the_head_trains_on_features_computed_once(model: Model, dataset: Dataset, recipe: Recipe, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with torch.no_grad():
        for module in model.train().modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 1.0  # one batch gives an untrained backbone features worth learning from
        model(torch.stack([torch.from_numpy(load_input(one.path, model.spec.input)) for one in dataset.samples]))
    frozen = replace(recipe, cached_features=True, freeze_blocks=-1, freeze_norms=True, epochs=8, learning_rate=0.02)
    steps = list(train(model, dataset, frozen, run))
    assert steps[-1].loss < steps[0].loss
    assert (run / "features.safetensors").is_file()
    trained, first = checkpoint.load(run).state_dict(), model.state_dict()
    changed = {name.split(".")[0] for name in first if not torch.equal(first[name], trained[name])}
    assert changed == {"head"}
    again = list(train(model, dataset, frozen, run, resume=True))
    assert again == []


def test_frozen_blocks_keep_weights_and_statistics(model: Model, dataset: Dataset, recipe: Recipe, tmp_path: Path) -> None:
    list(train(model, dataset, replace(recipe, epochs=1, freeze_blocks=5), tmp_path / "run"))
    trained, first = checkpoint.load(tmp_path / "run" / "last").state_dict(), model.state_dict()
    for name in first:
        frozen = name.startswith("backbone.blocks.") and int(name.split(".")[2]) < 5
        assert torch.equal(first[name], trained[name]) == (frozen or name.endswith("conv.bias")), name


def test_the_model_given_is_left_as_it_was(model: Model, dataset: Dataset, recipe: Recipe, tmp_path: Path) -> None:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    list(train(model, dataset, replace(recipe, epochs=1), tmp_path / "run"))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_patience_ends_a_run_that_gets_no_better(model: Model, dataset: Dataset, recipe: Recipe, tmp_path: Path) -> None:
    still = replace(recipe, learning_rate=0.0, ema=0.0, freeze_norms=True, epochs=9, patience_epochs=2)
    steps = list(train(model, dataset, still, tmp_path / "run"))
    assert steps[-1].epoch == 3
    assert list(train(model, dataset, still, tmp_path / "run", resume=True)) == []


def test_a_time_budget_shortens_the_run(
    model: Model, dataset: Dataset, recipe: Recipe, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "mobilenets")
    steps = list(train(model, dataset, replace(recipe, epochs=10_000, time_budget_minutes=0.04), tmp_path / "run"))
    assert steps[-1].step == steps[-1].steps < 4000
    assert re.search(r"about \d+(\.[1-9])? of 10000 epochs fit into 2 seconds", caplog.text)


def _of_one_class(dataset: Dataset) -> Dataset:
    return replace(dataset, labels=dataset.labels[:1], samples=tuple(one for one in dataset.samples if one.label == 0))


@pytest.mark.parametrize(
    ("changed", "of", "error", "message"),
    [
        ({"batch": 5, "accumulate": 5}, lambda data: data, RecipeError, "batch norm needs two"),
        ({"sync_norms": True}, lambda data: data, RecipeError, "needs GPUs"),
        ({"freeze_blocks": 99}, lambda data: data, RecipeError, "the network has 19 blocks"),
        ({}, _of_one_class, DataError, "has one class, 'dark'"),
        ({}, lambda data: replace(data, samples=data.samples[48:]), DataError, "no training images"),
    ],
)
def test_what_cannot_be_trained_is_refused(
    changed: dict[str, int],
    of: Callable[[Dataset], Dataset],
    error: type[Exception],
    message: str,
    model: Model,
    dataset: Dataset,
    recipe: Recipe,
    tmp_path: Path,
) -> None:
    with pytest.raises(error, match=message):
        next(train(model, of(dataset), replace(recipe, **changed), tmp_path / "run"))  # type: ignore[arg-type]


def test_a_run_is_not_overwritten_and_not_resumed_as_another(
    model: Model, dataset: Dataset, recipe: Recipe, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    list(train(model, dataset, replace(recipe, epochs=1), run))
    with pytest.raises(CheckpointError, match="holds a run already"):
        next(train(model, dataset, recipe, run))
    with pytest.raises(CheckpointError, match="epochs was 1 and is 3"):
        next(train(model, dataset, recipe, run, resume=True))
    smaller = replace(dataset, samples=dataset.samples[1:])
    with pytest.raises(CheckpointError, match="the images changed"):
        next(train(model, smaller, replace(recipe, epochs=1), run, resume=True))
    with pytest.raises(CheckpointError, match="is not a run"):
        next(train(model, dataset, recipe, tmp_path / "nowhere", resume=True))


@pytest.mark.parametrize("ranges", [True, False])
def test_shards_on_a_web_server_train_as_files_do_and_go_on_after_a_stop(
    web: Any, ranges: bool, model: Model, dataset: Dataset, recipe: Recipe, tmp_path: Path
) -> None:
    write_shards(dataset, web.folder / "shades", per_shard=30)
    web.ranges = ranges
    recipe = replace(recipe, workers=1 if ranges else 0, cache_mb=0)
    (tmp_path / "shards.txt").write_text(f"{web.url}/shades/train-{{000000..000001}}.tar\n{web.url}/shades/val-000000.tar\n")
    here = open_dataset(web.folder / "shades")
    list(train(model, here, recipe, tmp_path / "here"))
    remote = open_dataset(tmp_path / "shards.txt")
    for step in (steps := train(model, remote, recipe, tmp_path / "there")):
        if step.step == 6:
            break
    steps.close()
    again = read_splits(tmp_path / "there" / "splits.csv", labels=remote.labels)
    assert again.samples == remote.samples
    list(train(model, again, recipe, tmp_path / "there", resume=True))
    assert _equal(tmp_path / "here" / "last", tmp_path / "there" / "last")


@pytest.mark.parametrize("workers", [0, 1])
def test_a_server_that_goes_away_stops_the_run(
    web: Any, workers: int, model: Model, dataset: Dataset, recipe: Recipe, tmp_path: Path
) -> None:
    write_shards(dataset, web.folder, per_shard=100)
    (tmp_path / "shards.txt").write_text(f"{web.url}/train-000000.tar\n{web.url}/val-000000.tar\n")
    steps = train(model, open_dataset(tmp_path / "shards.txt"), replace(recipe, workers=workers, cache_mb=0), tmp_path / "run")
    next(steps)
    web.busy = 10**9
    with pytest.raises(TrainingError, match="images cannot be fetched: the server answers 503 Service Unavailable; the last"):
        list(steps)
