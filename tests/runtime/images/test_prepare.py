"""Images are prepared as the reference pipelines do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.runtime.images.drawn import encoded, noise

from mobilenets.runtime.images.prepare import load_input, normalize, prepare, resize
from mobilenets.specs.model import IMAGENET_MEAN, IMAGENET_STD, InputContract


def from_torchvision(image: Image.Image, shorter: int, size: int, interpolation: str) -> NDArray[np.uint8]:
    transforms = pytest.importorskip("torchvision.transforms", reason="torchvision is not installed")
    mode = transforms.InterpolationMode(interpolation)
    both = transforms.Compose([transforms.Resize(shorter, mode), transforms.CenterCrop(size)])
    return np.asarray(both(image))


@pytest.mark.parametrize("size_of", [(500, 375), (375, 500), (333, 257), (60, 81), (256, 256), (1024, 205)])
@pytest.mark.parametrize(
    ("size", "shorter", "interpolation"), [(224, 256, "bilinear"), (224, 232, "bicubic"), (95, 101, "lanczos")]
)
def test_shorter_side_then_crop_is_torchvisions_to_the_pixel(
    size_of: tuple[int, int], size: int, shorter: int, interpolation: Any
) -> None:
    image = noise(*size_of)
    contract = InputContract(size=size, resize="shorter_side_then_crop", crop=size / shorter, interpolation=interpolation)
    ours = np.asarray(resize(image, contract))
    assert np.array_equal(ours, from_torchvision(image, shorter, size, interpolation))


def test_a_very_long_image_is_within_two_levels_of_torchvision() -> None:
    image = noise(3000, 60)
    contract = InputContract(size=64, resize="shorter_side_then_crop", crop=64 / 72)
    ours = np.asarray(resize(image, contract), dtype=int)
    assert np.abs(ours - from_torchvision(image, 72, 64, "bilinear")).max() <= 2


def test_an_absurdly_long_image_takes_no_memory() -> None:
    contract = InputContract(size=224, resize="shorter_side_then_crop")
    assert prepare(Image.new("RGB", (1_000_000, 1)), contract).shape == (3, 224, 224)


@pytest.mark.parametrize("size_of", [(500, 375), (375, 501), (61, 44)])
def test_crop_then_stretch_cuts_as_tensorflow_does(size_of: tuple[int, int]) -> None:
    image = noise(*size_of)
    width, height = size_of
    # tf.image.central_crop: start = int((side - side * fraction) / 2), length = side - 2 * start
    left, top = int((width - width * 0.875) / 2), int((height - height * 0.875) / 2)
    cut = Image.fromarray(np.asarray(image)[top : height - top, left : width - left])
    oracle = cut.resize((128, 128), Image.Resampling.BILINEAR)
    assert np.array_equal(np.asarray(resize(image, InputContract(size=128))), np.asarray(oracle))


def test_stretch_keeps_the_whole_image() -> None:
    image = noise(70, 35)
    array = prepare(image, InputContract(size=70, resize="stretch", mean=(0.0,) * 3, std=(1.0,) * 3, interpolation="nearest"))
    assert np.allclose(array[:, ::2], np.asarray(image).transpose(2, 0, 1) / 255, atol=1e-6)


def test_letterbox_pads_with_the_mean_which_is_zero() -> None:
    array = prepare(Image.new("RGB", (100, 50), (255, 255, 255)), InputContract(size=64, resize="letterbox"))
    assert np.allclose(array[:, 16:48], 1)
    assert not array[:, :16].any()
    assert not array[:, 48:].any()


def test_normalizing_is_torchvisions() -> None:
    transforms = pytest.importorskip("torchvision.transforms", reason="torchvision is not installed")
    image = noise(32, 24)
    oracle = transforms.Compose([transforms.ToTensor(), transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD)])(image).numpy()
    array = normalize(image, InputContract(mean=IMAGENET_MEAN, std=IMAGENET_STD))
    assert array.dtype == np.float32
    assert array.flags.c_contiguous
    assert np.allclose(array, oracle, atol=2e-6)


def test_half_mean_and_std_map_pixels_to_minus_one_to_one() -> None:
    array = normalize(Image.fromarray(np.array([[0, 255]], dtype=np.uint8)), InputContract(channels=1, mean=(0.5,), std=(0.5,)))
    assert array.tolist() == [[[-1.0, 1.0]]]


def test_one_mean_serves_every_channel() -> None:
    image = noise(16, 16)
    one = prepare(image, InputContract(size=16, mean=(0.5,), std=(0.25,)))
    three = prepare(image, InputContract(size=16, mean=(0.5,) * 3, std=(0.25,) * 3))
    assert np.array_equal(one, three)


def test_grey_contract_takes_a_color_image() -> None:
    contract = InputContract(size=20, channels=1, mean=(0.5,), std=(0.5,))
    assert load_input(encoded(noise(40, 30), "PNG"), contract).shape == (1, 20, 20)
