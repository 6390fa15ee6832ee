"""Options that meet in the loop, in combination. Whatever is combined: the last epoch is validated and the run can be used."""

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
from mobilenets.model import Model
from mobilenets.training import record, state
from mobilenets.training.loop import train
from mobilenets.training.recipe import Recipe

# fmt: off
GRID = [  # every pair of options is on together, and off together, in one row at least
    # resume accumulate broken patience every budget cached
    (False, False,     False, False,  False, False, False),
    (True,  True,      True,  True,   True,  True,  False),
    (True,  True,      False, False,  False, True,  True),
    (True,  False,     True,  True,   False, False, True),
    (True,  False,     False, True,   True,  False, False),
    (False, True,      True,  False,  True,  False, True),
    (False, True,      False, True,   False, False, False),
    (False, False,     True,  False,  False, True,  False),
    (False, False,     False, True,   True,  True,  True),
]
# fmt: on
OPTIONS = ("resume", "accumulate", "broken", "patience", "every", "budget", "cached")

SCRIPT = """
import pickle, sys
from mobilenets.training.loop import train
job = pickle.loads(open(sys.argv[1], "rb").read())
stop_at, done = job["stop_at"], 0
ends = lambda: bool(stop_at) and done >= stop_at - 1
for step in train(*job["arguments"], resume=job["resume"], device="cpu", stop=ends):
    done = step.step
"""


def _recipe(recipe: Recipe, on: set[str]) -> Recipe:
    changes: dict[str, object] = {"epochs": 6, "save_every_seconds": 1e6}
    changes |= {"accumulate": 2} if "accumulate" in on else {}
    changes |= {"patience_epochs": 1, "learning_rate": 0.0, "ema": 0.0} if "patience" in on else {}
    changes |= {"evaluate_every_epochs": 4} if "every" in on else {}
    changes |= {"epochs": 100_000, "time_budget_minutes": 0.04} if "budget" in on else {}
    changes |= {"cached_features": True, "freeze_blocks": -1, "freeze_norms": True} if "cached" in on else {}
    return replace(recipe, **changes)  # type: ignore[arg-type]  # keys of a recipe by name


def _check(run: Path, recipe: Recipe, on: set[str]) -> None:
    rows = record.read_metrics(run)
    progress = state.progress_of(run / "last")
    assert progress.step == progress.steps
    assert rows[-1]["step"] == progress.step
    assert "val_accuracy" in rows[-1]
    assert checkpoint.read(run / "best").metrics["val_accuracy"] == max(row.get("val_accuracy", 0.0) for row in rows)
    assert all(bool(torch.isfinite(tensor).all()) for tensor in checkpoint.read(run / "last").weights.values())
    validated = [int(row["epoch"]) for row in rows if "val_accuracy" in row]
    if "every" in on:
        assert all(epoch % 4 == 0 for epoch in validated[:-1])
    if "patience" in on:
        assert len(validated) <= 3  # nothing is learned; rounding may make one later epoch the better by a hair
    elif "budget" not in on:
        assert progress.step == 6 * (3 if {"broken", "cached"} <= on else 4)  # features are of the images that can be read
    else:
        assert progress.step < 100_000 * 4


@pytest.mark.parametrize("row", GRID, ids=lambda row: "-".join(name for name, value in zip(OPTIONS, row, strict=True) if value))
def test_in_one_process(row: tuple[bool, ...], model: Model, dataset: Dataset, recipe: Recipe, tmp_path: Path) -> None:
    on = {name for name, value in zip(OPTIONS, row, strict=True) if value}
    recipe, run = _recipe(recipe, on), tmp_path / "run"
    if "broken" in on:
        dataset.samples[3].path.write_bytes(b"\x89PNG\r\n broken")
        dataset.samples[60].path.unlink()
    if "resume" in on:
        steps = train(model, dataset, recipe, run, device="cpu")
        for step in steps:
            if step.step == 3:
                break
        steps.close()
    list(train(model, dataset, recipe, run, device="cpu", resume="resume" in on))
    _check(run, recipe, on)


@pytest.mark.slow
@pytest.mark.parametrize("row", GRID, ids=lambda row: "-".join(name for name, value in zip(OPTIONS, row, strict=True) if value))
def test_in_two_processes(row: tuple[bool, ...], model: Model, dataset: Dataset, recipe: Recipe, tmp_path: Path) -> None:
    on = {name for name, value in zip(OPTIONS, row, strict=True) if value}
    recipe, run = _recipe(recipe, on), tmp_path / "run"
    if "budget" in on:
        recipe = replace(recipe, time_budget_minutes=0.2)
    if "broken" in on:
        dataset.samples[3].path.write_bytes(b"\x89PNG\r\n broken")
        dataset.samples[60].path.unlink()
    for resume in [False, True] if "resume" in on else [False]:
        stop_at = 3 if "resume" in on and not resume else 0
        job = {"arguments": (model, dataset, recipe, run), "resume": resume, "stop_at": stop_at}
        (tmp_path / "job.pickle").write_bytes(pickle.dumps(job))
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
    _check(run, recipe, on)
