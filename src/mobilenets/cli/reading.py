"""How a dataset is read: the options `--task`, `--classes` and `--ignore`, which run.json records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

from mobilenets.cli.output import note
from mobilenets.errors import UsageError
from mobilenets.specs.model import Task

if TYPE_CHECKING:
    from mobilenets.data.samples import Dataset

TaskOption = Annotated[
    str | None,
    typer.Option(
        metavar="TASK", help="classify, detect or segment, for a dataset that fits several tasks.", show_default=False
    ),
]
ClassesOption = Annotated[
    str,
    typer.Option(metavar="A,B,...|FILE", help="Class names for masks, in the order of their values.", show_default=False),
]
IgnoreOption = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="A mask class, value or #rrggbb color to ignore; may be repeated.", show_default=False),
]


def anywhere(source: str) -> str:
    """A dataset as it can be named from any folder: a path, or a pattern of paths, becomes absolute."""
    from mobilenets.data.addresses import is_remote

    return source if is_remote(source) or source == "elpv" else str(Path(source).absolute())


@dataclass(frozen=True, slots=True)
class Reading:
    """What the user says about a dataset besides where it is.

    Args:
        task: what to learn; "" for what the dataset suggests.
        classes: names of the classes of masks, or a file with them.
        ignore: what to ignore in masks.
    """

    task: str = ""
    classes: str = ""
    ignore: tuple[str, ...] = ()

    @staticmethod
    def of(task: str | None, classes: str, ignore: list[str] | None) -> Reading:
        """From the values of the options.

        Raises:
            UsageError: there is no such task.
        """
        if task and task not in get_args(Task):
            raise UsageError(f"unknown task '{task}'; known: {', '.join(get_args(Task))}")
        if task in ("classify", "detect") and (classes or ignore):
            raise UsageError(f"{'--classes' if classes else '--ignore'} is for masks, but the task is {task}")
        return Reading(task or "", classes, tuple(ignore or ()))

    def refuse(self, source: str) -> None:
        """Refuse options for images that are read as they were for training.

        Raises:
            UsageError: there are such options.
        """
        if self.classes or self.ignore:
            option = "--classes" if self.classes else "--ignore"
            raise UsageError(
                f"'{source}' is read as it was for training, so {option} does not apply", hint=f"leave {option} out"
            )

    @staticmethod
    def from_data(data: Mapping[str, Any]) -> Reading:  # Any: JSON
        """From run.json."""
        return Reading(str(data.get("task", "")), str(data.get("classes", "")), tuple(map(str, data.get("ignore", ()))))

    def to_data(self) -> dict[str, object]:
        """For run.json, which is read from other folders too."""
        return asdict(replace(self, classes=anywhere(self.classes) if Path(self.classes).is_file() else self.classes))

    def open(
        self, source: str, *, seed: int = 0, val: float | None = None, test: float | None = None, group: str | None = None
    ) -> Dataset:
        """The dataset at `source`.

        Raises:
            DataError: nothing is there, or it cannot be understood.
            UsageError: an option does not fit the source.
        """
        from mobilenets.data.open import open_dataset

        task = cast("Task", self.task) if self.task else None
        classes: Any = self.classes  # Any: names, or a file of them
        if "," in self.classes:
            classes = [name.strip() for name in self.classes.split(",")]
        return open_dataset(source, seed=seed, val=val, test=test, group=group, task=task, classes=classes, ignore=self.ignore)


def alike(dataset: Dataset, labels: Sequence[str]) -> Dataset:
    """The dataset with labels spelled as a model's, where they differ only in case, spaces, `-` or `_`; that is said."""
    from mobilenets.data.spelling import spelled_as

    spelled = spelled_as(dataset, labels)
    for text in spelled.notes[len(dataset.notes) :]:
        note(text)
    return spelled


def check_machine(ssh: str, *, adb: bool, serial: str, tools: Sequence[str]) -> None:
    """Refuse a machine that `--ssh`, `--adb`, `--serial` and `--tool` do not name; raises UsageError."""
    if ssh.startswith("-"):
        raise UsageError(f"--ssh '{ssh}' is not the name of a machine", hint="--ssh pi@raspberrypi.local")
    if not adb and (serial or tools):
        raise UsageError("--serial and --tool need --adb")
