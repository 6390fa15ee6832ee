"""`mobilenets info`, as it is typed."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mobilenets import checkpoint
from mobilenets.cli.app import main
from mobilenets.deploy.arena import fused_plan
from mobilenets.deploy.cpp.write import write_cpp
from mobilenets.deploy.profile import profiled
from mobilenets.deploy.quantize.quantize import quantize
from mobilenets.deploy.write_onnx import to_onnx
from mobilenets.errors import CheckpointError
from mobilenets.exporters.lower import lower
from mobilenets.exporters.table import export
from mobilenets.model import create
from mobilenets.qat.model import QuantizedModel
from mobilenets.runtime.manifest import write_beside
from mobilenets.runtime.predictor import Predictor
from mobilenets.specs.families import backbone
from mobilenets.specs.lraspp import lraspp
from mobilenets.specs.model import InputContract, ModelSpec
from mobilenets.specs.ssd import ssdlite

Info = Callable[..., tuple[int, str, str]]


@pytest.fixture
def info(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Info:
    """Run the command: its exit code, what it printed, and what it said."""

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mobilenets", "info", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        said = capsys.readouterr()
        return int(stop.value.code or 0), said.out, said.err

    return run


def test_the_table_and_the_totals_of_v2(info: Info) -> None:
    code, out, _ = info("mobilenet_v2")
    assert code == 0
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[0] == "mobilenet_v2, input 224x224x3, 1,000 classes"
    assert "Input Operator t c n s" in lines
    assert "28x28x32 bottleneck 6 64 4 2" in lines
    assert "parameters 3,504,872 (3.50 M)" in lines
    assert "MACs 300,774,272 (300.8 M)" in lines
    assert "weights 14.02 MB in fp32" in lines
    assert "peak memory 6.02 MB of activations, at backbone.blocks.2.depthwise.conv (depthwise 3x3 /2)" in lines
    assert "row by row 1.46 MB, when a piece is a row, including the rows that a block keeps" in lines
    assert "receptive field 491 px by its convolutions, stride 32" in lines
    assert lines[-1].startswith("MACs are the multiply-adds of")


def test_json_holds_everything(info: Info) -> None:
    """The README of slim prints 153 M for this one, as counted 153.9; parameters with 1000 classes as d-li14 prints them."""
    arguments = ("--width", "0.75", "--size", "192", "--precision", "int8", "--json")
    code, out, _ = info("mobilenet_v2", *arguments)
    data = json.loads(out)
    assert code == 0
    assert (data["network"], data["width"], data["input"], data["classes"]) == ("mobilenet_v2", 0.75, [3, 192, 192], 1000)
    assert (data["params"], data["weights_bytes"], round(data["macs"] / 1e6, 1)) == (2636424, 2636424, 153.9)
    assert data["table"][2] == {"Input": "96x96x16", "Operator": "bottleneck", "t": 6, "c": 24, "n": 2, "s": 2}
    assert data["macs"] == sum(layer["macs"] for layer in data["layers"])
    assert data["params"] == sum(layer["params"] for layer in data["layers"])
    assert data["peak_bytes"] == max(layer["live_bytes"] for layer in data["layers"]) == 96 * 96 * 96 + 96 * 48 * 48
    assert sum(layer["share"] for layer in data["layers"]) == pytest.approx(1)


def test_layers_as_csv(info: Info) -> None:
    code, out, _ = info("mobilenet_v1", "--width", "0.25", "--size", "128", "--classes", "1001", "--layers", "--csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert code == 0
    assert rows[0]["Layer"] == "backbone.blocks.0.conv"
    assert (rows[0]["Operator"], rows[0]["Output"]) == ("conv 3x3 /2", "8x64x64")
    assert int(rows[0]["Bytes"]) == 8 * 64 * 64 * 4
    assert rows[-1]["Output"] == "1001"
    assert round(sum(int(row["MACs"]) for row in rows) / 1e6, 1) == 13.6  # the README prints 14


def test_layers_for_people(info: Info) -> None:
    code, out, _ = info("mobilenet_v3_small", "--layers")
    assert code == 0
    assert "backbone.blocks.1.squeeze.reduce" in out
    assert "depthwise 5x5 /2" in out


def test_oblong_inputs(info: Info) -> None:
    code, out, _ = info("mobilenet_v3_large", "--size", "512x1024", "--output-stride", "16", "--json")
    data = json.loads(out)
    assert code == 0
    assert (data["input"], data["output_stride"], data["receptive_field"]["stride"]) == ([3, 512, 1024], 16, 16)
    assert [layer["output"] for layer in data["layers"] if layer["name"] == "backbone.blocks.16.conv"] == [[960, 32, 64]]


def test_input_channels(info: Info) -> None:
    _, out, _ = info("mobilenet_v1", "--channels", "1", "--json")
    assert json.loads(out)["layers"][0]["params"] == 9 * 32 + 64


def test_a_checkpoint_in_place_of_a_name(info: Info, tmp_path: Path) -> None:
    spec = ModelSpec(backbone("mobilenet_v2", width=0.1), ("cat", "dog"), InputContract(size=96))
    checkpoint.save(create(spec), tmp_path / "run" / "best")
    code, out, _ = info(tmp_path / "run", "--json")
    assert code == 0
    assert (json.loads(out)["input"], json.loads(out)["classes"]) == ([3, 96, 96], 2)
    code, _, err = info(tmp_path / "run", "--width", "0.5")
    assert (code, err.splitlines()[0]) == (2, "error: --width: a checkpoint already defines this")


@pytest.mark.parametrize("size", ["96", "64", "64x96"])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_checkpoint_has_the_figures_of_its_name(info: Info, tmp_path: Path, size: str, precision: str) -> None:
    spec = ModelSpec(backbone("mobilenet_v3_small", width=0.1), ("cat", "dog"), InputContract(size=96))
    checkpoint.save(create(spec), tmp_path / "best")
    options = ("--size", size, "--precision", precision, "--json")
    _, of_checkpoint, _ = info(tmp_path / "best", *options)
    _, of_name, _ = info("mobilenet_v3_small", "--width", "0.1", "--classes", "2", *options)
    assert json.loads(of_checkpoint) == json.loads(of_name)


def test_a_run_that_was_trained_in_integers_is_described_in_integers(info: Info, tmp_path: Path) -> None:
    spec = ModelSpec(backbone("mobilenet_v2", width=0.1), ("cat", "dog"), InputContract(size=64))
    graph = quantize(lower(create(spec)), np.random.default_rng(0).normal(0, 0.5, (4, 3, 64, 64)).astype(np.float32)).graph
    checkpoint.save(QuantizedModel(spec, graph), tmp_path / "best")
    code, out, _ = info(tmp_path / "best", "--json")
    data = json.loads(out)
    assert code == 0
    assert data["precision"] == "int8"
    assert data["weights_bytes"] == sum(
        4 * tensor.size if tensor.ndim == 1 else tensor.size for tensor in graph.tensors.values()
    )
    assert data["peak_bytes_row_by_row"] == fused_plan(graph).size_bytes
    _, floats, _ = info(tmp_path / "best", "--precision", "fp32", "--json")
    assert json.loads(floats)["weights_bytes"] == 4 * data["params"]
    _, smaller, _ = info(tmp_path / "best", "--size", "32", "--json")
    assert json.loads(smaller)["weights_bytes"] == data["weights_bytes"]
    assert json.loads(smaller)["peak_bytes_row_by_row"] < data["peak_bytes_row_by_row"]


@pytest.mark.parametrize("head", [ssdlite, lraspp])
def test_a_detector_and_a_segmenter_have_a_plan_row_by_row(info: Info, tmp_path: Path, head: Callable[..., ModelSpec]) -> None:
    spec = head(backbone("mobilenet_v3_small", width=0.25), ("cat", "dog"), size=96)
    model = create(spec)
    checkpoint.save(model, tmp_path / "best")
    _, out, _ = info(tmp_path / "best", "--json")
    assert json.loads(out)["peak_bytes_row_by_row"] == fused_plan(lower(model)).size_bytes
    code, out, _ = info(tmp_path / "best", "--precision", "int8", "--size", "128")
    assert code == 0
    assert "row by row" in out


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (("mobilnet_v2",), 1, "error: unknown network 'mobilnet_v2'; did you mean 'mobilenet_v2'"),
        (("mobilenet_v2", "--size", "0"), 2, "error: size '0' is neither a number of px nor height x width"),
        (("mobilenet_v2", "--size", "1x2x3"), 2, "error: size '1x2x3' is neither"),
        (("mobilenet_v2", "--width", "0"), 1, "error: width 0.0 is not above 0"),
        (("mobilenet_v2", "--classes", "0"), 2, "error: 0 classes; the number must be from 1 to 1,000,000"),
        (
            ("mobilenet_v2", "--classes", "100000000000"),
            2,
            "error: 100,000,000,000 classes; the number must be from 1 to 1,000,000",
        ),
        (("mobilenet_v2", "--channels", "0"), 1, "error: 0 input channels; at least 1 is needed"),
        (("mobilenet_v2", "--padding", "same"), 1, "error: padding 'same' is not one of"),
        (("mobilenet_v2", "--output-stride", "4"), 1, "error: output stride 4 is not one of 8, 16, 32"),
        (("mobilenet_v2", "--precision", "fp8"), 2, "error: precision 'fp8' is not one of fp32, fp16, int8"),
        (("mobilenet_v2", "--json", "--csv"), 2, "error: --json and --csv cannot be combined"),
        (("runs/nothing-here",), 1, "error: "),
    ],
)
def test_bad_input_ends_in_one_error(info: Info, arguments: tuple[str, ...], code: int, error: str) -> None:
    ended, out, err = info(*arguments)
    assert (ended, out) == (code, "")
    assert err.startswith(error)
    assert "Traceback" not in err


@pytest.mark.parametrize("to", ["onnx", "tflite"])
def test_an_exported_file_says_what_it_costs(info: Info, tmp_path: Path, to: str) -> None:
    spec = ModelSpec(backbone("mobilenet_v2", width=0.35), ("cat", "dog"), InputContract(size=96))
    export(create(spec), tmp_path, to=to)
    file = tmp_path / f"model.{to}"
    code, out, _ = info(file, "--json")
    data = json.loads(out)
    _, of_network, _ = info("mobilenet_v2", "--width", "0.35", "--size", "96", "--classes", "2", "--json")
    expected = json.loads(of_network)
    assert code == 0
    for figure in ("macs", "peak_bytes", "peak_bytes_row_by_row"):
        assert data[figure] == expected[figure]
    assert data["peak_bytes_row_by_row"] < data["peak_bytes"]
    assert data["layers"][0]["operator"] == "conv 3x3 /2"
    code, out, _ = info(file)
    assert code == 0
    assert "row by row" in out
    assert "backbone.blocks.3.depthwise" in out


def test_an_exported_file_cannot_be_changed(info: Info, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"nothing")
    code, _, said = info(tmp_path / "model.onnx", "--width", "0.5")
    assert code == 2
    assert "--width: an exported file cannot be changed" in said
    code, _, said = info(tmp_path / "model.onnx")
    assert code == 1
    assert "is not an ONNX model" in said


@pytest.mark.parametrize("integers", [False, True])
def test_a_file_without_a_profile_is_described_by_its_operators(info: Info, tmp_path: Path, integers: bool) -> None:
    spec = ModelSpec(backbone("mobilenet_v1", width=0.25), ("cat", "dog"), InputContract(size=32))
    graph = lower(create(spec))
    if integers:
        graph = quantize(graph, np.random.default_rng(0).normal(0, 0.5, (4, 3, 32, 32)).astype(np.float32)).graph
    told = []
    for each in (profiled(graph), replace(graph, manifest=replace(graph.manifest, profile=None))):
        (tmp_path / "model.onnx").write_bytes(to_onnx(each).SerializeToString())
        code, shown, _ = info(tmp_path / "model.onnx", "--json")
        assert code == 0
        told.append(json.loads(shown))
    assert told[0] == told[1]


@pytest.mark.parametrize("ending", [".pte", ".mlpackage"])
def test_a_damaged_file_is_not_described_by_what_lies_beside_it(info: Info, tmp_path: Path, ending: str) -> None:
    spec = ModelSpec(backbone("mobilenet_v1", width=0.25), ("cat", "dog"), InputContract(size=32))
    place = tmp_path / f"model{ending}"
    file = place if ending == ".pte" else place / "weight.bin"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b"a program")
    write_beside(place, profiled(lower(create(spec))).manifest)
    code, out, _ = info(place)
    assert code == 0
    assert "mobilenet_v1" in out
    file.write_bytes(b"a prog")
    code, _, said = info(place)
    assert code == 1
    assert f"'model{ending}.json' beside it was written for: it has 6 bytes instead of 9" in said
    (tmp_path / f"model{ending}.json").unlink()
    code, _, said = info(place)
    assert code == 1
    assert ending != ".mlpackage" or f"has no 'model{ending}.json' beside it" in said


def test_a_folder_of_exported_cpp_is_named_as_that(info: Info, tmp_path: Path) -> None:
    spec = ModelSpec(backbone("mobilenet_v1", width=0.25), ("cat", "dog"), InputContract(size=32))
    write_cpp(lower(create(spec)), tmp_path / "cpp")
    code, _, said = info(tmp_path / "cpp")
    assert code == 1
    assert "hint: it is C++, which a compiler builds, as its README.md says" in said
    with pytest.raises(CheckpointError) as error:
        Predictor.open(tmp_path / "cpp")
    assert error.value.hint.startswith("it is C++, which a compiler builds")
