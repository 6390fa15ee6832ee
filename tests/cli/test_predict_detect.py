from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mobilenets.data.readers.box_lists import read_box_list

Run = Callable[..., Any]  # Any: the fixture's `Done`

SCORE = 0.9820138  # softmax of logits 0, 4, -12: a pure color; resizing mixes the borders a little


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """`a.png`, 192 x 96: red in the upper left cell, blue in the lower right one; `below/b.jpg`, 96 x 96, all red; `c.bmp`."""
    folder = tmp_path / "album"
    (folder / "below").mkdir(parents=True)
    first = Image.new("RGB", (192, 96))
    first.paste("red", (0, 0, 64, 32))
    first.paste("blue", (128, 64, 192, 96))
    first.save(folder / "a.png")
    second = Image.new("RGB", (96, 96))
    second.paste("red", (32, 0, 64, 96))
    second.save(folder / "below" / "b.jpg", quality=95, subsampling=0)
    Image.new("RGB", (50, 40)).save(folder / "c.bmp")
    return folder


def test_one_image_is_a_table_of_boxes(mobilenets: Run, cell_model: Path, album: Path) -> None:
    done = mobilenets("predict", cell_model, album / "a.png")
    assert (done.code, done.err) == (0, "")
    rows = [line.split() for line in done.out.splitlines()]
    assert ["label", "score", "x0", "y0", "x1", "y1"] in rows
    assert sorted(row for row in rows if row and row[0] in ("rose", "sky")) == [
        ["rose", "98.1%", "0", "0", "64", "32"],
        ["sky", "98.1%", "128", "64", "192", "96"],
    ]


def test_a_folder_gives_a_line_an_image(mobilenets: Run, cell_model: Path, album: Path) -> None:
    done = mobilenets("predict", cell_model, album)
    lines = [line.split("  ") for line in done.out.splitlines()]
    assert sorted(lines[0][0].split(", ")) == ["1 rose", "1 sky"]
    assert lines[1:] == [["nothing", str(album / "c.bmp")], ["3 rose", str(album / "below/b.jpg")]]


def test_json_is_one_object_a_line(mobilenets: Run, cell_model: Path, album: Path) -> None:
    done = mobilenets("predict", cell_model, album / "a.png", album / "c.bmp", "--json")
    first, second = (json.loads(line) for line in done.out.splitlines())
    assert (first["file"], first["width"], first["height"]) == (str(album / "a.png"), 192, 96)
    rose = next(box for box in first["boxes"] if box["label"] == "rose")
    assert rose == {"label": "rose", "score": pytest.approx(SCORE, abs=1e-3), "x0": 0, "y0": 0, "x1": 64, "y1": 32}
    assert (len(first["boxes"]), second["boxes"]) == (2, [])


def test_csv_is_a_list_of_boxes_that_can_be_read_back(mobilenets: Run, cell_model: Path, album: Path) -> None:
    done = mobilenets("predict", cell_model, album, "--csv")
    assert done.out.splitlines()[0] == "file,label,score,x0,y0,x1,y1"
    (album.parent / "list.csv").write_text(done.out)
    listing = read_box_list(album.parent / "list.csv")
    assert {entry.path.name: sorted(box.label for box in entry.boxes) for entry in listing.entries} == {
        "a.png": ["rose", "sky"],
        "b.jpg": ["rose", "rose", "rose"],
        "c.bmp": [],
    }


def test_the_threshold_is_the_users_or_a_half(mobilenets: Run, cell_model: Path, album: Path) -> None:
    def count(*options: str) -> int:
        return len(json.loads(mobilenets("predict", cell_model, album / "c.bmp", "--json", *options).out)["boxes"])

    assert (count(), count("--threshold", "0.01"), count("--threshold", "0.02")) == (0, 18, 0)


def test_images_are_drawn_below_the_folder_under_their_names(mobilenets: Run, cell_model: Path, album: Path) -> None:
    out = album.parent / "found"
    done = mobilenets("predict", cell_model, album, "--out", out)
    assert done.code == 0
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*.*")) == [
        "drawn/a.jpg",
        "drawn/below/b.jpg",
        "drawn/c.jpg",
    ]
    with Image.open(out / "drawn" / "a.jpg") as drawn, Image.open(album / "a.png") as original:
        assert drawn.size == original.size
        assert np.abs(np.asarray(drawn, int) - np.asarray(original)).max() > 100


