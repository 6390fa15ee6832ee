"""A whole search in one folder: the networks that a method finds and the ladder as a baseline, all fully trained."""

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
    """A finalist and its costs.

    Args:
        finalist: its measurements.
        spec: the network.
        cost: counted and predicted costs, by resource.
        measured_ms: its latency, measured as a whole; None if the device is not available.
    """

    finalist: Finalist
    spec: ModelSpec
    cost: Budget
    measured_ms: float | None


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a search.

    Args:
        folder: the folder of the search.
        wanted: the request.
        way: the course of the method.
        networks: the start, the networks that were found, and the ladder.
        left_out: rungs of the ladder that a short evaluation ranked below the others.
        device: the device of the latencies; "" if none were needed.
        errors: relative errors of the predicted latencies of networks that were measured.
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
    """The chosen rungs, as stored in the folder."""

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
    """Run a search. Steps whose results are already in the folder are not repeated.

    Args:
        start: a trained network.
        dataset: the dataset that it was trained on.
        recipe: recipe of full trainings.
        wanted: the request.
        costs: computes the costs of networks.
        folder: folder of the search.
        to: export format of the finalists.
        source: the source of the dataset.
        device: where to train.
        telling: shows progress, and tells when to stop.

    Raises:
        DataError: there are no images to judge networks by.
        ElsewhereError: another worker of the study trains the finalists.
        LatencyError: a latency is missing and cannot be measured.
        MissingExtraError: the method needs a library that is not installed.
        SearchError: the budget cannot be reached.
        StoppedError: a stop was requested.
        StorageError: the database of the study cannot be used.
        TrainingError: a training failed.
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
    """The rungs of the ladder to train; chosen only once, because latencies may be corrected later."""
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
    """The rungs of the ladder that a short evaluation ranks first, and the names of the others."""
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
    """Measure the latency of all finalists, interleaved, and assemble the result."""
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
