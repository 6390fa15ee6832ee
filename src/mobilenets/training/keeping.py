"""Where a run's results are kept: in a folder, from which the run can be resumed, or in memory, for trainings in a search."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from mobilenets import checkpoint
from mobilenets.errors import CheckpointError
from mobilenets.keys import values_of
from mobilenets.model import Model, with_spec
from mobilenets.specs.model import Head
from mobilenets.training import record, state
from mobilenets.training.learner import Learner
from mobilenets.training.recipe import Recipe
from mobilenets.training.state import Progress
from mobilenets.training.step import Step

_SECONDS_BETWEEN_CURVES = 30.0


class Keeper(Protocol):
    """Stores the results of a training. Only in the first process of a run does it write files."""

    def note(self, step: Step, seconds: float) -> None:
        """Record a step, `seconds` after the run began."""
        ...

    def save(self, learner: Learner, progress: Progress) -> None:
        """Save everything needed to resume from here."""
        ...

    def keep_best(self, model: Model, head: Head, metrics: Mapping[str, float]) -> None:
        """Save the model, with this head, as the best so far."""
        ...

    def best(self) -> Model | None:
        """The best model so far."""
        ...

    def good(self) -> str:
        """The last good checkpoint, as the end of a message; "" if there is never one."""
        ...

    def close(self) -> None:
        """Finish, because the run is over or interrupted."""
        ...


class Folder:
    """A run folder.

    Args:
        run: the folder.
        recipe: the run's recipe.
        columns: the metrics in its table.
        step: the step that the run continues from.
    """

    def __init__(self, run: Path, recipe: Recipe, columns: tuple[str, ...], *, step: int) -> None:
        self.run = run
        self._recipe = recipe
        self._metrics = record.Metrics(run, columns, step=step)
        self._board = _board(run) if recipe.tensorboard else None
        self._drawn = time.monotonic()

    def note(self, step: Step, seconds: float) -> None:
        """Record a step, and at the end of an epoch its row. The curves are drawn now and then, and at the end."""
        values = {"epoch": step.epoch, "step": step.step, "learning_rate": step.learning_rate}
        self._metrics.step({**values, "loss": step.loss, **({"broken": dict(step.broken)} if step.broken else {})})
        if self._board is not None:
            for name, value in {"loss": step.loss, "learning_rate": step.learning_rate, **step.metrics}.items():
                self._board.add_scalar(name, value, step.step)
        if step.metrics:
            speed = {"images_per_second": round(step.images_per_second, 1), "seconds": round(seconds, 1)}
            self._metrics.epoch({**values, **step.metrics, **speed})
            if step.step == step.steps or time.monotonic() - self._drawn > _SECONDS_BETWEEN_CURVES:
                record.draw_curves(self.run)
                self._drawn = time.monotonic()

    def save(self, learner: Learner, progress: Progress) -> None:
        """Replace the checkpoint `last`."""
        self._metrics.flush()
        state.save(self.run / "last", learner, progress, recipe=values_of(self._recipe))

    def keep_best(self, model: Model, head: Head, metrics: Mapping[str, float]) -> None:
        """Replace the checkpoint `best`."""
        best = with_spec(model, replace(model.spec, head=head))
        checkpoint.save(best, self.run / "best", metrics=metrics, recipe=values_of(self._recipe))

    def best(self) -> Model | None:
        """The model of the checkpoint `best`, or of `last` if there is no best yet."""
        return checkpoint.load(self.run)

    def good(self) -> str:
        """The last good checkpoint, in words."""
        return good_of(self.run)

    def close(self) -> None:
        """Write everything pending."""
        self._metrics.flush()
        if self._board is not None:
            self._board.close()


class Onlooker:
    """The run folder as seen by the other processes, which do not write.

    Args:
        run: the folder.
    """

    def __init__(self, run: Path) -> None:
        self.run = run

    def note(self, step: Step, seconds: float) -> None:
        """Do nothing."""

    def save(self, learner: Learner, progress: Progress) -> None:
        """Do nothing."""

    def keep_best(self, model: Model, head: Head, metrics: Mapping[str, float]) -> None:
        """Do nothing."""

    def best(self) -> Model | None:
        """The model of the checkpoint `best`, or of `last` if there is no best yet."""
        return checkpoint.load(self.run)

    def good(self) -> str:
        """The last good checkpoint, in words."""
        return good_of(self.run)

    def close(self) -> None:
        """Do nothing."""


class Memory:
    """Keeps the best model in memory and writes nothing."""

    def __init__(self) -> None:
        self._best: Model | None = None

    def note(self, step: Step, seconds: float) -> None:
        """Do nothing."""

    def save(self, learner: Learner, progress: Progress) -> None:
        """Do nothing."""

    def keep_best(self, model: Model, head: Head, metrics: Mapping[str, float]) -> None:
        """Keep a copy of the model."""
        self._best = with_spec(model, replace(model.spec, head=head)).eval()

    def best(self) -> Model | None:
        """The copy of the best model."""
        return self._best

    def good(self) -> str:
        """The empty string, because a training in memory has no checkpoints."""
        return ""

    def close(self) -> None:
        """Do nothing."""


def _board(run: Path) -> Any:  # Any: TensorBoard's writer has no types
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(run / "tensorboard")


def good_of(run: Path) -> str:
    """The last good checkpoint of a run folder, in words."""
    with contextlib.suppress(CheckpointError):
        return f"; the last good checkpoint is '{run / 'last'}', of step {state.progress_of(run / 'last').step}"
    return "; there is no checkpoint yet"
