"""Quantization of all three tasks, from every source, and every command on what it wrote."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.cli.conftest import Done
from tests.cli.test_train_detect import boxes
from tests.cli.test_train_segment import NAMES, masks
from tests.int8.conftest import COLORS, CONTRACT, write_images

from mobilenets import checkpoint
from mobilenets.cli.quantize import float_graph
from mobilenets.cli.reading import Reading
from mobilenets.data.checks.boxes import repaired
from mobilenets.data.writers.lists import write_splits
from mobilenets.deploy import operators as op
from mobilenets.deploy.graph import INPUT, Graph
from mobilenets.deploy.write_onnx import to_onnx
from mobilenets.exporters.table import export
from mobilenets.int8.answers import same
from mobilenets.model import create
from mobilenets.runtime.manifest import Manifest
from mobilenets.runtime.predictor import Predictor
from mobilenets.specs.deeplab import DeepLabHead
from mobilenets.specs.families import backbone
from mobilenets.specs.model import InputContract, Task
from mobilenets.training.heads import spec_for
from mobilenets.training.recipe import with_overrides
from mobilenets.training.recipes import recipe

Run = Callable[..., Done]


@dataclass(frozen=True)
class Project:
    """A model of a task in every form, its data, and an image."""

    task: Task
    data: Path
    image: Path
    run: Path
    converted: Path
    files: Path

    @property
    def images(self) -> Path:
        """The folder with the images."""
        return self.data if self.data.is_dir() else self.data.parent


def _project(task: Task, folder: Path) -> Project:
    data = {
        "classify": lambda: write_images(folder / "data", each=8),
        "detect": lambda: boxes(folder / "data"),
        "segment": lambda: masks(folder / "data"),
    }[task]()
    reading = Reading(task, ",".join(NAMES) if task == "segment" else "")
    dataset = reading.open(str(data))
    dataset = repaired(dataset) if task == "detect" else dataset
    names = {"classify": "scratch-small", "detect": "detect", "segment": "segment"}
    settings = with_overrides(
        recipe(names[task]), ["width=0.1", "size=64", *(["head_filters=16"] if task == "segment" else [])]
    )
    model = create(spec_for(dataset, backbone("mobilenet_v1", width=0.1), InputContract(), settings)).eval()
    run = folder / "run"
    checkpoint.save(model, run / "best")
    write_splits(dataset, run / "splits.csv")
    about = {"source": str(data), "name": "toys", "labels": list(dataset.labels), "reading": reading.to_data()}
    (run / "run.json").write_text(json.dumps({"format": 2, "data": about}))
    shutil.copytree(run / "best", folder / "converted")
    for kind in ("onnx", "tflite"):
        export(model, folder / "files", to=kind)
    return Project(task, data, dataset.samples[0].path, run, folder / "converted", folder / "files")


@pytest.fixture(scope="module")
def project(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Of the task that the test is about."""
    return _project(request.param, tmp_path_factory.mktemp(request.param))


TASKS = pytest.mark.parametrize(
    "project",
    ["classify", pytest.param("detect", marks=pytest.mark.slow), pytest.param("segment", marks=pytest.mark.slow)],
    indirect=True,
)


@pytest.mark.slow
@pytest.mark.parametrize("project", ["classify", "detect", "segment"], indirect=True)
def test_a_run_becomes_a_folder_that_every_command_takes(mobilenets: Run, project: Project) -> None:
    done = mobilenets("quantize", project.run, "--max-drop", "100", "--count", "6", "--json")
    assert done.code == 0, done.err
    int8 = project.run / "int8"
    printed = json.loads(done.out)
    metric = {"classify": "top1", "detect": "map50", "segment": "miou"}[project.task]
    assert (printed["folder"], printed["metric"]["name"], printed["metric"]["labeled"]) == (str(int8), metric, True)
    assert printed["calibration"]["images"] == 6
    predicted = mobilenets("predict", int8, project.image, "--json")
    assert predicted.code == 0, predicted.err
    assert json.loads(predicted.out)["file"] == str(project.image)
    evaluated = mobilenets("evaluate", int8, "--json")
    assert evaluated.code == 0, evaluated.err
    assert metric in json.loads(evaluated.out)["metrics"]
    assert not (project.run / "report").exists()
    info = mobilenets("info", int8, "--json")
    assert info.code == 0, info.err
    told = json.loads(info.out)
    assert (told["precision"], told["quantization"]["images"]) == ("int8", 6)
    file = next((int8 / "export").glob("model.*"))
    of_file = json.loads(mobilenets("info", file, "--json").out)
    assert of_file["peak_bytes"] == told["peak_bytes"]


