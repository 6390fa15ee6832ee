"""How `mobilenets search` begins: what was asked for, the start and its recipe, and where latencies are from."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mobilenets.cli.output import note
from mobilenets.cli.reading import Reading, check_machine
from mobilenets.documents import decode, encode, parse
from mobilenets.errors import CheckpointError, DataError, DocumentError, UsageError
from mobilenets.files import write_text

if TYPE_CHECKING:
    from mobilenets.data.samples import Dataset
    from mobilenets.model import Model
    from mobilenets.search.costs import Costs
    from mobilenets.search.devices import Measures
    from mobilenets.search.methods import Wanted
    from mobilenets.training.recipe import Recipe

FILE = "search.json"
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Target:
    """Where latency is measured, as the options say."""

    runtime: str = "onnx"
    threads: int = 1
    table: str = ""
    ssh: str = ""
    remote: str = "mobilenets"
    adb: bool = False
    serial: str = ""
    tools: tuple[str, ...] = ()

    def check(self) -> None:
        """Refuse options that contradict each other; raises UsageError."""
        if sum((bool(self.table), bool(self.ssh), self.adb)) > 1:
            raise UsageError("latency comes from one place: give only one of --table, --ssh and --adb")
        check_machine(self.ssh, adb=self.adb, serial=self.serial, tools=self.tools)


@dataclass(frozen=True, slots=True)
class Asked:
    """What the user asked for; the search's folder keeps it, without the password of the database."""

    data: str
    start: str
    budget: Mapping[str, float]
    method: str
    share: float
    tune: int
    trials: int
    finalists: int
    reward: float
    storage: str
    rungs: int
    epochs: int | None
    overrides: tuple[str, ...]
    target: Target
    seed: int
    reading: Mapping[str, Any]  # Any: JSON
    device: str
    study: str = ""
    worker: str = ""
    lost_after_s: int = 0
    format: int = FORMAT

    def wanted(self) -> Wanted:
        """For `search`."""
        from mobilenets.search.methods import Wanted
        from mobilenets.search.storage import LOST_AFTER_S, STUDY, Storage

        return Wanted(
            self.budget,
            self.method,
            share=self.share,
            tune=self.tune,
            trials=self.trials,
            finalists=self.finalists,
            reward=self.reward,
            storage=Storage(self.storage, self.study or STUDY, self.worker, self.lost_after_s or LOST_AFTER_S),
            rungs=self.rungs,
            seed=self.seed,
        )


def begun(folder: Path, asked: Asked, *, resume: bool) -> Asked:
    """What the search in a folder does: what is asked for, or on `resume` what it began with.

    Raises:
        UsageError: options contradict each other, or the folder does not hold what they suggest.
        CheckpointError: the folder's record cannot be read.
    """
    from mobilenets.search.costs import check_budget
    from mobilenets.search.methods import METHODS
    from mobilenets.search.storage import without_password

    file = folder / FILE
    if resume:
        if not file.is_file():
            raise UsageError(
                f"there is no search in '{folder}' to resume", hint="name its folder with --out, or leave out --resume"
            )
        try:
            before = decode(parse(file.read_bytes()), Asked)
        except (OSError, DocumentError) as error:
            raise CheckpointError(f"'{file}' cannot be read: {error}") from error
        if asked.study or (asked.storage and without_password(asked.storage) != before.storage):
            raise UsageError(
                f"--resume continues '{folder}' as it began, with {without_password(before.storage) or 'a study of its own'}",
                hint="leave out --study; --storage may only add the password",
            )
        storage = asked.storage or before.storage
        lasting = max(before.trials, asked.trials)
        return replace(before, data=asked.data, device=asked.device, trials=lasting, storage=storage)
    check_budget(asked.budget)
    METHODS[asked.method]  # a wrong name suggests near ones
    if asked.reward > 0:
        raise UsageError(f"--reward {asked.reward:g} would reward cost; its exponent is below 0, such as -0.07")
    _check_study(asked)
    asked.target.check()
    if not asked.start:
        raise UsageError(
            "a search starts from a trained network",
            hint="train one with 'mobilenets train DATA --out RUN', then give --start RUN",
        )
    if folder.is_dir() and any(folder.iterdir()):
        known = file.is_file()
        raise UsageError(
            f"'{folder}' holds {'a search' if known else 'other files'} already",
            hint="--resume continues it; another --out starts a new one" if known else "choose another --out",
        )
    return asked