def test_coco_csv_and_yolo_are_written(mobilenets: Run, cell_model: Path, album: Path) -> None:
    out = album.parent / "found"
    done = mobilenets("predict", cell_model, album, "--out", out, "--write", "coco", "--write", "csv", "--write", "yolo")
    assert done.code == 0
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*.*")) == [
        "classes.txt",
        "detections.csv",
        "detections.json",
        "labels/a.txt",
        "labels/below/b.txt",
        "labels/c.txt",
    ]
    results = json.loads((out / "detections.json").read_text())
    assert len(results) == 5
    assert next(one for one in results if one["category"] == "sky") == {
        "image_id": "a.png",
        "file_name": "a.png",
        "category_id": 2,
        "category": "sky",
        "bbox": [128, 64, 64, 32],
        "score": pytest.approx(SCORE, abs=1e-3),
    }
    assert {row["file"] for row in csv.DictReader((out / "detections.csv").open())} == {
        str(album / name) for name in ("a.png", "below/b.jpg", "c.bmp")
    }
    lines = sorted((out / "labels" / "a.txt").read_text().splitlines())
    shares = [1 / 6, 1 / 6, 1 / 3, 1 / 3, SCORE]
    assert [float(number) for number in lines[0].split()] == pytest.approx([0, *shares], abs=1e-3)
    assert (out / "labels" / "c.txt").read_text() == ""
    assert (out / "classes.txt").read_text() == "rose\nsky\n"


