"""What reproductions are computed with, at sizes that a test bears."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mobilenets.science.entry import PATHS, Asked, Reproduction


@pytest.fixture(scope="session")
def cheap(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Reproduction], Asked]:
    """The smallest settings of a reproduction."""

    kept = tmp_path_factory.mktemp("kept")  # networks that several reproductions share are exported once

    def settings(entry: Reproduction) -> Asked:
        paths: dict[str, Any] = {use: PLACES[use](shared, kept) for use in entry.uses if use in PATHS}  # Any: Path or str
        return Asked(kept, repeats=5, seconds=0.05, seeds=2, epochs=1, **paths)

    return settings


def photos(shared: Path, folder: Path) -> Path:
    """Two photos."""
    (folder / "photos").mkdir(exist_ok=True)
    for photo in sorted((shared / "data" / "imagenet-sample").iterdir())[:2]:
        (folder / "photos" / photo.name).write_bytes(photo.read_bytes())
    return folder / "photos"


def images(_: Path, folder: Path) -> str:
    """Images of 32 px in two classes, dark and bright, in splits train and test."""
    generator = np.random.default_rng(0)
    for split, count in (("train", 64), ("test", 8)):
        for label, level in (("dark", 40), ("bright", 200)):
            (folder / "data" / split / label).mkdir(parents=True, exist_ok=True)
            for i in range(count):
                pixels = generator.integers(level - 40, level + 40, (32, 32, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(folder / "data" / split / label / f"{i}.png")
    return str(folder / "data")


PLACES: dict[str, Callable[[Path, Path], object]] = {
    "weights": lambda shared, folder: shared / "weights" / "mobilenet_v2_1.0_224_quant.tflite",
    "images": photos,
    "data": images,
}
