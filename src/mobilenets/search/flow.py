"""A whole search: steps, finalists, the ladder that they are held against, and the report; all of it in one folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mobilenets.data.samples import Dataset
from mobilenets.feeding.augment import seed_of
from mobilenets.model import Model
from mobilenets.search.costs import Budget, Costs, spent
from mobilenets.search.finalists import Finalist, Finishing, model_of
from mobilenets.search.inherit import inherited
from mobilenets.search.journal import Journal, Step
from mobilenets.search.judge import ByLoss, ByTraining, Judge, for_shapes
from mobilenets.search.ladder import Rung, ladder
from mobilenets.search.netadapt import NetAdapt, Plan
from mobilenets.search.telling import Telling, check_latency
from mobilenets.specs.model import ModelSpec
from mobilenets.training.recipe import Recipe

LATENCIES = "latency.jsonl"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a search is asked for.

    Args:
        budget: by resource.
        share: of the start's cost, that each step of NetAdapt saves.
        tune: steps of the short training that judges a proposal; 0 judges by the loss on some images, without training.
        channels: that widths are multiples of.
        rungs: networks of the ladder that are trained in full.
        seed: of everything that is drawn at random.
    """

    budget: Budget
    share: float
    tune: int
    channels: int = 8
    rungs: int = 2
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Network:
    """A finalist and what it costs.

    Args:
        finalist: what was measured of it.
        spec: the network.
        cost: by resource, as counted and predicted.
        measured_ms: its latency as a whole; None if the device is not there.
    """

    finalist: Finalist
    spec: ModelSpec
    cost: Budget
    measured_ms: float | None


@dataclass(frozen=True, slots=True)
class Result:
    """What a search ends with.

    Args:
        folder: where all of it is.
        wanted: what was asked for.
        steps: of NetAdapt, the start first.
        judged_by: what the values of the steps are: "accuracy", "loss".
        networks: the start, the network that was found, and the ladder.
        left_out: rungs of the ladder that a short judgment put behind the others.
        device: where latencies are from; "" if none were needed.
        errors: of predictions, by network, relative.
    """

    folder: Path
    wanted: Wanted
    steps: tuple[Step, ...]
    judged_by: str
    networks: tuple[Network, ...]
    left_out: tuple[str, ...]
    device: str
    errors: tuple[float, ...]


def search(
    start: Model,
    dataset: Dataset,
    recipe: Recipe,
    wanted: Wanted,
    costs: Costs,
    folder: Path,
    *,
    to: str = "onnx",
    source: str = "",
    device: str = "auto",
    stop: Callable[[], bool] = lambda: False,
    stepped: Callable[[Step], object] = lambda step: None,
    telling: Telling | None = None,
) -> Result | None:
    """The result of a search, or None if it was asked to stop. What the folder holds already is not done again.

    Args:
        start: a trained network.
        dataset: that it was trained on.
        recipe: of full trainings.
        wanted: what is asked for.
        costs: of networks.
        folder: of the search.
        to: what finalists are exported to.
        source: what the dataset was opened from.
        device: where to train.
        stop: asked between steps.
        stepped: is told each step of NetAdapt.
        telling: how progress is shown.

    Raises:
        DataError: there is nothing to judge networks by.
        LatencyError: a latency is missing and cannot be measured.
        SearchError: the budget cannot be reached.
        TrainingError: a training had to stop.
    """
    telling, recipe = telling or Telling(), for_shapes(recipe)
    judge = judge_of(dataset, recipe, wanted, device)
    journal = Journal(folder)
    plan = Plan(wanted.budget, wanted.share, wanted.channels, wanted.seed)
    steps: list[Step] = []
    for step in NetAdapt(plan, costs, judge, journal, telling).steps(start):
        steps.append(step)
        stepped(step)
        if stop():
            return None
    finishing = Finishing(folder, dataset, recipe, to, source, device, stop, telling)
    finalists = [finishing.measured(start, "start", "start", "the start")]
    telling.said("training the network that was found")
    found = finishing.trained(journal.model(steps[-1].number), "netadapt", "search", "NetAdapt")
    if found is None:
        return None
    finalists.append(found)
    rungs, left_out = best_rungs(start, judge, wanted, costs, telling)
    for rung in rungs:
        telling.said(f"training the ladder's {rung.name}: width {rung.width:g} of the start's")
        first = inherited(start, rung.spec, seed=wanted.seed)
        found = finishing.trained(first, f"ladder-{rung.name}", "ladder", f"ladder {rung.name}")
        if found is None:
            return None
        finalists.append(found)
    return _result(folder, wanted, steps, judge, finalists, left_out, costs, telling)


def judge_of(dataset: Dataset, recipe: Recipe, wanted: Wanted, device: str) -> Judge:
    """What judges proposals."""
    if wanted.tune:
        return ByTraining(dataset, recipe, steps=wanted.tune, seed=wanted.seed, device=device)
    return ByLoss(dataset, recipe, seed=wanted.seed)


def best_rungs(
    start: Model, judge: Judge, wanted: Wanted, costs: Costs, telling: Telling
) -> tuple[list[Rung], tuple[str, ...]]:
    """The rungs of the ladder that a short judgment puts first, and the names of the others."""
    rungs = ladder(start.spec, wanted.budget, costs, telling)
    if len(rungs) <= wanted.rungs:
        return rungs, ()
    values: dict[str, float] = {}
    with telling.progress("judging the ladder", len(rungs)) as advance:
        for rung in rungs:
            seed = seed_of(wanted.seed, rung.name) % 2**31
            values[rung.name] = judge(inherited(start, rung.spec, seed=wanted.seed), seed).value
            advance(1)
    ranked = sorted(rungs, key=lambda rung: -values[rung.name])
    return ranked[: wanted.rungs], tuple(rung.name for rung in ranked[wanted.rungs :])


def _result(
    folder: Path,
    wanted: Wanted,
    steps: Sequence[Step],
    judge: Judge,
    finalists: Sequence[Finalist],
    left_out: tuple[str, ...],
    costs: Costs,
    telling: Telling,
) -> Result:
    """All finalists measured in turn, and put together."""
    specs = [model_of(folder, finalist).spec for finalist in finalists]
    check_latency(costs, specs, telling)
    resources = dict.fromkeys((*wanted.budget, "mb", "macs", "kb_ram"), 0.0)
    networks = [
        Network(finalist, spec, spent(costs, spec, resources), costs.measured_ms(spec) if costs.table is not None else None)
        for finalist, spec in zip(finalists, specs, strict=True)
    ]
    device: str = ""
    errors: tuple[float, ...] = ()
    if costs.table is not None:
        costs.table.saved_as(folder / LATENCIES)
        device, errors = str(costs.table.device), tuple(costs.table.errors().values())
    return Result(folder, wanted, tuple(steps), judge.title, tuple(networks), left_out, device, errors)
