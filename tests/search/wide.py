"""`Wide`: a judge whose values a test can compute."""

from __future__ import annotations

from mobilenets.model import Model
from mobilenets.search.judge import Judged


class Wide:
    """A judge to whom width is worth something, and each part of a training as much again."""

    title = "accuracy"

    def __init__(self) -> None:
        self.judged = 0

    def __call__(self, model: Model, seed: int) -> Judged:
        self.judged += 1
        return self.measured(model)

    def measured(self, model: Model) -> Judged:
        return Judged(model, sum(row.c_out for row in model.spec.backbone.rows) / 1000, {})
