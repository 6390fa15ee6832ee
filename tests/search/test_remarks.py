"""What a search says at its end."""

from __future__ import annotations

from pathlib import Path

import pytest

from mobilenets.model import Model
from mobilenets.search.finalists import Finalist
from mobilenets.search.flow import Network, Result
from mobilenets.search.methods import Wanted, Way
from mobilenets.search.report import remarks_of


@pytest.mark.parametrize(("ladder", "words"), [(0.80, "10.0 points above"), (0.95, "5.0 points below")])
def test_a_search_that_the_ladder_beats_names_the_better_start(ladder: float, words: str, model: Model, tmp_path: Path) -> None:
    def network(name: str, origin: str, value: float) -> Network:
        finalist = Finalist(name, origin, f"the {name}", "top1", value, None, None, "test", "")
        return Network(finalist, model.spec, {"mb": 1.0}, None)

    networks = (network("start", "start", 0.9), network("netadapt", "search", 0.9), network("ladder-48px", "ladder", ladder))
    said = " ".join(remarks_of(Result(tmp_path / "my search", Wanted({"mb": 1.0}), Way((), "loss"), networks, (), "", ())))
    assert words in said
    assert (f"--start '{tmp_path}/my search/finalists/ladder-48px'" in said) == (ladder > 0.9)


@pytest.mark.parametrize("finalists", [1, 2])
def test_the_best_of_several_finalists_is_said_to_be_chosen_by_its_images(finalists: int, model: Model, tmp_path: Path) -> None:
    networks = tuple(
        Network(
            Finalist(f"{i}", "search", f"network {i}", "top1", i / 10, None, None, "test", ""), model.spec, {"mb": 1.0}, None
        )
        for i in range(finalists)
    )
    said = " ".join(remarks_of(Result(tmp_path, Wanted({"mb": 1.0}), Way((), "loss"), networks, (), "", ())))
    assert ("network 1 is the best of 2 finalists on test" in said) == (finalists == 2)
