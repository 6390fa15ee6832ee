"""`Parity`: how far an exported network's outputs are from the model's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from mobilenets.runtime.engines import Engine

TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True)
class OutputParity:
    """The worst difference of one output over every batch that was run.

    Args:
        name: of the output.
        max_abs: largest absolute difference of two values.
        max_rel: largest absolute difference in a batch, over the largest absolute value of the model's output in that batch.
    """

    name: str
    max_abs: float
    max_rel: float


@dataclass(frozen=True, slots=True)
class Parity:
    """The comparison of an exported network with its model.

    Args:
        runtime: what ran the exported network, with its version.
        tolerance: the largest `max_rel` that passes.
        pictures: how many real pictures were run through both.
        batches: the batch sizes that were run.
        outputs: one comparison per output.
    """

    runtime: str
    tolerance: float
    pictures: int
    batches: tuple[int, ...]
    outputs: tuple[OutputParity, ...]

    @property
    def passed(self) -> bool:
        """Whether every output stays within the tolerance; not a number never does."""
        return all(output.max_rel <= self.tolerance for output in self.outputs)

    def to_data(self) -> dict[str, object]:
        """The comparison as dicts and lists, for JSON."""
        return {"passed": self.passed, **asdict(self)}


def compare(model: Engine, exported: Engine, batches: Iterable[NDArray[np.float32]]) -> tuple[OutputParity, ...]:
    """The worst difference of each output of two networks.

    Args:
        model: gives the outputs to compare with; every one of them must be among those of `exported`, in the same shape.
        exported: the network under test.
        batches: prepared pictures, each `N C H W`.
    """
    worst: dict[str, tuple[float, float]] = {}
    for batch in batches:
        found = exported.run(batch)
        for name, expected in model.run(batch).items():
            max_abs = max_rel = float("inf")
            if name in found and found[name].shape == expected.shape:
                max_abs = float(np.max(np.abs(found[name] - expected)))
                max_rel = max_abs / max(float(np.max(np.abs(expected))), float(np.finfo(np.float32).tiny))
            before = worst.get(name, (0.0, 0.0))
            worst[name] = (float(np.maximum(before[0], max_abs)), float(np.maximum(before[1], max_rel)))  # keeps not-a-number
    return tuple(OutputParity(name, *differences) for name, differences in worst.items())
