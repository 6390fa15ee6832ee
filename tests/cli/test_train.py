from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from mobilenets.cli.app import build
from mobilenets.cli.reading import Reading, anywhere
from mobilenets.cli.train import _speak
from mobilenets.cli.train_start import Chosen, fresh
from mobilenets.data.open import open_dataset
from mobilenets.data.writers.shards import write_shards
from mobilenets.errors import CheckpointError, DataError, MobileNetsError, RecipeError, UsageError
from mobilenets.files import claimed
from mobilenets.runtime.classify import Classification
from mobilenets.runtime.predictor import Predictor

TINY = (
    "--weights",
    "none",
    "--width",
    "0.1",
    "--size",
    "32",
    "--set",
    "workers=0",
    "--set",
    "time_budget_minutes=0",
    "--folds",
    "0",
)


def _photos(folder: Path) -> Path:
    """Sixty images in two folders, dark and bright on average."""
    random = np.random.default_rng(0)
    for i in range(60):
        name = ("dark", "bright")[i % 2]
        (folder / "photos" / name).mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 150, (40, 44, 3)) + 100 * (i % 2)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / "photos" / name / f"{i:03d}.png")
    return folder / "photos"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Images that a test may damage."""
    return _photos(tmp_path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Result]:
    """Images, a run on them, and what the command said."""
    folder = tmp_path_factory.mktemp("trained")
    photos, run = _photos(folder), folder / "run"
    return photos, run, _train(photos, *TINY, "--epochs", 2, "--out", run, "--json")


def _train(*arguments: object) -> Result:
    runner = CliRunner()
    result = runner.invoke(build("train"), ["train", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_a_folder_of_images_becomes_a_run_with_everything_in_it(trained: tuple[Path, Path, Result]) -> None:
    photos, run, result = trained
    assert result.exit_code == 0
    told = json.loads(result.stdout)
    assert (told["run"], told["split"]) == (str(run), "test")
    assert 0 <= told["metrics"]["top1"] <= 1
    assert told["best"]["val_loss"] > 0
    for name in ("run.json", "metrics.csv", "curves.png", "best/model.json", "export/parity.json", "report/report.html"):
        assert (run / name).is_file(), name
    prediction = Predictor.open(run).predict(photos / "dark" / "000.png")
    assert isinstance(prediction, Classification)
    assert prediction.label in ("dark", "bright")
    assert f"next: mobilenets predict {run} IMAGE" in result.stderr
    assert "weights: none, as requested; training from scratch" in result.stderr
    assert "mobilenet_v2 0.1 at 32 px, recipe scratch-small" in result.stderr
    about = json.loads((run / "run.json").read_text())
    assert about["data"]["source"] == str(photos)


def test_a_run_remembers_its_data_wherever_it_is_asked_from(
    trained: tuple[Path, Path, Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos, _, _ = trained
    monkeypatch.chdir(photos.parent)
    assert anywhere(photos.name) == str(photos)
    assert anywhere("shards/{000..007}.tar") == f"{photos.parent}/shards/{{000..007}}.tar"
    assert [anywhere(name) for name in ("elpv", "https://host/a.tar")] == ["elpv", "https://host/a.tar"]
    (photos.parent / "names.txt").write_text("a\nb\n")
    assert Reading(classes="names.txt").to_data()["classes"] == str(photos.parent / "names.txt")
    assert Reading(classes="a,b").to_data()["classes"] == "a,b"
    _train(photos.name, *TINY, "--epochs", 1, "--out", tmp_path / "run")
    assert json.loads((tmp_path / "run" / "run.json").read_text())["data"]["source"] == str(photos)


def test_options_of_masks_are_refused_for_other_tasks_and_for_the_data_of_a_run() -> None:
    with pytest.raises(UsageError, match="--classes is for masks, but the task is detect"):
        Reading.of("detect", "a,b", None)
    with pytest.raises(UsageError, match="--ignore is for masks, but the task is classify"):
        Reading.of("classify", "", ["sky"])
    Reading.of("segment", "", None).refuse("streets")
    with pytest.raises(UsageError, match="'streets' is read as it was for training, so --ignore does not apply"):
        Reading.of("segment", "", ["sky"]).refuse("streets")


def test_broken_files_are_named_and_refused_or_skipped(photos: Path, tmp_path: Path) -> None:
    (photos / "dark" / "000.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"dark/000\.png") as caught:
        _train(photos, *TINY, "--out", tmp_path / "run")
    assert "--skip-bad" in caught.value.hint
    assert not (tmp_path / "run").exists()
    result = _train(photos, *TINY, "--epochs", 1, "--out", tmp_path / "run", "--skip-bad")
    assert "skipped 1 files that cannot be read: 'dark/000.png'" in result.stderr
    assert "epoch 1/1" in result.stderr
    assert "95% interval" in result.stdout  # a table, for people
    assert str(tmp_path / "run" / "report" / "report.html") in result.stdout


def test_an_interrupted_run_says_how_to_go_on_and_does(photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = [sys.executable, "-m", "mobilenets", "train", str(photos), *TINY, "--epochs", "300", "--out", str(run)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("epoch 1/"):
                process.send_signal(signal.SIGINT)
                break
        told = process.stderr.read()
    assert process.returncode == 130, told
    assert f"resume with: mobilenets train {photos} --out {run} --resume" in told
    assert "Traceback" not in told
    with pytest.raises(UsageError, match="leave out --epochs"):
        _train(photos, "--out", run, "--resume", "--epochs", 5)
    with pytest.raises(CheckpointError, match="under another recipe: epochs was 300 and is 5"):
        _train(photos, "--out", run, "--resume", "--set", "epochs=5")
    with pytest.raises(CheckpointError, match="holds a run already"):
        _train(photos, *TINY, "--out", run)


def test_one_process_at_a_time_trains_into_a_folder(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "runs" / "photos"
    run.mkdir(parents=True)
    (run / "run.json").write_text("not looked at")
    with claimed(run) as free:  # as a process does that trains there
        assert free
        for options in (("--out", run), ("--out", run, "--resume")):
            with pytest.raises(UsageError, match="is in use: another process trains there"):
                _train(photos, *TINY, *options)
        monkeypatch.chdir(tmp_path)
        with pytest.raises(UsageError, match="'runs/photos' is in use"):  # the latest
            _train(photos, "--resume")
        monkeypatch.setenv("RANK", "1")  # the first process of the same run has it
        with pytest.raises(UsageError, match="leave out --epochs"):
            _train(photos, "--out", run, "--resume", "--epochs", 5)
    assert [path.name for path in run.iterdir()] == ["run.json"]


def test_a_training_that_never_begins_leaves_no_folder(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for out in ((), ("--out", tmp_path / "new" / "run")):
        with pytest.raises(RecipeError, match="learning_rat"):
            _train(photos, *TINY, "--set", "learning_rat=1", *out)
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["--set", "learning_rat=1"], RecipeError, "did you mean 'learning_rate'"),
        (["--recipe", "finetun"], MobileNetsError, "did you mean 'finetune'"),
        (["--model", "mobilenet_v9"], MobileNetsError, "unknown"),
        (["--recipe", "head"], UsageError, "freezes the backbone"),
        (["--epochs", "0"], RecipeError, "epochs=0 is not between"),
    ],
)
def test_wrong_usage_is_refused(
    arguments: list[str], error: type[Exception], message: str, photos: Path, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        _train(photos, "--weights", "none", "--out", tmp_path / "run", *arguments)


def test_resume_without_a_run_is_refused(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="no run in 'runs'"):
        _train(photos, "--resume")


def test_training_goes_on_from_the_weights_of_another_run(trained: tuple[Path, Path, Result], tmp_path: Path) -> None:
    photos, first, _ = trained
    result = _train(
        *(photos, "--weights", first, "--epochs", 1, "--set", "workers=0", "--recipe", "head", "--out", tmp_path / "second")
    )
    assert f"weights: {first}" in result.stderr
    assert "The first weights were trained on" not in result.stderr
    assert (tmp_path / "second" / "features.safetensors").is_file()


def test_images_that_the_weights_had_learned_from_are_told_where_other_splits_are_drawn(
    trained: tuple[Path, Path, Result], tmp_path: Path
) -> None:
    photos, first, _ = trained
    options = ("--weights", first, "--epochs", 1, "--recipe", "head", "--set", "workers=0")
    result = _train(photos, *options, "--seed", 1, "--out", tmp_path / "second")
    assert "warning: The first weights were trained on " in result.stderr  # before the training
    assert "warning: The first weights were trained on " in result.stdout  # with the report
    result = _train(photos, *options, "--folds", 2, "--out", tmp_path / "third")
    assert "warning: The first weights were trained on 42 of these 60 images" in result.stderr


def test_weights_of_another_width_are_refused(trained: tuple[Path, Path, Result], tmp_path: Path) -> None:
    photos, first, _ = trained
    with pytest.raises(UsageError, match=r"holds weights of width 0.1, but --width is 0.35"):
        _train(photos, "--weights", first, "--width", 0.35, "--out", tmp_path / "second")


def test_a_training_without_export_and_report_fails(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mobilenets.cli.train_finish._exported", lambda *_: False)
    monkeypatch.setattr("mobilenets.cli.train_finish._report", lambda *_: None)
    assert _train(photos, *TINY, "--epochs", 1, "--out", tmp_path / "run").exit_code == 1


@pytest.mark.slow
def test_shards_on_a_web_server_are_checked_trained_on_resumed_and_evaluated(
    web: Any, mobilenets: Any, photos: Path, tmp_path: Path
) -> None:
    write_shards(open_dataset(photos), tmp_path / "shards")
    for i, shard in enumerate(sorted((tmp_path / "shards").glob("*.tar"))):
        shard.rename(web.folder / f"set-{i:03d}.tar")
    address, run = f"{web.url}/set-{{000..002}}.tar", tmp_path / "run"
    checked = mobilenets("check", address)
    assert (checked.code, "60 images, 2 classes" in checked.out) == (0, True)
    result = _train(address, *TINY, "--epochs", 1, "--out", run, "--json")
    assert json.loads(result.stdout)["split"] == "test"
    _train(address, "--out", run, "--resume")
    evaluated = mobilenets("evaluate", run, address, "--json")
    assert json.loads(evaluated.out)["metrics"]["top1"]["value"] == json.loads(result.stdout)["metrics"]["top1"]
    assert json.loads(mobilenets("evaluate", run, run / "splits.csv", "--split", "all", "--json").out)["images"] == 60
    web.busy = 10**9
    gone = mobilenets("train", address, *TINY, "--out", tmp_path / "other")
    assert (gone.code, "the server answers 503" in gone.err, "Traceback" in gone.err) == (1, True, False)


def test_of_several_processes_only_the_first_says_what_it_begins_with(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = Chosen(weights="none", overrides=("width=0.1", "size=32"))
    told = []
    for main in (True, False):
        _speak(main)
        fresh(open_dataset(photos), chosen, Reading())
        told.append(capsys.readouterr().err)
    assert "weights: none, as requested" in told[0]
    assert told[1] == ""


def test_a_restart_by_torchrun_needs_the_name_of_the_run(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    with pytest.raises(UsageError, match="does not know which run to resume"):
        _train(photos, *TINY)
