from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from mobilenets.runtime.images.decode import decode_image
from mobilenets.runtime.images.prepare import load_placed
from mobilenets.runtime.images.sample import sampled
from mobilenets.specs.model import InputContract


@pytest.mark.parametrize("size", [(320, 320), (57, 33), (640, 480), (1, 1), (9, 500)])
def test_it_is_torchs_plain_interpolation(size: tuple[int, int]) -> None:
    torch = pytest.importorskip("torch")
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(pixels).permute(2, 0, 1)[None].float(), size=(96, 64), mode="bilinear", align_corners=False
    )
    found = sampled(Image.fromarray(pixels), (96, 64))
    np.testing.assert_allclose(found, expected[0].permute(1, 2, 0).numpy(), atol=0.02)  # torch places pixels in 32 bits


def test_a_contract_that_samples_takes_the_whole_image_unshrunk() -> None:
    pixels = np.zeros((512, 512), np.uint8)
    pixels[:, ::2] = 255  # columns that any averaging turns grey
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=100)
    contract = InputContract(size=24, channels=1, mean=(0.5,), std=(0.5,), resize="sample", crop=1.0)
    array, placement = load_placed(file.getvalue(), contract)
    decoded = np.asarray(decode_image(file.getvalue(), channels=1)).astype(np.float32)
    # the center of input pixel 0 is 10.1667 px into the image's pixels: 5/6 of number 10 and 1/6 of number 11
    expected = (5 / 6 * decoded[10, 10] + 1 / 6 * decoded[10, 11]) * 5 / 6 + (
        5 / 6 * decoded[11, 10] + 1 / 6 * decoded[11, 11]
    ) / 6
    assert array.shape == (1, 24, 24)
    assert array[0, 0, 0] == pytest.approx(expected / 127.5 - 1, abs=1e-4)
    assert placement.scale_x == pytest.approx(512 / 24)
    assert placement.left == 0
