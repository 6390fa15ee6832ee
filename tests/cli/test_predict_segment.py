from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

Run = Callable[..., Any]  # Any: the fixture's `Done`


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Images 96 x 64: a.png is red, on its right quarter blue; below/a.jpg is green; c.png is none."""
    folder = tmp_path / "album"
    (folder / "below").mkdir(parents=True)
    image = Image.new("RGB", (96, 64), "red")
    image.paste("blue", (72, 0, 96, 64))
    image.save(folder / "a.png")
    Image.new("RGB", (96, 64), "lime").save(folder / "below/a.jpg")
    (folder / "c.png").write_bytes(b"no image")
    return folder


def test_one_image_is_a_table_of_areas(mobilenets: Run, segment_model: Path, album: Path) -> None:
    done = mobilenets("predict", segment_model, album / "a.png")
    assert (done.code, done.err) == (0, "")
    assert done.out.split()[-6:] == ["red", "4,608", "75.0%", "blue", "1,536", "25.0%"]


def test_a_folder_gives_a_line_an_image(mobilenets: Run, segment_model: Path, album: Path) -> None:
    done = mobilenets("predict", segment_model, album)
    assert done.out.splitlines() == [f"red 75%, blue 25%  {album / 'a.png'}", f"green 100%  {album / 'below/a.jpg'}"]
    assert "c.png: " in done.err
    assert "1 of 3 images could not be read" in done.err


def test_json_has_the_areas(mobilenets: Run, segment_model: Path, album: Path) -> None:
    done = mobilenets("predict", segment_model, album / "a.png", "--json")
    assert json.loads(done.out) == {
        "file": str(album / "a.png"),
        "width": 96,
        "height": 64,
        "areas": [{"label": "red", "pixels": 4608, "share": 0.75}, {"label": "blue", "pixels": 1536, "share": 0.25}],
    }


def test_csv_has_a_line_per_label(mobilenets: Run, segment_model: Path, album: Path) -> None:
    rows = list(csv.DictReader(mobilenets("predict", segment_model, album / "a.png", "--csv").out.splitlines()))
    assert [(row["label"], row["pixels"], row["share"]) for row in rows] == [
        ("red", "4608", "0.750000"),
        ("blue", "1536", "0.250000"),
    ]


def test_masks_have_the_classes_and_show_the_models_colors(mobilenets: Run, segment_model: Path, album: Path) -> None:
    out = album.parent / "found"
    done = mobilenets("predict", segment_model, album, "--out", out, "--json")
    files = [Path(json.loads(line)["masks"]) for line in done.out.splitlines()]
    assert files == [out / "masks/a.png", out / "masks/below/a.png"]
    mask = Image.open(files[0])
    assert mask.mode == "P"
    expected = np.zeros((64, 96))
    expected[:, 72:] = 2
    np.testing.assert_array_equal(np.asarray(mask), expected)
    assert mask.convert("RGB").getpixel((95, 0)) == (0, 0, 250)
    assert not (out / "drawn").exists()


def test_overlays_are_written_on_request(mobilenets: Run, segment_model: Path, album: Path) -> None:
    out = album.parent / "found"
    mobilenets("predict", segment_model, album / "a.png", "--out", out, "--write", "drawn")
    drawn = Image.open(out / "drawn/a.jpg")
    assert drawn.size == (96, 64)
    red, _, blue = np.asarray(drawn)[30, 90].tolist()
    assert blue > 200 > 60 > red
    assert not (out / "masks").exists()


def test_tiles_see_a_large_image_at_full_detail(mobilenets: Run, segment_model: Path, tmp_path: Path) -> None:
    pixels = np.kron(np.indices((40, 60)).sum(axis=0) % 2, np.ones((8, 8)))  # a board of red and blue fields of 8 px
    Image.fromarray(np.stack([255 * (1 - pixels), 0 * pixels, 255 * pixels], axis=2).astype(np.uint8)).save(tmp_path / "a.png")
    mobilenets("predict", segment_model, tmp_path / "a.png", "--tile", "48", "--out", tmp_path)
    mask = np.asarray(Image.open(tmp_path / "masks/a.png"))
    assert (mask == 2 * pixels).mean() > 0.95
    mobilenets("predict", segment_model, tmp_path / "a.png", "--out", tmp_path)
    assert (np.asarray(Image.open(tmp_path / "masks/a.png")) == 2 * pixels).mean() < 0.8


def test_a_file_that_gives_classes_predicts_the_same_areas(mobilenets: Run, classes_model: Path, album: Path) -> None:
    done = mobilenets("predict", classes_model, album, "--json", "--out", album.parent / "found")
    areas = {Path(row["file"]).name: row["areas"] for row in map(json.loads, done.out.splitlines())}
    assert [(one["label"], one["share"]) for one in areas["a.png"]] == [("red", 0.75), ("blue", 0.25)]
    assert [(one["label"], one["pixels"]) for one in areas["a.jpg"]] == [("green", 96 * 64)]
    assert np.asarray(Image.open(album.parent / "found/masks/a.png")).shape == (64, 96)


def test_tiles_of_a_file_that_gives_classes_are_refused(mobilenets: Run, classes_model: Path, album: Path) -> None:
    done = mobilenets("predict", classes_model, album / "a.png", "--tile", "32")
    assert done.code == 2
    assert done.err == (
        f"error: tiles need logits, but '{classes_model}' gives classes\n\n"
        "hint: give the run folder, or the raw export: 'mobilenets export RUN' writes model.onnx\n"
    )


def test_what_a_segmenter_cannot_write_is_refused(mobilenets: Run, segment_model: Path, album: Path) -> None:
    done = mobilenets("predict", segment_model, album / "a.png", "--write", "coco", "--out", album.parent / "found")
    assert done.code == 2
    assert "a segmenter cannot write 'coco'; known: masks, drawn" in done.err


def test_a_folder_that_cannot_be_written_is_named(mobilenets: Run, segment_model: Path, album: Path) -> None:
    (album / "notes").write_text("a file")
    done = mobilenets("predict", segment_model, album / "a.png", "--out", album / "notes")
    assert done.code == 2
    assert "is a file, not a folder" in done.err
