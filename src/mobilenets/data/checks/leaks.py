"""Finds images that are in two splits, which makes a model look better than it is."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from mobilenets.data.samples import Dataset, Sample, Split
from mobilenets.runtime.cores import cores

PAIRS: tuple[tuple[Split, Split], ...] = (("test", "train"), ("test", "val"), ("val", "train"))
"""Pairs of splits: one used for metrics, and one that the model or a decision was fitted on."""


@dataclass(frozen=True, slots=True)
class Leak:
    """The images of one split that are also in another.

    Args:
        split: the split used for metrics.
        other: the other split that contains the same images.
        names: names of these images in `split`.
        images: the number of all images in `split`.
    """

    split: Split
    other: Split
    names: tuple[str, ...]
    images: int

    def __str__(self) -> str:
        """A sentence for people to read.

        >>> str(Leak("test", "train", ("a.jpg",), 40))
        '1 of 40 test images is also in train'
        """
        verb = "is" if len(self.names) == 1 else "are"
        return f"{len(self.names):,} of {self.images:,} {self.split} images {verb} also in {self.other}"


def leaks(dataset: Dataset, same: Iterable[Sequence[str]]) -> tuple[Leak, ...]:
    """The leaks of a dataset.

    Args:
        dataset: the dataset.
        same: sets of names of images that are the same or look the same, as in `Findings.same`.
    """
    split_of = {sample.name: sample.split for sample in dataset.samples}
    sets = [[name for name in names if name in split_of] for names in same]
    between = []
    for split, other in PAIRS:
        names = sorted(
            name
            for members in sets
            if any(split_of[member] == other for member in members)
            for name in members
            if split_of[name] == split
        )
        if names:
            between.append(Leak(split, other, tuple(names), len(dataset.split(split))))
    return tuple(between)


def copied_leaks(dataset: Dataset, *, threads: int | None = None) -> tuple[Leak, ...]:
    """The leaks by exact copies, which are cheap to find: only files with the same size in two splits are read.

    `check` also finds images that were resized or saved again. Images on web servers are skipped.

    Args:
        dataset: the dataset.
        threads: number of threads that read; one per core by default.
    """
    by_size: dict[int, list[Sample]] = defaultdict(list)
    for sample in dataset.samples:
        size = _size(sample)
        if size > 0:
            by_size[size].append(sample)
    candidates = [sample for samples in by_size.values() if len({sample.split for sample in samples}) > 1 for sample in samples]
    by_digest: dict[bytes, list[str]] = defaultdict(list)
    with ThreadPoolExecutor(threads or cores()) as pool:
        for sample, digest in zip(candidates, pool.map(_digest, candidates), strict=True):
            if digest:
                by_digest[digest].append(sample.name)
    return leaks(dataset, by_digest.values())


def copies(samples: Sequence[Sample], others: Sequence[Sample], *, threads: int | None = None) -> frozenset[str]:
    """Names of the images that are, byte for byte, among others; as cheap to find as `copied_leaks`.

    Args:
        samples: the images to look for.
        others: the images to search.
        threads: number of threads that read; one per core by default.
    """
    sizes, known = [_size(sample) for sample in samples], [_size(sample) for sample in others]
    shared = {size for size in sizes if size > 0} & set(known)
    with ThreadPoolExecutor(threads or cores()) as pool:
        seen = set(pool.map(_digest, [other for other, size in zip(others, known, strict=True) if size in shared]))
        candidates = [sample for sample, size in zip(samples, sizes, strict=True) if size in shared]
        digests = zip(candidates, pool.map(_digest, candidates), strict=True)
        return frozenset(sample.name for sample, digest in digests if digest and digest in seen)


def _size(sample: Sample) -> int:
    """The size in bytes; 0 if the file cannot be read or is on a web server."""
    if sample.url:
        return 0
    if sample.member is not None:
        return sample.member[1]
    if sample.size_bytes is not None:
        return sample.size_bytes
    try:
        return sample.path.stat().st_size
    except OSError:
        return 0


def _digest(sample: Sample) -> bytes:
    try:
        return hashlib.blake2b(sample.read(), digest_size=16).digest()
    except OSError:
        return b""  # reported elsewhere
