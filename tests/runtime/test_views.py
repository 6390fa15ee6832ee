from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from mobilenets.errors import SpecError
from mobilenets.runtime import views
from mobilenets.specs.codec import head, to_data
from mobilenets.specs.model import ClassifierHead, Mirrors


class Corner:
    """Gives the top left pixel of each image."""

    def __init__(self) -> None:
        self.runs = 0

    def run(self, batch: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        self.runs += 1
        return {"logits": batch[:, :, 0, 0]}


@pytest.mark.parametrize(
    ("mirrors", "expected", "runs"), [("none", 1, 1), ("horizontal", 1.5, 2), ("vertical", 2, 2), ("both", 2.5, 4)]
)
def test_logits_are_the_mean_over_the_mirrored_views(mirrors: Mirrors, expected: float, runs: int) -> None:
    engine = Corner()
    batch = np.array([[[[1, 2], [3, 4]]]], np.float32)
    outputs = views.run(engine, batch, ClassifierHead(mirrors=mirrors))
    assert outputs["logits"].tolist() == [[expected]]
    assert engine.runs == runs


def test_mirrors_travel_with_the_head() -> None:
    assert head(to_data(ClassifierHead(mirrors="both"))) == ClassifierHead(mirrors="both")


def test_unknown_mirrors_are_refused() -> None:
    with pytest.raises(SpecError, match="mirrors 'sideways' are not one of none, horizontal, vertical, both"):
        head({"mirrors": "sideways"})
