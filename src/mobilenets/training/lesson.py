"""`Lesson`: what a training run needs to know about its task. Lessons are made in `training/classify.py` and its siblings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

from torch import Tensor

from mobilenets.feeding.loader import Teacher
from mobilenets.specs.model import Head
from mobilenets.training.validation import Chunk


class Outcome(Protocol):
    """A model's results on the validation images."""

    @property
    def images(self) -> int:
        """The number of images."""
        ...

    def metrics(self) -> dict[str, float]:
        """The metrics, each with a name that starts with "val_"."""
        ...

    def finite(self) -> bool:
        """Whether all outputs are finite."""
        ...

    def fitted(self, head: Head) -> Head:
        """The head with the values that are fitted on validation images: a temperature or thresholds."""
        ...

    def joined(self, others: Sequence[Self]) -> Self:
        """Combine this outcome with those of the other processes."""
        ...


@dataclass(frozen=True, slots=True)
class Lesson:
    """A task as the training loop sees it.

    Args:
        teacher: builds augmented images and their targets from samples.
        prepare: mixes a batch under a seed. Returns images in the network's input format and targets, both on the device.
        count: the weight of a part in the mean over its batch, from its targets and the weight of each image: a number of
            images, matched anchors or pixels.
        loss: the loss of a part, from its outputs, its targets, the weight of each image, and the count of the whole batch. The
            sum over the part is divided by that count.
        outcome: the outcome for all chunks of validation images, each with the network's outputs by name on the CPU.
        columns: the metrics in the run's table, the most familiar first.
        rank: the metrics that decide which of two checkpoints is better, the most important first; "-name" if lower is better.
        views: views of validation images, each given as the axes it is flipped along; a single output is averaged over them.
    """

    teacher: Teacher
    prepare: Callable[[Tensor, tuple[Tensor, ...], int], tuple[Tensor, tuple[Tensor, ...]]]
    count: Callable[[tuple[Tensor, ...], Tensor], Tensor]
    loss: Callable[[Any, tuple[Tensor, ...], Tensor, Tensor], Tensor]  # Any: a tensor, or a tuple of several outputs
    outcome: Callable[[Iterable[tuple[Chunk, Mapping[str, Any]]]], Outcome]  # Any: arrays
    columns: tuple[str, ...]
    rank: tuple[str, ...]
    views: tuple[tuple[int, ...], ...] = ((),)


def unmixed(x: Tensor, targets: tuple[Tensor, ...], _seed: int) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Return the batch unchanged."""
    return x, targets


def better(metrics: Mapping[str, float], best: Mapping[str, float], rank: Sequence[str]) -> bool:
    """Whether these metrics are better than the best so far, which may be empty.

    >>> better({"a": 1.0, "b": 2.0}, {"a": 1.0, "b": 3.0}, ("a", "-b"))
    True
    """
    if not best:
        return True
    now, then = ([-values[name[1:]] if name[0] == "-" else values[name] for name in rank] for values in (metrics, best))
    return now > then
