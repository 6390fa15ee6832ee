"""`OUTPUTS`: the formats in which datasets can be written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from mobilenets.data.samples import Dataset
from mobilenets.data.writers.boxes import WRITERS, write_boxes
from mobilenets.data.writers.images import new_folder
from mobilenets.data.writers.shards import PER_SHARD, write_shards
from mobilenets.specs.model import Task
from mobilenets.table import Table


@dataclass(frozen=True, slots=True)
class Options:
    """The user's options for writing a dataset; an output uses those that it lists.

    Args:
        link: whether images are linked instead of copied.
        per_shard: number of images per tar file.
        seed: seed for the order of images in tar files.
        advance: called with 1 after each image.
    """

    link: bool = False
    per_shard: int = PER_SHARD
    seed: int = 0
    advance: Callable[[int], object] = lambda _: None


@dataclass(frozen=True, slots=True)
class Output:
    """One format.

    Args:
        title: the files that are written, for messages and documentation.
        tasks: the tasks whose datasets it can hold.
        write: writes a dataset to a folder, which appears when it is complete; returns what was left out or changed, one line
            each for people to read.
        options: fields of `Options` that it uses, besides `seed` and `advance`.
    """

    title: str
    tasks: tuple[Task, ...]
    write: Callable[[Dataset, Path, Options], tuple[str, ...]]
    options: tuple[str, ...]


def _boxes(kind: str) -> Output:
    def write(dataset: Dataset, folder: Path, options: Options) -> tuple[str, ...]:
        return write_boxes(dataset, folder, kind, link=options.link, advance=options.advance)

    return Output(WRITERS[kind].title, ("detect",), write, ("link",))


def _shards(dataset: Dataset, folder: Path, options: Options) -> tuple[str, ...]:
    with new_folder(folder) as draft:
        write_shards(dataset, draft, per_shard=options.per_shard, seed=options.seed, advance=options.advance)
    return ()


OUTPUTS: Table[Output] = Table(
    "format of datasets",
    {
        **{kind: _boxes(kind) for kind in WRITERS},
        "shards": Output("tar shards with labels, boxes or masks, and labels.txt", get_args(Task), _shards, ("per_shard",)),
    },
)
