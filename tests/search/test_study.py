from __future__ import annotations

from pathlib import Path

import pytest
from tests.search.wide import Wide

from mobilenets import checkpoint
from mobilenets.model import Model
from mobilenets.search.costs import Costs
from mobilenets.search.ranking import FIRST, Sampled, behind, best, pareto, rewarded
from mobilenets.search.storage import Storage
from mobilenets.search.study import Shapes, opened
from mobilenets.search.telling import StoppedError, Telling

pytest.importorskip("optuna")


def _shapes(
    model: Model, folder: Path, *, share: float = 0.8, reward: float = 0.0, stop_after: int = 10**6
) -> tuple[Shapes, Wide]:
    judge = Wide()
    budget = {"macs": share * Costs().macs(model.spec)}
    telling = Telling(stop=lambda: judge.judged >= stop_after)
    turns = opened(Storage(), folder, reward, telling)
    return Shapes(model, budget, Costs(), (judge, judge), turns, folder, reward, 0, telling), judge


def _one(number: int, value: float, cost: float, *, over: float = 0.0, dropped: bool = False, parts: int = 2) -> Sampled:
    return Sampled(number, {}, {"ms": cost}, value, (value,) * parts, dropped, over)


def test_networks_above_the_budget_are_not_trained_and_the_rest_keeps_to_it(model: Model, tmp_path: Path) -> None:
    shapes, judge = _shapes(model, tmp_path)
    sampled = list(shapes.trials(14))
    assert sampled[0].over > 0  # the start itself
    assert [one.parts for one in sampled if one.over > 0] == [() for one in sampled if one.over > 0]
    assert judge.judged == sum(len(one.parts) for one in sampled)
    found = best(sampled, shapes.budget, 0.0)[0]
    kept = shapes.model(found)
    assert Costs().macs(kept.spec) == pytest.approx(found.cost["macs"])
    assert found.cost["macs"] <= shapes.budget["macs"]
    assert judge.measured(kept).value == found.value == max(one.value for one in sampled)


def test_a_study_goes_on_where_it_was_stopped_and_gives_up_what_was_cut_off(model: Model, tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        list(_shapes(model, tmp_path, stop_after=5)[0].trials(10))
    shapes, judge = _shapes(model, tmp_path)
    before = [one.number for one in shapes.judged()]
    sampled = list(shapes.trials(10))
    assert [one.number for one in sampled][: len(before)] == before
    assert len(sampled) == 10
    assert judge.judged < sum(len(one.parts) for one in sampled)  # what was judged is not judged again


def test_the_front_is_kept_with_the_weights_that_it_was_judged_by(model: Model, tmp_path: Path) -> None:
    shapes, _ = _shapes(model, tmp_path)
    front = pareto(list(shapes.trials(10)), "macs")
    for one in front:
        assert checkpoint.load(tmp_path / "trials" / f"{one.number:04d}").spec == shapes.model(one).spec


def test_one_aim_is_the_reward(model: Model, tmp_path: Path) -> None:
    shapes, _ = _shapes(model, tmp_path, reward=-0.5)
    sampled = list(shapes.trials(8))
    ranked = best(sampled, shapes.budget, -0.5)
    worth = [rewarded(one.value, one.cost["macs"] / shapes.budget["macs"], -0.5) for one in ranked]
    assert worth == sorted(worth, reverse=True)


def test_the_front_holds_what_nothing_beats_in_both() -> None:
    ones = [
        _one(0, 0.5, 2.0),
        _one(1, 0.6, 1.0),
        _one(2, 0.7, 3.0),
        _one(3, 0.9, 9.0, over=0.1),
        _one(4, 0.8, 2.5, dropped=True),
    ]
    assert [one.number for one in pareto(ones, "ms")] == [1, 2]


def test_a_network_is_dropped_when_half_of_those_that_cost_no_more_were_better() -> None:
    earlier = [_one(i, 0.1 * i, 1.0) for i in range(FIRST)]  # median 0.35
    assert behind([0.3], 1.0, "ms", earlier)
    assert not behind([0.4], 1.0, "ms", earlier)
    assert not behind([0.3], 0.5, "ms", earlier)  # none was as cheap
    assert not behind([0.0], 1.0, "ms", earlier[:-1])  # too few to judge by
    assert not behind([0.0, 0.0, 0.0], 1.0, "ms", earlier)  # nobody was trained as long
