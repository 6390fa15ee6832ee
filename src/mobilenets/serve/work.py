"""What a request asks of a model, in the two steps between which the network runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mobilenets.runtime.engines.base import Outputs

JSON = "application/json"
BINARY = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Answer:
    """The body of an answer.

    Args:
        body: its bytes.
        media: its media type.
        headers: further ones.
    """

    body: bytes
    media: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the network runs on, and what becomes of its outputs.

    Args:
        batch: preprocessed images, N C H W; at least one.
        finish: makes the answer from the outputs for these images; may raise MobileNetsError.
    """

    batch: NDArray[np.float32]
    finish: Callable[[Outputs], Answer]


Work = Callable[[], Prepared]
"""Reads and prepares what a request holds; may raise MobileNetsError. A worker thread calls it."""
