"""NetAdapt as in MobileNetV3 (V3, section 4.2; Yang et al., arXiv:1804.03230), on specs and with measured latencies.

Each step proposes, for every axis of the network, the smallest shrink that saves a given share of the start's cost, judges each
proposal with inherited weights, and accepts the one with the least accuracy loss per millisecond saved. The search ends when
the network is within its budget.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from mobilenets.errors import MobileNetsError
from mobilenets.feeding.augment import seed_of
from mobilenets.model import Model
from mobilenets.search.axes import knobs, narrower, sizes, told
from mobilenets.search.costs import RESOURCES, Budget, Costs, check_budget, fits, spent, worst
from mobilenets.search.inherit import inherited, maps_of
from mobilenets.search.journal import Journal, Proposal, Step
from mobilenets.search.judge import Judge
from mobilenets.search.telling import Telling, check_latency, measure, priced, real, say_if_fitting, valued
from mobilenets.specs.model import ModelSpec

SHARE = 0.01
"""Share of the start's cost that each step saves (V3, section 4.2)."""

_HALVINGS = 5
_STEPS_BETWEEN_CHECKS = 10


class SearchError(MobileNetsError):
    """A search that cannot reach its budget, or whose folder contains something else."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The settings of NetAdapt.

    Args:
        budget: the budget.
        share: share of the start's cost that each step saves.
        channels: widths are multiples of this.
        seed: seed of short trainings.
    """

    budget: Budget
    share: float = SHARE
    channels: int = 8
    seed: int = 0


@dataclass(frozen=True, slots=True)
class NetAdapt:
    """A search by NetAdapt.

    Args:
        plan: the settings.
        costs: computes the costs of networks.
        judge: judges proposals.
        journal: stores the steps.
        telling: shows progress.
    """

    plan: Plan
    costs: Costs
    judge: Judge
    journal: Journal
    telling: Telling

    def steps(self, start: Model) -> Iterator[Step]:
        """The steps, the start first; steps in the journal are not repeated.

        Args:
            start: a trained network.

        Raises:
            LatencyError: a latency is missing and cannot be measured.
            SearchError: no shrink saves anything more.
            UsageError: the budget is empty or not positive.
        """
        budget = self.plan.budget
        check_budget(budget)
        done = self.journal.steps()
        if not done:
            say_if_out_of_reach(start.spec, self.plan, self.costs, self.telling)
            done = [self._first(start)]
        yield from done
        model = self.journal.model(done[-1].number)
        savings = {name: self.plan.share * cost for name, cost in done[0].chosen.cost.items()}
        while True:
            last, predicted = done[-1], spent(self.costs, model.spec, budget)
            if last.number % _STEPS_BETWEEN_CHECKS == 0 or fits(predicted, budget):
                check_latency(self.costs, [model.spec], self.telling)
            truth = real(self.costs, model.spec, budget)
            if fits(truth, budget):
                if last.number == 0:
                    then = (
                        "no step is taken: it is trained once more, and compared with the ladder; a smaller budget shrinks it"
                    )
                    say_if_fitting(truth, budget, then, self.telling)
                return
            resource = worst(truth, budget)
            step, model = self._step(model, last, resource, savings[resource])
            done.append(step)
            self.telling.said(in_words(step, self.judge.title))
            yield step

    def _first(self, start: Model) -> Step:
        measure(self.costs, [start.spec], self.telling)
        check_latency(self.costs, [start.spec], self.telling)
        judged = self.judge.measured(start)
        cost = spent(self.costs, start.spec, self.plan.budget)
        loss = judged.metrics.get("val_loss", 0.0)
        step = Step(0, "", Proposal("", "the start", 0, 0, cost, judged.value, loss, 0.0))
        self.journal.add(step, start)
        self.telling.said(in_words(step, self.judge.title))
        return step

    def _step(self, model: Model, last: Step, resource: str, saving: float) -> tuple[Step, Model]:
        """The next step and its network."""
        number, plan, spec = last.number + 1, self.plan, model.spec
        cost = RESOURCES[resource].of(self.costs, spec)
        specs = proposals(spec, resource, saving, plan, self.costs, self.telling)
        if not specs:
            title, unit = RESOURCES[resource].title, RESOURCES[resource].unit
            raise SearchError(
                f"nothing that can be shrunk saves {title}: {cost:.3g} {unit} are left, and {plan.budget[resource]:.3g} {unit} "
                "are wanted",
                hint="start from a smaller network, width or input size",
            )
        if "ms" in plan.budget:  # beside another resource whose shrinks were not measured to find them
            measure(self.costs, list(specs.values()), self.telling)
        judged = {axis: proposal for axis, proposal in self.journal.proposals(number).items() if axis in specs}
        with self.telling.progress(f"step {number}", len(specs)) as advance:
            advance(len(judged))
            for axis, narrow in specs.items():
                if axis not in judged:
                    self.telling.may_stop()
                    result = self.judge(inherited(model, narrow), _seed(plan, number, axis))
                    after = spent(self.costs, narrow, plan.budget)
                    gain = (result.value - last.chosen.value) / max(cost - after[resource], 1e-12)
                    counts = sizes(spec.backbone)[axis], sizes(narrow.backbone)[axis]
                    loss = result.metrics.get("val_loss", 0.0)
                    proposal = Proposal(axis, told(spec.backbone, axis), *counts, after, result.value, loss, gain)
                    self.journal.add_proposal(number, proposal)
                    judged[axis] = proposal
                    advance(1)
        chosen = max(judged.values(), key=lambda proposal: (proposal.gain, -proposal.loss))
        made = self.judge(inherited(model, specs[chosen.axis]), _seed(plan, number, chosen.axis)).model  # as judged
        step = Step(number, resource, chosen, tuple(judged.values()))
        self.journal.add(step, made)
        return step, made


