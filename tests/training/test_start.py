from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from torch import Tensor, nn

from mobilenets.data.samples import Dataset
from mobilenets.model import Model
from mobilenets.training.recipe import Recipe
from mobilenets.training.start import first_model
from mobilenets.weights import norms


@pytest.mark.parametrize(("size", "images"), [(32, 48), (448, 32)])
def test_norms_observe_fewer_of_large_images(
    size: int, images: int, model: Model, dataset: Dataset, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, ...]] = []

    def reinsert(_: nn.Module, batches: Iterable[Tensor]) -> None:
        seen.extend(tuple(batch.shape) for batch in batches)

    monkeypatch.setattr(norms, "folded", lambda _: True)
    monkeypatch.setattr(norms, "reinsert", reinsert)
    first_model(model, dataset, replace(recipe, size=size))
    assert seen == [(8, 3, size, size)] * (images // 8)
