"""`Step`: what the training loop yields after each step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Step:
    """One optimizer step.

    Args:
        epoch, epochs: the current epoch, counted from 1, and the total number.
        step, steps: the same over the whole run.
        loss: mean over the step's images in all processes.
        learning_rate: the step's learning rate.
        images_per_second: throughput of the last steps in all processes.
        seconds_left: estimated time to the end, including validation, export, report and the trainings of a cross-validation.
        metrics: at the end of an epoch with validation: `train_loss`, `val_loss`, `val_accuracy`, ...
        best: whether these are the best metrics so far; the run's `best` checkpoint is then this one.
        broken: names of unreadable images, each with the reason, when they first occur.
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
