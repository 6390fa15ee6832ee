"""`Parity`: how much the outputs of an exported network differ from the model's."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mobilenets.data.text import counted
from mobilenets.deploy.cpp.write import Written
from mobilenets.documents import finite
from mobilenets.errors import ExportError
from mobilenets.files import write_text
from mobilenets.runtime.engines.base import FastPath, Outputs, Runs

TOLERANCE = 1e-4

_MEAN_SHARE = 4
_NEARLY = 1.001  # allows for float rounding in a whole number of steps
_ROUNDINGS = 4  # summation in another order may deviate by at most this many times the model's own rounding error


@dataclass(frozen=True, slots=True)
class OutputParity:
    """The largest difference of one output over all compared batches.

    Args:
        name: the output's name.
        max_abs: the largest absolute difference of two values.
        max_rel: the largest absolute difference in a batch, divided by the model's largest absolute output in that batch.
        cosine: cosine similarity of both outputs of an image, the smallest over all images.
        steps, mean_steps: the largest and the mean absolute difference, in steps of the output's scale; None for a float
            network.
    """

    name: str
    max_abs: float
    max_rel: float
    cosine: float = field(default=1.0, compare=False)
    steps: float | None = field(default=None, compare=False)
    mean_steps: float | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Agreement:
    """How many decoded results differ from the model's, over all batches. Near ties can go either way.

    Args:
        name: name of the results.
        unit: the counted unit: "images", "pixels" or "boxes".
        differing: how many differ.
        total: how many were compared.
        tolerance: the share that may differ.
        ties: how many others differ only as near ties, between results that are equal up to the tolerance of the outputs.
    """

    name: str
    unit: str
    differing: int
    total: int
    tolerance: float
    ties: int = 0

    @property
    def told(self) -> str:
        """A phrase saying how many differ; it mentions near ties, since they can change the accuracy."""
        if not self.total:
            return f"no {self.unit} found"
        ties = f", and {counted(self.ties, 'near tie')}" if self.ties else ""
        return f"{self.differing:,} of {self.total:,} {self.unit}{ties}"

    @property
    def share(self) -> float:
        """The share that differs, 0 to 1."""
        return self.differing / max(self.total, 1)

    @property
    def passed(self) -> bool:
        """Whether no more results differ than allowed."""
        return self.share <= self.tolerance


@dataclass(frozen=True, slots=True)
class Accuracy:
    """The accuracy of the model and of the exported network on the same labeled images.

    Args:
        metric: the metric: "top1", "map" or "miou".
        model, exported: its values, 0 to 1.
        images: number of images.
        floats: whether the model was measured in floats although the file computes in int8.
    """

    metric: str
    model: float
    exported: float
    images: int
    floats: bool = False


@dataclass(frozen=True, slots=True)
class Parity:
    """The comparison of an exported network with its model.

    Args:
        runtime: the runtime that ran the exported network, with its version.
        tolerance: the largest `max_rel` that passes.
        images: how many real images were compared.
        batches: the batch sizes that were compared.
        outputs: one comparison per output.
        agreements: comparisons of decoded results: top labels, boxes or classes of pixels.
        accuracies: of both on labeled images; empty if there are none.
        fast_path: how many operators run on the runtime's fast kernels; None if the runtime does not say.
        memory: the memory that a self-contained export needs on a device; None if a runtime decides that.
        note: a note for readers, such as that the file itself cannot run here.
        rounding: the rounding error of the model compared with 64 bits, as `OutputParity.max_rel`; measured only if the
            tolerance is exceeded.
        steps: the largest difference that passes for an output of an int8 network, in steps of its scale. The mean difference
            may be a quarter of it: runtimes that round differently are far apart in only a few numbers.
    """

    runtime: str
    tolerance: float
    images: int
    batches: tuple[int, ...]
    outputs: tuple[OutputParity, ...]
    agreements: tuple[Agreement, ...] = ()
    accuracies: tuple[Accuracy, ...] = ()
    fast_path: FastPath | None = None
    memory: Written | None = None
    note: str = ""
    rounding: float = 0.0
    steps: float = 0.0

    @property
    def limit(self) -> float:
        """The largest `max_rel` that passes: the tolerance, or more for a network that is sensitive to 32-bit rounding.

        A tolerance stricter than the default is applied as it is.
        """
        return self.tolerance if self.tolerance < TOLERANCE else max(self.tolerance, _ROUNDINGS * self.rounding)

    @property
    def passed(self) -> bool:
        """Whether every output is within its limit and enough results agree. NaN always fails."""
        return all(map(self.close, self.outputs)) and all(agreement.passed for agreement in self.agreements)

    def close(self, output: OutputParity) -> bool:
        """Whether one output is within its limit."""
        if output.steps is None or output.mean_steps is None:
            return output.max_rel <= self.limit
        return output.steps <= self.steps * _NEARLY and output.mean_steps <= self.steps / _MEAN_SHARE

    def check(self) -> None:
        """Raise an error that lists everything that did not pass.

        Raises:
            ExportError: at least one comparison did not pass.
        """
        if self.passed:
            return
        accepts = "a larger --tolerance accepts it"
        if any(output.steps is not None for output in self.outputs):
            accepts = "rounding decides between scores that are close, so train the model longer before it is quantized"
        for agreement in self.agreements:
            if not agreement.passed:
                raise ExportError(
                    f"{agreement.differing:,} of {agreement.total:,} {agreement.unit} differ between the model and the "
                    f"exported network; at most {agreement.tolerance:.1%} may",
                    hint=f"the file was not kept; {accepts}",
                    comparison=self.to_data(),
                )
        far = [output for output in self.outputs if not self.close(output)]
        worst = max(far, key=lambda output: np.nan_to_num(output.max_rel, nan=np.inf))
        if worst.steps is not None and worst.mean_steps is not None:
            raise ExportError(
                f"the exported network's '{worst.name}' differs from the integer reference by up to {worst.steps:.0f} steps of "
                f"256 and by {worst.mean_steps:.1f} on average; the limits are {self.steps:g} and {self.steps / _MEAN_SHARE:g}",
                hint="the file was not kept; a larger --steps accepts it",
                comparison=self.to_data(),
            )
        raise ExportError(
            f"the exported network's '{worst.name}' differs from the model's by {worst.max_rel:.1e} of the largest value; "
            f"the tolerance is {self.limit:.1e}",
            hint="the file was not kept; a larger --tolerance accepts it",
            comparison=self.to_data(),
        )

    def to_data(self) -> dict[str, object]:
        """The comparison as dicts and lists, for JSON."""
        fast_path = self.fast_path and self.fast_path.to_data()
        return {"passed": self.passed, **asdict(self), "fast_path": fast_path}


def compare(model: Runs, exported: Runs, batches: Iterable[NDArray[np.float32]]) -> tuple[OutputParity, ...]:
    """The largest difference of each output of two networks.

    Args:
        model: the reference. `exported` must have every one of its outputs, in the same shape.
        exported: the network under test.
        batches: preprocessed images, each `N C H W`.
    """
    return differences((model.run(batch), exported.run(batch)) for batch in batches)


def differences(
    pairs: Iterable[tuple[Outputs, Outputs]], scales: Mapping[str, float] | None = None
) -> tuple[OutputParity, ...]:
    """The largest difference of each output.

    Args:
        pairs: the outputs of the reference and of the network under test for each batch. The second must have every output of
            the first, in the same shape.
        scales: scales of int8 outputs, by name.
    """
    worst: dict[str, tuple[float, float, float]] = {}
    totals: dict[str, tuple[float, int]] = {}
    for outputs, exported in pairs:
        for name, expected in outputs.items():
            max_abs, max_rel, cosine = float("inf"), float("inf"), -1.0
            if name in exported and exported[name].shape == expected.shape:
                max_abs = float(np.max(np.abs(exported[name] - expected)))
                max_rel = max_abs / max(float(np.max(np.abs(expected))), _TINY)
                cosine = _cosine(expected, exported[name])
            sum_abs = float(np.sum(np.abs(exported[name] - expected))) if np.isfinite(max_abs) else max_abs
            total, count = totals.get(name, (0.0, 0))
            totals[name] = (total + sum_abs, count + expected.size)
            before = worst.get(name, (0.0, 0.0, 1.0))
            worst[name] = (  # NumPy's maximum and minimum keep NaN
                float(np.maximum(before[0], max_abs)),
                float(np.maximum(before[1], max_rel)),
                float(np.minimum(before[2], cosine)),
            )
    steps = {
        name: (worst[name][0] / scale, totals[name][0] / max(totals[name][1], 1) / scale)
        for name, scale in (scales or {}).items()
        if name in worst
    }
    return tuple(OutputParity(name, *values, *steps.get(name, (None, None))) for name, values in worst.items())


def _cosine(expected: NDArray[np.float32], exported: NDArray[np.float32]) -> float:
    """The smallest cosine similarity over all images; that of two zero vectors is 1."""
    expected_rows, rows = (values.reshape(len(values), -1).astype(np.float64) for values in (expected, exported))
    lengths = np.linalg.norm(expected_rows, axis=1) * np.linalg.norm(rows, axis=1)
    products = (expected_rows * rows).sum(axis=1)
    return float(
        np.min(np.where(lengths > 0, products / np.maximum(lengths, _TINY), np.all(expected_rows == rows, axis=1)), initial=1.0)
    )


_TINY = float(np.finfo(np.float32).tiny)


def write_parity(parity: Parity, path: Path) -> None:
    """Write a comparison as JSON beside the exported file.

    Raises:
        ExportError: the file cannot be written.
    """
    try:
        write_text(path, json.dumps(finite(parity.to_data()), indent=1) + "\n")
    except OSError as error:
        raise ExportError(f"cannot write '{path}': {error.strerror or error}") from error
