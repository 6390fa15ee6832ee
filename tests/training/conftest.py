"""Generated images and a network small enough to train within a test."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilenets.data.boxes import Box
from mobilenets.data.masks import Mask
from mobilenets.data.samples import Dataset, Sample, Split
from mobilenets.model import Model, create
from mobilenets.specs.families import backbone
from mobilenets.specs.model import InputContract, ModelSpec
from mobilenets.specs.rows import BackboneSpec, Bottleneck, Conv
from mobilenets.training.recipe import Recipe


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """48 images for training and 16 for validation, dark or bright on average; learnable within some steps."""
    random = np.random.default_rng(0)
    samples = []
    for i in range(64):
        split: Split = "train" if i < 48 else "val"
        pixels = random.integers(0, 150, (40, 44, 3)) + 100 * (i % 2)
        path = tmp_path / "images" / f"{i:03d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(path)
        samples.append(Sample(path, i % 2, split, name=path.name))
    return Dataset(("dark", "bright"), tuple(samples), "shades")


@pytest.fixture
def model() -> Model:
    """MobileNetV2 0.1 for images of 32 px."""
    spec = ModelSpec(backbone("mobilenet_v2", width=0.1), ("dark", "bright"), InputContract(size=32))
    return create(replace(spec, backbone=replace(spec.backbone, size=32)))


@pytest.fixture
def recipe() -> Recipe:
    """Three epochs of four steps."""
    return Recipe(
        epochs=3,
        batch=12,
        optimizer="adamw",
        learning_rate=3e-3,
        norm_momentum=0.1,
        ema=0.9,
        precision="fp32",
        workers=0,
        save_every_seconds=0.0,
    )


@pytest.fixture(scope="session")
def rectangles(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """24 images for training and 8 for validation, each with a red and a blue rectangle on noise, with boxes and masks."""
    random = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("rectangles")
    samples = []
    for i in range(32):
        pixels = random.integers(90, 170, (96, 96, 3)).astype(np.uint8)
        mask, boxes = np.zeros((96, 96), np.uint8), []
        for k, color in enumerate(((220, 40, 40), (40, 40, 220))):
            width, height = (int(side) for side in random.integers(24, 44, 2))
            x, y = int(random.integers(0, 48 - width)) + 48 * ((i + k) % 2), int(random.integers(0, 96 - height))
            pixels[y : y + height, x : x + width] = color
            mask[y : y + height, x : x + width] = k + 1
            boxes.append(Box(k, x, y, x + width, y + height))
        paths = [folder / f"{i:02d}.png", folder / f"{i:02d}.mask.png"]
        for path, array in zip(paths, (pixels, mask), strict=True):
            Image.fromarray(array).save(path)
        split: Split = "train" if i < 24 else "val"
        samples.append(Sample(paths[0], -1, split, name=paths[0].name, boxes=tuple(boxes), mask=Mask(paths[1])))
    return Dataset(("red", "blue"), tuple(samples), "rectangles")


@pytest.fixture(scope="session")
def tiny() -> BackboneSpec:
    """Five rows, down to stride 32."""
    rows = [Bottleneck(c_out * 3, c_out, 3, 2) for c_out in (16, 24, 32, 32)]
    return BackboneSpec("tiny", (Conv(16, 3, 2), *rows), size=96)
