"""How `mobilenets benchmark` begins: what was asked for, and the folder that keeps it for `--resume`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mobilenets.benchmark import saving
from mobilenets.benchmark.flow import Data
from mobilenets.benchmark.plan import Asked, check_precisions, networks
from mobilenets.cli.reading import anywhere, check_machine
from mobilenets.cli.resuming import unused
from mobilenets.documents import decode, encode, parse
from mobilenets.errors import CheckpointError, DocumentError, MobileNetsError, UsageError
from mobilenets.files import write_text

if TYPE_CHECKING:
    from mobilenets.benchmark.row import Row
    from mobilenets.specs.model import Task
    from mobilenets.telling import Telling

RUNS = Path("runs")
NAME = "benchmark"
FILE = "asked.json"
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Place:
    """Which machine measures: this one, an Android device, or another machine with this package.

    Args:
        adb: whether an Android device measures.
        serial: which one.
        tools: the benchmark programs for it, paths or addresses.
        ssh: the other machine, as `ssh` takes it; "" for none.
        remote: how this package is called there.
    """

    adb: bool = False
    serial: str = ""
    tools: tuple[str, ...] = ()
    ssh: str = ""
    remote: str = "mobilenets"

    def check(self) -> None:
        """Refuse options that contradict each other; raises UsageError."""
        if self.adb and self.ssh:
            raise UsageError("--adb measures speed and memory of a device; leave out --ssh")
        check_machine(self.ssh, adb=self.adb, serial=self.serial, tools=self.tools)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the user asked for; the benchmark's folder keeps it.

    Args:
        models, runtimes, precisions, threads, batches: as `plan.Asked` has them.
        data: labeled images to measure accuracy on.
        seconds, rounds: how long and how often each row runs.
        place: which machine measures.
    """

    models: tuple[str, ...]
    runtimes: tuple[str, ...]
    precisions: tuple[str, ...]
    threads: tuple[int, ...]
    batches: tuple[int, ...]
    data: Data | None
    seconds: float
    rounds: int
    place: Place
    format: int = FORMAT

    @property
    def asked(self) -> Asked:
        """For the plan."""
        return Asked(self.models, self.runtimes, self.precisions, self.threads, self.batches)

    def check(self) -> None:
        """Refuse what cannot be measured, before a folder is made.

        Raises:
            CheckpointError, UnknownNameError, UsageError: a model, a runtime or a precision is nothing that can be measured.
        """
        if not self.models:
            raise UsageError(
                "MODEL is missing: an exported file, a run folder, or a network that 'mobilenets models' lists",
                hint="--resume alone resumes the latest benchmark",
            )
        if self.place.adb and self.data is not None:
            raise UsageError("--adb measures speed and memory of a device; leave out --data")
        self.place.check()
        check_precisions(self.precisions)
        networks(self.asked)

    def rows(self, folder: Path, telling: Telling) -> Iterator[Row]:
        """The rows, each as soon as it is known.

        Args:
            folder: of the benchmark.
            telling: how progress is shown.

        Raises:
            OSError: the folder cannot be written.
            ToolError: another machine or its programs failed.
        """
        from mobilenets.benchmark.measure import Settings

        settings = Settings(seconds=self.seconds, rounds=self.rounds)
        if self.place.adb:
            from mobilenets.benchmark.adb import phone
            from mobilenets.benchmark.elsewhere import benchmark_on_phone

            device = phone(self.place.serial)
            return benchmark_on_phone(self.asked, folder, device, tools=self.place.tools, settings=settings, telling=telling)
        if self.place.ssh:
            from mobilenets.benchmark.elsewhere import benchmark_on_host
            from mobilenets.benchmark.ssh import Host

            host = Host(self.place.ssh, self.place.remote)
            return benchmark_on_host(self.asked, folder, host, data=self.data, settings=settings, telling=telling)
        from mobilenets.benchmark.flow import benchmark

        return benchmark(self.asked, folder, data=self.data, settings=settings, telling=telling)


