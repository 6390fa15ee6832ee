"""Run by `test_killed.py` in a process of its own: torch cannot train in a fork of a process that has trained.

A training is killed by SIGKILL before each of its file operations in turn; then it is resumed, or started anew where it had not
begun. Ends with status 1 and a traceback where such a run fails or ends with other weights.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from mobilenets import checkpoint
from mobilenets.data.samples import Dataset
from mobilenets.errors import CheckpointError
from mobilenets.model import Model
from mobilenets.training import record
from mobilenets.training.loop import train
from mobilenets.training.recipe import Recipe

WRITING = {"os.rename", "os.mkdir", "os.remove", "os.rmdir"}


def main() -> None:
    job, folder = Path(sys.argv[1]), Path(sys.argv[2])
    model, dataset, recipe = pickle.loads(job.read_bytes())
    torch.set_num_threads(1)
    ended, count = _apart(partial(_start, model, dataset, recipe, folder / "whole"), folder=folder)
    assert ended == 0
    assert count > 30, count
    whole = _weights(folder / "whole" / "last")
    for i in range(count):
        run = folder / f"run{i}"
        ended, _ = _apart(partial(_start, model, dataset, recipe, run), folder=run, kill_before=i)
        assert ended in (signal.SIGKILL, 0), i
        ended, _ = _apart(partial(_go_on, model, dataset, recipe, run), folder=run)
        assert ended == 0, f"after a kill before operation {i}"
        last = _weights(run / "last")
        assert all(torch.equal(whole[name], last[name]) for name in whole), i
        assert [row["epoch"] for row in record.read_metrics(run)] == [1, 2], i
    sys.stdout.write(f"{count} kills\n")


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


def _start(model: Model, dataset: Dataset, recipe: Recipe, run: Path) -> None:
    list(train(model, dataset, recipe, run, device="cpu"))


def _go_on(model: Model, dataset: Dataset, recipe: Recipe, run: Path) -> None:
    """What a user would type: resume, and where there is no run yet, start."""
    try:
        list(train(model, dataset, recipe, run, resume=True, device="cpu"))
    except CheckpointError:
        _start(model, dataset, recipe, run)


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    return checkpoint.load(folder).state_dict()


if __name__ == "__main__":
    main()
