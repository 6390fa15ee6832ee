"""Preprocessed calibration images, and how many of them fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mobilenets.data.samples import Sample
from mobilenets.deploy.graph import Graph
from mobilenets.errors import DataError, ImageError
from mobilenets.runtime.images.prepare import load_input
from mobilenets.specs.model import InputContract

if TYPE_CHECKING:
    from numpy.typing import NDArray

Picture = Path | Sample
"""An image: its file, or a sample of a dataset."""

COUNT = 128
"""Default number of calibration images."""

MOST_BYTES = 2 << 30
"""Most memory for the activations of the calibration images, unless the user gives a number of images."""


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """Preprocessed images.

    Args:
        pictures: the images that could be read, N.
        values: the network's input, N C H W.
        unreadable: name of each image that could not be read, and the reason.
    """

    pictures: tuple[Picture, ...]
    values: NDArray[np.float32]
    unreadable: tuple[tuple[str, str], ...] = ()

    def __len__(self) -> int:
        return len(self.pictures)


def name_of(picture: Picture) -> str:
    """The name of an image in messages and reports."""
    return picture.name or str(picture.path) if isinstance(picture, Sample) else str(picture)


def place_of(picture: Picture) -> tuple[str, tuple[int, int] | None]:
    """The location of an image's bytes: two images with the same location are the same image."""
    if isinstance(picture, Sample):
        return picture.url or str(picture.path.resolve()), picture.member
    return str(picture.resolve()), None


def read_image(picture: Picture) -> bytes:
    """The encoded image.

    Raises:
        ImageError, OSError: the image cannot be read.
    """
    return picture.read() if isinstance(picture, Sample) else picture.read_bytes()


def drawn(pictures: Sequence[Picture], seed: int) -> tuple[Picture, ...]:
    """The images, shuffled with a seed, so that the first ones represent all of them."""
    order = np.random.default_rng(seed).permutation(len(pictures))
    return tuple(pictures[i] for i in order)


def inputs(
    pictures: Sequence[Picture], contract: InputContract, count: int, *, advance: Callable[[int], object] = lambda _: None
) -> Inputs:
    """The first `count` images that can be read, preprocessed.

    Args:
        pictures: in the order in which they are tried.
        contract: how to preprocess them.
        count: at least 1.
        advance: called with 1 after each image.

    Raises:
        DataError: none of them can be read.
    """
    read: list[Picture] = []
    values: list[NDArray[np.float32]] = []
    unreadable: list[tuple[str, str]] = []
    for picture in pictures:
        if len(read) == count:
            break
        try:
            values.append(load_input(read_image(picture), contract))
            read.append(picture)
            advance(1)
        except (ImageError, OSError) as error:
            unreadable.append((name_of(picture), str(error)))
    if not read:
        if not unreadable:
            raise DataError("there are no images to calibrate on", hint="--images FOLDER")
        name, reason = unreadable[0]
        raise DataError(f"none of the {len(unreadable)} images can be read; '{name}': {reason}", hint="--images FOLDER")
    return Inputs(tuple(read), np.stack(values), tuple(unreadable))


def affordable(graph: Graph) -> int:
    """The number of calibration images that fit into `MOST_BYTES`, 1 to `COUNT`.

    While an operator is fitted, its inputs and outputs on all images are in memory as floats, both for the float and for the
    quantized network.
    """
    shapes = graph.shapes()
    numbers = max(sum(prod(shapes[name]) for name in (*operator.inputs, *operator.made)) for operator in graph.operators)
    return int(np.clip(MOST_BYTES // (numbers * 4 * 2), 1, COUNT))
