from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mobilenets.errors import UsageError
from mobilenets.runtime.predictor import Predictor
from mobilenets.runtime.segment import tiles as segment_tiles
from mobilenets.runtime.segment.tiles import predict_tiles, side
from mobilenets.runtime.segment.upsample import axis, upsampled_largest

Make = Callable[..., Predictor]
Blocks = Callable[[int, int], NDArray[np.uint8]]
Encode = Callable[[NDArray[np.uint8]], bytes]


@pytest.mark.parametrize(("pixels", "length", "cells"), [(1000, 64, 16), (65, 64, 16), (4097, 513, 33), (512, 100, 7)])
@pytest.mark.parametrize("align_corners", [False, True])
def test_tiles_cover_every_place_and_overlap_as_asked(pixels: int, length: int, cells: int, align_corners: bool) -> None:
    one = side(pixels, length, cells, overlap=0.25, align_corners=align_corners)
    covered = np.zeros(one.total, int)
    for start in one.starts:
        covered[start : start + cells] += 1
    assert covered.min() >= 1
    assert one.starts[0] == 0
    assert one.starts[-1] + cells == one.total
    steps = np.diff(one.starts)
    assert steps.size == 0 or steps.max() <= cells - one.fade
    assert one.total * one.pitch >= pixels


def test_a_tile_counts_less_towards_its_ends() -> None:
    weights = side(100, 32, 8, overlap=0.25, align_corners=False).weights
    np.testing.assert_allclose(weights, [0.2, 0.6, 1, 1, 1, 1, 0.6, 0.2])


@pytest.mark.parametrize(("height", "width"), [(100, 131), (33, 200), (20, 90)])
def test_the_tiles_of_a_network_that_sees_no_further_than_a_cell_make_the_whole(
    segmenter: Make, blocks: Blocks, png: Encode, height: int, width: int
) -> None:
    pixels = blocks(height, width)
    found = predict_tiles(segmenter(32, 48), png(pixels))
    down, across = -(-height // 4), -(-width // 4)
    padded = np.pad(pixels, ((0, down * 4 - height), (0, across * 4 - width), (0, 0)), mode="edge").astype(np.float32)
    logits = padded.reshape(down, 4, across, 4, 3).mean(axis=(1, 3)).transpose(2, 0, 1)
    expected = upsampled_largest(
        np.ascontiguousarray(logits), axis(height, down, size=down * 4), axis(width, across, size=across * 4)
    )
    assert found.classes.shape == (height, width)
    assert (found.classes == expected).mean() > 0.999


def test_only_tiles_of_the_networks_size_are_run(segmenter: Make, blocks: Blocks, png: Encode) -> None:
    predictor = segmenter(32, 48)
    done: list[tuple[int, int]] = []
    predict_tiles(predictor, png(blocks(100, 131)), progress=lambda i, n: done.append((i, n)))
    engine: Any = predictor.engine  # Any: the fake of conftest
    assert set(engine.shapes) == {(1, 3, 32, 48)}
    assert done == [(i, 16) for i in range(1, 17)]


def test_a_scale_takes_larger_tiles_at_less_detail(segmenter: Make, blocks: Blocks, png: Encode) -> None:
    pixels = np.repeat(np.repeat(blocks(60, 90), 2, axis=0), 2, axis=1)
    fine = predict_tiles(segmenter(32, 32), png(pixels[::2, ::2]))
    coarse = predict_tiles(segmenter(32, 32), png(pixels), scale=2.0)
    assert coarse.classes.shape == (120, 180)
    assert (coarse.classes[::2, ::2] == fine.classes).mean() > 0.95


def test_what_fits_into_one_tile_is_predicted_whole(segmenter: Make, blocks: Blocks, png: Encode) -> None:
    predictor, data = segmenter(32, 48), png(blocks(20, 40))
    expected: Any = predictor.predict(data)
    np.testing.assert_array_equal(predict_tiles(predictor, data).classes, expected.classes)


def test_values_out_of_range_are_refused(segmenter: Make, blocks: Blocks, png: Encode) -> None:
    data = png(blocks(20, 40))
    with pytest.raises(UsageError, match="overlap 1"):
        predict_tiles(segmenter(32, 48), data, overlap=1)
    with pytest.raises(UsageError, match="scale 0"):
        predict_tiles(segmenter(32, 48), data, scale=0)
    predictor = segmenter(32, 48)
    predictor.manifest = replace(predictor.manifest, head=segment_tiles_classifier())
    with pytest.raises(UsageError, match="task is 'classify'"):
        predict_tiles(predictor, data)


def segment_tiles_classifier() -> Any:  # Any: another kind of head
    from mobilenets.specs.model import ClassifierHead

    return ClassifierHead()


def test_few_tiles_wait_in_memory(segmenter: Make, blocks: Blocks, png: Encode, monkeypatch: pytest.MonkeyPatch) -> None:
    ahead: list[int] = []
    begun = 0
    original = segment_tiles._Tiles.logits

    def counted(self: Any, top: float, left: float) -> NDArray[np.float32]:
        nonlocal begun
        begun += 1
        return original(self, top, left)

    monkeypatch.setattr(segment_tiles._Tiles, "logits", counted)
    predict_tiles(segmenter(16, 16), png(blocks(200, 200)), progress=lambda done, _: ahead.append(begun - done))
    assert max(ahead) <= 2 * 2 + 2
