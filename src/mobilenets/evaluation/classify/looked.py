"""Where a classifier looked: how far hiding a part of an image lowers its answer (occlusion; Zeiler and Fergus, 2014).

It asks the network itself, whatever runs it, in floats or integers: no gradients and no inner maps are needed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mobilenets.runtime.images.placement import Placement
from mobilenets.runtime.predictor import Predictor
from mobilenets.runtime.sources import Source, load

CELLS = 7
"""Places on each side of the input at which a part is hidden."""

_AT_ONCE = 8  # inputs that go through the network together
_REACH = 1.0  # cells that a hidden part reaches beyond its middle, up and down, left and right


@dataclass(frozen=True, slots=True, eq=False)
class Looked:
    """Where a classifier looked on one image.

    Args:
        importance: of each place of the input, 0 to 1, rows by columns; all 0 where nothing that is hidden lowers the answer.
        placement: where the input lies on the image.
        shape: of the input, height and width, px.
    """

    importance: NDArray[np.float32]
    placement: Placement
    shape: tuple[int, int]


def looked(predictor: Predictor, image: Source) -> Looked:
    """How far the logit of the predicted label falls, against the mean of all, when the part around each place is hidden.

    Args:
        predictor: of a classifier.
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
        hidden[(place, slice(None), *part)] = 0  # the mean color
    batches = np.split(hidden, range(_AT_ONCE, len(hidden), _AT_ONCE))
    left = np.concatenate([_against_mean(predictor.run(batch)["logits"])[:, label] for batch in batches])
    falls = np.maximum(whole[label] - left, 0).reshape(CELLS, CELLS)
    return Looked((falls / max(float(falls.max()), 1e-6)).astype(np.float32), placement, contract.shape)


def _against_mean(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits without what is common to all of an image, which softmax does not see."""
    against: NDArray[np.float32] = logits - logits.mean(axis=1, keepdims=True)
    return against


def _parts(shape: tuple[int, int]) -> list[tuple[slice, slice]]:
    """The rows and columns that are hidden around each place, row by row."""
    rows, columns = (
        [
            slice(max(0, round((i - _REACH + 0.5) * side / CELLS)), round((i + _REACH + 0.5) * side / CELLS))
            for i in range(CELLS)
        ]
        for side in shape
    )
    return [(row, column) for row in rows for column in columns]
