"""`Telling`: how a search reports progress; and the measurements that it reports on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mobilenets import telling as base
from mobilenets.data.text import counted
from mobilenets.search.costs import RESOURCES, Budget, Costs, fits, spent
from mobilenets.search.latency import TOLERANCE
from mobilenets.specs.model import ModelSpec
from mobilenets.training.step import Step as TrainingStep


class StoppedError(Exception):
    """The search was asked to stop; its results so far are saved."""


@dataclass(frozen=True, slots=True)
class Telling(base.Telling):
    """How a search reports progress, and how it is asked to stop.

    Args:
        trained: called after each step of a training.
        stop: returns whether to stop; called at each point from which the search can be resumed.
    """

    trained: Callable[[TrainingStep], object] = lambda step: None
    stop: Callable[[], bool] = lambda: False

    def may_stop(self) -> None:
        """Raise `StoppedError` if the search was asked to stop."""
        if self.stop():
            raise StoppedError


def measure(costs: Costs, specs: Sequence[ModelSpec], telling: Telling) -> None:
    """Measure the pieces of networks that the table lacks, with a progress bar if there are any."""
    if costs.table is None or costs.device is None:
        return
    missing = len(costs.missing(specs))
    if missing:
        if not costs.table.ms:  # the first measurement on a remote device takes minutes
            telling.said(f"measuring the first {counted(missing, 'piece')} on {costs.device.device.machine}")
        with telling.progress(f"measuring on {costs.device.device.machine}", missing) as advance:
            costs.learn(specs, advance)


def check_latency(costs: Costs, specs: Sequence[ModelSpec], telling: Telling) -> None:
    """Measure networks as a whole, unless all already were, and report wrong predictions."""
    if costs.device is None or all(costs.measured_ms(spec) is not None for spec in specs):
        return
    measure(costs, specs, telling)
    predicted = [costs.ms(spec) for spec in specs]
    with telling.progress(f"measuring on {costs.device.device.machine}", len(specs)) as advance:
        measured = costs.check(specs, advance)
    for spec, before, truth in zip(specs, predicted, measured, strict=True):
        error = before / truth - 1
        if abs(error) > TOLERANCE:
            telling.said(
                f"latency of {spec.backbone.name} at {spec.input.size} px: {truth:.3g} ms measured, {before:.3g} predicted "
                f"({error:+.0%}); the table is corrected, and now predicts {costs.ms(spec):.3g}"
            )


def real(costs: Costs, spec: ModelSpec, budget: Budget) -> dict[str, float]:
    """The cost of a network, with its measured latency if it was measured as a whole."""
    cost = spent(costs, spec, budget)
    measured = costs.measured_ms(spec) if "ms" in cost else None
    return cost if measured is None else {**cost, "ms": measured}


def say_if_fitting(cost: Mapping[str, float], budget: Budget, then: str, telling: Telling) -> None:
    """Report if the start is already within the budget, and what the search then does."""
    if fits(cost, budget):
        telling.said(f"the start is already within the budget ({priced(cost)}; the budget is {priced(budget)}): {then}")


def priced(cost: Mapping[str, float]) -> str:
    """Costs as text: "3.412 ms, 1.8 MB"."""
    return ", ".join(f"{most:.4g} {RESOURCES[name].unit}" for name, most in cost.items())


def valued(value: float, judged_by: str) -> str:
    """A value as text; the value of a loss is its negative, so that higher is better.

    >>> valued(-0.25, "loss"), valued(0.912, "accuracy")
    ('loss 0.2500', 'accuracy 91.2%')
    """
    return f"loss {-value:.4f}" if judged_by == "loss" else f"{judged_by} {value:.1%}"
