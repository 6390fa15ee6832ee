"""`Sample` and `Dataset`: a dataset after it has been read."""

from __future__ import annotations

import stat
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Literal

from mobilenets.data.boxes import Box
from mobilenets.data.faults import Fault
from mobilenets.data.located import Located
from mobilenets.data.masks import Mask
from mobilenets.errors import DataError
from mobilenets.specs.model import TASK_NOUNS, Task

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
_BLOCK = 1024  # number of files whose size a thread looks up at a time


@dataclass(frozen=True, slots=True)
class Sample:
    """One image with its label, boxes or mask.

    Args:
        path: the image file, or the tar file that contains it.
        label: index into the dataset's labels; -1 for a sample with boxes or a mask.
        split: the split that it belongs to.
        weight: the weight of its loss, or of its chance to be drawn.
        group: its group; images of one group stay in one split; "" for none.
        member: offset and size in bytes inside `path`, if that is a tar file.
        name: its name in reports: the path relative to the dataset's folder, or the name inside the tar file.
        url: the address of the file on a web server, of which `path` is only the name; "" for a local file.
        boxes: the objects in the image, for detection.
        mask: the class of each pixel, for segmentation.
        stated: width and height of the image in px according to its annotation; None if it does not say.
        checksum: the checksum of an image in a shard on a web server, so that changed bytes are noticed; "" if not known.
        size_bytes: the size of the image when the dataset was opened; None if it was not looked up.
    """

    path: Path
    label: int
    split: Split
    weight: float = 1.0
    group: str = ""
    member: tuple[int, int] | None = None
    name: str = ""
    url: str = ""
    boxes: tuple[Box, ...] = ()
    mask: Mask | None = None
    stated: tuple[int, int] | None = None
    checksum: str = ""
    size_bytes: int | None = field(default=None, compare=False)

    def read(self) -> bytes:
        """The encoded image.

        Raises:
            ConnectionError: the server that has it cannot be reached, or sends other bytes than when it was indexed.
            OSError: the file does not exist or cannot be read.
        """
        return Located(self.path, self.member, self.url, self.checksum).read()


def measured(samples: Sequence[Sample], *, threads: int) -> tuple[Sample, ...]:
    """The samples with the sizes of their images and masks. Each file is stat-ed only here.

    A path that does not exist or is not a file gets no size; `check` reports it.
    """
    blocks = [samples[first : first + _BLOCK] for first in range(0, len(samples), _BLOCK)]
    with ThreadPoolExecutor(threads, thread_name_prefix="stat") as pool:
        return tuple(chain.from_iterable(pool.map(lambda block: [_measured(sample) for sample in block], blocks)))


def _measured(sample: Sample) -> Sample:
    mask = sample.mask
    if mask is not None and mask.path is not None and mask.within is None:
        mask = replace(mask, size_bytes=_file_size(mask.path))
    if sample.member is not None:
        return replace(sample, mask=mask, size_bytes=sample.member[1])
    size = None if sample.url else _file_size(sample.path)
    return replace(sample, mask=mask, size_bytes=size)


def _file_size(path: Path) -> int | None:
    try:
        status = path.stat()
    except (OSError, ValueError):  # a null character
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


@dataclass(frozen=True, slots=True)
class Dataset:
    """The samples of all splits, and the names of their classes.

    Args:
        labels: class names; a sample's label is an index into them.
        samples: every sample of every split, in a fixed order.
        name: the folder's or the dataset's name, for display.
        notes: what the reader decided, one line each for people to read ("there is no val split: ...").
        ignored: files among the images that do not have the name of an image.
        task: the task that the dataset is for.
        colors: red, green and blue of each label, 0 to 255, if the dataset has colors.
        faults: what the reader left out or corrected.
        drawn: whether all splits were drawn at random because the source names none.
    """

    labels: tuple[str, ...]
    samples: tuple[Sample, ...]
    name: str = ""
    notes: tuple[str, ...] = ()
    ignored: tuple[Path, ...] = ()
    task: Task = "classify"
    colors: tuple[tuple[int, int, int], ...] = ()
    faults: tuple[Fault, ...] = ()
    drawn: bool = False

    def check_task(self, task: Task, model: str) -> None:
        """Check that a model is for the dataset's task.

        Args:
            task: the model's task.
            model: what an error calls the model.

        Raises:
            DataError: it is for another one.
        """
        if self.task != task:
            raise DataError(f"'{self.name}' is a {TASK_NOUNS[self.task]} dataset, but {model} is a {TASK_NOUNS[task]} model")

    def with_val_in_train(self) -> Dataset:
        """The dataset with its val split moved into train, for the last run before a test."""
        samples = tuple(replace(sample, split="train") if sample.split == "val" else sample for sample in self.samples)
        return replace(self, samples=samples)

    def split(self, split: Split) -> tuple[Sample, ...]:
        """The samples of one split, in order."""
        return tuple(sample for sample in self.samples if sample.split == split)

    def counts(self, split: Split) -> tuple[int, ...]:
        """The number of samples of each class in one split, in the order of the labels; for detection, of boxes."""
        samples = self.split(split)
        if self.task == "detect":
            counter = Counter(box.label for sample in samples for box in sample.boxes)
        else:
            counter = Counter(sample.label for sample in samples)
        return tuple(counter[i] for i in range(len(self.labels)))
