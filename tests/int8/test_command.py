"""`mobilenets quantize`."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.cli.conftest import Done
from tests.int8.conftest import color_graph, hard_graph, write_images

from mobilenets.cli.quantize_images import material
from mobilenets.cli.reading import Reading
from mobilenets.data.open import open_dataset
from mobilenets.data.writers.lists import write_splits
from mobilenets.deploy import file
from mobilenets.deploy.graph import Graph
from mobilenets.int8.truth import Labels
from mobilenets.runtime.predictor import Predictor

Run = Callable[..., Done]
Export = Callable[[Graph], Path]


def test_an_exported_file_is_quantized_without_losing_an_answer(
    mobilenets: Run, export: Export, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "int8"
    done = mobilenets("quantize", export(color_graph()), "--data", data, "--images", data / "train", "--out", out)
    assert done.code == 0, done.err
    assert "accuracy falls by 0.00 points" in done.out
    graph = file.load(out / "graph.safetensors")
    assert {tensor.dtype.name for tensor in graph.tensors.values()} == {"int8", "int32"}
    predictor = Predictor.open(out)
    assert predictor.manifest.precision == "int8"
    for color in ("red", "green", "blue"):
        prediction = predictor.predict(data / "test" / color / "2-0.png")
        assert prediction.label == color  # type: ignore[union-attr]  # a classifier


def test_json_says_everything_about_a_quantization(mobilenets: Run, export: Export, data: Path, tmp_path: Path) -> None:
    done = mobilenets("quantize", export(color_graph()), "--data", data, "--out", tmp_path / "int8", "--json")
    assert done.code == 0, done.err
    printed = json.loads(done.out)
    assert printed["passed"]
    metric = printed["metric"]
    assert (metric["name"], metric["title"], metric["images"], metric["labeled"]) == ("top1", "accuracy", 15, True)
    assert (metric["float"], metric["int8"], metric["drop"]) == (1.0, 1.0, 0.0)
    assert printed["calibration"]["images"] == 24
    assert {layer["layer"] for layer in printed["layers"]} == {"mix", "mean", "flat", "classify"}
    assert sum(layer["share"] for layer in printed["layers"]) == pytest.approx(1)
    assert printed["answers"] == {"images": 15, "same": 1.0, "changed": []}
    report = json.loads((tmp_path / "int8" / "quantization" / "report.json").read_text())
    assert report["layers"] == printed["layers"]


@pytest.mark.slow
def test_labeled_images_without_splits_judge_all_of_them_or_are_divided(
    mobilenets: Run, export: Export, data: Path, tmp_path: Path
) -> None:
    model = export(color_graph())
    apart = mobilenets("quantize", model, "--images", data / "train", "--data", data / "val", "--out", tmp_path / "a", "--json")
    assert json.loads(apart.out)["metric"]["images"] == 15
    divided = mobilenets("quantize", model, "--data", data / "train", "--out", tmp_path / "b", "--json")
    printed = json.loads(divided.out)
    assert 0 < printed["metric"]["images"] < 8
    assert printed["calibration"]["images"] + printed["metric"]["images"] <= 24
    both = mobilenets("quantize", model, "--images", data / "val", "--data", data / "val", "--out", tmp_path / "c")
    assert "note: 15 images of 15 used to measure the int8 model are calibration images too" in both.err


def test_the_gate_keeps_the_layers_in_float_that_8_bits_cannot_hold(
    mobilenets: Run, export: Export, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "int8"
    done = mobilenets("quantize", export(hard_graph()), "--data", data, "--out", out, "--json")
    assert done.code == 0, done.err
    printed = json.loads(done.out)
    assert printed["attempts"][0]["drop"] > 20
    assert printed["metric"]["drop"] <= 0.5
    assert set(printed["float_layers"]) <= {"wide", "twice", "mix"}
    assert "trying again with" in done.err
    assert file.load(out / "graph.safetensors").tensors["dense"].dtype.name == "int8"
    assert printed["latency_ms"]["int8_without_float_layers"] > 0


def test_a_gate_that_cannot_hold_leaves_a_report_and_no_model(
    mobilenets: Run, export: Export, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mobilenets.int8.gate.MOST_SHARE", 0.0)
    out = tmp_path / "int8"
    done = mobilenets("quantize", export(hard_graph()), "--data", data, "--out", out)
    assert done.code == 1
    assert "accuracy falls by" in done.err
    assert "no model was written" in done.err
    assert sorted(path.name for path in out.iterdir()) == ["quantization", "quantize.json"]
    assert not json.loads((out / "quantize.json").read_text())["passed"]
    assert mobilenets("predict", out, data / "test" / "red" / "2-0.png").code == 1
    again = mobilenets("quantize", export(hard_graph()), "--data", data, "--out", out, "--json")
    assert again.code == 1
    assert not json.loads(again.out)["passed"]


def test_a_gate_that_cannot_hold_leaves_an_earlier_model_as_it_was(
    mobilenets: Run, export: Export, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mobilenets.int8.gate.MOST_SHARE", 0.0)
    out = tmp_path / "int8"
    assert mobilenets("quantize", export(color_graph()), "--data", data, "--out", out).code == 0
    before = (out / "graph.safetensors").read_bytes()
    done = mobilenets("quantize", export(hard_graph()), "--data", data, "--out", out)
    assert done.code == 1
    assert f"the int8 model in '{out}' is unchanged" in done.err
    assert (out / "graph.safetensors").read_bytes() == before
    assert (tmp_path / "int8-failed" / "quantization" / "report.json").is_file()


def test_without_labels_answers_are_compared(mobilenets: Run, export: Export, data: Path, tmp_path: Path) -> None:
    images = write_images(tmp_path / "loose", each=6, seed=5)
    done = mobilenets("quantize", export(color_graph()), "--images", images, "--count", "9", "--out", tmp_path / "int8")
    assert done.code == 0, done.err
    assert "there are no labeled images, so answers are compared" in done.err
    assert "0.00 of 100 answers change" in done.out
    assert "the limit is 3" in done.out


def test_an_int8_folder_is_replaced_and_nothing_else_is(mobilenets: Run, export: Export, data: Path, tmp_path: Path) -> None:
    model, out, other = export(color_graph()), tmp_path / "int8", tmp_path / "other"
    other.mkdir()
    (other / "notes.txt").write_text("mine")
    for _ in range(2):
        assert mobilenets("quantize", model, "--data", data, "--out", out).code == 0
    done = mobilenets("quantize", model, "--data", data, "--out", other)
    assert done.code == 2
    assert "holds something other than a quantized model" in done.err
    assert (other / "notes.txt").read_text() == "mine"


@pytest.mark.slow
def test_the_report_shows_ranges_noise_and_changed_images(
    mobilenets: Run, export: Export, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "matplotlib.figure")
    importlib.import_module("matplotlib.figure")
    out = tmp_path / "int8"
    done = mobilenets("quantize", export(hard_graph()), "--data", data, "--out", out, "--max-drop", "100")
    assert done.code == 0, done.err
    html = (out / "quantization" / "report.html").read_text()
    for words in ("Where predictions changed", "Noise through the network", "Where the noise comes from", "Ranges", "twice"):
        assert words in html
    report = json.loads((out / "quantization" / "report.json").read_text())
    changed = report["answers"]["changed"]
    assert len(changed) >= 3
    assert html.count('src="data:image/jpeg') == min(len(changed), 12)
    assert "<dt>truth</dt>" in html
    assert {path.name for path in (out / "quantization" / "plots").iterdir()} == {"noise.png", "sensitivity.png", "ranges.png"}


def test_weights_of_4_bits_are_asked_for_and_remembered(mobilenets: Run, export: Export, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "int8"
    options = ("--data", data, "--max-drop", "100", "--weight-bits", "4", "--out", out)
    done = mobilenets("quantize", export(color_graph()), *options)
    assert done.code == 0, done.err
    graph = file.load(out / "graph.safetensors")
    most = {name: int(abs(tensor.astype(int)).max()) for name, tensor in graph.tensors.items() if tensor.dtype.name == "int8"}
    first = next(operator.weight for operator in graph.operators if hasattr(operator, "weight"))
    assert most.pop(first) > 7  # it reads the image
    assert most
    assert max(most.values()) <= 7
    known = json.loads((out / "quantize.json").read_text())
    assert (known["weight_bits"], known["weight_block"]) == (4, 0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--weight-bits", "5"), "--weight-bits 5 is neither 8 nor 4"),
        (("--weight-block", "32"), "--weight-block 32 needs --weight-bits 4"),
    ],
)
def test_weights_that_no_grid_has_are_refused(mobilenets: Run, tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    done = mobilenets("quantize", tmp_path, *options)
    assert done.code == 2
    assert said in done.err


@pytest.mark.parametrize("parts", [("train", "test"), ("train", "val", "test")])
def test_a_run_without_a_validation_split_says_that_the_test_split_decides(
    parts: tuple[str, ...], data: Path, tmp_path: Path
) -> None:
    dataset = open_dataset(data)
    kept = tuple(sample for sample in dataset.samples if sample.split in parts)
    (tmp_path / "run").mkdir()
    write_splits(replace(dataset, samples=kept), tmp_path / "run" / "splits.csv")
    (tmp_path / "run" / "run.json").write_text(json.dumps({"recipe": {}, "seed": 0, "data": {"source": str(data)}}))
    run = tmp_path / "run"
    manifest = color_graph().manifest
    found = material(manifest, run, images="", data="", reading=Reading(), count=4, seed=0, model=run)
    assert isinstance(found.truth, Labels)
    assert {sample.split for sample in found.truth.samples} == {"val" if "val" in parts else "test"}
    assert any("so the test split decides which layers stay in float" in text for text in found.cautions) is (
        "val" not in parts
    )


def test_images_that_the_model_was_trained_on_are_counted_where_they_judge(
    mobilenets: Run, export: Export, data: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    (run / "export").mkdir(parents=True)
    shutil.copy(export(color_graph()), run / "export" / "model.onnx")
    dataset = open_dataset(data)
    write_splits(dataset, run / "splits.csv")
    about = {"source": str(data), "name": "toys", "labels": list(dataset.labels)}
    (run / "run.json").write_text(json.dumps({"format": 2, "data": about}))
    trained = mobilenets("quantize", run, "--data", data / "train", "--out", tmp_path / "a")
    said = "trained on the images that the int8 model is measured on"
    assert trained.code == 0, trained.err
    assert said in trained.err
    report = json.loads((tmp_path / "a" / "quantization" / "report.json").read_text())
    assert said in report["cautions"][0]
    assert said in mobilenets("info", tmp_path / "a").out
    judged = mobilenets("quantize", run, "--out", tmp_path / "b")
    assert judged.code == 0, judged.err
    assert "trained on" not in judged.err
