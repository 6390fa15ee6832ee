"""Splits keep every class's shares, never part a group, and depend on names and seed alone."""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilenets.data.entries import Entry
from mobilenets.data.masks import Mask
from mobilenets.data.samples import SPLITS
from mobilenets.data.splits import by_rarest, fill, stratified
from mobilenets.errors import UsageError

SIZES = st.lists(st.integers(1, 60), min_size=1, max_size=6)
SHARES = st.sampled_from([(0.15, 0.15), (0.1, 0.25), (0.0, 0.2), (0.3, 0.0), (0.5, 0.5)])


def entries(sizes: list[int], *, group: int = 0) -> list[Entry]:
    """Classes of these sizes; `group` > 0 puts that many neighbors into a group."""
    return [
        Entry(Path(f"{k}-{i}.png"), f"class {k}", f"{k}/{i}.png", group=f"{k}:{i // group}" if group else "")
        for k, n in enumerate(sizes)
        for i in range(n)
    ]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"label": "cat"}, "the same share of every class"),
        ({"stratum": "cat"}, "the same share of images by the rarest class in each"),
        ({"mask": Mask(Path("a.mask.png"))}, "at random"),
    ],
)
def test_what_is_said_of_splits_is_true_of_the_task(answer: dict[str, Any], said: str) -> None:
    images = [replace(Entry(Path(f"{i}.png"), "", f"{i}.png"), **answer) for i in range(10)]
    _, notes = fill(images, seed=4, val=0.2, test=0.1)
    assert notes == (f"no splits given: val 20% and test 10% drawn by seed 4, {said}",)


def test_the_rarest_of_all_that_is_shown_is_the_stratum() -> None:
    images = [Entry(Path(f"{i}.png"), "", f"{i}.png") for i in range(4)]
    found = by_rarest(images, [["cat", "dog"], ["dog", "dog"], [], ["bee", "cat"]])
    assert [entry.stratum for entry in found] == ["cat", "dog", "", "bee"]


@settings(max_examples=80, deadline=None)
@given(SIZES, SHARES, st.integers(0, 5))
def test_every_class_keeps_its_shares_to_within_one_image(sizes: list[int], shares: tuple[float, float], seed: int) -> None:
    val, test = shares
    all_of = entries(sizes)
    counts = Counter(zip((entry.label for entry in all_of), stratified(all_of, seed=seed, val=val, test=test), strict=True))
    for k, n in enumerate(sizes):
        if n >= 10:
            assert math.floor(n * val) - 1 <= counts[f"class {k}", "val"] <= math.ceil(n * val) + 1
            assert math.floor(n * test) - 1 <= counts[f"class {k}", "test"] <= math.ceil(n * test) + 1
        if n >= 3 and val and test and val + test < 1:
            assert all(counts[f"class {k}", split] for split in SPLITS)


@settings(max_examples=60, deadline=None)
@given(SIZES, SHARES, st.integers(0, 5), st.randoms(use_true_random=False), st.sampled_from([0, 1, 4]))
def test_the_order_of_the_files_does_not_matter(
    sizes: list[int], shares: tuple[float, float], seed: int, shuffler: random.Random, group: int
) -> None:
    first = entries(sizes, group=group)
    second = first.copy()
    shuffler.shuffle(second)
    one = dict(zip((e.name for e in first), stratified(first, seed=seed, val=shares[0], test=shares[1]), strict=True))
    two = dict(zip((e.name for e in second), stratified(second, seed=seed, val=shares[0], test=shares[1]), strict=True))
    assert one == two


@settings(max_examples=60, deadline=None)
@given(SIZES, SHARES, st.integers(0, 5), st.integers(1, 9))
def test_a_group_is_never_parted(sizes: list[int], shares: tuple[float, float], seed: int, group: int) -> None:
    all_of = entries(sizes, group=group)
    splits = stratified(all_of, seed=seed, val=shares[0], test=shares[1])
    sides: dict[str, set[str]] = {}
    for entry, split in zip(all_of, splits, strict=True):
        sides.setdefault(entry.group, set()).add(split)
    assert all(len(side) == 1 for side in sides.values())


