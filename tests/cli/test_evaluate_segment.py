from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

Run = Callable[..., Any]  # Any: the fixture's `Done`


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three images in test/, red on the left and blue on the right; in the masks the third is red all over."""
    folder = tmp_path / "colors"
    for name in ("images", "masks"):
        (folder / "test" / name).mkdir(parents=True)
    image = Image.new("RGB", (96, 64), "red")
    image.paste("blue", (48, 0, 96, 64))
    mask = np.zeros((64, 96), np.uint8)
    mask[:, 48:] = 2
    for i in range(3):
        image.save(folder / f"test/images/{i}.png")
        Image.fromarray(mask if i < 2 else np.zeros_like(mask)).save(folder / f"test/masks/{i}.png")
    (folder / "classes.txt").write_text("red\ngreen\nblue\n")
    return folder


def test_a_segmenter_is_measured_and_reported(mobilenets: Run, segment_model: Path, data: Path) -> None:
    done = mobilenets("evaluate", segment_model, data, "--json", "--out", data.parent / "report")
    assert done.code == 0
    found = json.loads(done.out)
    # red: 3 halves right, truth 4 halves; blue: 2 right, predicted 3, truth 2
    assert found["metrics"]["miou"]["value"] == pytest.approx((3 / 4 + 2 / 3) / 2)
    assert found["metrics"]["pixel_accuracy"]["value"] == pytest.approx(5 / 6)
    assert found["worst"][0]["name"] == "test/images/2.png"
    assert (data.parent / "report/report.html").is_file()


def test_people_see_classes_and_the_worst_images(mobilenets: Run, segment_model: Path, data: Path) -> None:
    out = mobilenets("evaluate", segment_model, data, "--out", data.parent / "report").out
    for words in ("mean IoU", "75.0%", "66.7%", "boundary F-score", "test/images/2.png"):
        assert words in out


def test_classes_and_what_counts_nowhere_can_be_given(mobilenets: Run, segment_model: Path, data: Path) -> None:
    (data / "classes.txt").unlink()
    options = ("--classes", "red,green,other", "--ignore", "other", "--out", data.parent / "report", "--json")
    done = mobilenets("evaluate", segment_model, data, *options)
    assert json.loads(done.out)["metrics"]["pixel_accuracy"]["value"] == pytest.approx(3 / 4)


def test_a_dataset_of_other_classes_is_refused(mobilenets: Run, segment_model: Path, data: Path) -> None:
    (data / "classes.txt").write_text("red\ngreen\nsky\n")
    done = mobilenets("evaluate", segment_model, data)
    assert done.code == 1
    assert "'sky', which the model does not know" in done.err


def test_a_file_that_gives_classes_is_measured_too(mobilenets: Run, classes_model: Path, data: Path) -> None:
    done = mobilenets("evaluate", classes_model, data, "--json", "--out", data.parent / "report")
    assert json.loads(done.out)["metrics"]["pixel_accuracy"]["value"] == pytest.approx(5 / 6)


def test_several_scales_need_logits_and_sizes(mobilenets: Run, classes_model: Path, segment_model: Path, data: Path) -> None:
    done = mobilenets("evaluate", classes_model, data, "--multi-scale")
    assert done.code == 2
    assert f"several scales and mirror images need logits, but '{classes_model}' gives classes" in done.err
    assert "hint: give the run folder, or the raw export" in done.err
    done = mobilenets("evaluate", segment_model, data, "--multi-scale")
    assert done.code == 2
    assert "takes 32 x 48 px only, not several scales" in done.err
    assert "hint: give the run folder" in done.err
