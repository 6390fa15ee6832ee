from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mobilenets.data import masks
from mobilenets.data.masks import IGNORE, Mask
from mobilenets.data.regions import from_runs
from mobilenets.errors import ImageError

VALUES = np.array([[0, 1, 2], [255, 1, 0]], np.uint8)


def saved(path: Path, pixels: NDArray[Any], mode: str | None = None) -> Path:
    image = Image.fromarray(pixels)
    (image if mode is None else image.convert(mode)).save(path)
    return path


def test_an_index_mask_is_read_as_it_is(tmp_path: Path) -> None:
    mask = Mask(saved(tmp_path / "a.png", VALUES))
    assert masks.read(mask).tolist() == VALUES.tolist()
    assert masks.read(mask).dtype == np.uint8


def test_a_palette_image_gives_its_indices_and_not_its_colors(tmp_path: Path) -> None:
    image = Image.fromarray(VALUES, mode="P")
    image.putpalette([200, 10, 10] * 256)
    image.save(tmp_path / "a.png")
    assert masks.read(Mask(tmp_path / "a.png")).tolist() == VALUES.tolist()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_grey_levels_saved_with_more_channels_are_values(tmp_path: Path, mode: str) -> None:
    assert masks.read(Mask(saved(tmp_path / "a.png", VALUES, mode))).tolist() == VALUES.tolist()


def test_sixteen_bits_are_mapped_to_classes(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", np.array([[0, 300], [7, 255]], np.uint16))
    table = [-1] * 301
    table[0], table[7], table[300] = 0, 1, 2
    table[255] = IGNORE
    assert masks.read(Mask(path, classes=tuple(table))).tolist() == [[0, 2], [1, IGNORE]]


def test_one_bit_is_0_and_1(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1").save(path)
    assert masks.read(Mask(path)).tolist() == [[0, 1]]


def test_a_value_that_no_class_has_is_named(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", np.array([[0, 1, 11, 11]], np.uint8))
    with pytest.raises(ImageError, match=r"a\.png' has 2 pixels of a value that no class has: 11"):
        masks.read(Mask(path, classes=(0, 1)))


def test_255_counts_nowhere_unless_it_is_a_class(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", np.array([[0, 255]], np.uint8))
    assert masks.read(Mask(path, classes=(0, 1))).tolist() == [[0, IGNORE]]
    assert masks.read(Mask(path, classes=(0, *[-1] * 254, 1))).tolist() == [[0, 1]]


def test_colors_are_looked_up(tmp_path: Path) -> None:
    pixels = np.array([[[128, 0, 0], [0, 0, 0]], [[1, 2, 3], [128, 0, 0]]], np.uint8)
    colors = ((0, 0, 0), (128, 0, 0), (1, 2, 3))
    mask = Mask(saved(tmp_path / "a.png", pixels), "color", (0, 1, IGNORE), colors)
    assert masks.read(mask).tolist() == [[1, 0], [IGNORE, 1]]


def test_a_color_that_no_class_has_is_refused(tmp_path: Path) -> None:
    pixels = np.full((2, 2, 3), 9, np.uint8)
    with pytest.raises(ImageError, match="4 pixels of a color that no class has"):
        masks.read(Mask(saved(tmp_path / "a.png", pixels), "color", (0,), ((0, 0, 0),)))


def test_a_color_image_without_colors_says_what_is_missing(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", np.array([[[128, 0, 0]]], np.uint8))
    with pytest.raises(ImageError, match="which color is which class") as caught:
        masks.read(Mask(path))
    assert "palette.csv" in caught.value.hint


def test_a_missing_and_a_truncated_mask_are_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"b\.png' does not exist"):
        masks.read(Mask(tmp_path / "b.png"))
    path = saved(tmp_path / "a.png", np.random.default_rng(0).integers(0, 9, (64, 64)).astype(np.uint8))
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ImageError, match=r"a\.png' is truncated"):
        masks.read(Mask(path))


def test_regions_are_painted() -> None:
    assert masks.read(Mask(regions=(from_runs(3, [1, 1]),), width=1, height=2)).tolist() == [[0], [3]]


def test_a_survey_counts_what_reading_refuses(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", np.array([[0, 0, 1, 255, 11]], np.uint8))
    found = masks.survey(Mask(path, classes=(0, 1)))
    assert (found.width, found.height, found.pixels, found.ignored, found.strays) == (5, 1, {0: 2, 1: 1}, 1, {11: 1})
    assert not found.lossy


def test_a_jpeg_is_lossy_whatever_its_name(tmp_path: Path) -> None:
    Image.fromarray(VALUES).save(tmp_path / "a.png", format="JPEG")
    assert masks.survey(Mask(tmp_path / "a.png")).lossy


def test_another_size_has_no_new_values() -> None:
    large = masks.resized(np.array([[0, 7]], np.uint8), 6, 2)
    assert large.tolist() == [[0, 0, 0, 7, 7, 7]] * 2


def test_a_mask_is_the_same_wherever_its_folder_lies(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    first, second = saved(tmp_path / "a.png", VALUES), saved(tmp_path / "b/a.png", VALUES)
    assert masks.words(Mask(first, classes=(0, 1))) == masks.words(Mask(second, classes=(0, 1)))
    assert masks.words(Mask(first, classes=(0, 1))) != masks.words(Mask(first, classes=(1, 0)))
