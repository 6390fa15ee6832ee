"""A whole search: what a method finds, the ladder that it is held against, all of them trained in full; in one folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mobilenets.data.samples import Dataset
from mobilenets.documents import decode, parse
from mobilenets.errors import CheckpointError, DocumentError
from mobilenets.feeding.augment import seed_of
from mobilenets.files import write_text
from mobilenets.model import Model
from mobilenets.search.costs import Budget, Costs, spent
from mobilenets.search.finalists import Finalist, Finishing, model_of
from mobilenets.search.inherit import inherited
from mobilenets.search.judge import Judge, for_shapes
from mobilenets.search.ladder import Rung, ladder
from mobilenets.search.methods import METHODS, Searching, Wanted, Way, judge_of
from mobilenets.search.telling import Telling, check_latency
from mobilenets.specs.codec import CHOICES, to_data
from mobilenets.specs.model import ModelSpec
from mobilenets.training.recipe import Recipe

LATENCIES, LADDER = "latency.jsonl", "ladder.json"


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
        way: how the method came to its networks.
        networks: the start, the networks that were found, and the ladder.
        left_out: rungs of the ladder that a short judgment put behind the others.
        device: where latencies are from; "" if none were needed.
        errors: of the latencies that are predicted of the networks, relative, where they were measured.
    """

    folder: Path
    wanted: Wanted
    way: Way
    networks: tuple[Network, ...]
    left_out: tuple[str, ...]
    device: str
    errors: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class _Ladder:
    """The rungs that were chosen, as the folder keeps them."""

    rungs: tuple[Rung, ...]
    left_out: tuple[str, ...]


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
    telling: Telling | None = None,
) -> Result:
    """The result of a search. What the folder holds already is not done again.

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
        telling: how progress is shown, and when to stop.

    Raises:
        DataError: there is nothing to judge networks by.
        ElsewhereError: another worker of the study trains the networks in full.
        LatencyError: a latency is missing and cannot be measured.
        MissingExtraError: the method needs a library that is not installed.
        SearchError: the budget cannot be reached.
        StoppedError: it was asked to stop.
        StorageError: the database of the study cannot be used.
        TrainingError: a training had to stop.
    """
    telling, recipe = telling or Telling(), for_shapes(recipe)
    searching = Searching(start, dataset, recipe, wanted, costs, folder, device, telling)
    finishing = Finishing(folder, dataset, recipe, to, source, device, telling)
    with METHODS[wanted.method](searching) as way:
        finalists = [finishing.measured(start, "start", "start", "the start")]
        for found in way.found:
            if not finishing.done(found.name):
                telling.said(f"training {found.title}")
            finalists.append(finishing.trained(found.model, found.name, "search", found.title))
        chosen = _rungs(searching)
        for rung in chosen.rungs:
            name = f"ladder-{rung.name}"
            if not finishing.done(name):
                telling.said(f"training the ladder's {rung.name}: width {rung.width:g} of the start's")
            first = inherited(start, rung.spec, seed=wanted.seed)
            finalists.append(finishing.trained(first, name, "ladder", f"ladder {rung.name}"))
        return _result(searching, way, finalists, chosen.left_out)


def _rungs(searching: Searching) -> _Ladder:
    """The rungs of the ladder that are trained; chosen once, as latencies may be corrected later."""
    file = searching.folder / LADDER
    if file.is_file():
        try:
            return decode(parse(file.read_bytes()), _Ladder, choices=CHOICES)
        except (OSError, DocumentError) as error:
            raise CheckpointError(f"'{file}' cannot be read: {error}", hint="remove it, and --resume chooses again") from error
    rungs, left_out = best_rungs(searching, judge_of(searching))
    chosen = _Ladder(tuple(rungs), left_out)
    write_text(file, json.dumps(to_data(chosen), indent=1) + "\n")
    return chosen


def best_rungs(searching: Searching, judge: Judge) -> tuple[list[Rung], tuple[str, ...]]:
    """The rungs of the ladder that a short judgment puts first, and the names of the others."""
    wanted, start = searching.wanted, searching.start
    if not wanted.rungs:
        return [], ()
    searching.telling.said("looking for the widest network within the budget at each size of the ladder")
    rungs = ladder(start.spec, wanted.budget, searching.costs, searching.telling)
    if len(rungs) <= wanted.rungs:
        return rungs, ()
    values: dict[str, float] = {}
    with searching.telling.progress("judging the ladder", len(rungs)) as advance:
        for rung in rungs:
            searching.telling.may_stop()
            seed = seed_of(wanted.seed, rung.name) % 2**31
            values[rung.name] = judge(inherited(start, rung.spec, seed=wanted.seed), seed).value
            advance(1)
    ranked = sorted(rungs, key=lambda rung: -values[rung.name])
    return ranked[: wanted.rungs], tuple(rung.name for rung in ranked[wanted.rungs :])


def _result(searching: Searching, way: Way, finalists: Sequence[Finalist], left_out: tuple[str, ...]) -> Result:
    """All finalists measured in turn, and put together."""
    costs, wanted, folder = searching.costs, searching.wanted, searching.folder
    specs = [model_of(folder, finalist).spec for finalist in finalists]
    check_latency(costs, specs, searching.telling)
    latency = ("ms",) if costs.device is not None else ()
    resources = dict.fromkeys((*wanted.budget, *latency, "mb", "macs", "kb_ram"), 0.0)
    networks = [
        Network(finalist, spec, spent(costs, spec, resources), costs.measured_ms(spec) if costs.table is not None else None)
        for finalist, spec in zip(finalists, specs, strict=True)
    ]
    errors = tuple(network.cost["ms"] / network.measured_ms - 1 for network in networks if network.measured_ms)
    device = ""
    if costs.table is not None:
        costs.table.saved_as(folder / LATENCIES)
        device = str(costs.table.device)
    return Result(folder, wanted, way, tuple(networks), left_out, device, errors)
