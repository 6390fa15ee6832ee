"""Where a classifier looked: there, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mobilenets.evaluation.classify.looked import CELLS, looked
from mobilenets.reports.classify.looked import look, overlay
from mobilenets.runtime.engines.base import Engine, Outputs
from mobilenets.runtime.manifest import Manifest
from mobilenets.runtime.predictor import Predictor
from mobilenets.specs.model import InputContract

SIZE = 70


class Corner(Engine):
    """An engine that looks at one cell of the input alone: the redder it is, the more it says "red".

    Args:
        weight: how much that counts.
    """

    outputs = ("logits",)

    def __init__(self, weight: float = 1.0) -> None:
        self.weight = weight

    def run(self, batch: NDArray[np.float32]) -> Outputs:
        side = SIZE // CELLS
        red = self.weight * batch[:, 0, side : 2 * side, 5 * side : 6 * side].mean(axis=(1, 2))
        return {"logits": np.stack([red, np.zeros_like(red)], axis=1).astype(np.float32)}


def predictor_of(engine: Engine) -> Predictor:
    contract = InputContract(size=SIZE, resize="stretch", crop=1.0)
    return Predictor(Manifest("corner", ("red", "other"), contract), engine, threads=1)


@pytest.fixture
def predictor() -> Predictor:
    return predictor_of(Corner())


def test_hiding_the_cell_that_decides_matters_most(predictor: Predictor) -> None:
    found = looked(predictor, np.full((SIZE, SIZE, 3), 255, np.uint8))
    assert found.importance.shape == (CELLS, CELLS)
    assert found.importance[1, 5] == 1
    near = {(1, 5), (0, 5), (2, 5), (1, 4), (1, 6), (0, 4), (0, 6), (2, 4), (2, 6)}
    assert {tuple(place) for place in np.argwhere(found.importance > 0).tolist()} <= near


def test_an_answer_that_nothing_lowers_has_no_important_place() -> None:
    blind = predictor_of(Corner(weight=0))
    assert looked(blind, np.full((SIZE, SIZE, 3), 255, np.uint8)).importance.max() == 0


def test_the_image_is_grey_but_where_it_matters(predictor: Predictor, tmp_path: Path) -> None:
    image = Image.new("RGB", (140, 70), (255, 200, 200))
    drawn = np.asarray(overlay(image, looked(predictor, image))).astype(int)
    assert drawn.shape == (70, 140, 3)
    colorful = np.ptp(drawn, axis=2) > 20
    assert colorful[15, 110]  # row 1 and column 5 of 7
    assert not colorful[60, 20]
    assert not colorful[:, :60].any()


def test_an_image_that_is_gone_is_left_out(predictor: Predictor) -> None:
    def gone(name: str) -> bytes:
        raise FileNotFoundError(name)

    draw = look(predictor, gone)
    assert draw is not None
    assert draw("x.jpg") == b""


def test_other_tasks_have_none(cell_model: Path) -> None:
    assert look(Predictor.open(cell_model, engine="onnx"), lambda name: b"") is None
