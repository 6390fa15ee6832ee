from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mobilenets.runtime.video import VideoReader, VideoWriter

Run = Callable[..., Any]  # Any: the fixture's `Done`

pytest.importorskip("cv2", reason="the extra 'video' is not installed")


@pytest.fixture
def street(tmp_path: Path) -> Path:
    """A video, 288 x 288: a red square goes through the cells of the upper row, a frame each; then there is nothing."""
    path = tmp_path / "street.avi"
    with VideoWriter(path, (288, 288), 10) as writer:
        for left in (0, 96, 192, 288):
            image = Image.new("RGB", (288, 288))
            image.paste("red", (left, 0, left + 96, 96))
            writer.add(image)
    return path


def frames(path: Path) -> list[Any]:  # Any: arrays
    with VideoReader(str(path)) as reader:
        return [np.asarray(frame.image).astype(int) for frame in reader.frames()]


def test_json_is_a_line_per_frame(mobilenets: Run, cell_model: Path, street: Path) -> None:
    done = mobilenets("predict", cell_model, street, "--json")
    assert (done.code, done.err) == (0, "")
    lines = [json.loads(line) for line in done.out.splitlines()]
    assert [(line["file"], line["frame"], line["time_s"]) for line in lines] == [(str(street), i, i / 10) for i in range(4)]
    assert [[(box["label"], box["x0"], box["x1"]) for box in line["boxes"]] for line in lines] == [
        [("rose", 0, 96)],
        [("rose", 96, 192)],
        [("rose", 192, 288)],
        [],
    ]


def test_lines_for_people_have_times(mobilenets: Run, cell_model: Path, street: Path) -> None:
    done = mobilenets("predict", cell_model, street)
    assert [line.split() for line in done.out.splitlines()] == [
        ["0.00", "s", "1", "rose"],
        ["0.10", "s", "1", "rose"],
        ["0.20", "s", "1", "rose"],
        ["0.30", "s", "nothing"],
    ]


@pytest.mark.parametrize("name", ["annotated.mp4", "annotated.avi"])
def test_boxes_are_drawn_into_a_video(mobilenets: Run, cell_model: Path, street: Path, name: str) -> None:
    out = street.parent / name
    done = mobilenets("predict", cell_model, street, "--out", out)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"wrote {out}: 4 frames, ")
    before, after = frames(street), frames(out)
    assert [one.shape for one in after] == [(288, 288, 3)] * 4
    changed = [np.abs(one - two).max(axis=2) > 80 for one, two in zip(before, after, strict=True)]
    assert [bool(one[:, i * 96 : i * 96 + 96].any()) for i, one in enumerate(changed[:3])] == [True] * 3
    assert not changed[3].any()


def test_a_segmenters_colors_are_drawn_into_a_video(mobilenets: Run, segment_model: Path, street: Path) -> None:
    out = street.parent / "annotated.mp4"
    done = mobilenets("predict", segment_model, street, "--out", out, "--json")
    lines = [json.loads(line) for line in done.out.splitlines()]
    assert [line["frame"] for line in lines] == [0, 1, 2, 3]
    assert all(sum(area["share"] for area in line["areas"]) == pytest.approx(1, abs=1e-5) for line in lines)
    assert done.err.startswith(f"wrote {out}: 4 frames")
    assert len(frames(out)) == 4


@pytest.mark.parametrize("model", ["cell_model", "segment_model"])
def test_frames_are_looked_at_in_tiles(mobilenets: Run, model: str, street: Path, request: pytest.FixtureRequest) -> None:
    done = mobilenets("predict", request.getfixturevalue(model), street, "--json", "--tile", "96", "--overlap", "0.5")
    assert (done.code, len(done.out.splitlines())) == (0, 4)


def test_a_threshold_holds_for_frames(mobilenets: Run, cell_model: Path, street: Path) -> None:
    done = mobilenets("predict", cell_model, street, "--json", "--threshold", "0.999")
    assert [json.loads(line)["boxes"] for line in done.out.splitlines()] == [[]] * 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("other.jpg",), "a video must be the only source"),
        (("--csv",), "--csv is for images; a video gives --json, a line per frame, and --out VIDEO"),
        (("--out", "found", "--write", "coco"), "--write is for images;"),
        (("--out", "found"), "a video cannot be written as 'found'"),
    ],
)
def test_what_does_not_fit_a_video_is_refused(
    mobilenets: Run, cell_model: Path, street: Path, options: tuple[str, ...], message: str
) -> None:
    done = mobilenets("predict", cell_model, street, *options)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"error: {message}")


def test_a_classifier_has_nothing_to_draw(mobilenets: Run, color_model: Path, street: Path) -> None:
    done = mobilenets("predict", color_model, street)
    assert (done.code, done.err.splitlines()[0]) == (
        2,
        "error: videos are for detectors and segmenters; this model's task is 'classify'",
    )


def test_images_are_not_written_as_a_video(mobilenets: Run, cell_model: Path, tmp_path: Path) -> None:
    Image.new("RGB", (20, 20)).save(tmp_path / "a.png")
    done = mobilenets("predict", cell_model, tmp_path / "a.png", "--out", "found.mp4")
    assert (done.code, done.err.splitlines()[0]) == (2, "error: with images, --out must be a folder, not 'found.mp4'")


def test_a_bad_video_ends_in_one_error(cell_model: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"no video" * 100)
    command = [sys.executable, "-m", "mobilenets", "predict", str(cell_model), str(tmp_path / "bad.mp4"), "--out", "out.mp4"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[0] == f"error: '{tmp_path / 'bad.mp4'}' cannot be read as a video"
    assert len(done.stderr.splitlines()) == 3  # OpenCV's own words are not among them
    assert not (tmp_path / "out.mp4").exists()


def test_without_opencv_the_command_that_brings_it_is_said(
    mobilenets: Run, cell_model: Path, street: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    done = mobilenets("predict", cell_model, street)
    assert (done.code, done.err.splitlines()[-1]) == (1, "hint: pip install '.[video]' in your clone of mobilenets")


def test_a_camera_ends_with_control_c_and_its_video_stays(
    mobilenets: Run, cell_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Camera:
        """Stands for OpenCV's: gives frames until the user ends it."""

        def __init__(self, number: int) -> None:
            self.left = 5

        def isOpened(self) -> bool:  # noqa: N802  # as OpenCV calls it
            return True

        def get(self, _: int) -> float:
            return 0.0

        def read(self) -> tuple[bool, Any]:  # Any: an array
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
            return True, np.full((96, 96, 3), (0, 0, 250), np.uint8)

        def release(self) -> None:
            pass

    with monkeypatch.context() as patched:
        patched.setattr("cv2.VideoCapture", Camera)
        done = mobilenets("predict", cell_model, "camera:0", "--out", tmp_path / "out.mp4", "--threads", "1")
    assert done.code == 0
    assert done.out.startswith(f"wrote {tmp_path / 'out.mp4'}: ")
    assert len(frames(tmp_path / "out.mp4")) >= 1
