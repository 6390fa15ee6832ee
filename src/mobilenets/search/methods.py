"""`METHODS`: the search methods that turn a trained network into one within a budget."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from mobilenets.data.open import fingerprint
from mobilenets.data.samples import Dataset
from mobilenets.model import Model
from mobilenets.search.costs import Budget, Costs, check_budget, fits
from mobilenets.search.journal import Journal, Step
from mobilenets.search.judge import ByLoss, ByTraining, Judge
from mobilenets.search.netadapt import NetAdapt, Plan, SearchError
from mobilenets.search.ranking import Sampled, best
from mobilenets.search.storage import OWN, Storage
from mobilenets.search.study import Shapes, agree, opened
from mobilenets.search.telling import Telling, check_latency, measure, priced, real, say_if_fitting
from mobilenets.specs.codec import to_json
from mobilenets.table import Table
from mobilenets.training.recipe import Recipe

PARTS = (0.25, 0.25, 0.5)
"""The parts of a short training, as shares; after each part, the search over shapes may drop a network."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The request for a search.

    Args:
        budget: upper limits, by resource.
        method: name of the method in `METHODS`.
        share: share of the start's cost that each step of NetAdapt saves.
        tune: steps of the short training that judges a network; 0 to judge by the loss on some images, without training.
        channels: NetAdapt's widths are multiples of this.
        trials: number of networks that the search over shapes judges.
        finalists: number of them that are fully trained.
        reward: exponent of the reward; 0 for the Pareto front of value and cost.
        storage: storage of the study of the search over shapes.
        rungs: number of networks of the ladder that are fully trained.
        seed: random seed.
    """

    budget: Budget
    method: str = "netadapt"
    share: float = 0.01
    tune: int = 40
    channels: int = 8
    trials: int = 60
    finalists: int = 1
    reward: float = 0.0
    storage: Storage = OWN
    rungs: int = 2
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Searching:
    """The input of every method.

    Args:
        start: a trained network.
        dataset: the dataset that it was trained on.
        recipe: recipe of full trainings.
        wanted: the request.
        costs: computes the costs of networks.
        folder: folder of the search.
        device: where to train.
        telling: shows progress, and tells when to stop.
    """

    start: Model
    dataset: Dataset
    recipe: Recipe
    wanted: Wanted
    costs: Costs
    folder: Path
    device: str
    telling: Telling


@dataclass(frozen=True, slots=True)
class Found:
    """A network that was found.

    Args:
        name: name of its folder.
        title: its name for users.
        model: the network with the initial weights of its full training.
    """

    name: str
    title: str
    model: Model


@dataclass(frozen=True, slots=True)
class Way:
    """The course of a method.

    Args:
        found: the networks.
        judged_by: name of the values: "accuracy", "loss".
        steps: the steps of NetAdapt, the start first.
        sampled: the networks of the search over shapes.
    """

    found: tuple[Found, ...]
    judged_by: str
    steps: tuple[Step, ...] = ()
    sampled: tuple[Sampled, ...] = ()


def judge_of(searching: Searching, share: float = 1.0) -> Judge:
    """The judge for a search.

    Args:
        searching: the input of the search.
        share: share of the short training.
    """
    wanted, dataset, recipe = searching.wanted, searching.dataset, searching.recipe
    if not wanted.tune:
        return ByLoss(dataset, recipe, seed=wanted.seed)
    steps = max(1, round(wanted.tune * share))
    return ByTraining(dataset, recipe, steps=steps, seed=wanted.seed, device=searching.device)


@contextmanager
def _netadapt(searching: Searching) -> Iterator[Way]:
    wanted, journal = searching.wanted, Journal(searching.folder)
    plan = Plan(wanted.budget, wanted.share, wanted.channels, wanted.seed)
    judge = judge_of(searching)
    steps = tuple(NetAdapt(plan, searching.costs, judge, journal, searching.telling).steps(searching.start))
    last = Found("netadapt", "NetAdapt", journal.model(steps[-1].number))
    yield Way((last,), judge.title, steps=steps)


@contextmanager
def _shapes(searching: Searching) -> Iterator[Way]:
    wanted, start, costs, telling = searching.wanted, searching.start, searching.costs, searching.telling
    check_budget(wanted.budget)
    turns = opened(wanted.storage, searching.folder, wanted.reward, telling)
    agree(turns, _about(searching))
    measure(costs, [start.spec], telling)
    check_latency(costs, [start.spec], telling)
    then = "the search still looks for other shapes within it; only a more accurate one is of use"
    say_if_fitting(real(costs, start.spec, wanted.budget), wanted.budget, then, telling)
    judges = tuple(judge_of(searching, share) for share in (PARTS if wanted.tune else (1.0,)))
    shapes = Shapes(start, wanted.budget, costs, judges, turns, searching.folder, wanted.reward, wanted.seed, telling)
    for _ in shapes.trials(wanted.trials):
        pass
    sampled = shapes.judged()
    with shapes.finishing(wanted.trials, lambda: _finalists(searching, shapes, sampled)) as chosen:
        by_number = {one.number: one for one in sampled}
        found = [Found(f"trial-{i}", f"trial {i}", shapes.model(by_number[i])) for i in chosen]
        yield Way(tuple(found), judges[0].title, sampled=tuple(sampled))


def _finalists(searching: Searching, shapes: Shapes, sampled: Sequence[Sampled]) -> list[int]:
    """The trial numbers of the best networks that are within the budget when measured as a whole; no shape twice."""
    wanted, costs = searching.wanted, searching.costs
    found: list[Sampled] = []
    for one in best(sampled, wanted.budget, wanted.reward):
        if any(one.choice == other.choice for other in found):
            continue
        spec = shapes.model(one).spec
        if "ms" in wanted.budget:
            check_latency(costs, [spec], searching.telling)
        if fits(real(costs, spec, wanted.budget), wanted.budget):
            found.append(one)
        if len(found) == wanted.finalists:
            break
    if not found:
        raise SearchError(
            f"none of {len(sampled)} networks is within the budget",
            hint="--resume with a larger --trials draws more of them; or choose a larger budget",
        )
    return [one.number for one in found]


def _about(searching: Searching) -> dict[str, str]:
    """The settings that all workers of a study must share, by their names for users."""
    wanted, start, costs = searching.wanted, searching.start, searching.costs
    weights = hashlib.sha256(to_json(start.spec).encode())
    for name, tensor in sorted(start.state_dict().items()):
        weights.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    measured = "ms" in wanted.budget and costs.table is not None
    return {
        "the start": weights.hexdigest()[:16],
        "the dataset": fingerprint(searching.dataset)[:16],
        "the budget": priced(wanted.budget),
        "--reward": f"{wanted.reward:g}",
        "--tune": str(wanted.tune),
        "--seed": str(wanted.seed),
        "the recipe": hashlib.sha256(searching.recipe.to_json().encode()).hexdigest()[:16],
        "the device that latency is measured on": str(costs.table.device) if measured and costs.table else "",
    }


METHODS: Table[Callable[[Searching], AbstractContextManager[Way]]] = Table("method", {"netadapt": _netadapt, "shapes": _shapes})
"""The methods, by the name that users type. Each is a context manager; finalists are trained inside its block."""
