"""Chooses and loads the images that `mobilenets show` displays, with the boxes and masks to draw on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mobilenets.data import masks
from mobilenets.data.samples import Dataset, Sample
from mobilenets.data.splits import digest
from mobilenets.errors import ImageError
from mobilenets.runtime.cores import cores
from mobilenets.runtime.images.decode import decode_image, upright_size

SIDE = 480
"""Longer side of an image on the page, px."""

MASKS_READ = 300
"""Maximum number of masks that are decoded to find out which classes they show."""

Corners = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Drawn:
    """A box to draw.

    Args:
        corners: x0 y0 x1 y1, as shares of the image's width and height.
        label: index of its class.
        note: "difficult" or "crowd", else "".
    """

    corners: Corners
    label: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Shown:
    """One image with everything that is drawn on it.

    Args:
        name: the image's name in the dataset.
        split: the split that it belongs to.
        classes: the index of its class, or of each class that it shows.
        image: the image, small and upright; None if it cannot be decoded.
        boxes: its boxes, for detection.
        mask: the class of each pixel of `image`, H W, for segmentation.
        problem: why the image or its mask cannot be shown, or "".
    """

    name: str
    split: str
    classes: tuple[int, ...]
    image: Image.Image | None = None
    boxes: tuple[Drawn, ...] = ()
    mask: NDArray[np.uint8] | None = None
    problem: str = ""


def classes_shown(dataset: Dataset, *, seed: int, advance: Callable[[int], object] | None = None) -> list[tuple[int, ...]]:
    """The classes of each sample: its label, the classes of its boxes, or those in its mask.

    At most 300 masks are decoded. If there are more, the seed chooses which, and the others count as showing no class.
    """
    if dataset.task == "classify":
        return [(sample.label,) for sample in dataset.samples]
    if dataset.task == "detect":
        return [tuple(sorted({box.label for box in sample.boxes})) for sample in dataset.samples]
    order = sorted(range(len(dataset.samples)), key=lambda i: digest(dataset.samples[i].name, seed))[:MASKS_READ]
    shown: list[tuple[int, ...]] = [()] * len(dataset.samples)
    with ThreadPoolExecutor(cores(), thread_name_prefix="masks") as pool:
        for i, classes in zip(order, pool.map(_in_mask, (dataset.samples[i] for i in order)), strict=True):
            shown[i] = classes
            if advance is not None:
                advance(1)
    return shown


def chosen(dataset: Dataset, classes: Sequence[Sequence[int]], *, count: int, seed: int) -> list[int]:
    """Indices of the samples to show, ordered by class. The classes take turns, the rarest first, so each gets its share.

    Args:
        dataset: the dataset to choose from.
        classes: the classes of each sample.
        count: how many samples to choose, at most.
        seed: another seed chooses other samples.
    """
    order = sorted(range(len(classes)), key=lambda i: digest(dataset.samples[i].name, seed))
    waiting: dict[int, list[int]] = {}  # samples of each class, the next one last; class -1 for samples that show none
    for i in reversed(order):
        for label in classes[i] or (-1,):
            waiting.setdefault(label, []).append(i)
    turns = sorted(waiting, key=lambda label: (len(waiting[label]), label))
    taken: dict[int, int] = {}  # sample: the class that it was taken for
    while turns and len(taken) < count:
        for label in list(turns):
            while waiting[label] and waiting[label][-1] in taken:
                waiting[label].pop()
            if not waiting[label]:
                turns.remove(label)
            elif len(taken) < count:
                taken[waiting[label].pop()] = label
    rank = {i: place for place, i in enumerate(order)}
    return sorted(taken, key=lambda i: (taken[i] < 0, taken[i], rank[i]))


def load(dataset: Dataset, indices: Sequence[int], classes: Sequence[Sequence[int]]) -> Iterator[Shown]:
    """The chosen samples with what is drawn on them, decoded by several threads.

    Args:
        dataset: the dataset.
        indices: the indices of the chosen samples.
        classes: the classes of every sample of the dataset.
    """
    with ThreadPoolExecutor(cores(), thread_name_prefix="decode") as pool:
        yield from pool.map(lambda i: _load(dataset.samples[i], tuple(classes[i])), indices)


def class_counts(dataset: Dataset, classes: Sequence[Sequence[int]]) -> list[dict[str, int]]:
    """For each class, the number of images in each split that belong to it or show it."""
    counts: list[Counter[str]] = [Counter() for _ in dataset.labels]
    for sample, labels in zip(dataset.samples, classes, strict=True):
        for label in set(labels):
            counts[label][sample.split] += 1
    return [dict(count) for count in counts]


def _in_mask(sample: Sample) -> tuple[int, ...]:
    try:
        return () if sample.mask is None else tuple(sorted(masks.survey(sample.mask).pixels))
    except (ImageError, OSError):
        return ()


def _load(sample: Sample, classes: tuple[int, ...]) -> Shown:
    try:
        data = sample.read()
        width, height = upright_size(data)
        scale = min(1.0, SIDE / max(width, height))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        image = decode_image(data, at_least=min(size)).resize(size, Image.Resampling.LANCZOS)
    except (ImageError, OSError) as error:
        return Shown(sample.name, sample.split, classes, problem=str(error))
    boxes = tuple(
        Drawn(
            (box.x0 / width, box.y0 / height, box.x1 / width, box.y1 / height),
            box.label,
            "crowd" if box.crowd else "difficult" if box.difficult else "",
        )
        for box in sample.boxes
    )
    mask, problem = None, ""
    if sample.mask is not None:
        try:
            mask = masks.resized(sample.mask.read(), *size)
        except (ImageError, OSError) as error:
            problem = str(error)
    return Shown(sample.name, sample.split, classes, image, boxes, mask, problem)
