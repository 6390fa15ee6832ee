"""SIGKILL before each file operation of a run: it resumes, or starts anew, and ends with the very same weights."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
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

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot be forked here")
WRITING = {"os.rename", "os.mkdir", "os.remove", "os.rmdir"}


def _apart(work: Callable[[], object], *, folder: Path, kill_before: int = -1) -> tuple[int, int]:
    """Run `work` in a child, which is killed before a file operation in `folder`: its end, and how many operations it made."""
    read, write = os.pipe()
    child = os.fork()
    if child:
        os.close(write)
        count = len(os.read(read, 1 << 20)) if kill_before < 0 else 0
        _, status = os.waitpid(child, 0)
        os.close(read)
        return (os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)), count
    operations = 0

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal operations
        writes = event in WRITING or (
            event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        )
        if writes and str(arguments[0]).startswith(str(folder)):
            if operations == kill_before:
                os.kill(os.getpid(), signal.SIGKILL)
            operations += 1

    sys.addaudithook(watch)
    code = 1
    try:
        work()
        code = 0
    finally:
        os.write(write, b"." * operations)
        os._exit(code)


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    return checkpoint.load(folder).state_dict()


def _goes_on(model: Model, dataset: Dataset, recipe: Recipe, run: Path) -> None:
    """What a user would type: resume, and where there is no run yet, start."""
    try:
        list(train(model, dataset, recipe, run, resume=True, device="cpu"))
    except CheckpointError:
        list(train(model, dataset, recipe, run, device="cpu"))


def _tiny(dataset: Dataset, recipe: Recipe) -> tuple[Dataset, Recipe]:
    few = replace(dataset, samples=dataset.samples[:8] + dataset.samples[48:52])
    return few, replace(recipe, epochs=2, batch=4, save_every_seconds=1e6)


@pytest.mark.slow
def test_before_any_file_operation(model: Model, dataset: Dataset, recipe: Recipe, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    few, recipe = _tiny(dataset, recipe)
    _, count = _apart(lambda: list(train(model, few, recipe, tmp_path / "whole", device="cpu")), folder=tmp_path)
    assert count > 30
    whole = _weights(tmp_path / "whole" / "last")
    for i in range(count):
        run = tmp_path / f"run{i}"
        ended, _ = _apart(lambda run=run: list(train(model, few, recipe, run, device="cpu")), folder=run, kill_before=i)  # type: ignore[misc]
        assert ended in (signal.SIGKILL, 0), i
        ended, _ = _apart(lambda run=run: _goes_on(model, few, recipe, run), folder=run)  # type: ignore[misc]
        assert ended == 0, f"after a kill before operation {i}"
        last = _weights(run / "last")
        assert all(torch.equal(whole[name], last[name]) for name in whole), i
        assert [row["epoch"] for row in record.read_metrics(run)] == [1, 2]


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
