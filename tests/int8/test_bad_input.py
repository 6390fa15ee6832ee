"""What cannot be quantized is refused in one line that names the file, and never in a traceback."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.cli.conftest import Done
from tests.int8.conftest import color_graph, write_images

from mobilenets.deploy import file
from mobilenets.deploy.graph import Graph

Run = Callable[..., Done]
Export = Callable[[Graph], Path]


@pytest.fixture
def net(export: Export) -> Path:
    """A float model."""
    return export(color_graph())


def refused(done: Done, *words: str, code: int = 1) -> None:
    """The command ended with an error line that has these words, and a hint or nothing."""
    assert done.code == code, done.err
    [line] = [line for line in done.err.splitlines() if line.startswith("error: ")]
    for word in words:
        assert word in line
    assert "Traceback" not in done.err
    assert done.out == ""


def test_without_any_images_it_says_how_to_give_some(mobilenets: Run, net: Path) -> None:
    done = mobilenets("quantize", net)
    refused(done, str(net), "no images to calibrate on", code=2)
    assert "--images" in done.err


def test_a_folder_without_images_is_refused(mobilenets: Run, net: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = mobilenets("quantize", net, "--images", tmp_path / "empty")
    refused(done, "there are no images to calibrate on", str(tmp_path / "empty"))
    assert "a folder per class" not in done.err
    refused(mobilenets("quantize", net, "--images", tmp_path / "missing"), str(tmp_path / "missing"))


def test_images_that_cannot_be_read_are_refused(mobilenets: Run, net: Path, tmp_path: Path) -> None:
    for i in range(3):
        (tmp_path / f"{i}.jpg").write_bytes(b"no image")
    refused(
        mobilenets("quantize", net, "--images", tmp_path, "--out", tmp_path / "out"),
        "none of the 3 images can be read",
        ".jpg",
    )
    assert not (tmp_path / "out").exists()


def test_some_images_that_cannot_be_read_are_named_and_left_out(mobilenets: Run, net: Path, tmp_path: Path) -> None:
    images = write_images(tmp_path / "images", each=4)
    for path in sorted(images.rglob("*.png"))[:2]:
        path.write_bytes(b"no image")
    done = mobilenets("quantize", net, "--images", images, "--out", tmp_path / "out", "--json")
    assert done.code == 0, done.err
    unreadable = json.loads(done.out)["calibration"]["unreadable"]
    assert unreadable
    assert all("blue" in entry["name"] for entry in unreadable)
    said = "1 image could not be read and is" if len(unreadable) == 1 else f"{len(unreadable)} images could not be read and are"
    assert f"{said} left out" in done.err


def test_what_is_quantized_already_is_refused(mobilenets: Run, net: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "int8"
    assert mobilenets("quantize", net, "--data", data, "--out", out).code == 0
    refused(mobilenets("quantize", out, "--images", data), str(out), "is quantized already", code=2)
    [made] = (out / "export").glob("model.*")
    for path in (out / "graph.safetensors", made):
        refused(mobilenets("quantize", path, "--images", data), str(path), "is quantized already")


def test_unknown_and_damaged_files_are_refused(mobilenets: Run, data: Path, tmp_path: Path) -> None:
    (tmp_path / "net.xml").write_text("<net/>")
    (tmp_path / "net.onnx").write_bytes(b"no model")
    (tmp_path / "folder").mkdir()
    for name, words in {
        "net.xml": "cannot be read back",
        "net.onnx": "cannot be read as ONNX",
        "folder": "holds no exported model",
        "missing": "there is no file or folder",
        "missing.onnx": "there is no file",
    }.items():
        refused(mobilenets("quantize", tmp_path / name, "--images", data), str(tmp_path / name), words)
    (tmp_path / "weights.pth").write_bytes(b"PK")
    said = mobilenets("quantize", tmp_path / "weights.pth", "--images", data)
    refused(said, str(tmp_path / "weights.pth"), "cannot be read back")
    assert f"mobilenets convert {tmp_path / 'weights.pth'}" in said.err


def test_data_with_other_labels_or_too_little_of_it_is_refused_before_anything_is_computed(
    mobilenets: Run, net: Path, data: Path, export: Export, tmp_path: Path
) -> None:
    other = export(replace(color_graph(), manifest=replace(color_graph().manifest, labels=("x", "y", "z"))))
    refused(mobilenets("quantize", other, "--data", data, "--out", tmp_path / "a"), "which the model does not know")
    assert "calibrating" not in mobilenets("quantize", other, "--data", data).err
    assert not (tmp_path / "a").exists()
    single = tmp_path / "single.csv"
    single.write_text(f"path,label\n{next(data.rglob('*.png'))},red\n")
    refused(mobilenets("quantize", net, "--data", single, "--images", data), "at least 2 are needed")


def test_a_folder_that_was_killed_half_way_is_written_anew(mobilenets: Run, net: Path, data: Path, tmp_path: Path) -> None:
    draft = tmp_path / ".int8.new"
    (draft / "export").mkdir(parents=True)
    (draft / "graph.safetensors").write_bytes(b"half")
    assert mobilenets("quantize", net, "--data", data, "--out", tmp_path / "int8").code == 0
    assert not draft.exists()
    assert file.load(tmp_path / "int8" / "graph.safetensors").manifest.precision == "int8"


def test_a_damaged_description_or_graph_is_named(mobilenets: Run, net: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "int8"
    assert mobilenets("quantize", net, "--data", data, "--out", out).code == 0
    (out / "quantize.json").write_text('{"source": 3}')
    refused(mobilenets("info", out), str(out / "quantize.json"), "is damaged")
    (out / "graph.safetensors").write_bytes(b"half")
    refused(mobilenets("info", out), str(out / "graph.safetensors"))
