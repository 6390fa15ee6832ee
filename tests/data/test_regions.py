from __future__ import annotations

import numpy as np
import pytest

from mobilenets.data import regions
from mobilenets.errors import ImageError


def test_run_lengths_go_down_the_columns() -> None:
    within = regions.inside(regions.from_runs(1, [1, 2, 3]), width=2, height=3)
    assert within.tolist() == [[False, False], [True, False], [True, False]]


def test_later_regions_lie_over_earlier_ones() -> None:
    painted = regions.paint([regions.from_runs(1, [0, 4]), regions.from_runs(2, [0, 1, 3])], width=2, height=2)
    assert painted.tolist() == [[2, 1], [1, 1]]


def test_run_lengths_that_do_not_fill_the_image_are_refused() -> None:
    with pytest.raises(ImageError, match="cover 6 pixels of 2 x 2"):
        regions.inside(regions.from_runs(1, [1, 2, 3]), width=2, height=2)


@pytest.mark.parametrize("text", ["\x7f", "é", "Z"])
def test_damaged_compressed_run_lengths_are_refused(text: str) -> None:
    with pytest.raises(ImageError, match="compressed run lengths"):
        regions.decompressed(text)


def test_a_square_covers_the_pixels_whose_centers_it_holds() -> None:
    square = regions.from_polygons(1, [[1, 1, 3, 1, 3, 3, 1, 3]])
    assert np.argwhere(regions.inside(square, 5, 5)).tolist() == [[1, 1], [1, 2], [2, 1], [2, 2]]


def test_polygons_give_the_pixels_of_cocoapi() -> None:
    coco = pytest.importorskip("pycocotools.mask")
    random = np.random.default_rng(0)
    for _ in range(200):
        width, height = (int(side) for side in random.integers(1, 60, 2))
        corners = random.uniform(-5, 65, 2 * int(random.integers(3, 12))).round(2)
        if random.random() < 0.3:
            corners = np.concatenate([corners, corners[-2:], corners[:2]])  # doubled points, as annotations have
        expected = coco.decode(coco.merge(coco.frPyObjects([corners.tolist()], height, width)))
        found = regions.inside(regions.from_polygons(1, [corners.tolist()]), width, height)
        np.testing.assert_array_equal(found, expected.astype(bool))


def test_compressed_run_lengths_are_those_of_cocoapi() -> None:
    coco = pytest.importorskip("pycocotools.mask")
    random = np.random.default_rng(0)
    for share in (0.0, 0.01, 0.5, 0.99, 1.0):
        pixels = random.random((37, 53)) < share
        counts = coco.encode(np.asfortranarray(pixels.astype(np.uint8)))["counts"].decode()
        np.testing.assert_array_equal(regions.inside(regions.from_runs(1, counts), 53, 37), pixels)
