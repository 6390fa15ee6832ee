from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from mobilenets.runtime.segment.upsample import axis, largest, upsampled, upsampled_largest

SHAPES = [  # classes, map, image
    (11, (23, 30), (360, 480)),
    (21, (33, 33), (513, 513)),
    (2, (1, 1), (5, 7)),
    (3, (1, 9), (5, 70)),
    (3, (9, 1), (41, 6)),
    (4, (9, 9), (5, 4)),
    (3, (16, 16), (16, 16)),
    (60, (7, 5), (200, 301)),
]


def values(classes: int, shape: tuple[int, int], seed: int = 0) -> NDArray[np.float32]:
    """Logits that are alike at places beside one another, as networks give them."""
    rough = np.random.default_rng(seed).normal(size=(classes, *shape))
    for side in (1, 2):
        for _ in range(3):
            rough = (rough + np.roll(rough, 1, side) + np.roll(rough, -1, side)) / 3
    return rough.astype(np.float32)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(("classes", "places", "pixels"), SHAPES)
def test_it_is_the_bilinear_interpolation_of_torch(
    classes: int, places: tuple[int, int], pixels: tuple[int, int], align_corners: bool
) -> None:
    torch = pytest.importorskip("torch")
    logits = values(classes, places)
    rows, columns = (axis(n, k, size=n, align_corners=align_corners) for n, k in zip(pixels, places, strict=True))
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(logits)[None], pixels, mode="bilinear", align_corners=align_corners
    )[0].numpy()
    found = upsampled(logits, rows, columns)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    first, second = np.sort(expected, axis=0)[[-1, -2]]
    clear = first - second > 1e-4  # elsewhere rounding may decide
    np.testing.assert_array_equal(upsampled_largest(logits, rows, columns)[clear], expected.argmax(axis=0)[clear])
    assert clear.mean() > 0.99


def test_part_of_an_axis_gives_part_of_the_pixels() -> None:
    logits = values(3, (8, 8))
    rows, columns = axis(64, 8, size=64), axis(64, 8, size=64)
    np.testing.assert_array_equal(upsampled(logits, rows.part(20, 33), columns), upsampled(logits, rows, columns)[:, 20:33])


def test_pixels_beyond_the_input_take_the_value_at_its_edge() -> None:
    logits = np.array([[[1.0, 2.0]]], np.float32)
    columns = axis(8, 2, size=2, scale=2.0, start=2.0)  # the input covers pixels 2 to 5
    assert upsampled(logits, axis(1, 1, size=1), columns)[0, 0].tolist() == [1, 1, 1, 1.25, 1.75, 2, 2, 2]


def test_of_equal_values_the_first_is_the_largest() -> None:
    equal = np.zeros((4, 2, 2), np.float32)
    assert not largest(equal).any()
    assert not upsampled_largest(equal, axis(9, 2, size=9), axis(9, 2, size=9)).any()


def test_a_class_that_is_nowhere_largest_on_the_map_can_be_between() -> None:
    logits = np.array([[[2.0, 0.0]], [[0.0, 2.0]], [[1.5, 1.5]]], np.float32)
    found = upsampled_largest(logits, axis(1, 1, size=1), axis(40, 2, size=40))
    assert set(found.ravel().tolist()) == {0, 1, 2}
