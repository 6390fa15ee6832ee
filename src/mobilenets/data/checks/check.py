"""`check`: what in a dataset would spoil a training or its measurement, with the files named."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mobilenets.data.checks.box_sizes import SizeBin, box_sizes, default_head
from mobilenets.data.checks.boxes import Remark, box_remarks, size_remarks
from mobilenets.data.checks.duplicates import near_duplicates
from mobilenets.data.checks.looking import Look, glance, is_image, look
from mobilenets.data.checks.masks import QUICK, MaskFindings, check_masks
from mobilenets.data.samples import SPLITS, Dataset, Sample
from mobilenets.runtime.cores import cores

Level = Literal["error", "warning", "info"]
LEVELS: tuple[Level, ...] = ("error", "warning", "info")
Advance = Callable[[int], object]

FEW = 5
"""Images of a class below which it can hardly be learned."""

IMBALANCE = 10.0
"""Largest over smallest class in train above which it is said."""

LONGEST = 4.0
"""Longer over shorter side above which little of an image is left by the central crop."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Args:
        level: "error" spoils a training or its figures, "warning" may, "info" is good to know.
        code: what kind of thing, for programs: see `CODES`.
        message: in words.
        files: names of the images it is about.
    """

    level: Level
    code: str
    message: str
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Findings:
    """What a check found.

    Args:
        items: errors first.
        images: how many were looked at.
        broken: names of images that cannot be decoded, or whose mask cannot be used.
        sizes: width and height as stored, px, of those that can; n 2.
        formats: how many images of each format.
        same: sets of images that are, or look, the same.
        box_sizes: of the objects on the network's input, against the anchors of the default detector.
        masks: for segmentation, how the classes share images and pixels, with the remarks that `items` repeats.
    """

    items: tuple[Finding, ...]
    images: int
    broken: frozenset[str]
    sizes: tuple[tuple[int, int], ...]
    formats: dict[str, int]
    same: tuple[tuple[str, ...], ...] = ()
    box_sizes: tuple[SizeBin, ...] = ()
    masks: MaskFindings | None = None

    def at(self, level: Level) -> tuple[Finding, ...]:
        """The findings of one level."""
        return tuple(item for item in self.items if item.level == level)


# fmt: off
CODES: dict[str, tuple[Level, str]] = {  # in the order of a report
    "no-training":    ("error",   "no training images"),
    "one-class":      ("error",   "a single class"),
    "missing":        ("error",   "files that do not exist"),
    "unreadable":     ("error",   "files that cannot be read"),
    "empty":          ("error",   "empty files"),
    "not-an-image":   ("error",   "files that are no images"),
    "truncated":      ("error",   "truncated images"),
    "damaged":        ("error",   "damaged images"),
    "bomb":           ("error",   "decompression bombs"),
    "untrained":      ("error",   "classes without a training image"),
    "swapped":        ("error",   "boxes with swapped corners"),
    "no-area":        ("error",   "boxes without area"),
    "outside":        ("error",   "boxes outside of their image"),
    "unknown-class":  ("error",   "boxes of an unknown class"),
    "stated-size":    ("error",   "images of another size than their annotation says"),
    "mask-unreadable": ("error",  "masks that cannot be read"),
    "mask-size":      ("error",   "masks of another size than their image"),
    "mask-values":    ("error",   "masks with values that no class has"),
    "split-twice":    ("error",   "images that are listed in two splits"),
    "leak":           ("error",   "the same image in two splits"),
    "conflict":       ("error",   "the same image with two labels"),
    "unannotated":    ("warning", "images without an annotation file"),
    "stray":          ("warning", "annotations without an image"),
    "beyond":         ("warning", "boxes that reach beyond their image"),
    "box-twice":      ("warning", "objects that are boxed twice"),
    "box-conflict":   ("warning", "objects that are boxed as two classes"),
    "too-small":      ("warning", "objects too small for the network's input"),
    "uncovered":      ("warning", "objects that no anchor comes near to"),
    "unmatched":      ("warning", "classes that few anchors match"),
    "near-leak":      ("warning", "images that look the same in two splits"),
    "near-conflict":  ("warning", "images that look the same with two labels"),
    "mask-lossy":     ("warning", "masks whose values were mixed, by a lossy format or by resizing"),
    "mask-empty":     ("warning", "masks that are ignored all over"),
    "unseen":         ("warning", "classes that no mask of train shows"),
    "absent":         ("warning", "classes without an image in val or test"),
    "few":            ("warning", "classes with few images"),
    "imbalance":      ("warning", "imbalance"),
    "rare":           ("warning", "classes of very few pixels"),
    "duplicate":      ("warning", "the same image twice in one split"),
    "extension":      ("warning", "extensions of another format"),
    "hidden":         ("warning", "images passed over for their name"),
    "blank":          ("warning", "images of a single tone"),
    "small":          ("warning", "images much smaller than the network's input"),
    "long":           ("warning", "very long or very tall images"),
    "near-duplicate": ("info",    "images that look the same in one split"),
    "no-objects":     ("info",    "images without objects"),
    "masks-sampled":  ("info",    "masks that were not looked into"),
    "ignored":        ("info",    "files that are no images by their name"),
}
# fmt: on
"""Every code with its level and its heading."""


def check(dataset: Dataset, *, size: int = 224, threads: int | None = None, advance: Advance | None = None) -> Findings:
    """Look through every image, decoded, and compare each with all others.

    Args:
        dataset: what to look through.
        size: of the network's input, px; images below half of it are named.
        threads: that decode; one per core by default.
        advance: called with 1 after each image.
    """
    looks = _looks(look, dataset, threads, advance)
    same, items = _duplicates(dataset, looks)
    items += [*_sizes(dataset, looks, size), *_blank(dataset, looks), *_ignored(dataset)]
    if dataset.task == "segment":
        return _with_masks(dataset, _findings(dataset, looks, items, same), looks, threads, most=None)
    if dataset.task != "detect":
        return _findings(dataset, looks, items, same)
    sizes = box_sizes(dataset, _uprights(looks), default_head(dataset.labels), (size, size))
    items += _remarked(size_remarks(sizes))
    return dataclasses.replace(_findings(dataset, looks, items, same), box_sizes=sizes.bins())


def quick_check(dataset: Dataset, *, threads: int | None = None, advance: Advance | None = None) -> Findings:
    """Look at every file's header and at the class counts: what a training does first.

    Of masks, up to `check_masks.QUICK` are looked into. Truncated images and duplicates need `check`.
    """
    looks = _looks(glance, dataset, threads, advance)
    found = _findings(dataset, looks, [], ())
    return _with_masks(dataset, found, looks, threads, most=QUICK) if dataset.task == "segment" else found


def without(dataset: Dataset, names: Iterable[str]) -> Dataset:
    """The dataset without the images of these names."""
    gone = frozenset(names)
    return dataclasses.replace(dataset, samples=tuple(sample for sample in dataset.samples if sample.name not in gone))


def cleaned(dataset: Dataset, found: Findings) -> Dataset:
    """The dataset without broken images and files with two labels; images that look the same share a group."""
    conflicts = {name for item in found.items if item.code == "conflict" for name in item.files}
    rest = without(dataset, found.broken | conflicts)
    groups = {sample.name: sample.group for sample in rest.samples}
    for names in found.same:
        members = [name for name in names if name in groups]
        joined = {groups[name] for name in members} - {""}
        group = min(joined, default=f"same as {members[0]}" if members else "")
        groups |= {name: group for name, old in groups.items() if old in joined} if joined else {}
        groups |= dict.fromkeys(members, group)
    return dataclasses.replace(
        rest, samples=tuple(dataclasses.replace(sample, group=groups[sample.name]) for sample in rest.samples)
    )


def _looks(one: Callable[[Sample], Look], dataset: Dataset, threads: int | None, advance: Advance | None) -> list[Look]:
    looks = []
    with ThreadPoolExecutor(threads or cores()) as pool:
        try:
            for result in pool.map(one, dataset.samples):
                looks.append(result)
                if advance is not None:
                    advance(1)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    return looks


def _findings(dataset: Dataset, looks: Sequence[Look], items: list[Finding], same: tuple[tuple[str, ...], ...]) -> Findings:
    both = list(zip(dataset.samples, looks, strict=True))
    broken = frozenset(sample.name for sample, seen in both if seen.reason)
    boxes = box_remarks(dataset, _uprights(looks)) if dataset.task == "detect" else ()
    classes = _classes(without(dataset, broken)) if dataset.task != "segment" else ()  # its masks tell
    items = [*_files(both), *classes, *_remarked(boxes), *items]
    headers = [seen.header for seen in looks if seen.header and not seen.reason]
    return Findings(
        _in_order(items),
        len(looks),
        broken,
        tuple((header.width, header.height) for header in headers),
        dict(Counter(header.format for header in headers).most_common()),
        same,
    )


def _with_masks(dataset: Dataset, found: Findings, looks: Sequence[Look], threads: int | None, *, most: int | None) -> Findings:
    """The findings with those of the masks of all images that can be decoded."""
    pairs = [(s, size) for s, size in zip(dataset.samples, _uprights(looks), strict=True) if s.name not in found.broken]
    rest = dataclasses.replace(dataset, samples=tuple(sample for sample, _ in pairs))
    masks = check_masks(rest, [size for _, size in pairs], most=most, threads=threads)
    items = _in_order([*found.items, *_remarked(masks.remarks)])
    return dataclasses.replace(found, items=items, broken=found.broken | masks.broken, masks=masks)


def _in_order(items: Iterable[Finding]) -> tuple[Finding, ...]:
    order = {code: i for i, code in enumerate(CODES)}
    return tuple(sorted(items, key=lambda item: order[item.code]))


def _finding(code: str, message: str, files: Iterable[str] = ()) -> Finding:
    return Finding(CODES[code][0], code, message, tuple(files))


def _remarked(remarks: Iterable[Remark]) -> Iterator[Finding]:
    for code, message, file in remarks:
        yield _finding(code, message, [file] if file else [])


def _uprights(looks: Sequence[Look]) -> list[tuple[int, int] | None]:
    """Width and height of each image as a person sees it."""
    return [seen.header.upright if seen.header is not None else None for seen in looks]


def _files(both: Iterable[tuple[Sample, Look]]) -> Iterator[Finding]:
    for sample, seen in both:
        if seen.reason:
            yield _finding(seen.reason, seen.problem, [sample.name])
        elif seen.suffix_format:
            assert seen.header is not None
            yield _finding("extension", f"is {seen.header.format} but named as {seen.suffix_format}", [sample.name])


def _classes(dataset: Dataset) -> Iterator[Finding]:
    counts = {split: dataset.counts(split) for split in SPLITS}
    noun, nouns = ("box", "boxes") if dataset.task == "detect" else ("image", "images")
    if len(dataset.labels) == 1 and dataset.task == "classify":
        yield _finding("one-class", f"every image is labelled '{dataset.labels[0]}'; a classifier needs two classes")
    if not any(counts["train"]):
        shows = " and shows an object" if dataset.task == "detect" else ""
        yield _finding("no-training", f"no image that can be decoded{shows} is in the train split")
        return
    for i, label in enumerate(dataset.labels):
        total = sum(counts[split][i] for split in SPLITS)
        if counts["train"][i] == 0:
            yield _finding("untrained", f"'{label}' has {total} {nouns} and none in train")
        for split in ("val", "test"):
            if any(counts[split]) and counts[split][i] == 0:
                yield _finding("absent", f"'{label}' has no {noun} in {split}, of {total}")
        if total < FEW:
            yield _finding("few", f"'{label}' has {total} {noun if total == 1 else nouns}; {FEW} are the least that make sense")
    present = sorted((n, label) for n, label in zip(counts["train"], dataset.labels, strict=True) if n)
    (least, rare), (most, common) = present[0], present[-1]
    if most > IMBALANCE * least:
        yield _finding(
            "imbalance", f"'{common}' has {most} training {nouns}, '{rare}' {least}: {most / least:.0f} times as many"
        )


def _duplicates(dataset: Dataset, looks: Sequence[Look]) -> tuple[tuple[tuple[str, ...], ...], list[Finding]]:
    """Sets of names, and what is wrong with them."""
    samples = dataset.samples
    by_digest: dict[bytes, list[int]] = defaultdict(list)
    for i, seen in enumerate(looks):
        if seen.digest and not seen.reason:
            by_digest[seen.digest].append(i)
    items = [
        item for members in by_digest.values() if len(members) > 1 for item in _same(dataset, [samples[i] for i in members], "")
    ]
    seen_by_look = [(members, looks[members[0]]) for members in by_digest.values()]
    comparable = [(members, seen.hash, seen.thumbnail) for members, seen in seen_by_look if seen.thumbnail is not None]
    near: list[list[int]] = []
    if comparable:
        hashes = np.array([value for _, value, _ in comparable], dtype=np.uint64)
        near = near_duplicates(hashes, np.stack([thumb for _, _, thumb in comparable]))
    together = [sorted(i for k in cluster for i in comparable[k][0]) for cluster in near]
    for members in together:
        items += _same(dataset, [samples[i] for i in members], "near-")
    joined = {i for members in together for i in members}
    exact = [members for members in by_digest.values() if len(members) > 1 and members[0] not in joined]
    return tuple(tuple(samples[i].name for i in members) for members in sorted(together + exact)), items


def _same(dataset: Dataset, samples: Sequence[Sample], near: Literal["", "near-"]) -> Iterator[Finding]:
    """What is wrong with images that are, or look, the same; near ones count where exact copies do not say it already."""
    what = "look the same and are" if near else "are the same file and are"
    names = [sample.name for sample in samples]
    labels = [dataset.labels[label] for label in sorted({sample.label for sample in samples} - {-1})]
    splits = [split for split in SPLITS if any(sample.split == split for sample in samples)]
    if len(labels) > 1:
        yield _finding(f"{near}conflict", f"{what} labelled {' and '.join(repr(label) for label in labels)}", names)
    if len(splits) > 1:
        yield _finding(f"{near}leak", f"{what} in {' and '.join(splits)}", names)
    if len(labels) <= len(splits) == 1:
        yield _finding(
            f"{near}duplicate", f"{what} both in {splits[0]}" if len(names) == 2 else f"{what} all in {splits[0]}", names
        )


def _sizes(dataset: Dataset, looks: Sequence[Look], size: int) -> Iterator[Finding]:
    for sample, seen in zip(dataset.samples, looks, strict=True):
        if seen.header is None or seen.reason:
            continue
        shorter, longer = sorted((seen.header.width, seen.header.height))
        if 2 * shorter < size:
            yield _finding(
                "small", f"is {seen.header.width} x {seen.header.height}, the network sees {size} x {size}", [sample.name]
            )
        if longer > LONGEST * shorter and dataset.task == "classify":
            yield _finding("long", f"is {seen.header.width} x {seen.header.height}, of which the center is seen", [sample.name])


def _blank(dataset: Dataset, looks: Sequence[Look]) -> Iterator[Finding]:
    for sample, seen in zip(dataset.samples, looks, strict=True):
        if seen.flat:
            yield _finding("blank", "shows a single tone", [sample.name])


def _ignored(dataset: Dataset) -> Iterator[Finding]:
    for path in dataset.ignored:
        if is_image(Sample(path, 0, "train", name=path.name)):
            yield _finding("hidden", f"is an image, but '{path.suffix}' is no extension of one; it is left out", [str(path)])
        else:
            yield _finding("ignored", "is left out", [str(path)])
