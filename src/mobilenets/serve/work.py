"""The work of a request on a model, in two steps: before and after the network runs."""

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
    """The body of a response.

    Args:
        body: its bytes.
        media: its media type.
        headers: additional headers.
    """

    body: bytes
    media: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Prepared:
    """The input of the network, and how its outputs are used.

    Args:
        batch: preprocessed images, N C H W; at least one.
        finish: creates the answer from the outputs for these images; may raise MobileNetsError.
    """

    batch: NDArray[np.float32]
    finish: Callable[[Outputs], Answer]


Work = Callable[[], Prepared]
"""Reads and preprocesses the content of a request; may raise MobileNetsError. Called from a worker thread."""
