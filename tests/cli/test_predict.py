from __future__ import annotations

import csv
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mobilenets.cli.images import image_files

Run = Callable[..., Any]  # Any: the fixture's `Done`


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Images red, green and blue, the green one a folder below; a text file and a hidden image beside them."""
    folder = tmp_path / "album"
    (folder / "below").mkdir(parents=True)
    for name, color in (("a.png", "red"), ("below/b.jpg", "lime"), ("c.bmp", "blue"), (".hidden.png", "red")):
        Image.new("RGB", (20, 30), color).save(folder / name)
    (folder / "notes.txt").write_text("not an image")
    return folder


def test_one_image_is_a_table_of_its_best_labels(mobilenets: Run, color_model: Path, album: Path) -> None:
    done = mobilenets("predict", color_model, album / "a.png")
    assert (done.code, done.err) == (0, "")
    assert done.out.split()[-6:] == ["red", "99.9%", "green", "0.0%", "blue", "0.0%"]


def test_a_folder_is_searched_below_and_gives_a_line_an_image(mobilenets: Run, color_model: Path, album: Path) -> None:
    done = mobilenets("predict", color_model, album)
    assert done.code == 0
    assert [line.split()[1:] for line in done.out.splitlines()] == [
        ["red", str(album / "a.png")],
        ["blue", str(album / "c.bmp")],
        ["green", str(album / "below/b.jpg")],
    ]


def test_json_is_one_object_a_line(mobilenets: Run, color_model: Path, album: Path) -> None:
    done = mobilenets("predict", color_model, album, "--json", "--top", "2")
    lines = [json.loads(line) for line in done.out.splitlines()]
    assert (lines[0]["file"], lines[0]["label"]) == (str(album / "a.png"), "red")
    assert [len(line["top"]) for line in lines] == [2, 2, 2]
    assert lines[0]["score"] == lines[0]["top"][0]["score"] == pytest.approx(1 / (1 + 2 * math.exp(-8)), abs=1e-6)


def test_csv_has_a_header_and_a_line_per_label(mobilenets: Run, color_model: Path, album: Path) -> None:
    done = mobilenets("predict", color_model, album / "a.png", album / "c.bmp", "--csv", "--top", "2")
    rows = list(csv.DictReader(done.out.splitlines()))
    assert [(Path(row["file"]).name, row["rank"], row["label"]) for row in rows] == [
        ("a.png", "1", "red"),
        ("a.png", "2", "green"),
        ("c.bmp", "1", "blue"),
        ("c.bmp", "2", "red"),
    ]


def test_a_glob_is_expanded(mobilenets: Run, color_model: Path, album: Path) -> None:
    done = mobilenets("predict", color_model, f"{album}/**/*.[bj][mp]*", "--csv")
    assert [row["label"] for row in csv.DictReader(done.out.splitlines())] == ["green", "blue"]


def test_an_image_on_standard_input(mobilenets: Run, color_model: Path, album: Path) -> None:
    done = mobilenets("predict", color_model, "-", "--json", stdin=(album / "below/b.jpg").read_bytes())
    assert (json.loads(done.out)["file"], json.loads(done.out)["label"]) == ("-", "green")


def test_a_list_on_standard_input(mobilenets: Run, color_model: Path, album: Path) -> None:
    paths = f"{album / 'c.bmp'}\r\n\n{album / 'below'}\n"
    done = mobilenets("predict", color_model, "-", "--csv", stdin=paths.encode())
    assert [row["label"] for row in csv.DictReader(done.out.splitlines())] == ["blue", "green"]


def test_an_empty_standard_input_is_said(mobilenets: Run, color_model: Path) -> None:
    done = mobilenets("predict", color_model, "-")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("error: there is nothing on standard input\n\nhint: ")


def test_a_bad_file_is_named_and_skipped(mobilenets: Run, color_model: Path, album: Path) -> None:
    (album / "b.png").write_bytes(b"\x89PNG broken")
    done = mobilenets("predict", color_model, album, album / "gone.jpg", "--csv")
    assert done.code == 0
    assert len(done.out.splitlines()) == 1 + 3
    assert [line.split(": ")[0] for line in done.err.splitlines()[:-1]] == [str(album / "b.png"), str(album / "gone.jpg")]
    assert done.err.splitlines()[-1] == "2 of 5 images could not be read"


def test_nothing_readable_fails(mobilenets: Run, color_model: Path, album: Path) -> None:
    done = mobilenets("predict", color_model, album / "notes.txt")
    assert (done.code, done.out) == (1, "")
    assert "not an image" in done.err


@pytest.mark.parametrize("source", ["empty", "empty/*.jpg"])
def test_a_folder_or_glob_without_images_is_said(mobilenets: Run, color_model: Path, tmp_path: Path, source: str) -> None:
    (tmp_path / "empty").mkdir()
    done = mobilenets("predict", color_model, tmp_path / source)
    assert (done.code, done.err.splitlines()[0].split(" '")[0][:16]) == (1, "error: no images")


def test_json_and_csv_together_are_wrong_usage(mobilenets: Run, color_model: Path, album: Path) -> None:
    assert mobilenets("predict", color_model, album, "--json", "--csv").code == 2


def test_a_run_without_export_names_the_command(mobilenets: Run, tmp_path: Path, album: Path) -> None:
    (tmp_path / "run" / "best").mkdir(parents=True)
    done = mobilenets("predict", tmp_path / "run", album)
    assert (done.code, done.err.splitlines()[-1]) == (1, f"hint: mobilenets export {tmp_path / 'run'} --to onnx")


def test_predicting_loads_no_training_library(color_model: Path, album: Path) -> None:
    program = f"""