def fresh(out: Path | None) -> Iterator[Path]:
    """The folder of a new benchmark: the one that was asked for, or those of which the first that is free will do.

    Raises:
        UsageError: the folder that was asked for holds something.
    """
    if out is None:
        return unused(RUNS / NAME)
    if any((out / name).exists() for name in (FILE, saving.FILE)):
        raise UsageError(f"'{out}' holds an earlier benchmark", hint="--resume continues it; another --out starts a new one")
    if out.is_dir() and any(out.iterdir()):
        raise UsageError(f"'{out}' holds other files already", hint="choose another --out")
    return iter([out])


def latest(out: Path | None) -> Path:
    """The folder of the benchmark to go on with: the one that was asked for, or the latest.

    Raises:
        UsageError: there is none.
    """
    found = [path for name in (FILE, saving.FILE) for path in RUNS.glob(f"{NAME}*/{name}")]
    folder = out or max(found, key=lambda path: path.stat().st_mtime, default=RUNS / NAME / FILE).parent
    if not any((folder / name).exists() for name in (FILE, saving.FILE)):
        raise UsageError(f"there is no benchmark in '{folder}' to resume", hint="leave out --resume")
    return folder


def began(folder: Path) -> Wanted:
    """What the benchmark in a folder was to measure.

    Raises:
        CheckpointError: the record cannot be read.
        UsageError: there is none, because an earlier version began the benchmark.
    """
    file = folder / FILE
    if not file.is_file():
        raise UsageError(f"'{folder}' does not say what to measure", hint="give MODEL and the options as before")
    try:
        return decode(parse(file.read_bytes()), Wanted)
    except (OSError, DocumentError) as error:
        raise CheckpointError(f"'{file}' cannot be read: {error}", hint="give MODEL and the options as before") from error


def keep(folder: Path, wanted: Wanted) -> None:
    """Write what is to be measured into the folder, its paths as any folder can call them; raises OSError if that fails."""
    data, place = wanted.data, wanted.place
    here = data is not None and not place.ssh  # with --ssh the images lie on the other machine
    kept = replace(
        wanted,
        models=tuple(map(_path, wanted.models)),
        data=replace(data, source=anywhere(data.source)) if data is not None and here else data,
        place=replace(place, tools=tuple(map(_path, place.tools))),
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / FILE, json.dumps(encode(kept), indent=1, ensure_ascii=False) + "\n")


def _path(name: str) -> str:
    """A path as any folder can call it; what is no path, such as the name of a network, stays as it is."""
    return str(Path(name).absolute()) if Path(name).exists() else name


def learned(wanted: Wanted) -> list[str]:
    """A sentence for each run that learned from images that its accuracy is measured on.

    Of another machine's images nothing is known; what cannot be read here is said when accuracy is measured.
    """
    from mobilenets.reports.remarks import copied_remarks

    if wanted.data is None or wanted.place.ssh:
        return []
    said = []
    for model in dict.fromkeys(wanted.models):
        try:
            known, images = _learned_of(Path(model), wanted.data)
        except (MobileNetsError, OSError):
            continue
        said += [f"{model}: {remark.text}" for remark in copied_remarks(known, images)]
    return said


def _learned_of(model: Path, data: Data) -> tuple[int, int]:
    """How many of the images that accuracy is measured on a run learned from, and how many there are."""
    from mobilenets.cli.measuring import learned_among
    from mobilenets.data.open import open_dataset
    from mobilenets.evaluation.part import part_of
    from mobilenets.reports.ancestry import SPLITS, home_of
    from mobilenets.reports.history import facts

    home = home_of(model)
    if not (home / SPLITS).is_file():
        return 0, 0
    task: Task = facts(home).get("Data", {}).get("task", "classify")  # type: ignore[assignment]  # the record of a run holds a task
    dataset = open_dataset(data.source, task=task, classes=data.classes, ignore=data.ignore, val=0, test=0)
    _, samples = part_of(dataset, data.split or None)
    return len(learned_among(samples, home, data.source, dataset.task)), len(samples)
