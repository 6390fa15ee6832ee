from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mobilenets.errors import UsageError
from mobilenets.runtime.manifest import Manifest
from mobilenets.runtime.predictor import Predictor
from mobilenets.runtime.segment.scales import SCALES, MultiScale, scaled
from mobilenets.specs.deeplab import DeepLabHead
from mobilenets.specs.model import InputContract

Make = Callable[..., Predictor]
Blocks = Callable[[int, int], NDArray[np.uint8]]
Encode = Callable[[NDArray[np.uint8]], bytes]


def test_the_papers_six_scales_and_mirrors_are_17_375_times_the_pixels() -> None:
    assert 2 * sum(scale**2 for scale in SCALES) == 17.375  # MAdds of Table 7's MF rows by those of one pass


def test_one_scale_unmirrored_is_the_prediction(segmenter: Make, blocks: Blocks, png: Encode) -> None:
    predictor, data = segmenter(32, 48), png(blocks(50, 70))
    found = MultiScale(predictor, scales=[1.0], flip=False).predict(data)
    expected: Any = predictor.predict(data)
    np.testing.assert_array_equal(found.classes, expected.classes)


def test_every_scale_is_seen_both_ways(segmenter: Make, blocks: Blocks, png: Encode) -> None:
    predictor = segmenter(32, 64)
    MultiScale(predictor, scales=[0.5, 1.0, 1.5]).predict(png(blocks(50, 70)))
    engine: Any = predictor.engine
    assert engine.shapes == [(1, 3, h, w) for h, w in ((16, 32), (32, 64), (48, 96)) for _ in range(2)]


def test_a_mirrored_image_has_the_mirrored_classes(segmenter: Make, blocks: Blocks, png: Encode) -> None:
    pixels = blocks(48, 96)
    several = MultiScale(segmenter(32, 64), scales=[0.5, 1.0])
    straight = several.predict(png(pixels)).classes
    mirrored = several.predict(png(pixels[:, ::-1])).classes[:, ::-1]
    assert (straight == mirrored).mean() > 0.995


def test_scores_are_averaged_as_torch_would(segmenter: Make, blocks: Blocks, png: Encode) -> None:
    torch = pytest.importorskip("torch")
    pixels = blocks(32, 64)
    predictor = segmenter(32, 64)
    found = MultiScale(predictor, scales=[1.0, 2.0]).predict(png(pixels)).classes
    from mobilenets.runtime.images.prepare import load_input

    total = 0
    for scale in (1.0, 2.0):
        contract = scaled(predictor.manifest.input, scale, predictor.manifest)
        array = load_input(png(pixels), contract)
        logits = torch.from_numpy(predictor.engine.run(array[None])["logits"])
        total = total + torch.nn.functional.interpolate(logits, (32, 64), mode="bilinear").softmax(1)
    expected = torch.as_tensor(total)[0].argmax(0).numpy()
    assert (found == expected).mean() > 0.998


def test_aligned_corners_keep_one_more_than_a_multiple() -> None:
    contract = InputContract(size=513, resize="stretch", crop=1.0)
    manifest = Manifest("some", ("a",), contract, DeepLabHead(align_corners=True))
    assert [scaled(contract, scale, manifest).shape for scale in (0.5, 1.75)] == [(257, 257), (897, 897)]


def test_a_stream_names_what_cannot_be_read(segmenter: Make, blocks: Blocks, png: Encode, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png(blocks(20, 20)))
    results = list(MultiScale(segmenter(32, 64)).stream([path, tmp_path / "gone.png"]))
    assert [result.prediction is None for result in results] == [False, True]
    assert "does not exist" in results[1].error


def test_a_classifier_is_refused(color_model: Path) -> None:
    with pytest.raises(UsageError, match="task is 'classify'"):
        MultiScale(Predictor.open(color_model))
