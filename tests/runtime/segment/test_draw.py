from __future__ import annotations

import io

import numpy as np
from PIL import Image

from mobilenets.runtime.segment.draw import IGNORED, indexed, overlay

CLASSES = np.array([[0, 1], [2, 255]], np.uint8)
COLORS = ((0, 0, 0), (200, 100, 0), (0, 0, 250))


def test_an_index_mask_keeps_its_values_and_shows_its_colors() -> None:
    buffer = io.BytesIO()
    indexed(CLASSES, COLORS).save(buffer, "PNG")
    read = Image.open(buffer)
    assert read.mode == "P"
    assert np.asarray(read).tolist() == CLASSES.tolist()
    assert np.asarray(read.convert("RGB")).tolist() == [[[0, 0, 0], [200, 100, 0]], [[0, 0, 250], list(IGNORED)]]


def test_an_overlay_leaves_black_and_ignored_as_they_were() -> None:
    photo = Image.new("RGB", (2, 2), (100, 100, 100))
    drawn = np.asarray(overlay(photo, CLASSES, COLORS, opacity=0.5)).astype(int)
    assert drawn[0, 0].tolist() == drawn[1, 1].tolist() == [100, 100, 100]
    assert np.abs(drawn[0, 1] - [150, 100, 50]).max() <= 1
    assert np.asarray(photo).max() == 100


def test_a_grey_photo_of_another_size_is_covered_whole() -> None:
    drawn = overlay(Image.new("L", (40, 3000), 0), np.array([[1], [2]], np.uint8), COLORS, opacity=1.0)
    assert drawn.size == (40, 3000)
    assert drawn.getpixel((39, 0)) == COLORS[1]
    assert drawn.getpixel((0, 2999)) == COLORS[2]