def _check_study(asked: Asked) -> None:
    from mobilenets.search.storage import check_storage

    if asked.storage and asked.method != "shapes":
        raise UsageError(f"--storage needs --method shapes; the method is {asked.method}")
    if asked.storage:
        check_storage(asked.storage)
    elif asked.study:
        raise UsageError("--study needs --storage, the database of the study")


def dataset_of(asked: Asked) -> Dataset:
    """The dataset, in the splits of the start's run where that has them."""
    from mobilenets.cli.train_start import repaired
    from mobilenets.data.readers.lists import in_splits, split_names

    run = _run(asked.start)
    dataset = Reading.from_data(asked.reading).open(asked.data, seed=asked.seed)
    splits = None if run is None else run / "splits.csv"
    if splits is None or not splits.is_file():
        return repaired(dataset)
    known = in_splits(dataset, split_names(splits))
    if not known.samples:
        raise DataError(
            f"'{asked.data}' has none of the images that '{splits}' names", hint="was the start trained on this data?"
        )
    if not known.split("val"):
        note(
            f"'{asked.start}' was trained on all images, so networks are judged on images that they have seen; "
            f"'mobilenets train {shlex.quote(asked.data)} --folds 0' trains a start that leaves some out"
        )
    return repaired(known)


def opened(asked: Asked, dataset: Dataset) -> tuple[Model, Recipe]:
    """The start and the recipe of full trainings: the start's own, with what the user changed.

    Raises:
        CheckpointError: there is no such run.
        UsageError: the start is for another task, for other labels, or computes in integers.
    """
    from mobilenets import checkpoint
    from mobilenets.training import recipes, record
    from mobilenets.training.recipe import with_overrides

    model = checkpoint.load(asked.start)
    if model.precision == "int8":
        raise UsageError(f"'{asked.start}' was trained in int8", hint="start from the float run, and quantize the result")
    if model.spec.task != dataset.task or model.spec.labels != dataset.labels:
        raise UsageError(
            f"'{asked.start}' was not trained for '{dataset.name}': its task or labels differ",
            hint=f"mobilenets train {asked.data} --weights {asked.start}",
        )
    run = _run(asked.start)
    usual = {"classify": "finetune", "detect": "detect", "segment": "segment"}[dataset.task]
    recipe = recipes.recipe(usual) if run is None else record.recipe_of(run)
    changes = [*([] if asked.epochs is None else [f"epochs={asked.epochs}"]), *asked.overrides]
    note(f"full trainings: {'the recipe ' + usual if run is None else 'the recipe of ' + asked.start}")
    return model, with_overrides(recipe, changes)


def costs_of(asked: Asked, folder: Path) -> Costs:
    """The costs of networks, with latencies from where the user said; the folder's record is written once all of it is there.

    Raises:
        LatencyError: the table cannot be read, or the runtime is not here.
        ToolError: the device cannot be used.
        UnknownNameError: there is no such runtime.
    """
    from mobilenets.runtime.cache import user_cache
    from mobilenets.search.costs import Costs
    from mobilenets.search.latency import LatencyTable
    from mobilenets.search.storage import without_password

    target = asked.target
    if target.table:
        costs = Costs(LatencyTable.read(Path(target.table)))
    else:
        measures = measures_of(target)
        path = user_cache() / "latency" / measures.device.file_name
        table = LatencyTable.read(path) if path.is_file() else LatencyTable(measures.device, path)
        costs = Costs(table, measures)
        note(f"latency: {measures.device}, {len(table.ms)} pieces known in '{path}'")
    kept = replace(asked, storage=without_password(asked.storage))
    write_text(folder / FILE, json.dumps(encode(kept), indent=1) + "\n")
    return costs


def measures_of(target: Target) -> Measures:
    """What measures latencies."""
    from mobilenets.benchmark.adb import phone, tool_file
    from mobilenets.benchmark.plan import missing
    from mobilenets.benchmark.ssh import Host
    from mobilenets.runtime.engines.table import named
    from mobilenets.search.devices import Here, OnPhone, There
    from mobilenets.search.latency import LatencyError

    runtime = named()[target.runtime][1]
    if target.ssh:
        return There(Host(target.ssh, target.remote), target.runtime, target.threads)
    if target.adb:
        device = phone(target.serial)
        return OnPhone(device, target.runtime, tool_file(target.runtime, device, target.tools), target.threads)
    if not runtime.runs_here:
        raise LatencyError(missing(runtime))
    return Here(target.runtime, target.threads)


def _run(start: str) -> Path | None:
    """The run folder of a start; None for a checkpoint that stands alone."""
    return next((folder for folder in (Path(start), Path(start).parent) if (folder / "run.json").is_file()), None)
