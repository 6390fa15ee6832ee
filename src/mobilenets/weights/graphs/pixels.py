"""A graph's input contract: from its quantization and its own scaling of pixels, with guesses for the rest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mobilenets.errors import WeightsError
from mobilenets.specs.model import InputContract
from mobilenets.weights.graphs.graph import Graph, GraphTensor
from mobilenets.weights.graphs.walk import Walk
from mobilenets.weights.told import PIXELS, Basis, Contract, Told

IMAGENET = InputContract(resize="crop_then_stretch", crop=0.875)
"""The preprocessing that TensorFlow's ImageNet classifiers were evaluated with."""
WHOLE = InputContract(resize="stretch", crop=1.0)
"""How the guides of Keras and TFLite Model Maker resize the images of other datasets."""
LARGEST = 4096
"""Maximum side of an input, px; no MobileNet takes more."""
_HINT = "convert a network that takes one square image, N H W C"
_OF_BYTES = 0.1  # smaller factors scale pixels of 0 to 255, larger ones pixels of 0 to 1


def contract_of(walk: Walk, told: Told, *, imagenet: bool) -> Contract:
    """The input contract of a walked graph.

    TensorFlow's networks take -1 to 1, which quantized ones write as (q - 128) / 128. A graph that scales pixels itself takes
    unscaled pixels. If a graph neither scales nor quantizes, the range is unknown, and -1 to 1 is guessed.

    Args:
        walk: the walk over the graph.
        told: the user's statements about the file.
        imagenet: whether the network has ImageNet's classes, so that images are cropped as for ImageNet.

    Raises:
        WeightsError: its input is not one square image, or no contract can express how its pixels are scaled.
    """
    graph = walk.graph
    image = graph.tensors[graph.inputs[0]]
    size, channels = _square(image, walk, graph)
    known: dict[str, Basis] = {} if graph.takes_any_size else {"size": "read"}
    base, basis = _input_scale(image, walk, told)
    factor, offset = walk.pixels or (np.ones(1), np.zeros(1))
    slope, shift = factor * base[0], factor * base[1] + offset  # the network gets slope * pixel / 255 + shift
    if not (slope > 0).all() or not (np.isfinite(slope).all() and np.isfinite(shift).all()):
        raise WeightsError(
            f"'{graph.origin}' scales pixels by a factor that is not positive, so its input cannot be described",
            hint="give the scale of its input: --pixels 0..255, 0..1, -1..1 or imagenet",
        )
    known["pixels"] = basis
    mean, std = _per_channel(-shift / slope, channels), _per_channel(1 / slope, channels)
    contract = replace(IMAGENET if imagenet else WHOLE, size=size or 224, channels=channels, mean=mean, std=std)
    if walk.resized:
        contract = replace(contract, size=walk.resized, resize="sample", crop=1.0)
        known |= {"size": "read", "resize": "read", "crop": "read"}
    return Contract(contract, known)


def _square(image: GraphTensor, walk: Walk, graph: Graph) -> tuple[int, int]:
    """Side and channels of the input, px; the side is 0 if it is open."""
    if len(image.shape) != 4:
        raise WeightsError(f"'{graph.origin}' takes an input of {len(image.shape)} dimensions, not images", hint=_HINT)
    _, height, width, channels = image.shape
    if height != width:
        raise WeightsError(f"'{graph.origin}' takes images of {height} x {width}, which are not square", hint=_HINT)
    if not 0 < channels <= 16 or not 0 <= height <= LARGEST:
        raise WeightsError(f"'{graph.origin}' takes images of {height} x {width} x {channels}; no MobileNet does", hint=_HINT)
    return height, channels


def _input_scale(image: GraphTensor, walk: Walk, told: Told) -> tuple[tuple[NDArray[np.float64], NDArray[np.float64]], Basis]:
    """The file's input as slope and shift of pixel / 255, and how well that is known."""
    if len(image.scale):
        black = int(image.zero_point[0]) + (128 if image.dtype == "i1" else 0)  # pixels are stored from -128 on
        span, low = 255 * float(image.scale[0]), -black * float(image.scale[0])
        if abs(span - 2) <= 0.02 and abs(low + 1) <= 0.02 and walk.pixels is None:
            span, low = 2.0, -1.0
        return (np.array([span]), np.array([low])), "read"
    if told.pixels:
        mean, std = (np.array(part) for part in PIXELS[told.pixels])
        if len(set(mean)) == len(set(std)) == 1:
            mean, std = mean[:1], std[:1]
        return (1 / std, -mean / std), "given"
    if walk.pixels is None:
        return (np.array([2.0]), np.array([-1.0])), "guessed"
    of_bytes = float(np.abs(walk.pixels[0]).max()) < _OF_BYTES
    return (np.array([255.0 if of_bytes else 1.0]), np.zeros(1)), "read"


def _per_channel(values: NDArray[np.float64], channels: int) -> tuple[float, ...]:
    """One value if all channels agree, otherwise one per channel; rounded to what 32-bit floats can represent."""
    rounded = [float(f"{value:.7g}") + 0.0 for value in np.broadcast_to(values, channels if values.size > 1 else 1)]
    return tuple(rounded[:1] if len(set(rounded)) == 1 else rounded)
