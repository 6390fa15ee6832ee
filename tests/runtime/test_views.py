from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from mobilenets.documents import decode, encode
from mobilenets.errors import DocumentError, SpecError
from mobilenets.runtime import views
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
    assert decode(encode(ClassifierHead(mirrors="both")), ClassifierHead) == ClassifierHead(mirrors="both")


def test_unknown_mirrors_are_refused() -> None:
    with pytest.raises(SpecError, match="mirrors 'sideways' are not one of none, horizontal, vertical, both"):
        ClassifierHead(mirrors="sideways")  # type: ignore[arg-type]  # what is refused
    with pytest.raises(DocumentError, match="mirrors is 'sideways', which is not one of none, horizontal, vertical, both"):
        decode({"mirrors": "sideways"}, ClassifierHead)
