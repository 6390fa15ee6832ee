"""Occlusion maps of a classifier: how much its prediction drops when a part of the image is hidden (Zeiler and Fergus, 2014).

Only the network's outputs are needed, no gradients or feature maps, so this works with every engine, in float and int8.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mobilenets.runtime.images.placement import Placement
from mobilenets.runtime.predictor import Predictor
from mobilenets.runtime.sources import Source, load

CELLS = 7
"""Number of hidden positions along each side of the input."""

_AT_ONCE = 8  # number of inputs that go through the network together
_REACH = 1.0  # cells that the hidden part extends from its center in each direction


@dataclass(frozen=True, slots=True, eq=False)
class Looked:
    """The occlusion map of one image.

    Args:
        importance: importance of each position of the input, 0 to 1, rows x columns; all 0 if hiding never lowers the
            prediction.
        placement: where the input lies on the image.
        shape: height and width of the input, px.
    """

    importance: NDArray[np.float32]
    placement: Placement
    shape: tuple[int, int]


def looked(predictor: Predictor, image: Source) -> Looked:
    """The drop of the predicted label's logit, relative to the mean logit, when the area around each position is hidden.

    Args:
        predictor: a classifier's predictor.
        image: one image.

    Raises:
        ImageError: it cannot be decoded.
        OSError: it cannot be read.
    """
    contract = predictor.manifest.input
    x, placement = load(image, contract)
    whole = _against_mean(predictor.run(x[np.newaxis])["logits"])[0]
    label = int(whole.argmax())
    hidden = np.repeat(x[np.newaxis], CELLS * CELLS, axis=0)  # N C H W
    for place, part in enumerate(_parts(contract.shape)):
        hidden[(place, slice(None), *part)] = 0  # zero is the mean color
    batches = np.split(hidden, range(_AT_ONCE, len(hidden), _AT_ONCE))
    left = np.concatenate([_against_mean(predictor.run(batch)["logits"])[:, label] for batch in batches])
    falls = np.maximum(whole[label] - left, 0).reshape(CELLS, CELLS)
    return Looked((falls / max(float(falls.max()), 1e-6)).astype(np.float32), placement, contract.shape)


def _against_mean(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits minus their mean over each image's labels, which softmax does not depend on."""
    against: NDArray[np.float32] = logits - logits.mean(axis=1, keepdims=True)
    return against


def _parts(shape: tuple[int, int]) -> list[tuple[slice, slice]]:
    """The rows and columns that are hidden around each position, row by row."""
    rows, columns = (
        [
            slice(max(0, round((i - _REACH + 0.5) * side / CELLS)), round((i + _REACH + 0.5) * side / CELLS))
            for i in range(CELLS)
        ]
        for side in shape
    )
    return [(row, column) for row in rows for column in columns]
