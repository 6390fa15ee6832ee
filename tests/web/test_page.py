"""The page in a browser: what comes in, and what it shows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mobilenets.runtime.classify import Classification
from mobilenets.runtime.predictor import Predictor

if TYPE_CHECKING:
    from playwright.sync_api import Page

Visit = Callable[[Path], "Page"]


def painted(path: Path, color: tuple[int, int, int]) -> Path:
    """A file of one color with some noise."""
    pixels: NDArray[np.int64] = np.random.default_rng(0).integers(-20, 20, (48, 64, 3)) + color
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
    return path


def test_a_chosen_image_is_classified_as_by_the_predictor(visit: Visit, color_model: Path, tmp_path: Path) -> None:
    image = painted(tmp_path / "meadow.png", (40, 200, 60))
    page = visit(color_model)
    page.locator("input[type=file]").first.set_input_files(image)
    verdict = page.locator(".verdict")
    verdict.wait_for()
    expected = Predictor.open(color_model, engine="onnx").predict(image)
    assert isinstance(expected, Classification)
    assert verdict.inner_text().lower() == expected.label
    shown = [line.split("\n")[:2] for line in page.locator(".bars li").all_inner_texts()]
    assert shown == [[label, f"{score:.1%}"] for label, score in expected.top(3)]
