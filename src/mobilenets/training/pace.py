"""`Pace`: how long steps and validations take, how many steps fit into a time budget, and how much time is left."""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import dataclass

from mobilenets.training.recipe import Recipe

_STEPS = 100  # number of recent steps that times are averaged over
_SPARE = 0.97  # share of the remaining time that is planned, because step times vary
_FORWARD = 0.4  # assumed ratio of an image's time in validation to that in training, until it is measured
_EXPORT_S = 8.0  # time to export and draw a report, in addition to predicting


@dataclass(frozen=True, slots=True)
class Around:
    """Work before and after a training that a time budget also covers.

    Args:
        seconds_before: time spent before the training was called.
        images_after: number of images to predict for the report; -1 if there is no export and no report.
        trainings_after: number of further trainings of about the same length with their own budgets, as in a cross-validation.
    """

    seconds_before: float = 0.0
    images_after: int = -1
    trainings_after: int = 0


ALONE = Around()
"""A training without export and report."""


class Pace:
    """The clock of a run.

    Args:
        recipe: provides budget, batch and epochs.
        per_epoch: number of steps per epoch.
        validation_images: number of images per validation; 0 for none.
        spent: seconds spent in earlier parts of the run.
        around: work before and after the training.
    """

    def __init__(
        self, recipe: Recipe, per_epoch: int, validation_images: int, *, spent: float = 0.0, around: Around = ALONE
    ) -> None:
        self._recipe = recipe
        self._per_epoch = per_epoch
        self._images = validation_images
        self._around = around
        self._spent = spent + around.seconds_before
        self._began = self._marked = time.monotonic()
        self._durations: deque[float] = deque(maxlen=max(_STEPS, min(per_epoch, 10 * _STEPS)))
        self._first = 0.0
        self._steps = 0
        self._validation = 0.0

    def seconds(self) -> float:
        """Time spent so far, earlier parts of the run included."""
        return self._spent + time.monotonic() - self._began

    def start(self) -> None:
        """Start timing, at the first step."""
        self._marked = time.monotonic()

    def step_done(self) -> None:
        """Record the end of a step; its time includes everything since the previous step."""
        now = time.monotonic()
        if self._steps == 0:
            self._first = now - self._marked  # slower than later steps, because memory, kernels and files are cold
        else:
            self._durations.append(now - self._marked)
        self._steps += 1
        self._marked = now

    def validation_done(self, seconds: float) -> None:
        """Record the time of a validation, which does not count towards its step."""
        self._validation = seconds
        self._marked += seconds

    @property
    def step_seconds(self) -> float:
        """Mean time of the last steps."""
        return sum(self._durations) / len(self._durations) if self._durations else self._first

    def images_per_second(self) -> float:
        """Training throughput of all processes together."""
        return self._recipe.batch / max(self.step_seconds, 1e-9)

    def due(self, step: int) -> bool:
        """Whether to plan after this step: at each epoch, and within the first one after 1, 2, 4, 8, ... steps."""
        return step % self._per_epoch == 0 or self._steps & (self._steps - 1) == 0 or self._over(step)

    def plan(self, step: int) -> int:
        """The number of steps of the run: the recipe's, or as many as its budget allows, but at least those already done."""
        wanted = self._recipe.epochs * self._per_epoch
        budget = self._recipe.time_budget_minutes * 60
        if not budget:
            return wanted
        room = _SPARE * (budget - self.seconds() - self._ending())
        share = self._validation_seconds() / (self._recipe.evaluate_every_epochs * self._per_epoch)
        return min(wanted, step + max(0, math.floor(room / max(self.step_seconds + share, 1e-9))))

    def left(self, step: int, steps: int) -> float:
        """Seconds until everything is done: validations, export, report, and the trainings that follow.

        At the end of the last step, its validation counts as done.
        """
        interval = self._recipe.evaluate_every_epochs * self._per_epoch
        validations = steps // interval - step // interval + (steps % interval != 0) if steps > step else 0
        own = (steps - step) * self.step_seconds + validations * self._validation_seconds()
        return own + self._finish() + self._around.trainings_after * (self.seconds() - self._around.seconds_before + own)

    def _over(self, step: int) -> bool:
        budget = self._recipe.time_budget_minutes * 60
        return bool(budget) and self.seconds() + self._ending() + self.step_seconds > budget

    def _validation_seconds(self) -> float:
        return self._validation or self._images * self._image_seconds()

    def _image_seconds(self) -> float:
        """Time of one image without gradients."""
        if self._validation and self._images:
            return self._validation / self._images
        return _FORWARD * self.step_seconds / self._recipe.batch

    def _ending(self) -> float:
        """Time of the last validation, the export and the report."""
        return self._validation_seconds() + self._finish()

    def _finish(self) -> float:
        """Time of the export and the report."""
        images = self._around.images_after
        return 0.0 if images < 0 else _EXPORT_S + images * self._image_seconds()
