"""Generated pictures and a network small enough to train within a test."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilenets.data.samples import Dataset, Sample, Split
from mobilenets.model import Model, create
from mobilenets.specs.families import backbone
from mobilenets.specs.model import InputContract, ModelSpec
from mobilenets.training.recipe import Recipe


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """48 pictures for training and 16 for validation, dark or bright on average; learnable within some steps."""
    random = np.random.default_rng(0)
    samples = []
    for i in range(64):
        split: Split = "train" if i < 48 else "val"
        pixels = random.integers(0, 150, (40, 44, 3)) + 100 * (i % 2)
        path = tmp_path / "pictures" / f"{i:03d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(path)
        samples.append(Sample(path, i % 2, split, name=path.name))
    return Dataset(("dark", "bright"), tuple(samples), "shades")


@pytest.fixture
def model() -> Model:
    """MobileNetV2 0.1 for pictures of 32 px."""
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
