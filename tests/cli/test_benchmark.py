"""`mobilenets benchmark`, on a small file."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mobilenets.benchmark.flow import Data
from mobilenets.cli.benchmark_start import Place, Wanted, began, keep
from mobilenets.cli.benchmark_start import learned as said_of
from mobilenets.data.open import open_dataset
from mobilenets.data.writers.lists import write_splits

Run = Callable[..., Any]
QUICK = ("--seconds", "0.06", "--rounds", "2", "--runtime", "onnx")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "250")


def test_a_table_files_and_a_plot(mobilenets: Run, color_model: Path, tmp_path: Path) -> None:
    done = mobilenets("benchmark", color_model, *QUICK, "--threads", "1,2", "--csv", "rows.csv")
    assert done.code == 0, done.err
    assert "p50 ms" in done.out
    assert "threads" in done.out
    folder = tmp_path / "runs" / "benchmark"
    assert {path.name for path in folder.iterdir()} == {
        "asked.json",
        "rows.jsonl",
        "benchmark.json",
        "benchmark.csv",
        "plot.png",
    }
    assert (folder / "plot.png").read_bytes().startswith(b"\x89PNG")
    data = json.loads((folder / "benchmark.json").read_text())
    with (tmp_path / "rows.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["threads"], row["runtime"], float(row["p50_ms"])) for row in rows] == [
        (str(row["threads"]), "onnx", row["p50_ms"]) for row in data["rows"]
    ]
    assert all(row["fast_path"] == 1.0 for row in data["rows"])
    again = mobilenets("benchmark", color_model, *QUICK, "--threads", "1,2", "--resume", "--json")
    assert json.loads(again.out)["rows"] == data["rows"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("gone.onnx",), "error: there is no file or folder 'gone.onnx'"),
        (("mobilenet_v22",), "error: unknown model: no file, folder or network 'mobilenet_v22'; did you mean 'mobilenet_v2'"),
        (("MODEL", "--out", f"{__file__}/x"), f"error: '{__file__}/x' cannot be created: '{__file__}' is a file, not a folder"),
        (("MODEL", "--csv", f"{__file__}/rows.csv"), f"error: '{__file__}' is a file, not a folder"),
        (("MODEL", "--runtime", "tflit"), "error: unknown runtime 'tflit'; did you mean 'tflite'?"),
        (("MODEL", "--precision", "int9"), "error: unknown precision 'int9'; known: float32"),
        (("MODEL", "--threads", "0"), "error: --threads '0' is not a list of numbers from 1 to 4096"),
        (("MODEL", "--batch", "1,,2"), "error: --batch '1,,2' is not a list of numbers"),
        (("MODEL", "--split", "test"), "error: --split, --classes and --ignore need --data DATA"),
        (("MODEL", "--split", "tests", "--data", "x"), "error: unknown split 'tests'"),
        (("MODEL", "--json", "--csv", "-"), "error: --json and --csv - cannot be combined"),
        (("MODEL", "--adb", "--ssh", "x"), "error: --adb measures speed and memory of a device; leave out --ssh"),
        (("MODEL", "--adb", "--data", "x"), "error: --adb measures speed and memory of a device; leave out --data"),
        (("MODEL", "--ssh=-oProxyCommand=x"), "error: --ssh '-oProxyCommand=x' is not the name of a machine"),
        (("MODEL", "--tool", "x"), "error: --serial and --tool need --adb"),
        (("MODEL", "--resume"), "error: there is no benchmark in 'runs/benchmark' to resume"),
        (("--resume",), "error: there is no benchmark in 'runs/benchmark' to resume"),
        ((), "error: MODEL is missing: an exported file, a run folder, or a network"),
    ],
)
def test_wrong_input_is_one_line(mobilenets: Run, color_model: Path, arguments: tuple[str, ...], message: str) -> None:
    done = mobilenets("benchmark", *(color_model if text == "MODEL" else text for text in arguments))
    assert done.code in (1, 2)
    assert done.err.startswith(message)
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("there", "message"),
    [
        ("rows.jsonl", "error: 'out' holds an earlier benchmark\n\nhint: --resume continues it"),
        ("asked.json", "error: 'out' holds an earlier benchmark\n\nhint: --resume continues it"),
        ("plot.png", "error: 'out' holds other files already\n\nhint: choose another --out"),
    ],
)
def test_a_folder_that_holds_something_is_left_as_it_is(
    mobilenets: Run, color_model: Path, tmp_path: Path, there: str, message: str
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / there).write_text("mine")
    done = mobilenets("benchmark", color_model, *QUICK, "--out", "out")
    assert done.code == 2
    assert done.err.startswith(message)
    assert {path.name: path.read_text() for path in (tmp_path / "out").iterdir()} == {there: "mine"}


def test_resume_alone_goes_on_as_the_benchmark_began(
    mobilenets: Run, color_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copyfile(color_model, tmp_path / "colors.onnx")
    first = json.loads(mobilenets("benchmark", "colors.onnx", *QUICK, "--threads", "1,2", "--json").out)
    rows = tmp_path / "runs" / "benchmark" / "rows.jsonl"
    saved = rows.read_text().splitlines(keepends=True)

    rows.write_text(saved[0])  # as a kill leaves it
    again = json.loads(mobilenets("benchmark", "--resume", "--json").out)
    assert [row["threads"] for row in again["rows"]] == [1, 2]
    assert again["rows"][0] == first["rows"][0]
    assert again["rows"][1]["rounds_ms"] != first["rows"][1]["rounds_ms"]

    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert json.loads(mobilenets("benchmark", "--out", "../runs/benchmark", "--resume", "--json").out) == again


def test_paths_are_kept_so_that_any_folder_can_call_them_and_names_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "colors.onnx").write_bytes(b"")
    wanted = Wanted(("colors.onnx", "mobilenet_v2"), (), ("int8",), (1, 2), (1,), Data("photos/*", "val"), 1.0, 2, Place())
    keep(tmp_path / "here", wanted)
    read = began(tmp_path / "here")
    assert read.models == (str(tmp_path / "colors.onnx"), "mobilenet_v2")
    assert read.data == Data(str(tmp_path / "photos/*"), "val")
    there = replace(wanted, place=Place(ssh="pi"))
    keep(tmp_path / "there", there)
    assert began(tmp_path / "there").data == there.data


def test_resume_alone_takes_no_option_that_changes_the_benchmark(mobilenets: Run, color_model: Path, tmp_path: Path) -> None:
    assert mobilenets("benchmark", color_model, *QUICK).code == 0
    done = mobilenets("benchmark", "--resume", "--threads", "2", "--ssh", "pi")
    assert done.code == 2
    assert done.err.startswith("error: --resume without MODEL keeps the settings of the benchmark; leave out --threads, --ssh")
    (tmp_path / "runs" / "benchmark" / "asked.json").write_text('{"models": 3}')
    assert mobilenets("benchmark", "--resume").err.startswith("error: 'runs/benchmark/asked.json' cannot be read: ")
    (tmp_path / "runs" / "benchmark" / "asked.json").unlink()
    assert mobilenets("benchmark", "--resume").err.startswith("error: 'runs/benchmark' does not say what to measure")


def test_a_machine_that_cannot_be_reached_leaves_no_folder(
    mobilenets: Run, color_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # has no ssh
    done = mobilenets("benchmark", color_model, *QUICK, "--ssh", "pi")
    assert done.err.startswith("error: 'ssh' is not installed")
    assert not (tmp_path / "runs" / "benchmark").exists()


def test_nothing_measured_is_a_failure_that_says_why(mobilenets: Run, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no network")
    done = mobilenets("benchmark", "model.onnx", *QUICK, "--threads", "1,2")
    assert done.code == 1
    assert done.err.count("model.onnx on onnx: 'model.onnx' is not an ONNX model that ONNX Runtime") == 1


@pytest.mark.slow
def test_a_networks_name_is_exported_and_measured_everywhere(mobilenets: Run, tmp_path: Path) -> None:
    done = mobilenets(
        "benchmark", "mobilenet_v3_small", "--seconds", "0.1", "--rounds", "2", "--runtime", "onnx,tflite", "--json"
    )
    assert done.code == 0, done.err
    data = json.loads(done.out)
    assert {(row["runtime"], row["precision"]) for row in data["rows"]} == {
        ("onnx", "float32"),
        ("tflite", "float32"),
        ("tflite", "float16"),
    }
    for row in data["rows"]:
        assert row["random_weights"]
        assert row["macs"] == pytest.approx(56.5e6, rel=0.01)  # V3, Table 3: 56 M
        assert row["activation_bytes"] == (3 * 224 * 224 + 16 * 112 * 112) * 4  # the image and what the stem makes of it
    assert "mobilenet_v3_small: random weights, so only speed and size are meaningful" in data["remarks"]


@pytest.mark.parametrize(("split", "learned"), [("", "12 of these 16 images"), ("all", "12 of these 16 images")])
def test_images_that_a_run_learned_from_are_said_to_be_so(
    split: str, learned: str, mobilenets: Run, trained: Path, tmp_path: Path
) -> None:
    for i in range(16):
        file = tmp_path / "photos" / ("cat" if i % 2 else "dog") / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32), (i, i, i)).save(file)
    dataset = open_dataset(tmp_path / "photos", val=0, test=0)
    samples = [replace(sample, split="test" if i % 4 == 0 else "train") for i, sample in enumerate(dataset.samples)]
    write_splits(replace(dataset, samples=tuple(samples)), trained / "splits.csv")
    data = {"source": str(tmp_path / "photos"), "name": "photos", "task": "classify", "labels": ["cat", "dog"]}
    (trained / "run.json").write_text(json.dumps({"format": 2, "data": data}))
    asked = Wanted((str(trained),), (), (), (1,), (1,), Data(str(tmp_path / "photos"), split), 1.0, 2, Place())
    assert learned in " ".join(said_of(asked))
    assert said_of(replace(asked, data=Data(str(trained / "splits.csv")))) == []  # its own test split
    assert said_of(replace(asked, data=None)) == said_of(replace(asked, models=("mobilenet_v2",))) == []
    done = mobilenets("benchmark", trained, *QUICK, "--data", tmp_path / "photos", "--json")
    assert done.code == 0, done.err
    assert learned in " ".join(json.loads(done.out)["remarks"])
