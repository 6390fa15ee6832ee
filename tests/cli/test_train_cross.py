"""`mobilenets train` on a small dataset."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

TINY = ("--weights", "none", "--width", "0.1", "--size", "32", "--set", "workers=0", "--set", "batch=4", "--epochs", "1")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twelve images in two folders."""
    random = np.random.default_rng(0)
    for i in range(12):
        folder = tmp_path / "photos" / ("dark", "bright")[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 150, (40, 44, 3)) + 100 * (i % 2)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i:03d}.png")
    return tmp_path / "photos"


@pytest.mark.slow
def test_a_small_dataset_is_cross_validated_and_the_model_trained_on_all(
    photos: Path, mobilenets: Callable[..., Any], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    done = mobilenets("train", photos, *TINY, "--folds", "3", "--out", run, "--json")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert told["split"] == "cross-validation"
    assert told["best"]["val_loss"] > 0
    report = json.loads((run / "report" / "report.json").read_text())
    assert report["images"] == 12
    assert json.loads((run / "run.json").read_text())["data"]["counts"]["train"] == [6, 6]
    assert (run / "export" / "model.onnx").is_file()
    assert not (run / "folds").exists()
    assert "mobilenets evaluate" not in done.err
    seen = mobilenets("evaluate", run)
    assert "The model was trained on these images" in seen.out + seen.err
    assert (run / "report-all" / "report.json").is_file()
    assert json.loads((run / "report" / "report.json").read_text()) == report
    again = mobilenets("train", photos, "--out", run, "--resume", "--json")
    assert json.loads(again.out) == told
    assert "is complete" in again.err
    assert "fold 1" not in again.err
    assert "is complete" in mobilenets("train", photos, "--out", run, "--resume").err
    (run / "report" / "report.json").unlink()
    assert "fold 3 of 3" in mobilenets("train", photos, "--out", run, "--resume").err
    assert (run / "report" / "report.json").is_file()


@pytest.mark.slow
def test_what_the_folds_measured_is_not_lost_before_the_report_is_written(
    photos: Path, mobilenets: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mobilenets.reports import write
    from mobilenets.training import loop

    def killed(*arguments: Any, **options: Any) -> Any:
        raise KeyboardInterrupt

    run, train, resumed = tmp_path / "run", loop.train, {}

    def watched(*arguments: Any, **options: Any) -> Any:
        resumed[arguments[3].name] = options["resume"]
        return train(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(write, "write_report", killed)
        assert mobilenets("train", photos, *TINY, "--folds", "2", "--out", run).code != 0
    monkeypatch.setattr(loop, "train", watched)
    assert mobilenets("train", photos, "--out", run, "--resume").code == 0
    assert resumed == {"run": True, "1 of 2": True, "2 of 2": True}
    assert not (run / "folds").exists()


@pytest.mark.slow
def test_folds_train_no_longer_than_the_final_model_had_time_for(
    photos: Path, mobilenets: Callable[..., Any], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    options = ("--epochs", "5000", "--set", "time_budget_minutes=0.2", "--folds", "2")
    done = mobilenets("train", photos, *TINY, *options, "--out", run)
    assert done.code == 0, done.err
    epochs = max(int(line.split(",")[0]) for line in (run / "metrics.csv").read_text().splitlines()[1:])
    assert epochs < 5000
    word = "epoch" if epochs == 1 else "epochs"
    assert f"each fold trains for {epochs:,} {word} at most, like the final model" in done.err
    assert "left for 2 more trainings and the report" in done.err


@pytest.mark.slow
def test_folds_that_are_trained_when_a_run_is_stopped_are_not_trained_again(
    photos: Path, mobilenets: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mobilenets.evaluation import evaluators
    from mobilenets.training import loop

    whole = mobilenets("train", photos, *TINY, "--folds", "3", "--out", tmp_path / "whole", "--json")
    measure, measured = evaluators.evaluate, []
    train, resumed = loop.train, {}

    def killed_in_the_second(*arguments: Any) -> Any:
        measured.append(arguments)
        if len(measured) == 2:
            raise KeyboardInterrupt
        return measure(*arguments)

    def watched(*arguments: Any, **options: Any) -> Any:
        resumed[arguments[3].name] = options["resume"]
        return train(*arguments, **options)

    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(evaluators, "evaluate", killed_in_the_second)
        assert mobilenets("train", photos, *TINY, "--folds", "3", "--out", run).code != 0
    monkeypatch.setattr(loop, "train", watched)
    again = mobilenets("train", photos, "--out", run, "--resume", "--json")
    assert again.code == 0, again.err
    assert resumed == {"run": True, "1 of 3": True, "2 of 3": True, "3 of 3": False}
    assert json.loads(again.out)["metrics"] == json.loads(whole.out)["metrics"]


@pytest.mark.slow
def test_a_run_without_folds_that_is_killed_before_its_first_checkpoint_has_none_when_it_starts_again(
    photos: Path, mobilenets: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mobilenets.training import running

    def killed(*arguments: Any) -> Any:
        raise KeyboardInterrupt

    options = (*TINY, "--folds", "0", "--set", "time_budget_minutes=0")
    assert mobilenets("train", photos, *options, "--out", tmp_path / "whole").code == 0
    with monkeypatch.context() as patch:
        patch.setattr(running.Running, "steps", killed)
        assert mobilenets("train", photos, *options, "--out", tmp_path / "run").code != 0
    again = mobilenets("train", photos, "--out", tmp_path / "run", "--resume")
    assert "stopped before its first checkpoint" in again.err
    last = Path("last", "model.safetensors")
    assert (tmp_path / "run" / last).read_bytes() == (tmp_path / "whole" / last).read_bytes()


def test_one_fold_is_refused(photos: Path, mobilenets: Callable[..., Any], tmp_path: Path) -> None:
    done = mobilenets("train", photos, *TINY, "--folds", "1", "--out", tmp_path / "run")
    assert (done.code, "at least 2 are needed" in done.err) == (2, True)
