"""The tiles of a confusion matrix's cells: where they lie, and which are kept."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pytest
from numpy.typing import NDArray

from mobilenets.evaluation.segment import metrics, tiles
from mobilenets.evaluation.segment.tiles import Tiles


def tiles_of(name: str, truth: NDArray[np.uint8], predicted: NDArray[np.uint8], beside: Tiles) -> Tiles:
    return tiles.tiles_of(name, metrics.confusion(truth, predicted, 3), truth, predicted, beside=beside)


def test_a_tile_lies_where_an_image_has_the_most_pixels_of_a_cell() -> None:
    truth = np.zeros((80, 160), np.uint8)
    predicted = truth.copy()
    predicted[10, 5] = 1
    predicted[42:78, 90:126] = 1  # 36 x 36, in one tile of 40 x 40
    truth[0, 0] = 255
    found = tiles_of("a", truth, predicted, {})
    assert found.keys() == {(0, 0), (0, 1)}
    (tile,) = found[0, 1]
    assert (tile.pixels, tile.box) == (36 * 36 + 1, (90, 40, 130, 80))
    expected = (predicted == 1)[40:80, 90:130]
    assert tile.inside.tolist() == expected.tolist()


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (3, 200), (7, 7), (513, 1000), (2000, 31)])
def test_a_tile_lies_inside_an_image_of_any_shape(shape: tuple[int, int]) -> None:
    truth = np.zeros(shape, np.uint8)
    predicted = truth.copy()
    predicted[-1, -1] = 2
    (tile,) = tiles_of("a", truth, predicted, {})[0, 2]
    x0, y0, x1, y1 = tile.box
    assert 0 <= x0 < x1 == shape[1]
    assert 0 <= y0 < y1 == shape[0]
    assert max(tile.inside.shape) <= tiles.MOST_SIDE


def test_the_images_with_the_most_pixels_are_kept_the_first_of_equal_ones_first() -> None:
    def with_wrong(found: Tiles, image: tuple[int, int]) -> Tiles:
        number, wrong = image
        truth = np.zeros((8, 8), np.uint8)
        predicted = truth.copy()
        predicted.flat[:wrong] = 1
        return tiles.merged(found, tiles_of(f"image {number}", truth, predicted, found))

    start: Tiles = {}
    kept = reduce(with_wrong, enumerate((3, 1, 4, 1, 5, 9, 2, 6, 5, 3)), start)
    assert [(tile.name, tile.pixels) for tile in kept[0, 1]] == [
        ("image 5", 9),
        ("image 7", 6),
        ("image 4", 5),
        ("image 8", 5),
        ("image 2", 4),
        ("image 0", 3),
    ]
