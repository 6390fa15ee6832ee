"""Checks the masks of a dataset, and counts the images and pixels of each class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from mobilenets.data import masks
from mobilenets.data.checks.boxes import Remark, Size
from mobilenets.data.masks import Survey
from mobilenets.data.samples import SPLITS, Dataset, Sample, Split
from mobilenets.data.text import counted
from mobilenets.errors import ImageError
from mobilenets.runtime.cores import cores

FEW = 5
"""A class in fewer images is hard to learn."""

RARE = 0.001
"""A class with a smaller share of all pixels is called rare."""

MIXED = 0.1
"""If a larger share of changes passes through an intermediate value, a mask is taken for interpolated: see `masks.Survey`."""

MANY = 8
"""A mask with this many values or colors that belong to no class is taken for lossy."""

OBJECTS = 5
"""Fewest values of masks that may number the objects of an image."""

QUICK = 2000
"""Most masks that a quick check decodes, spread evenly over the dataset."""


@dataclass(frozen=True, slots=True)
class Share:
    """How often one class occurs.

    Args:
        label: its name.
        images: the number of images that show it in each split, in the order of `SPLITS`.
        pixels: the number of its pixels in all splits.
        share: its share of all pixels that are not ignored, 0 to 1.
    """

    label: str
    images: tuple[int, ...]
    pixels: int
    share: float


@dataclass(frozen=True, slots=True)
class MaskFindings:
    """The problems of the masks, and how often each class occurs.

    Args:
        remarks: the problems.
        broken: names of the images whose masks cannot be trained on.
        shares: how often each class occurs.
        ignored: share of all pixels that are ignored, 0 to 1.
        looked: the number of masks that were decoded.
    """

    remarks: tuple[Remark, ...]
    broken: frozenset[str]
    shares: tuple[Share, ...]
    ignored: float
    looked: int


Look = Survey | ImageError | None


def check_masks(
    dataset: Dataset,
    images: Sequence[Size | None],
    *,
    most: int | None = None,
    threads: int | None = None,
    advance: Callable[[int], object] | None = None,
) -> MaskFindings:
    """Decode the masks of a dataset and find their problems.

    Args:
        dataset: a segmentation dataset.
        images: width and height of each sample's image, upright, px; None if it is not known.
        most: most masks to decode, spread evenly over the dataset; all by default.
        threads: number of threads that decode; one per core by default.
        advance: called with 1 after each mask.
    """
    total = len(dataset.samples)
    chosen = range(total) if most is None or most >= total else [i * total // most for i in range(most)]
    samples = [dataset.samples[i] for i in chosen]
    looks: list[Look] = []
    with ThreadPoolExecutor(threads or cores(), thread_name_prefix="masks") as pool:
        try:
            for look in pool.map(_look, samples):
                looks.append(look)
                if advance is not None:
                    advance(1)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    remarks = [Remark(fault.code, fault.message, fault.file) for fault in dataset.faults]
    broken = set()
    for sample, look, size in zip(samples, looks, [images[i] for i in chosen], strict=True):
        of_mask = list(_of_one_mask(sample, look, size))
        remarks += of_mask
        if any(remark.code in _BREAKING for remark in of_mask):
            broken.add(sample.name)
    readable = [(sample, look) for sample, look in zip(samples, looks, strict=True) if isinstance(look, Survey)]
    shares, ignored = _shares(dataset.labels, readable)
    usable = {sample.split for sample in samples if sample.name not in broken}
    remarks += _classes(shares, usable)
    remarks += _instances(dataset.labels, [look for _, look in readable])
    if len(samples) < total:
        remarks.append(Remark("masks-sampled", f"{len(samples):,} of {total:,} masks were checked", ""))
    return MaskFindings(tuple(remarks), frozenset(broken), shares, ignored, len(samples))


_BREAKING = frozenset(("mask-unreadable", "mask-size", "mask-values"))


def _look(sample: Sample) -> Look:
    if sample.mask is None:
        return None
    try:
        return masks.survey(sample.mask)
    except ImageError as error:
        return error


def _of_one_mask(sample: Sample, look: Look, size: Size | None) -> Iterator[Remark]:
    """The problems of one mask."""
    if look is None:
        yield Remark("mask-unreadable", "has no mask", sample.name)
        return
    if isinstance(look, ImageError):
        yield Remark("mask-unreadable", f"{look}", sample.name)
        return
    if size is not None and (look.width, look.height) != size:
        turned = "; EXIF rotates the photo, but not the mask" if (look.height, look.width) == size else ""
        message = f"the mask is {look.width} x {look.height} px, but the image is {size[0]} x {size[1]}{turned}"
        yield Remark("mask-size", message, sample.name)
    pixels = look.width * look.height
    distinct = look.colors or len(look.strays)
    if look.strays:
        yield Remark("mask-values", _strays(look, pixels), sample.name)
    if look.lossy:
        yield Remark(
            "mask-lossy", "the mask is saved in a lossy format, which mixes neighboring classes; save masks as PNG", sample.name
        )
    elif distinct >= MANY:
        what = "colors" if look.colors else "values"
        message = f"the mask has {distinct} {what} that belong to no class, as after resizing or saving as JPEG"
        yield Remark("mask-lossy", message, sample.name)
    elif look.between > MIXED:
        message = f"{look.between:.0%} of the mask's borders pass through a class in between: was it resized by interpolation?"
        yield Remark("mask-lossy", message, sample.name)
    if look.ignored == pixels:
        yield Remark("mask-empty", "every pixel is ignored, so nothing can be learned from it", sample.name)


def _strays(look: Survey, pixels: int) -> str:
    total = sum(look.strays.values())
    of = f"on {total / pixels:.1%} of its pixels"
    if masks.STRAY in look.strays:
        return f"the mask has {look.colors} color{'s' * (look.colors != 1)} that no class has, {of}"
    values = sorted(look.strays)
    shown = ", ".join(str(value) for value in values[:5]) + (f" and {len(values) - 5} more" if len(values) > 5 else "")
    return f"the mask has the value{'s' * (len(values) != 1)} {shown}, which no class has, {of}; --ignore leaves a value out"


def _shares(labels: Sequence[str], readable: Sequence[tuple[Sample, Survey]]) -> tuple[tuple[Share, ...], float]:
    """How often each class occurs, and the share of ignored pixels."""
    pixels: Counter[int] = Counter()
    shown: dict[Split, Counter[int]] = {split: Counter() for split in SPLITS}
    ignored = 0
    for sample, survey in readable:
        pixels.update(survey.pixels)
        shown[sample.split].update(survey.pixels.keys())
        ignored += survey.ignored
    labeled = sum(pixels.values())
    shares = tuple(
        Share(label, tuple(shown[split][i] for split in SPLITS), pixels[i], pixels[i] / max(labeled, 1))
        for i, label in enumerate(labels)
    )
    return shares, ignored / max(labeled + ignored, 1)


def _instances(labels: Sequence[str], looks: Sequence[Survey]) -> Iterator[Remark]:
    """The remark that values number the objects of each image: no file names them, and each mask has all below its highest."""
    highest = {max(look.pixels, default=0) for look in looks}
    whole = all(sorted(look.pixels) == list(range(len(look.pixels))) for look in looks)
    unnamed = labels == tuple(f"class {i}" for i in range(len(labels)))
    if whole and unnamed and len(labels) >= OBJECTS and len(highest) > 2:
        message = f"values 0 to {max(highest)}, and each mask has all values from 0 to its highest: do they number the objects"
        yield Remark("instances", f"{message} of an image? Then replace every value above 0 by the object's class", "")


def _classes(shares: Sequence[Share], splits: set[Split]) -> Iterator[Remark]:
    """The problems with how often classes occur."""
    if "train" not in splits or not any(share.images[0] for share in shares):
        yield Remark("no-training", "the train split has no image with a usable mask", "")
        return
    shown = [share.label for share in shares if share.pixels]
    if len(shown) == 1:
        message = f"every pixel is of the class '{shown[0]}' or ignored, but a segmenter needs two classes"
        yield Remark("one-class", f"{message}; is the background a class of its own?", "")
        return
    for share in shares:
        total = sum(share.images)
        if not total:
            yield Remark("unseen", f"'{share.label}' is in no mask", "")
        elif not share.images[0]:
            yield Remark("unseen", f"'{share.label}' is in {counted(total, 'image')}, but in none of train", "")
        else:
            for split, images in zip(SPLITS, share.images, strict=True):
                if split in splits and not images:
                    yield Remark("absent", f"'{share.label}' is in no image of {split}, of {total}", "")
            if total < FEW:
                yield Remark("few", f"'{share.label}' is in {counted(total, 'image')}; at least {FEW} are needed", "")
            if share.share < RARE:
                yield Remark("rare", f"'{share.label}' has {share.share:.3%} of the pixels", "")
