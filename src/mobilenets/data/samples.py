"""`Sample` and `Dataset`: what every reader yields and everything downstream takes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from mobilenets.data import remote, remote_cache
from mobilenets.data.boxes import Box
from mobilenets.data.faults import Fault
from mobilenets.data.masks import Mask
from mobilenets.specs.model import Task

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class Sample:
    """One image with its answer.

    Args:
        path: the image file, or the tar file that holds it.
        label: index into the dataset's labels; -1 where the answer is boxes or a mask.
        split: which part it belongs to.
        weight: of its loss and its chance to be drawn.
        group: images of one group stay in one split; "" for none.
        member: offset and size in bytes inside `path` when that is a tar file.
        name: what reports call it: the path below the dataset's folder, or the name inside the tar.
        url: address of the file on a web server, where `path` is only its name; empty for a file of this machine.
        boxes: the objects in the image, for detection.
        mask: the class of each pixel, for segmentation.
        stated: width and height of the image as its annotation says, px; None where it says nothing.
        checksum: of the image inside a shard on a web server, so that other bytes are noticed; "" if it is not known.
        size_bytes: of the image, as it was when the dataset was opened; None if nobody looked.
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
            OSError: the file is gone or cannot be read.
        """
        if self.url and self.member is not None:
            return remote_cache.read_member(self.url, *self.member, self.checksum)
        if self.url:
            return remote.read(self.url)
        if self.member is None:
            return self.path.read_bytes()
        offset, size = self.member
        with self.path.open("rb") as file:
            file.seek(offset)
            return file.read(size)


@dataclass(frozen=True, slots=True)
class Dataset:
    """Labels and samples.

    Args:
        labels: class names; a sample's label is an index into them.
        samples: every sample of every split, in a fixed order.
        name: for display: the folder's name or the dataset's.
        notes: what the reader decided, each a line for people ("there is no val split: ...").
        ignored: files that lie among the images and are none by their name.
        task: what is to be predicted.
        colors: red, green, blue of each label, 0 to 255, where the data says so.
        faults: what the reader read past.
    """

    labels: tuple[str, ...]
    samples: tuple[Sample, ...]
    name: str = ""
    notes: tuple[str, ...] = ()
    ignored: tuple[Path, ...] = ()
    task: Task = "classify"
    colors: tuple[tuple[int, int, int], ...] = ()
    faults: tuple[Fault, ...] = ()

    def with_val_in_train(self) -> Dataset:
        """The dataset whose val split is part of train, as for the last run before a test."""
        samples = tuple(replace(one, split="train") if one.split == "val" else one for one in self.samples)
        return replace(self, samples=samples)

    def split(self, split: Split) -> tuple[Sample, ...]:
        """The samples of one split, in order."""
        return tuple(sample for sample in self.samples if sample.split == split)

    def counts(self, split: Split) -> tuple[int, ...]:
        """Samples per class of one split, in the order of the labels; for detection boxes per class."""
        of_split = self.split(split)
        answers = (
            (box.label for one in of_split for box in one.boxes) if self.task == "detect" else (one.label for one in of_split)
        )
        counter = Counter(answers)
        return tuple(counter[i] for i in range(len(self.labels)))
