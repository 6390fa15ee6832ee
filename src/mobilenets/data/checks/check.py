"""`check` finds problems in a dataset that would spoil training or its metrics, and names the files."""

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
from mobilenets.data.checks.codes import CODES as CODES
from mobilenets.data.checks.codes import Finding, Level, finding, in_order
from mobilenets.data.checks.duplicates import DARK, near_duplicates
from mobilenets.data.checks.leaks import Leak, leaks
from mobilenets.data.checks.looking import Look, glance, is_image, look
from mobilenets.data.checks.masks import QUICK, MaskFindings, check_masks
from mobilenets.data.samples import SPLITS, Dataset, Sample
from mobilenets.data.text import counted
from mobilenets.runtime.cores import cores

Advance = Callable[[int], object]

FEW = 5
"""A class with fewer images is hard to learn."""

OWN = 10
"""If at least this many labels, and nearly all of them, have one image each, they are probably not classes."""

IMBALANCE = 10.0
"""The ratio of the largest to the smallest class in train above which there is a warning."""

LONGEST = 4.0
"""The ratio of the longer to the shorter side above which the central crop leaves little of an image."""


@dataclass(frozen=True, slots=True)
class Findings:
    """The result of a check.

    Args:
        items: the findings, errors first.
        images: the number of images that were checked.
        broken: names of images that cannot be decoded, or whose mask cannot be used.
        sizes: width and height of the others as stored, px; n 2.
        formats: the number of images in each format.
        same: sets of images that are the same or look the same.
        box_sizes: sizes of the objects on the network's input, and their overlap with the default detector's anchors.
        masks: for segmentation, how the classes share images and pixels; `items` contains its remarks too.
        leaks: images that are in two splits, as copies or look-alikes; empty for a quick check.
    """

    items: tuple[Finding, ...]
    images: int
    broken: frozenset[str]
    sizes: tuple[tuple[int, int], ...]
    formats: dict[str, int]
    same: tuple[tuple[str, ...], ...] = ()
    box_sizes: tuple[SizeBin, ...] = ()
    masks: MaskFindings | None = None
    leaks: tuple[Leak, ...] = ()

    def at(self, level: Level) -> tuple[Finding, ...]:
        """The findings of one level."""
        return tuple(item for item in self.items if item.level == level)


