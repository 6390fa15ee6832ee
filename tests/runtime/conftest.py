"""A segmenter that needs no weights, and pictures for it."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mobilenets.runtime.manifest import Manifest
from mobilenets.runtime.predictor import Predictor
from mobilenets.specs.deeplab import DeepLabHead
from mobilenets.specs.model import InputContract

Pixels = NDArray[np.uint8]


@dataclass
class MeanColors:
    """An engine: the logits of each cell are 8 times its mean red, green and blue, -1 to 1.

    Args:
        stride: side of a cell, px.
        shapes: of the inputs that it has seen.
    """

    stride: int
    shapes: list[tuple[int, ...]] = field(default_factory=list)

    def run(self, batch: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        self.shapes.append(batch.shape)
        n, c, height, width = batch.shape
        cells = batch.reshape(n, c, height // self.stride, self.stride, width // self.stride, self.stride)
        return {"logits": 8 * cells.mean(axis=(3, 5))}


@pytest.fixture
def segmenter() -> Callable[..., Predictor]:
    """Makes a predictor of red, green and blue for inputs of a height and width, with a stride."""

    def make(height: int, width: int, stride: int = 4) -> Predictor:
        contract = InputContract(size=height, wide=0 if width == height else width, resize="stretch", crop=1.0)
        manifest = Manifest("colors", ("red", "green", "blue"), contract, DeepLabHead())
        return Predictor(manifest, MeanColors(stride), threads=2)

    return make


@pytest.fixture
def blocks() -> Callable[[int, int], Pixels]:
    """Makes a picture, H W 3, of blocks of random color."""

    def make(height: int, width: int) -> Pixels:
        pixels = np.random.default_rng(0).integers(0, 255, (-(-height // 7), -(-width // 7), 3), dtype=np.uint8)
        return np.kron(pixels, np.ones((7, 7, 1), np.uint8))[:height, :width]

    return make


@pytest.fixture
def png() -> Callable[[Pixels], bytes]:
    """Encodes a picture without loss."""

    def encode(pixels: Pixels) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        return buffer.getvalue()

    return encode