def test_groups_across_classes_stay_together_and_shares_are_met() -> None:
    patients = [
        Entry(Path(f"{p}-{i}.png"), "sick" if (p + i) % 3 == 0 else "well", f"{p}/{i}", group=str(p))
        for p in range(60)
        for i in range(1 + p % 7)
    ]
    splits = stratified(patients, seed=0, val=0.15, test=0.15)
    for label in ("sick", "well"):
        mine = Counter(split for entry, split in zip(patients, splits, strict=True) if entry.label == label)
        assert mine["test"] / mine.total() == pytest.approx(0.15, abs=0.04)
        assert mine["val"] / mine.total() == pytest.approx(0.15, abs=0.04)


def test_strata_inside_a_class_keep_their_shares() -> None:
    cells = [Entry(Path(f"{i}.png"), "cell", f"{i}", stratum="mono" if i % 4 else "poly") for i in range(400)]
    splits = stratified(cells, seed=3, val=0.1, test=0.25)
    counts = Counter(zip((cell.stratum for cell in cells), splits, strict=True))
    assert counts == {
        ("mono", "test"): 75, ("mono", "val"): 30, ("mono", "train"): 195,
        ("poly", "test"): 25, ("poly", "val"): 10, ("poly", "train"): 65,
    }  # fmt: skip


def test_totals_are_rounded_once_over_many_small_classes() -> None:
    counts = Counter(stratified(entries([10] * 20), seed=0, val=0.15, test=0.15))
    assert counts == {"train": 140, "val": 30, "test": 30}


@pytest.mark.parametrize(
    ("n", "expected"),
    [(1, ["train"]), (2, ["test", "train"]), (3, ["test", "train", "val"]), (4, ["test", "train", "train", "val"])],
)
def test_tiny_classes(n: int, expected: list[str]) -> None:
    assert sorted(stratified(entries([n]), seed=0, val=0.15, test=0.15)) == expected


def test_seeds_differ() -> None:
    all_of = entries([100])
    assert stratified(all_of, seed=0, val=0.2, test=0.2) != stratified(all_of, seed=1, val=0.2, test=0.2)


def test_a_new_image_moves_hardly_any_other() -> None:
    before = stratified(entries([200]), seed=0, val=0.15, test=0.15)
    after = stratified(entries([201]), seed=0, val=0.15, test=0.15)
    assert sum(one != two for one, two in zip(before, after, strict=False)) <= 2


def test_all_in_one_split() -> None:
    assert set(stratified(entries([5, 1]), seed=0, val=0, test=1)) == {"test"}
    assert set(stratified(entries([5, 1]), seed=0, val=0, test=0)) == {"train"}


def test_splits_of_the_source_are_kept_and_a_missing_val_is_said() -> None:
    given = [Entry(Path(f"{i}"), "a", f"{i}", split="test" if i < 20 else "train") for i in range(120)]
    splits, notes = fill(given, seed=0, val=0.15, test=0.15)
    assert splits[:20] == ["test"] * 20
    assert Counter(splits[20:]) == {"train": 85, "val": 15}
    assert notes == ("there is no val split: 15 of 100 training images were drawn for it, seed 0",)


def test_a_full_set_of_splits_is_left_alone() -> None:
    names = ("train", "val", "test")
    given = [Entry(Path(f"{i}"), "a", f"{i}", split=names[i % 3]) for i in range(9)]  # type: ignore[arg-type]  # a str of three
    assert fill(given, seed=0, val=0.15, test=0.15) == ([names[i % 3] for i in range(9)], ())


def test_shares_beyond_the_whole_are_refused() -> None:
    with pytest.raises(UsageError, match=r"val 0\.6 and test 0\.5"):
        fill(entries([4]), seed=0, val=0.6, test=0.5)
    with pytest.raises(UsageError, match=r"val nan and test 0\.5"):
        fill(entries([4]), seed=0, val=float("nan"), test=0.5)