def check(dataset: Dataset, *, size: int = 224, threads: int | None = None, advance: Advance | None = None) -> Findings:
    """Decode every image and compare it with all others.

    Args:
        dataset: the dataset.
        size: size of the network's input, px; images smaller than half of it are reported.
        threads: number of threads that decode; one per core by default.
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
    """Read every file's header and count the classes, as training does before it starts.

    Up to `masks.QUICK` masks are decoded. Only `check` finds truncated images and duplicates.
    """
    looks = _looks(glance, dataset, threads, advance)
    findings = _findings(dataset, looks, [], ())
    return _with_masks(dataset, findings, looks, threads, most=QUICK) if dataset.task == "segment" else findings


def without(dataset: Dataset, names: Iterable[str]) -> Dataset:
    """The dataset without the images of these names."""
    gone = frozenset(names)
    return dataclasses.replace(dataset, samples=tuple(sample for sample in dataset.samples if sample.name not in gone))


def cleaned(dataset: Dataset, findings: Findings) -> Dataset:
    """The dataset without broken images and without files that have two labels; images that look the same share a group."""
    conflicts = {name for item in findings.items if item.code == "conflict" for name in item.files}
    rest = without(dataset, findings.broken | conflicts)
    groups = {sample.name: sample.group for sample in rest.samples}
    for names in findings.same:
        members = [name for name in names if name in groups]
        joined = {groups[name] for name in members} - {""}
        group = min(joined, default=f"same as {members[0]}" if members else "")
        groups |= {name: group for name, old in groups.items() if old in joined} if joined else {}
        groups |= dict.fromkeys(members, group)
    return dataclasses.replace(
        rest, samples=tuple(dataclasses.replace(sample, group=groups[sample.name]) for sample in rest.samples)
    )


def _looks(look_at: Callable[[Sample], Look], dataset: Dataset, threads: int | None, advance: Advance | None) -> list[Look]:
    looks = []
    with ThreadPoolExecutor(threads or cores()) as pool:
        try:
            for look in pool.map(look_at, dataset.samples):
                looks.append(look)
                if advance is not None:
                    advance(1)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    return looks


def _findings(dataset: Dataset, looks: Sequence[Look], items: list[Finding], same: tuple[tuple[str, ...], ...]) -> Findings:
    both = list(zip(dataset.samples, looks, strict=True))
    broken = frozenset(sample.name for sample, image in both if image.reason)
    faults = (Remark(fault.code, fault.message, fault.file) for fault in dataset.faults)
    boxes = box_remarks(dataset, _uprights(looks)) if dataset.task == "detect" else ()
    read_past = faults if dataset.task == "classify" else ()  # `box_remarks` and `check_masks` repeat them
    classes = _classes(without(dataset, broken)) if dataset.task != "segment" else ()  # the masks' check does this instead
    items = [*_files(both), *classes, *_remarked(boxes), *_remarked(read_past), *items]
    headers = [image.header for image in looks if image.header and not image.reason]
    return Findings(
        in_order(items),
        len(looks),
        broken,
        tuple((header.width, header.height) for header in headers),
        dict(Counter(header.format for header in headers).most_common()),
        same,
        leaks=leaks(dataset, same),
    )


def _with_masks(
    dataset: Dataset, findings: Findings, looks: Sequence[Look], threads: int | None, *, most: int | None
) -> Findings:
    """The findings, and those of the masks of all images that can be decoded."""
    pairs = [(s, size) for s, size in zip(dataset.samples, _uprights(looks), strict=True) if s.name not in findings.broken]
    rest = dataclasses.replace(dataset, samples=tuple(sample for sample, _ in pairs))
    masks = check_masks(rest, [size for _, size in pairs], most=most, threads=threads)
    items = in_order([*findings.items, *_remarked(masks.remarks)])
    return dataclasses.replace(findings, items=items, broken=findings.broken | masks.broken, masks=masks)


def _remarked(remarks: Iterable[Remark]) -> Iterator[Finding]:
    for code, message, file in remarks:
        yield finding(code, message, [file] if file else [])


def _uprights(looks: Sequence[Look]) -> list[tuple[int, int] | None]:
    """Width and height of each image when it is upright."""
    return [image.header.upright if image.header is not None else None for image in looks]


def _files(both: Iterable[tuple[Sample, Look]]) -> Iterator[Finding]:
    for sample, image in both:
        if image.reason:
            yield finding(image.reason, image.problem, [sample.name])
        elif image.suffix_format:
            assert image.header is not None
            yield finding("extension", f"is {image.header.format}, but its name says {image.suffix_format}", [sample.name])


def _classes(dataset: Dataset) -> Iterator[Finding]:
    counts = {split: dataset.counts(split) for split in SPLITS}
    noun, nouns = ("box", "boxes") if dataset.task == "detect" else ("image", "images")
    if len(dataset.labels) == 1 and dataset.task == "classify":
        yield finding("one-class", f"every image is labeled '{dataset.labels[0]}', but a classifier needs two classes")
    if dataset.task == "detect" and not any(map(any, counts.values())):
        yield finding("no-boxes", _without_boxes(dataset))
        return
    if not any(counts["train"]):
        shows = " and shows an object" if dataset.task == "detect" else ""
        yield finding("no-training", f"no image that can be decoded{shows} is in the train split")
        return
    single = sum(sum(counts[split][i] for split in SPLITS) == 1 for i in range(len(dataset.labels)))
    if dataset.task == "classify" and single >= max(OWN, 0.9 * len(dataset.labels)):
        message = f"{single:,} of {len(dataset.labels):,} labels occur once; are they captions, names, or numbers to predict?"
        yield finding("own-labels", message)
    for i, label in enumerate(dataset.labels):
        total = sum(counts[split][i] for split in SPLITS)
        if counts["train"][i] == 0:
            yield finding("untrained", f"'{label}' has {counted(total, noun, nouns)}, and none in train")
        for split in ("val", "test"):
            if any(counts[split]) and counts[split][i] == 0:
                yield finding("absent", f"'{label}' has no {noun} in {split}, of {total}")
        if total < FEW:
            yield finding("few", f"'{label}' has {counted(total, noun, nouns)}; at least {FEW} are needed")
    present = sorted((n, label) for n, label in zip(counts["train"], dataset.labels, strict=True) if n)
    (least, rare), (most, common) = present[0], present[-1]
    if most > IMBALANCE * least:
        yield finding(
            "imbalance", f"'{common}' has {most} training {nouns}, '{rare}' {least}: {most / least:.0f} times as many"
        )


def _without_boxes(dataset: Dataset) -> str:
    """Why a detection dataset has no boxes."""
    message = f"none of the {counted(len(dataset.samples), 'image')} has a box"
    if any(fault.code == "unknown-class" for fault in dataset.faults):
        return f"{message}: all boxes are of classes that the dataset does not list, and were left out"
    bare = sum(fault.code == "unannotated" for fault in dataset.faults)
    if not bare:
        return f"{message}: every annotation is empty"
    return f"{message}: {counted(bare, 'annotation file is', 'annotation files are')} missing, and the others are empty"


def _duplicates(dataset: Dataset, looks: Sequence[Look]) -> tuple[tuple[tuple[str, ...], ...], list[Finding]]:
    """The sets of images that are the same or look the same, by name, and the findings about them."""
    samples = dataset.samples
    by_digest: dict[bytes, list[int]] = defaultdict(list)
    for i, image in enumerate(looks):
        if image.digest and not image.reason:
            by_digest[image.digest].append(i)
    items = [
        item for members in by_digest.values() if len(members) > 1 for item in _same(dataset, [samples[i] for i in members], "")
    ]
    distinct = [(members, looks[members[0]]) for members in by_digest.values()]
    comparable = [(members, image.hash, image.thumbnail) for members, image in distinct if image.thumbnail is not None]
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
    """The findings about one set of images that are the same, or look the same if `near` is "near-"."""
    what = "look the same and are" if near else "are the same file and are"
    names = [sample.name for sample in samples]
    labels = [dataset.labels[label] for label in sorted({sample.label for sample in samples} - {-1})]
    splits = [split for split in SPLITS if any(sample.split == split for sample in samples)]
    if len(labels) > 1:
        yield finding(f"{near}conflict", f"{what} labeled {' and '.join(repr(label) for label in labels)}", names)
    if len(splits) > 1:
        yield finding(f"{near}leak", f"{what} in {' and '.join(splits)}", names)
    if len(labels) <= len(splits) == 1:
        yield finding(
            f"{near}duplicate", f"{what} both in {splits[0]}" if len(names) == 2 else f"{what} all in {splits[0]}", names
        )


def _sizes(dataset: Dataset, looks: Sequence[Look], size: int) -> Iterator[Finding]:
    for sample, image in zip(dataset.samples, looks, strict=True):
        if image.header is None or image.reason:
            continue
        shorter, longer = sorted((image.header.width, image.header.height))
        if 2 * shorter < size:
            yield finding(
                "small",
                f"is {image.header.width} x {image.header.height} px, but the network's input is {size} x {size}",
                [sample.name],
            )
        if longer > LONGEST * shorter and dataset.task == "classify":
            yield finding(
                "long", f"is {image.header.width} x {image.header.height} px, and only its center is used", [sample.name]
            )


def _blank(dataset: Dataset, looks: Sequence[Look]) -> Iterator[Finding]:
    for sample, image in zip(dataset.samples, looks, strict=True):
        if image.flat:
            yield finding("blank", "shows a single tone", [sample.name])
        elif image.dark:
            yield finding("dark", f"is almost black: nothing in it is brighter than {DARK} of 255", [sample.name])


def _ignored(dataset: Dataset) -> Iterator[Finding]:
    for path in dataset.ignored:
        if is_image(Sample(path, 0, "train", name=path.name)):
            yield finding("hidden", f"is an image, but '{path.suffix}' is not an image's extension; it is skipped", [str(path)])
        else:
            yield finding("ignored", "is skipped", [str(path)])