def say_if_out_of_reach(spec: ModelSpec, plan: Plan, costs: Costs, telling: Telling) -> None:
    """Warn before the first step if counted costs of even the narrowest network exceed the budget."""
    least = narrowest(spec, plan.channels)
    for name, most in plan.budget.items():
        cost = RESOURCES[name].of(costs, least) if name != "ms" else 0.0  # a latency would have to be measured
        if cost > most:
            title, unit = RESOURCES[name].title, RESOURCES[name].unit
            telling.said(
                f"warning: shrinking every layer as far as possible leaves about {cost:.3g} {unit} of {title}, and {most:.3g} "
                f"{unit} are wanted; start from a smaller network, width or input size"
            )


def narrowest(spec: ModelSpec, channels: int) -> ModelSpec:
    """The network with each axis, one after the other, made as narrow as possible, in multiples of `channels`."""
    body = spec.backbone
    for axis in knobs(body, maps=maps_of(spec)):
        body = (narrower(body, axis, step=channels) or [body])[-1]
    return replace(spec, backbone=body)


def proposals(
    spec: ModelSpec, resource: str, saving: float, plan: Plan, costs: Costs, telling: Telling
) -> dict[str, ModelSpec]:
    """For each axis, the network with the smallest shrink that saves enough; if no shrink does, half the saving, and so on.

    Args:
        spec: the network.
        resource: the resource to save.
        saving: the saving to reach.
        plan: the settings, for the step size of an axis.
        costs: computes the costs of networks.
        telling: shows progress.
    """
    axes = knobs(spec.backbone, maps=maps_of(spec))
    made = {axis: narrower(spec.backbone, axis, step=plan.channels) for axis in axes}
    specs = {axis: [replace(spec, backbone=body) for body in bodies] for axis, bodies in made.items() if bodies}
    cost = RESOURCES[resource].of(costs, spec)
    for halved in range(_HALVINGS):
        ranges = {axis: _Range(len(bodies)) for axis, bodies in specs.items()}
        while asked := {axis: each.next for axis, each in ranges.items() if each.next is not None}:
            if resource == "ms":
                measure(costs, [specs[axis][i] for axis, i in asked.items()], telling)
            for axis, i in asked.items():
                saved = cost - RESOURCES[resource].of(costs, specs[axis][i])
                ranges[axis] = ranges[axis].told(i, saved >= saving / 2**halved)
        found = {axis: specs[axis][each.high] for axis, each in ranges.items() if each.high < each.count}
        if found:
            return found
    return {}


@dataclass(frozen=True, slots=True)
class _Range:
    """Search for the smallest sufficient shrink by doubling, then by bisection.

    Args:
        count: number of shrinks, the smallest first.
        low: index of the largest shrink known to be insufficient; -1 if none.
        high: index of the smallest shrink known to be sufficient; `count` if there is none, -1 while unknown.
    """

    count: int
    low: int = -1
    high: int = -1

    @property
    def next(self) -> int | None:
        """The shrink to try next; None if the smallest is known."""
        if self.high == -1:  # none suffices so far
            return min(2 * self.low + 2, self.count - 1)
        return (self.low + self.high) // 2 if self.high - self.low > 1 else None

    def told(self, i: int, suffices: bool) -> _Range:
        """The range after a try."""
        if suffices:
            return replace(self, high=i)
        return replace(self, low=i, high=self.count if i == self.count - 1 else self.high)


def in_words(step: Step, judged_by: str) -> str:
    """A description of a step in one line.

    Args:
        step: a step of NetAdapt.
        judged_by: name of its value: "accuracy", "loss".
    """
    chosen = step.chosen
    what = f"{chosen.title}, {chosen.before} to {chosen.after}" if chosen.axis else chosen.title
    return f"step {step.number}: {what}: {priced(chosen.cost)}, {valued(chosen.value, judged_by)}"


def _seed(plan: Plan, number: int, axis: str) -> int:
    return seed_of(plan.seed, number, axis) % 2**31
