"""`part_of`: choose the split of a dataset to evaluate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mobilenets.errors import DataError

if TYPE_CHECKING:
    from mobilenets.data.samples import Dataset, Sample

PARTS = ("train", "val", "test", "all")


def part_of(dataset: Dataset, split: str | None) -> tuple[str, tuple[Sample, ...]]:
    """The split to evaluate and its samples. The default is the test split, or all samples if there are no splits.

    Raises:
        DataError: the dataset has no such split.
    """
    present = {sample.split for sample in dataset.samples}
    part = split or next((name for name in ("test", "val") if name in present), "all")
    samples = tuple(sample for sample in dataset.samples if part in (sample.split, "all"))
    if not samples:
        have = ", ".join(sorted(present)) or "no images"
        raise DataError(f"'{dataset.name}' has no split '{part}'; it has {have}", hint="--split all takes every image")
    return part, samples
