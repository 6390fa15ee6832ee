"""A segmenter is served as the other tasks are."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.serve.running import Running

from mobilenets.runtime.engines.base import Engine, Outputs
from mobilenets.runtime.engines.table import Runtime
from mobilenets.runtime.manifest import Manifest
from mobilenets.serve.model import Source
from mobilenets.specs.deeplab import DeepLabHead
from mobilenets.specs.model import InputContract
from mobilenets.table import Table


class Areas(Engine):
    """An engine: the logits of each cell of 4 x 4 px are 8 times its mean red, green and blue, -1 to 1."""

    concurrent = True
    outputs = ("logits",)

    def __init__(self, path: Path, threads: int | None = None) -> None:
        self.source = str(path)

    def run(self, batch: NDArray[np.float32]) -> Outputs:
        n, c, height, width = batch.shape
        return {"logits": 8 * batch.reshape(n, c, height // 4, 4, width // 4, 4).mean(axis=(3, 5))}

    def manifest(self) -> Manifest:
        contract = InputContract(size=16, resize="stretch", crop=1.0)
        return Manifest("areas", ("red", "green", "blue"), contract, DeepLabHead())


@pytest.fixture
def areas(serve: Callable[..., Running], tmp_path: Path) -> Running:
    path = tmp_path / "model.areas"
    path.touch()
    return serve(Source("areas", path, threads=1, engines=Table("kind", {".areas": Runtime("Areas", Areas)})))


@pytest.fixture(scope="module")
def halves() -> bytes:
    """An image of 80 x 40 px whose left quarter is red, the rest blue."""
    pixels = np.zeros((40, 80, 3), np.uint8)
    pixels[:, :20, 0] = pixels[:, 20:, 2] = 255
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


EXPECTED = [{"label": "blue", "pixels": 2400, "share": 0.75}, {"label": "red", "pixels": 800, "share": 0.25}]


def test_areas_are_answered_in_pixels_of_the_image(areas: Running, halves: bytes) -> None:
    assert areas.ask("/predict", halves).json() == {"file": "-", "width": 80, "height": 40, "areas": EXPECTED}
    drawn = Image.open(io.BytesIO(areas.ask("/predict?draw=1", halves, headers={"Accept": "image/png"}).data))
    assert drawn.size == (80, 40)
    assert len(np.unique(np.asarray(drawn).reshape(-1, 3), axis=0)) == 2


def test_the_protocol_answers_areas_of_images_and_logits_of_tensors(areas: Running, halves: bytes) -> None:
    image = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [base64.b64encode(halves).decode()]}
    (output,) = areas.infer("areas.images", {"inputs": [image]}).json()["outputs"]
    assert json.loads(output["data"][0]) == {"width": 80, "height": 40, "areas": EXPECTED}
    tensor = {"name": "image", "shape": [2, 3, 16, 16], "datatype": "FP32", "data": [1.0] * 1536}
    (output,) = areas.infer("areas", {"inputs": [tensor]}).json()["outputs"]
    assert output["shape"] == [2, 3, 4, 4]
    assert set(output["data"]) == {8.0}


def test_options_of_other_tasks_are_refused(areas: Running, halves: bytes) -> None:
    assert "'top' is for classifiers" in areas.refusal(areas.ask("/predict?top=2", halves), 400)
    assert "a threshold is for detectors" in areas.refusal(areas.ask("/predict?threshold=0.2", halves), 400)