def test_coco_results_are_those_that_pycocotools_reads(mobilenets: Run, cell_model: Path, tmp_path: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    evaluation = pytest.importorskip("pycocotools.cocoeval")
    image = Image.new("RGB", (192, 96))
    image.paste("red", (0, 0, 64, 32))
    image.save(tmp_path / "000000000139.png")
    mobilenets("predict", cell_model, tmp_path / "000000000139.png", "--out", tmp_path / "found", "--write", "coco")
    truth = coco.COCO()
    truth.dataset = {
        "info": {},
        "images": [{"id": 139, "file_name": "000000000139.png", "width": 192, "height": 96}],
        "categories": [{"id": 1, "name": "rose"}, {"id": 2, "name": "sky"}],
        "annotations": [{"id": 1, "image_id": 139, "category_id": 1, "bbox": [0, 0, 64, 32], "area": 2048, "iscrowd": 0}],
    }
    truth.createIndex()
    measured = evaluation.COCOeval(truth, truth.loadRes(str(tmp_path / "found" / "detections.json")), "bbox")
    measured.evaluate()
    measured.accumulate()
    measured.summarize()
    assert measured.stats[0] == pytest.approx(1)


def test_nothing_found_is_an_empty_array_of_results(mobilenets: Run, cell_model: Path, album: Path) -> None:
    mobilenets("predict", cell_model, album / "c.bmp", "--out", album.parent / "found", "--write", "coco")
    assert json.loads((album.parent / "found" / "detections.json").read_text()) == []


def test_images_of_one_name_do_not_overwrite_each_other(mobilenets: Run, cell_model: Path, album: Path) -> None:
    (album / "below" / "a.png").write_bytes((album / "a.png").read_bytes())
    out = album.parent / "found"
    mobilenets("predict", cell_model, album / "a.png", album / "below/a.png", "--out", out)
    assert sorted(path.name for path in (out / "drawn").iterdir()) == ["a-2.jpg", "a.jpg"]


def test_an_image_on_standard_input_is_drawn(mobilenets: Run, cell_model: Path, album: Path) -> None:
    out = album.parent / "found"
    done = mobilenets("predict", cell_model, "-", "--json", "--out", out, stdin=(album / "a.png").read_bytes())
    assert json.loads(done.out)["drawn"] == str(out / "drawn" / "image.jpg")
    assert (out / "drawn" / "image.jpg").is_file()


def test_a_bad_file_is_named_and_skipped(mobilenets: Run, cell_model: Path, album: Path) -> None:
    (album / "b.png").write_bytes(b"\x89PNG broken")
    done = mobilenets("predict", cell_model, album, "--out", album.parent / "found", "--write", "coco", "--write", "drawn")
    assert (done.code, len(done.out.splitlines())) == (0, 3)
    assert done.err.splitlines()[-1] == "1 of 4 images could not be read"
    assert len(json.loads((album.parent / "found" / "detections.json").read_text())) == 5


@pytest.mark.parametrize("options", [(), ("--whole",), ("--overlap", "0.5")])
def test_large_images_are_looked_at_in_tiles(
    mobilenets: Run, cell_model: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    image = Image.new("RGB", (400, 300))
    image.paste("red", (0, 0, 32, 32))
    image.save(tmp_path / "large.png")

    def boxes(*arguments: str) -> list[dict[str, Any]]:  # Any: JSON
        found: list[dict[str, Any]] = json.loads(
            mobilenets("predict", cell_model, tmp_path / "large.png", "--json", *arguments).out
        )["boxes"]
        return found

    assert boxes() == []
    (box,) = boxes("--tile", "96", "--out", str(tmp_path / "found"), *options)
    assert (box["label"], box["x0"], box["y0"], box["x1"], box["y1"]) == ("rose", 0, 0, 32, 32)
    assert (tmp_path / "found" / "drawn" / "large.jpg").is_file()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--top", "2"), "--top is for classifiers; this model's task is 'detect'"),
        (("--write", "coco"), "--write needs a folder to write into"),
        (("--whole",), "--whole is about tiles, but there are none"),
        (("--overlap", "0"), "--overlap is about tiles, but there are none"),
        (("--out", "found", "--write", "masks"), "a detector cannot write 'masks'; known: drawn, coco, csv, yolo"),
        (("--out", "found.jpg"), "with images, --out must be a folder, not 'found.jpg'"),
        (("--json", "--csv"), "--json and --csv cannot be combined"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    mobilenets: Run, cell_model: Path, album: Path, options: tuple[str, ...], message: str
) -> None:
    done = mobilenets("predict", cell_model, album, *options)
    assert (done.code, done.out) == (2, "")
    assert done.err.splitlines()[0] == f"error: {message}"


@pytest.mark.parametrize("options", [("--out", "found"), ("--threshold", "0"), ("--tile", "64"), ("--whole",)])
def test_a_classifier_refuses_options_of_others(
    mobilenets: Run, color_model: Path, album: Path, options: tuple[str, ...]
) -> None:
    done = mobilenets("predict", color_model, album, *options)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"error: {options[0]} is for detectors")


def test_a_folder_that_cannot_be_written_is_said(mobilenets: Run, cell_model: Path, album: Path) -> None:
    (album.parent / "found").mkdir()
    (album.parent / "found" / "drawn").write_text("a file where a folder of images is to be")
    done = mobilenets("predict", cell_model, album, "--out", album.parent / "found")
    assert done.code == 1
    assert done.err.startswith(f"error: '{album.parent / 'found'}' cannot be written: ")


@pytest.mark.slow
def test_an_image_of_100_megapixels_is_drawn_within_a_gigabyte(
    cell_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = Image.new("RGB", (10_000, 10_000))
    image.paste("red", (2240, 2240, 2880, 2880))
    image.save(tmp_path / "large.jpg")
    image.close()
    program = f"""
import re, sys
from pathlib import Path
sys.argv = ["mobilenets", "predict", {str(cell_model)!r}, {str(tmp_path / "large.jpg")!r}, "--tile", "960", "--json"]
sys.argv += ["--out", {str(tmp_path / "found")!r}, "--write", "drawn", "--write", "yolo"]
from mobilenets.cli.app import main
try:
    main()
finally:
    print(int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    line, megabytes = done.stdout.splitlines()
    assert {box["label"] for box in json.loads(line)["boxes"]} == {"rose"}
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # it would warn
    with Image.open(tmp_path / "found" / "drawn" / "large.jpg") as drawn:
        assert drawn.size == (10_000, 10_000)
    assert int(megabytes) < 1000  # of which the image and the drawn one are 763


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_killed_prediction_leaves_no_half_file(cell_model: Path, album: Path) -> None:
    """Killed at each place where a file is opened for writing: what lies under a final name is whole, or of the run before."""
    out = album.parent / "found"
    arguments = [
        "predict",
        str(cell_model),
        str(album),
        "--out",
        str(out),
        "--write",
        "coco",
        "--write",
        "drawn",
        "--write",
        "csv",
    ]
    program = f"""
import os, sys
seen, last = 0, int(sys.argv.pop(1))
def hook(event, arguments):
    global seen
    if event in ("open", "os.rename") and {str(out)!r} in str(arguments[0]) and (event != "open" or "w" in str(arguments[1])):
        seen += 1
        if seen == last: os.kill(os.getpid(), 9)
sys.addaudithook(hook)
sys.argv[1:] = {arguments!r}
from mobilenets.cli.app import main
main()
"""
    kills = 0
    for last in (1, 2, 3, 5, 7):
        done = subprocess.run([sys.executable, "-c", program, str(last)], capture_output=True, text=True, check=False)
        kills += done.returncode == -9
        for path in (path for path in out.rglob("*.*") if path.is_file() and not path.name.startswith(".")):
            if path.suffix == ".json":
                assert isinstance(json.loads(path.read_text()), list)
            elif path.suffix == ".jpg":
                with Image.open(path) as image:
                    image.load()
    assert kills >= 4
