from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mobilenets.model import Model
from mobilenets.search.axes import resized, sizes
from mobilenets.search.costs import Costs
from mobilenets.search.devices import Measures
from mobilenets.search.journal import Journal, Step
from mobilenets.search.judge import Judged
from mobilenets.search.latency import LatencyTable
from mobilenets.search.netadapt import NetAdapt, Plan, SearchError, narrowest, proposals, say_if_out_of_reach
from mobilenets.search.telling import Telling
from mobilenets.specs.model import ModelSpec


class Sums:
    """A judge to whom every weight is worth something, and those of some layers more."""

    title = "sum"

    def __init__(self, precious: str = "nothing") -> None:
        self.judged = 0
        self.precious = precious

    def __call__(self, model: Model, seed: int) -> Judged:
        self.judged += 1
        return self.measured(model)

    def measured(self, model: Model) -> Judged:
        value = sum(
            float(tensor.abs().sum()) * (1000 if self.precious in name else 1)
            for name, tensor in model.state_dict().items()
            if "weight" in name
        )
        return Judged(model, value, {})


def _search(folder: Path, budget: dict[str, float], judge: Sums | None = None, share: float = 0.05) -> NetAdapt:
    return NetAdapt(Plan(budget, share), Costs(), judge or Sums(), Journal(folder), Telling())


def test_it_ends_within_the_budget_and_each_step_saves_its_share(model: Model, tmp_path: Path) -> None:
    costs = Costs()
    start = costs.macs(model.spec)
    steps = list(_search(tmp_path, {"macs": 0.6 * start}).steps(model))
    spent = [step.chosen.cost["macs"] for step in steps]
    assert spent[-1] <= 0.6 * start < spent[-2]
    assert all(before - after >= 0.05 * start - 1e-9 for before, after in itertools.pairwise(spent))
    found = Journal(tmp_path).model(steps[-1].number)
    assert costs.macs(found.spec) == pytest.approx(spent[-1])


@pytest.mark.parametrize("share", [1.0, 2.0, 0.9])
def test_a_start_that_keeps_to_the_budget_is_left_as_it_is_and_that_is_said(share: float, model: Model, tmp_path: Path) -> None:
    said: list[str] = []
    budget = {"macs": share * Costs().macs(model.spec)}
    search = NetAdapt(Plan(budget, 0.05), Costs(), Sums(), Journal(tmp_path), Telling(said=said.append))
    steps = list(search.steps(model))
    assert (len(steps) == 1) is (share >= 1)
    assert any(text.startswith("the start is already within the budget (") for text in said) is (share >= 1)


def test_a_proposal_is_the_smallest_shrink_that_saves_enough(spec: ModelSpec) -> None:
    costs = Costs()
    saving = 0.05 * costs.macs(spec)
    found = proposals(spec, "macs", saving, Plan({"macs": 1.0}), costs, Telling())
    assert found
    for axis, narrow in found.items():
        now, then = sizes(spec.backbone)[axis], sizes(narrow.backbone)[axis]
        assert costs.macs(spec) - costs.macs(narrow) >= saving
        for wider in range(then + 8, now, 8):
            other = replace(spec, backbone=resized(spec.backbone, {axis: wider}))
            assert costs.macs(spec) - costs.macs(other) < saving, axis


def test_the_best_gain_is_followed_and_what_is_precious_stays(model: Model, tmp_path: Path) -> None:
    budget = {"mb": 0.7 * Costs().mb(model.spec)}
    steps = list(_search(tmp_path, budget, Sums("blocks.2.expand")).steps(model))
    for step in steps[1:]:
        assert step.chosen.gain == max(proposal.gain for proposal in step.proposals)
        assert step.chosen.axis != "rows.2.inner"


def test_several_budgets_are_met_together(model: Model, tmp_path: Path) -> None:
    costs = Costs()
    budget = {"macs": 0.8 * costs.macs(model.spec), "mb": 0.7 * costs.mb(model.spec), "kb_ram": 0.9 * costs.kb_ram(model.spec)}
    *_, last = _search(tmp_path, budget, share=0.1).steps(model)
    assert all(last.chosen.cost[name] <= most for name, most in budget.items())