import sys
sys.argv = ["mobilenets", "predict", {str(color_model)!r}, {str(album / "a.png")!r}]
from mobilenets.cli.app import main
try:
    main()
finally:
    heavy = {{"torch", "torchvision", "matplotlib", "jinja2", "onnx", "scipy", "safetensors"}}
    print("loaded:", sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "loaded: []"


def test_rows_appear_while_the_list_is_still_being_written(color_model: Path, album: Path) -> None:
    command = [sys.executable, "-u", "-m", "mobilenets", "predict", str(color_model), "-", "--json", "--batch", "1"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        for _ in range(64):
            process.stdin.write(f"{album / 'c.bmp'}\n")
            process.stdin.flush()
        assert json.loads(process.stdout.readline())["label"] == "blue"
        process.stdin.close()
        assert len(process.stdout.readlines()) == 63


# ---- what folders of strangers hold


def files_of(done: Any) -> list[str]:
    return [Path(row["file"]).name for row in csv.DictReader(done.out.splitlines())]


def test_pipes_and_folders_that_cannot_be_read_are_named_and_skipped(mobilenets: Run, color_model: Path, album: Path) -> None:
    os.mkfifo(album / "pipe.jpg")
    (album / "locked").mkdir(mode=0)
    done = mobilenets("predict", color_model, album, "--csv")
    (album / "locked").chmod(0o755)
    assert (done.code, files_of(done)) == (0, ["a.png", "c.bmp", "b.jpg"])
    assert f"{album / 'pipe.jpg'}: is a pipe, socket or device, not a file, and is left out" in done.err
    if os.geteuid():  # root may read everything
        assert f"{album / 'locked'}: cannot be read: Permission denied" in done.err


@pytest.mark.parametrize(
    ("named", "found"),
    [
        ("", ["a.png", "below/b.jpg", "c.bmp"]),
        ("/*.*", ["a.png", "c.bmp"]),
        ("/**/b*", ["below/b.jpg"]),
        ("/a.png", ["a.png"]),
        ("/notes.txt", []),
        ("/nothing.png", []),
    ],
)
def test_the_image_files_of_an_argument_are_those_that_predict_reads(album: Path, named: str, found: list[str]) -> None:
    assert [path.relative_to(album).as_posix() for path in image_files(f"{album}{named}")] == found


@pytest.mark.parametrize("pattern", ["", "/**/*.*", "/**"])
def test_links_in_a_circle_end(mobilenets: Run, color_model: Path, album: Path, pattern: str) -> None:
    for name in ("up", "up2"):
        (album / "below" / name).symlink_to("..")
    done = mobilenets("predict", color_model, f"{album}{pattern}", "--csv")
    assert sorted(set(files_of(done))) == ["a.png", "b.jpg", "c.bmp"]
    assert "leads back to a folder above it and is not followed" in done.err


def test_a_folder_of_another_format_is_told_by_its_name(mobilenets: Run, color_model: Path, tmp_path: Path) -> None:
    (tmp_path / "phone").mkdir()
    (tmp_path / "phone" / "IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    done = mobilenets("predict", color_model, tmp_path / "phone")
    assert done.code == 1
    assert "HEIC" in done.err
    assert "hint: " in done.err


def test_an_address_is_named_as_it_was_typed(mobilenets: Run, color_model: Path, album: Path) -> None:
    done = mobilenets("predict", color_model, "https://example.com/a.jpg", album / "a.png", "--csv")
    assert (done.code, files_of(done)) == (0, ["a.png"])
    assert done.err.startswith("https://example.com/a.jpg: images on the web are not fetched")
    done = mobilenets("predict", color_model, "s3://bucket/a.jpg")
    assert done.err.startswith("s3://bucket/a.jpg: object stores are read with --engine ray --out FOLDER")


@pytest.mark.parametrize("options", [(), ("--csv",), ("--json",)])
def test_no_control_character_of_a_name_or_label_reaches_the_terminal(
    mobilenets: Run, color_model: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    onnx = pytest.importorskip("onnx")
    from mobilenets.runtime.manifest import METADATA_KEY, Manifest
    from mobilenets.specs.model import InputContract

    model = onnx.load(color_model)
    labels = ("\x1b[31mred", "[/green]", "blue\u2028\x9b2J")
    onnx.helper.set_model_props(model, {METADATA_KEY: Manifest("m\x07", labels, InputContract(size=16)).to_json()})
    onnx.save(model, tmp_path / "model.onnx")
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a\x1b[2J.png", "b\nc\r.png", "[bold].png", "[x].png", "\u202eabc.png", "\udcff.png"):
        Image.new("RGB", (9, 9), "red").save(folder / name)
    (folder / "\x1bbroken.png").write_bytes(b"no image")
    done = mobilenets("predict", tmp_path / "model.onnx", folder, *options)
    single = mobilenets("predict", tmp_path / "model.onnx", folder / "[x].png", *options)
    alone = mobilenets("predict", tmp_path / "model.onnx", folder / "a\x1b[2J.png", *options)
    assert (done.code, single.code, alone.code) == (0, 0, 0)
    for text in (done.out, done.err, single.out, alone.out):
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202e]", text)
    rows = done.out.splitlines()
    assert len(rows) == (7 if options == ("--csv",) else 6)
    if options == ("--json",):
        assert {Path(json.loads(row)["file"]).name for row in rows} >= {"a\x1b[2J.png", "b\nc\r.png", "\u202eabc.png"}


def test_a_cell_that_a_spreadsheet_would_run_is_guarded(mobilenets: Run, color_model: Path, album: Path) -> None:
    done = mobilenets("predict", color_model, "-", "--csv", stdin=f"{album}/a.png\n".encode())
    assert files_of(done) == ["a.png"]
    Image.new("RGB", (9, 9)).save(album / "=1+1.png")
    listed = subprocess.run(
        [sys.executable, "-m", "mobilenets", "predict", str(color_model), "=1+1.png", "--csv"],
        cwd=album,
        capture_output=True,
        text=True,
        check=True,
    )
    assert listed.stdout.splitlines()[1].startswith("'=1+1.png,")


def test_an_endless_standard_input_ends(color_model: Path) -> None:
    with Path("/dev/zero").open("rb") as endless:
        command = [sys.executable, "-c", _SMALL_INPUT, "predict", str(color_model), "-"]
        done = subprocess.run(command, stdin=endless, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith("error: the image on standard input has more than 1 MB")


_SMALL_INPUT = """
import mobilenets.cli.images
mobilenets.cli.images.LARGEST = 1 << 20
from mobilenets.cli.app import main
main()
"""


def test_the_engine_is_chosen_by_name_and_said_when_asked(mobilenets: Run, color_model: Path, album: Path) -> None:
    done = mobilenets("predict", color_model, album / "a.png", "--engine", "onnx", "--verbose", "--csv")
    assert done.code == 0
    assert done.err.strip() == f"engine: OnnxEngine with {color_model}, onnx"
    wrong = mobilenets("predict", color_model, album / "a.png", "--engine", "onyx")
    assert (wrong.code, wrong.err.startswith("error: unknown engine 'onyx'; known: onnx, tflite")) == (2, True)
    other = mobilenets("predict", color_model, album / "a.png", "--engine", "tflite")
    assert other.code == 1
    assert other.err.startswith(f"error: '{color_model}' has 'model.onnx', which LiteRT does not read\n\nhint: export it: ")
