"""Several processes: one error, one stop and one result for all of them."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from mobilenets import checkpoint
from mobilenets.data.samples import Dataset
from mobilenets.model import Model
from mobilenets.training import state
from mobilenets.training.recipe import Recipe

pytestmark = pytest.mark.slow

SCRIPT = """
import os, pickle, signal, sys
from mobilenets.errors import MobileNetsError
from mobilenets.training.loop import train

signal.signal(signal.SIGTERM, lambda *_: None)  # the launcher sends it when the other rank has ended
job = pickle.loads(open(sys.argv[1], "rb").read())
rank, done = int(os.environ["RANK"]), 0

def stop():
    if rank == 1 and done == job["at"] - 1:
        if job["does"] == "raise":
            raise OSError("the disk of the second process is gone")
        if job["does"] == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        return job["does"] == "stop"
    return False

steps = train(job["model"], job["dataset"], job["recipe"], job["run"], resume=job["resume"], device="cpu", stop=stop)
try:
    for step in steps:
        done = step.step
except MobileNetsError as error:
    print(f"rank {rank}: {error}", file=sys.stderr, flush=True)
    sys.exit(1)
print(f"rank {rank}: ended after {done}, stopped {steps.stopped}", file=sys.stderr, flush=True)
"""


def _two(folder: Path, **job: object) -> tuple[int, str, float]:
    """Exit code, what the two processes said, and the seconds they took."""
    folder.mkdir(exist_ok=True)
    (folder / "job.pickle").write_bytes(pickle.dumps({"does": "", "at": 0, "resume": False, **job}))
    (folder / "script.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += [str(folder / "script.py"), str(folder / "job.pickle")]
    began = time.monotonic()
    ended = subprocess.run(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=400, check=False
    )
    return ended.returncode, ended.stderr, time.monotonic() - began


@pytest.fixture
def job(model: Model, dataset: Dataset, recipe: Recipe, tmp_path: Path) -> dict[str, object]:
    return {"model": model, "dataset": dataset, "recipe": recipe, "run": tmp_path / "run"}


def test_an_error_in_one_process_ends_both_and_both_say_what_it_was(job: dict[str, object], tmp_path: Path) -> None:
    code, said, _ = _two(tmp_path / "two", **job, does="raise", at=6)
    assert code != 0
    told = [line for line in said.splitlines() if line.startswith("rank ")]
    assert len(told) == 2
    for line in told:
        assert "the disk of the second process is gone" in line
        assert "the last good checkpoint is" in line
        assert "of step 5" in line


def test_a_killed_process_ends_the_other_which_names_the_last_good_checkpoint(job: dict[str, object], tmp_path: Path) -> None:
    code, said, _ = _two(tmp_path / "two", **job, does="die", at=6)
    assert code != 0
    [line] = [line for line in said.splitlines() if line.startswith("rank ")]
    assert line.startswith("rank 0: another process of this run was killed or lost; the last good checkpoint is")
    assert line.endswith("of step 5")


def test_a_stop_that_one_process_is_asked_for_is_one_of_both_and_saved(job: dict[str, object], tmp_path: Path) -> None:
    job["recipe"] = replace(job["recipe"], save_every_seconds=1e6)  # type: ignore[type-var]  # it is a Recipe
    code, said, _ = _two(tmp_path / "two", **job, does="stop", at=6)
    assert code == 0
    assert {line for line in said.splitlines() if line.startswith("rank ")} == {
        "rank 0: ended after 6, stopped True",
        "rank 1: ended after 6, stopped True",
    }
    assert state.progress_of(tmp_path / "run" / "last").step == 6
    code, said, _ = _two(tmp_path / "two", **job, resume=True)
    assert code == 0
    assert "rank 1: ended after 12, stopped False" in said


def test_a_process_without_a_validation_image_waits_for_the_others(job: dict[str, object], tmp_path: Path) -> None:
    whole = job["dataset"]
    assert isinstance(whole, Dataset)
    job["dataset"] = replace(whole, samples=whole.samples[:49])
    code, said, _ = _two(tmp_path / "two", **job)
    assert code == 0, said
    assert "val_accuracy" in checkpoint.read(tmp_path / "run").metrics


def test_images_that_only_one_process_cannot_read_end_no_run(job: dict[str, object], tmp_path: Path) -> None:
    dataset = job["dataset"]
    assert isinstance(dataset, Dataset)
    for sample in dataset.split("val")[1::2]:  # the share of the second process
        sample.path.write_bytes(b"\x89PNG\r\n broken")
    code, said, _ = _two(tmp_path / "two", **job)
    assert code == 0, said
    assert checkpoint.read(tmp_path / "run").metrics["val_accuracy"] >= 0


RESTARTED = """
import os, signal, sys
from mobilenets.training import loop

train = loop.train

class Dying:
    def __init__(self, *given, **named):
        self.steps = train(*given, **named)

    def __iter__(self):
        for step in self.steps:
            yield step
            if step.step == 7 and os.environ["RANK"] == "1" and os.environ["TORCHELASTIC_RESTART_COUNT"] == sys.argv[1]:
                os.kill(os.getpid(), signal.SIGKILL)

    def __getattr__(self, name):
        return getattr(self.steps, name)

loop.train = Dying
sys.argv = ["mobilenets", *sys.argv[2:]]
from mobilenets.cli.app import main
main()
"""


def test_torchrun_that_lost_a_process_goes_on_to_the_same_weights(dataset: Dataset, tmp_path: Path) -> None:
    for sample in dataset.samples:
        place = tmp_path / "images" / sample.split / dataset.labels[sample.label] / sample.path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        sample.path.rename(place)
    (tmp_path / "script.py").write_text(RESTARTED)
    keys = {"batch": 12, "save_every_seconds": 0, "workers": 0, "time_budget_minutes": 0, "precision": "fp32"}
    options = [word for key, value in keys.items() for word in ("--set", f"{key}={value}")]
    options += ["--recipe", "scratch-small", "--weights", "none", "--width", "0.1", "--size", "32", "--epochs", "3"]
    weights = {}
    for name, dies_at in (("whole", "never"), ("killed", "0")):
        command = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc_per_node",
            "2",
            "--max_restarts",
            "1",
        ]
        command += [str(tmp_path / "script.py"), dies_at, "train", str(tmp_path / "images"), "--out", str(tmp_path / name)]
        ended = subprocess.run(
            [*command, *options],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        weights[name] = checkpoint.read(tmp_path / name / "last").weights
    assert weights["whole"].keys() == weights["killed"].keys()
    assert all(bool((weights["whole"][key] == weights["killed"][key]).all()) for key in weights["whole"])
    assert (tmp_path / "killed" / "report" / "report.json").is_file()
