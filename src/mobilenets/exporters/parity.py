"""`Parity`: how far an exported network's outputs are from the model's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from mobilenets.errors import ExportError
from mobilenets.runtime.engines.base import Runs

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
class Agreement:
    """How many results of decoding inside are not the model's, over every batch that was run; near ties fall to either side.

    Args:
        name: of the results.
        unit: what is counted: "pixels", "boxes".
        differing: how many are not the same in both.
        total: how many were compared.
        tolerance: the share of them that may differ.
    """

    name: str
    unit: str
    differing: int
    total: int
    tolerance: float

    @property
    def share(self) -> float:
        """Of those that differ, 0 to 1."""
        return self.differing / max(self.total, 1)

    @property
    def passed(self) -> bool:
        """Whether no more differ than may."""
        return self.share <= self.tolerance


@dataclass(frozen=True, slots=True)
class Parity:
    """The comparison of an exported network with its model.

    Args:
        runtime: what ran the exported network, with its version.
        tolerance: the largest `max_rel` that passes.
        images: how many real images were run through both.
        batches: the batch sizes that were run.
        outputs: one comparison per output.
        agreements: of what is decoded inside; none where nothing is.
    """

    runtime: str
    tolerance: float
    images: int
    batches: tuple[int, ...]
    outputs: tuple[OutputParity, ...]
    agreements: tuple[Agreement, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every output stays within the tolerance, and enough agrees; not a number never does."""
        return all(output.max_rel <= self.tolerance for output in self.outputs) and all(one.passed for one in self.agreements)

    def check(self) -> None:
        """Say what did not pass.

        Raises:
            ExportError: something did not.
        """
        if self.passed:
            return
        for one in self.agreements:
            if not one.passed:
                raise ExportError(
                    f"{one.differing:,} of {one.total:,} {one.unit} differ between the model and the exported network; "
                    f"{one.tolerance:.1%} may",
                    hint="the file was not kept",
                )
        worst = max(self.outputs, key=lambda output: np.nan_to_num(output.max_rel, nan=np.inf))
        raise ExportError(
            f"the exported network's '{worst.name}' differs from the model's by {worst.max_rel:.1e} of the largest value; "
            f"the tolerance is {self.tolerance:.1e}",
            hint="the file was not kept; a larger --tolerance accepts it",
        )

    def to_data(self) -> dict[str, object]:
        """The comparison as dicts and lists, for JSON."""
        return {"passed": self.passed, **asdict(self)}


def compare(model: Runs, exported: Runs, batches: Iterable[NDArray[np.float32]]) -> tuple[OutputParity, ...]:
    """The worst difference of each output of two networks.

    Args:
        model: gives the outputs to compare with; every one of them must be among those of `exported`, in the same shape.
        exported: the network under test.
        batches: prepared images, each `N C H W`.
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
