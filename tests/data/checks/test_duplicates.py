"""Near duplicates are found where a person sees them, and among many."""

from __future__ import annotations

import io
import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from mobilenets.data.checks import duplicates
from mobilenets.runtime.images.decode import decode_image


def compared(*images: Image.Image) -> list[list[int]]:
    greys = [duplicates.small(image) for image in images]
    hashes = np.array([duplicates.perceptual_hash(grey) for grey in greys], dtype=np.uint64)
    return duplicates.near_duplicates(hashes, np.stack([duplicates.thumbnail(grey) for grey in greys]))


def photo(seed: int) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return Image.fromarray(values).resize((320, 240), Image.Resampling.BICUBIC)


def encoded_again(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


def test_what_people_do_to_an_image_leaves_it_the_same() -> None:
    image = photo(0)
    others = [
        encoded_again(image, 40),
        image.resize((160, 120), Image.Resampling.LANCZOS),
        image.resize((800, 640), Image.Resampling.BICUBIC),
        ImageEnhance.Contrast(image).enhance(0.8),
        image.convert("L"),
    ]
    assert compared(image, *others, photo(1)) == [[0, 1, 2, 3, 4, 5]]


def test_different_images_are_not_the_same() -> None:
    assert compared(*(photo(seed) for seed in range(60))) == []


def test_different_photos_are_not_the_same(shared: Path) -> None:
    files = sorted((shared / "data" / "imagenet-sample").iterdir())
    assert compared(*(decode_image(file, at_least=64) for file in files[:200])) == []


def test_two_shots_of_the_same_slide_are_found(shared: Path) -> None:
    names = [f"BloodImage_{i:05d}.jpg" for i in range(30, 60)]
    files = [file for name in names if (file := shared / "data" / "bccd" / "JPEGImages" / name).exists()]
    found = [[files[i].stem for i in members] for members in compared(*(decode_image(file) for file in files))]
    assert found == [["BloodImage_00037", "BloodImage_00038"]]  # the same cells, seen by eye


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 60), st.integers(1, 6))
def test_every_pair_within_seven_bits_is_found(seed: int, n: int, kinds: int) -> None:
    rng = np.random.default_rng(seed)
    base = rng.integers(0, 1 << 64, kinds, dtype=np.uint64)
    flips = [sum(1 << int(bit) for bit in rng.choice(64, rng.integers(0, 7), replace=False)) for _ in range(n)]
    hashes = base[rng.integers(0, kinds, n)] ^ np.array(flips, dtype=np.uint64)
    oracle = {(i, j) for i, j in itertools.combinations(range(n), 2) if (int(hashes[i]) ^ int(hashes[j])).bit_count() <= 7}
    found = {(min(pair), max(pair)) for part in duplicates.near_pairs(hashes) for pair in part.tolist()}
    assert found == oracle


def test_many_images_of_one_fixed_camera_are_one_set() -> None:
    rng = np.random.default_rng(0)
    hashes = np.array([sum(1 << int(bit) for bit in rng.choice(64, 3, replace=False)) for _ in range(1500)], dtype=np.uint64)
    thumbnails = np.repeat(duplicates.thumbnail(duplicates.small(photo(0)))[None], 1500, axis=0)
    (members,) = duplicates.near_duplicates(hashes, thumbnails)
    assert members == list(range(1500))


def test_equal_hashes_of_unlike_images_do_not_make_them_the_same() -> None:
    thumbnails = np.stack([duplicates.thumbnail(duplicates.small(photo(seed))) for seed in (0, 1, 0)])
    assert duplicates.near_duplicates(np.zeros(3, dtype=np.uint64), thumbnails) == [[0, 2]]


@pytest.mark.parametrize(("low", "high", "flat"), [(90, 90, True), (0, 255, False)])
def test_a_single_tone_is_flat(low: int, high: int, flat: bool) -> None:
    grey = np.full((40, 40), low, dtype=np.uint8)
    grey[:, 20:] = high
    assert duplicates.is_flat(duplicates.small(Image.fromarray(grey))) == flat