def test_a_search_that_was_stopped_anywhere_ends_as_one_that_was_not(model: Model, tmp_path: Path) -> None:
    budget = {"macs": 0.7 * Costs().macs(model.spec)}
    whole = list(_search(tmp_path / "whole", budget).steps(model))
    stops = _Stops(after=5)  # in the middle of a step
    for _ in range(100):
        try:
            steps = list(_search(tmp_path / "parts", budget, stops).steps(model))
            break
        except KeyboardInterrupt:
            stops.left = stops.after
    assert _without_seconds(steps) == _without_seconds(whole)
    one, other = (Journal(tmp_path / name).model(whole[-1].number).state_dict() for name in ("whole", "parts"))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


class _Stops(Sums):
    def __init__(self, after: int) -> None:
        super().__init__()
        self.left = self.after = after

    def __call__(self, model: Model, seed: int) -> Judged:
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        return super().__call__(model, seed)


def _without_seconds(steps: list[Step]) -> list[tuple[object, ...]]:
    return [(step.number, step.chosen, sorted(step.proposals, key=lambda proposal: proposal.axis)) for step in steps]


def test_a_journal_is_read_up_to_a_line_that_was_cut_off(model: Model, tmp_path: Path) -> None:
    budget = {"macs": 0.7 * Costs().macs(model.spec)}
    with pytest.raises(KeyboardInterrupt):
        list(_search(tmp_path, budget, _Stops(after=3)).steps(model))
    draft = tmp_path / "steps" / "0001.jsonl"
    before = Journal(tmp_path).proposals(1)
    draft.write_bytes(draft.read_bytes()[:-20])
    assert len(before) == 3
    assert list(Journal(tmp_path).proposals(1)) == list(before)[:2]


def test_a_budget_out_of_reach_says_how_near_it_came(model: Model, tmp_path: Path) -> None:
    with pytest.raises(SearchError, match="nothing that can be shrunk saves multiply-adds"):
        list(_search(tmp_path, {"macs": 1e-6}, share=0.3).steps(model))


@pytest.mark.parametrize(("share", "is_said"), [(0.7, False), (0.01, True)])
def test_a_budget_out_of_reach_is_said_before_the_first_step(share: float, is_said: bool, model: Model, tmp_path: Path) -> None:
    costs, said = Costs(), list[str]()
    budget = {"macs": share * costs.macs(model.spec), "kb_ram": 1e6, "ms": 1e-9}
    say_if_out_of_reach(model.spec, Plan(budget), costs, Telling(said=said.append))
    assert [text.startswith("warning: shrinking every layer as far as possible") for text in said] == [True] * is_said
    least = narrowest(model.spec, 8)
    assert not proposals(least, "macs", 1e-6, Plan(budget), costs, Telling())


def test_latency_is_measured_also_where_another_budget_is_shrunk_for(model: Model, device: Measures, tmp_path: Path) -> None:
    costs = Costs(LatencyTable(device.device), device)
    budget = {"ms": 1e12, "macs": 0.8 * costs.macs(model.spec)}
    *_, last = NetAdapt(Plan(budget, 0.1), costs, Sums(), Journal(tmp_path), Telling()).steps(model)
    assert (last.resource, last.chosen.cost["macs"] <= budget["macs"], "ms" in last.chosen.cost) == ("macs", True, True)


def test_a_measured_network_above_the_budget_is_shrunk_further(model: Model, device: Measures, tmp_path: Path) -> None:
    costs = Costs(LatencyTable(device.device), device)
    budget = {"ms": 0.8 * 250_000 * costs.mb(model.spec)}
    search = NetAdapt(Plan(budget, 0.05), costs, Sums(), Journal(tmp_path), Telling())
    *_, last = search.steps(model)
    found = Journal(tmp_path).model(last.number).spec
    measured = costs.measured_ms(found)
    assert measured is not None
    assert measured <= budget["ms"]
