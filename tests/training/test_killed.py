"""SIGKILL before each file operation of a run: it resumes, or starts anew, and ends with the very same weights."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mobilenets import checkpoint
from mobilenets.data.samples import Dataset
from mobilenets.errors import CheckpointError
from mobilenets.model import Model
from mobilenets.training import record
from mobilenets.training.loop import train
from mobilenets.training.recipe import Recipe


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    return checkpoint.load(folder).state_dict()


def _tiny(dataset: Dataset, recipe: Recipe) -> tuple[Dataset, Recipe]:
    few = replace(dataset, samples=dataset.samples[:8] + dataset.samples[48:52])
    return few, replace(recipe, epochs=2, batch=4, save_every_seconds=1e6)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot be forked here")
def test_before_any_file_operation(model: Model, dataset: Dataset, recipe: Recipe, tmp_path: Path) -> None:
    job = tmp_path / "job.pickle"
    job.write_bytes(pickle.dumps((model, *_tiny(dataset, recipe))))
    script = Path(__file__).with_name("kill_each.py")
    ended = subprocess.run([sys.executable, script, job, tmp_path], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def test_a_run_that_was_refused_or_killed_before_its_first_checkpoint_can_be_begun_again(
    model: Model, dataset: Dataset, recipe: Recipe, tmp_path: Path
) -> None:
    few, recipe = _tiny(dataset, recipe)
    run = tmp_path / "run"
    record.begin(run, recipe, few, model.spec, {})  # and then it was killed
    list(train(model, few, recipe, run, resume=True))
    list(train(model, few, recipe, tmp_path / "whole"))
    whole, again = _weights(tmp_path / "whole" / "last"), _weights(run / "last")
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    other = tmp_path / "other"
    record.begin(other, replace(recipe, epochs=9), few, model.spec, {})
    assert list(train(model, few, recipe, other))[-1].epoch == 2
    with pytest.raises(CheckpointError, match="holds a run already"):
        next(train(model, few, recipe, other))
