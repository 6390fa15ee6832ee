"""What a search says at its end."""

from __future__ import annotations

from pathlib import Path

import pytest

from mobilenets.data.samples import Split
from mobilenets.model import Model
from mobilenets.search.finalists import Finalist
from mobilenets.search.flow import Network, Result
from mobilenets.search.journal import Proposal, Step
from mobilenets.search.methods import Wanted, Way
from mobilenets.search.report import remarks_of, write_report


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


@pytest.mark.parametrize(
    ("split", "words"),
    [("train", "The networks were trained on these images"), ("val", "There is no test split"), ("test", "")],
)
def test_images_that_were_used_before_are_said_first_and_on_the_page(
    split: Split, words: str, model: Model, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    origins = {"start": "start", "netadapt": "search", "ladder-48px": "ladder"}
    networks = tuple(
        Network(
            Finalist(name, origin, name, "top1", 0.5, 0.4, 0.6, split, ""),
            model.spec,
            {"mb": 1.0, "macs": 1.0, "kb_ram": 1.0},
            None,
        )
        for name, origin in origins.items()
    )
    start = Step(0, "", Proposal("", "the start", 0, 0, {"mb": 1.0}, -0.5, 0.5, 0.0))
    result = Result(tmp_path, Wanted({"mb": 1.0}), Way((), "loss", (start,)), networks, ("56px-0.5",), "", ())
    doubts = remarks_of(result)[:-1]
    assert [doubt.startswith(words) for doubt in doubts] == ([True] if words else [])
    assert write_report(result, title="Search", facts={}) == []
    page = (tmp_path / "report.md").read_text()
    assert page.count("points above the best network of the ladder") == 1
    assert all(doubt in page for doubt in doubts)
    assert "Left out after a short evaluation: 56px-0.5." in (tmp_path / "report.html").read_text()