@TASKS
def test_every_source_gives_the_same_float_graph(project: Project) -> None:
    graph = float_graph(project.run)
    for source in (project.converted, project.run / "best", project.files / "model.onnx", project.files / "model.tflite"):
        again = float_graph(source)
        assert (again.operators, again.outputs, again.manifest) == (graph.operators, graph.outputs, graph.manifest), source
        for name, tensor in graph.tensors.items():
            np.testing.assert_array_equal(again.tensors[name], tensor)


@pytest.mark.slow
@pytest.mark.parametrize("project", ["classify", "detect", "segment"], indirect=True)
@pytest.mark.parametrize("source", ["converted", "model.onnx", "model.tflite"])
def test_a_model_without_a_run_is_judged_by_its_answers(mobilenets: Run, project: Project, tmp_path: Path, source: str) -> None:
    model = project.converted if source == "converted" else project.files / source
    out = tmp_path / "int8"
    done = mobilenets("quantize", model, "--images", project.images, "--count", "6", "--max-drop", "100", "--out", out)
    assert done.code == 0, done.err
    assert "there are no labeled images" in done.err
    assert Predictor.open(out).manifest.task == project.task


@pytest.mark.slow
@pytest.mark.parametrize("project", ["classify", "detect", "segment"], indirect=True)
def test_an_int8_folder_without_its_export_makes_it_again(mobilenets: Run, project: Project, tmp_path: Path) -> None:
    out = tmp_path / "int8"
    given = ("--images", project.images, "--count", "4", "--max-drop", "100", "--out", out)
    assert mobilenets("quantize", project.converted, *given).code == 0
    before = Predictor.open(out).predict(project.image)
    shutil.rmtree(out / "export")
    assert same(Predictor.open(out).predict(project.image), before) > 0.9
    assert list((out / "export").glob("model.*"))


def _color_segmenter(path: Path) -> Path:
    """A file that segments into red, green and blue: logits of a cell of 4 x 4 px are 8 times its mean color."""
    operators = (
        op.Pool(name="means", inputs=(INPUT,), output="means", kernel=(4, 4), stride=(4, 4)),
        op.Depthwise(name="color", inputs=("means",), output="color", weight="eight", bias="zero"),
    )
    tensors = {"eight": np.full((3, 1, 1, 1), 8, np.float32), "zero": np.zeros(3, np.float32)}
    head = DeepLabHead(colors=((250, 0, 0), (0, 250, 0), (0, 0, 250)))
    graph = Graph(Manifest("colors", COLORS, CONTRACT, head), operators, tensors, {"logits": "color"})
    path.write_bytes(to_onnx(graph).SerializeToString())
    return path


@pytest.mark.slow
@pytest.mark.parametrize("task", ["detect", "segment"])
def test_the_report_draws_both_networks_side_by_side(
    mobilenets: Run, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "matplotlib.figure")
    importlib.import_module("matplotlib.figure")
    if task == "detect":
        model, images = _project("detect", tmp_path / "project").run, tmp_path / "project" / "data"
    else:
        model, images = _color_segmenter(tmp_path / "net.onnx"), write_images(tmp_path / "images", each=4)
    calibration = tmp_path / "calibration"
    calibration.mkdir()
    Image.new("RGB", (64, 48)).save(calibration / "black.png")  # it says nothing about the others
    for i, path in enumerate(sorted(images.rglob("*.png"))[:6]):
        shutil.copy(path, calibration / f"other{i}.png")
    out, first = tmp_path / "int8", ("--count", "1", "--seed", "7")  # this seed draws the black one of 7 images
    done = mobilenets("quantize", model, "--images", calibration, *first, "--max-drop", "100", "--out", out, "--json")
    assert done.code == 0, done.err
    changed = json.loads(done.out)["answers"]["changed"]
    assert changed
    drawn = sorted((out / "quantization" / "images").iterdir())
    assert len(drawn) == min(len(changed), 12)
    with Image.open(drawn[0]) as image:
        assert image.width > 2 * image.height  # two of 4:3, or two squares with a gap
    assert "Left: float. Right: int8." in (out / "quantization" / "report.html").read_text()
