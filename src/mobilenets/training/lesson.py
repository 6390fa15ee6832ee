"""`Lesson`: what a training run needs to know of its task. `training/classify.py` and its like make them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

from torch import Tensor

from mobilenets.feeding.loader import Teacher
from mobilenets.specs.model import Head
from mobilenets.training.validation import Chunk


class Outcome(Protocol):
    """What a model said of the validation images."""

    @property
    def images(self) -> int:
        """How many images were seen."""
        ...

    def metrics(self) -> dict[str, float]:
        """Figures of it, each beginning with "val_"."""
        ...

    def finite(self) -> bool:
        """Whether every answer is a number."""
        ...

    def fitted(self, head: Head) -> Head:
        """The head with what is fitted on validation images: a temperature, thresholds."""
        ...

    def joined(self, others: Sequence[Self]) -> Self:
        """This one and those of the other processes as one."""
        ...


@dataclass(frozen=True, slots=True)
class Lesson:
    """A task as the loop sees it.

    Args:
        teacher: makes augmented images and their targets of samples.
        prepare: mixes a batch under a seed: images of the network's input and targets, both on the device.
        count: how much a part weighs in the mean over its batch, from its targets and the weight of each image: images,
            matched anchors or pixels.
        loss: of a part: its outputs, its targets, the weight of each image, and the count of the whole batch, by which the sum
            over the part is divided.
        outcome: of all chunks of validation images, each with the network's outputs by name on the CPU.
        columns: the metrics that the run's table has, best known first.
        rank: metrics that say which of two checkpoints is better, the most important first; "-name" where less is better.
        views: of validation images, each the axes it is flipped along; a single output is averaged over them.
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
    """The batch as it is."""
    return x, targets


def better(metrics: Mapping[str, float], best: Mapping[str, float], rank: Sequence[str]) -> bool:
    """Whether these metrics are better than the best so far, of which there may be none.

    >>> better({"a": 1.0, "b": 2.0}, {"a": 1.0, "b": 3.0}, ("a", "-b"))
    True
    """
    if not best:
        return True
    now, then = ([-one[name[1:]] if name[0] == "-" else one[name] for name in rank] for one in (metrics, best))
    return now > then
