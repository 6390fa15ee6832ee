"""`Step`: what the training loop yields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Step:
    """One optimizer step.

    Args:
        epoch, epochs: counted from 1, and how many there will be.
        step, steps: the same over the whole run.
        loss: mean over the step's images, of all processes.
        learning_rate: it was made with.
        images_per_second: of the last steps, of all processes.
        seconds_left: until the end, validation, export, report and the trainings of a cross-validation included.
        metrics: at the end of an epoch that is validated: `train_loss`, `val_loss`, `val_accuracy`, ...
        best: whether these are the best so far; then the run's `best` checkpoint is this one.
        broken: names of images that could not be read, each with the reason, when they are met first.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    learning_rate: float
    images_per_second: float
    seconds_left: float
    metrics: Mapping[str, float] = field(default_factory=dict)
    best: bool = False
    broken: Mapping[str, str] = field(default_factory=dict)
