"""Splits a dataset into train, val and test by seed, stratified and with groups kept together.

The split of an image depends only on the names and the seed, not on the order of the images.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import TypeVar

import numpy as np

from mobilenets.data.entries import Entry
from mobilenets.data.samples import SPLITS, Split
from mobilenets.errors import UsageError

Key = TypeVar("Key", bound=object)


def fill(entries: Sequence[Entry], *, seed: int, val: float, test: float) -> tuple[list[Split], tuple[str, ...]]:
    """The split of each entry, and notes for people about what was decided.

    Splits that the source names are kept. If it names none, val and test are drawn by their shares. If it has a train but no
    val split, that share of train becomes val. A test split is never taken from a train split.

    Args:
        entries: the entries of one source; either all have a split, or none has.
        seed: another seed draws other splits.
        val, test: the shares of these splits, 0 to 1.

    Raises:
        UsageError: the shares are out of range.
    """
    if not (val >= 0 and test >= 0 and val + test <= 1):
        raise UsageError(f"val {val:g} and test {test:g} must be 0 or more, and at most 1 together")
    if all(entry.split is None for entry in entries):
        return stratified(entries, seed=seed, val=val, test=test), _split_note(val, test, entries, seed)
    splits = [entry.split or "train" for entry in entries]
    if val == 0 or not are_drawn(entries):
        return splits, ()
    trained = [i for i, split in enumerate(splits) if split == "train"]
    inner = stratified([entries[i] for i in trained], seed=seed, val=val, test=0)
    for i, split in zip(trained, inner, strict=True):
        splits[i] = split
    return splits, (
        f"there is no val split: {inner.count('val')} of {len(inner)} training images were drawn for it, seed {seed}",
    )


def are_drawn(entries: Sequence[Entry]) -> bool:
    """Whether `fill` has to draw a split: the source names none, or it has train without val."""
    known = {entry.split for entry in entries} - {None}
    return not known or ("train" in known and "val" not in known)


def stratified(entries: Sequence[Entry], *, seed: int, val: float, test: float) -> list[Split]:
    """The split of each entry, by shares alone.

    Each class, and each stratum within it, gets its shares to within one image. A class with three or more images is in every
    split; one with two is in train and test. Groups stay whole, so large ones shift the shares.
    """
    if any(entry.group for entry in entries):
        return _whole_groups(entries, seed, {"train": 1 - val - test, "val": val, "test": test})
    return _singles(entries, seed, val, test)


def by_rarest(entries: Sequence[Entry], shown: Sequence[Sequence[str]]) -> tuple[Entry, ...]:
    """The entries, each with the rarest class that it shows as its stratum.

    Args:
        entries: the entries.
        shown: the classes that each entry shows, with repetitions. The rarest class is the least frequent one in all entries.
    """
    counts = Counter(chain.from_iterable(shown))
    return tuple(
        replace(entry, stratum=min((counts[label], label) for label in labels)[1]) if labels else entry
        for entry, labels in zip(entries, shown, strict=True)
    )


def digest(name: str, seed: int) -> bytes:
    """Eight bytes for sorting names into a random order that is the same on every machine."""
    text = f"{seed}\0{name}"
    try:
        data = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a lone surrogate, which JSON can contain
        data = text.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(data, digest_size=8).digest()


def _split_note(val: float, test: float, entries: Sequence[Entry], seed: int) -> tuple[str, ...]:
    if val == test == 0:
        return ()
    if any(entry.label for entry in entries):
        how = "the same share of every class"
    elif any(entry.stratum for entry in entries):
        how = "the same share of images by the rarest class in each"
    else:
        how = "at random"
    whole = ", groups kept whole" if any(entry.group for entry in entries) else ""
    return (f"no splits given: val {val:.0%} and test {test:.0%} drawn by seed {seed}, {how}{whole}",)


def _singles(entries: Sequence[Entry], seed: int, val: float, test: float) -> list[Split]:
    by_label: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for i in _shuffled([entry.name for entry in entries], seed):
        by_label[entries[i].label][entries[i].stratum].append(i)
    sizes = {label: sum(map(len, strata.values())) for label, strata in by_label.items()}
    kept = 1 if val + test < 1 else 0
    tested = _shares(sizes, test, {label: n - kept for label, n in sizes.items()}, seed, least=2)
    validated = _shares(sizes, val, {label: n - kept - tested[label] for label, n in sizes.items()}, seed, least=3)
    splits: list[Split] = ["train"] * len(entries)
    for label, strata in by_label.items():
        lengths = {stratum: len(members) for stratum, members in strata.items()}
        in_test = _apportioned(lengths, tested[label], lengths, seed)
        rest = {stratum: n - in_test[stratum] for stratum, n in lengths.items()}
        in_val = _apportioned(lengths, validated[label], rest, seed)
        for stratum, members in strata.items():
            cut, end = in_test[stratum], in_test[stratum] + in_val[stratum]
            for i in members[:cut]:
                splits[i] = "test"
            for i in members[cut:end]:
                splits[i] = "val"
    return splits


def _shares(sizes: Mapping[str, int], share: float, most: Mapping[str, int], seed: int, *, least: int) -> dict[str, int]:
    """Images per class for one split; a class with at least `least` images gets one."""
    if share == 0:
        return dict.fromkeys(sizes, 0)
    counts = _apportioned(sizes, round(share * sum(sizes.values())), most, seed)
    return {label: min(most[label], max(count, int(sizes[label] >= least))) for label, count in counts.items()}


def _apportioned(sizes: Mapping[Key, int], total: int, most: Mapping[Key, int], seed: int) -> dict[Key, int]:
    """`total` divided over the keys in proportion to their sizes, by largest remainder, none above its `most`."""
    whole = sum(sizes.values())
    quotas = {key: total * n / whole if whole else 0.0 for key, n in sizes.items()}
    counts = {key: max(0, min(most[key], math.floor(quota + 1e-9))) for key, quota in quotas.items()}
    left = total - sum(counts.values())
    by_remainder = sorted(quotas, key=lambda key: (round(counts[key] - quotas[key], 9), digest(str(key), seed)))
    while left > 0:
        open_keys = [key for key in by_remainder if counts[key] < most[key]][:left]
        if not open_keys:
            break
        for key in open_keys:
            counts[key] += 1
        left -= len(open_keys)
    return counts


def _whole_groups(entries: Sequence[Entry], seed: int, shares: Mapping[Split, float]) -> list[Split]:
    """The split of each entry. Groups are placed one by one, largest first, where their kinds of images are needed most."""
    kinds = {kind: k for k, kind in enumerate(sorted({(entry.label, entry.stratum) for entry in entries}))}
    groups: dict[str, list[int]] = defaultdict(list)
    for i, entry in enumerate(entries):
        groups[f"group {entry.group}" if entry.group else f"image {entry.name}"].append(i)
    sizes = np.zeros(len(kinds))
    for entry in entries:
        sizes[kinds[entry.label, entry.stratum]] += 1
    names = [split for split in SPLITS if shares[split] > 1e-9]
    missing = np.array([shares[split] for split in names])[:, None] * sizes  # splits x kinds, images still to come
    wanted = missing.sum(axis=1)
    splits: list[Split] = ["train"] * len(entries)
    for group in sorted(groups, key=lambda group: (-len(groups[group]), digest(group, seed))):
        own_kinds, counts = np.unique([kinds[entries[i].label, entries[i].stratum] for i in groups[group]], return_counts=True)
        # decrease of the squared shortage, per kind and overall, for each split that the group could join
        gain = ((2 * missing[:, own_kinds] - counts) * counts / sizes[own_kinds]).sum(axis=1)
        gain += (2 * missing.sum(axis=1) - counts.sum()) * counts.sum() / sizes.sum()
        best = int(np.lexsort((-wanted, -np.round(gain, 9)))[0])
        missing[best, own_kinds] -= counts
        for i in groups[group]:
            splits[i] = names[best]
    return splits


def _shuffled(names: Sequence[str], seed: int) -> list[int]:
    """Indices in an order that depends only on the seed and the names."""
    return sorted(range(len(names)), key=lambda i: (digest(names[i], seed), names[i]))
