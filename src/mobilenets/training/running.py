"""`Running`: a run in progress, step by step: train, validate, record, save, and agree on when to end."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from mobilenets.data.samples import Dataset
from mobilenets.errors import DataError, TrainingError
from mobilenets.feeding.loader import Batch
from mobilenets.model import Model
from mobilenets.training.keeping import Keeper
from mobilenets.training.learner import Learner
from mobilenets.training.lesson import Outcome, better
from mobilenets.training.optim import learning_rate
from mobilenets.training.pace import Around, Pace
from mobilenets.training.ranks import Ranks
from mobilenets.training.recipe import Recipe
from mobilenets.training.start import to_training
from mobilenets.training.state import Progress
from mobilenets.training.step import Step

log = logging.getLogger("mobilenets.training")


@dataclass(frozen=True, slots=True)
class Job:
    """The arguments of `train`."""

    model: Model
    dataset: Dataset
    recipe: Recipe
    run: Path | None
    resume: bool
    device: str
    origin: Mapping[str, object]
    stop: Callable[[], bool]
    around: Around


class Running:
    """A run in progress: the state that persists between steps.

    Args:
        job: the arguments of `train`.
        together: the processes of the run.
        learner: the model in training.
        keeper: where the run is stored.
        progress: the run's progress.
        per_epoch: number of steps per epoch.
    """

    def __init__(
        self, job: Job, together: Ranks, learner: Learner, keeper: Keeper, progress: Progress, *, per_epoch: int
    ) -> None:
        self.recipe, self.stop = job.recipe, job.stop
        self.ranks, self.learner, self.keeper, self.per_epoch = together, learner, keeper, per_epoch
        self.progress = replace(progress, steps=progress.steps or progress.epochs * per_epoch)
        self.validation = job.dataset.split("val")
        self.pace = Pace(job.recipe, per_epoch, len(self.validation), spent=progress.seconds, around=job.around)
        self.stopped = False
        self._broken: dict[str, str] = {}
        self._saved = time.monotonic()
        self._told = 0

    def steps(self) -> Generator[Step, None, None]:
        """The remaining steps."""
        if self.progress.step == 0:
            self.save()  # from here on the run can be resumed without its initial weights
        else:
            log.info("resuming after step %d of %d", self.progress.step, self.progress.steps)
        to_training(self.learner.model, self.recipe)
        parts = self.learner.material.batches(self.progress.step, self.recipe.epochs * self.per_epoch)
        self.pace.start()
        try:
            while self.progress.step < self.progress.steps:
                step, stop = self._step([next(parts) for _ in range(self.recipe.accumulate)])
                if step.step % self.per_epoch == 0 or step.step == step.steps:
                    step = self._end_epoch(step)
                ends = step.step in (step.steps, step.epoch * self.per_epoch)
                self.keeper.note(step, self.pace.seconds())
                if ends or stop or time.monotonic() - self._saved > self.recipe.save_every_seconds:
                    self.save()
                self.stopped = stop and step.step < step.steps
                yield step
                if self.stopped:
                    break
        except GeneratorExit:
            self.save()
            raise
        finally:
            self.keeper.close()
        self.ranks.wait()  # the first process finishes writing last, and torchrun ends all processes once one exits

    def save(self) -> None:
        """Save the run at its current step, if it can be resumed from there."""
        if not self.ranks.main:
            return
        self._check_finite()
        scaler = self.learner.scaler
        scale = scaler.get_scale() if scaler.is_enabled() else 0.0
        self.keeper.save(self.learner, replace(self.progress, seconds=self.pace.seconds(), loss_scale=scale))
        self._saved = time.monotonic()

    def _check_finite(self) -> None:
        """Raise if a weight is not finite, since a checkpoint with it would be useless."""
        if not self.learner.finite():
            raise TrainingError(
                f"the weights are not finite after step {self.progress.step}",
                hint=f"a smaller learning rate than {self.recipe.learning_rate:g}, or clip_norm=1, often helps",
            )

    def _step(self, parts: list[Batch]) -> tuple[Step, bool]:
        """Train for one more step. Also returns whether it is the last one because a stop was requested."""
        step = self.progress.step
        newly_broken = self._newly_broken(parts)
        rate = learning_rate(self.recipe, step, self.per_epoch, steps=self.progress.steps)
        loss = float(self.learner.step(parts, step, rate))
        mean, stop, steps = self._agreed(loss)
        if not math.isfinite(mean):
            raise TrainingError(
                f"the loss of step {step + 1} is {mean}",
                hint=f"a smaller learning rate than {self.recipe.learning_rate:g}, or clip_norm=1, often helps",
            )
        self.learner.update(step, steps=steps)
        epochs = math.ceil(steps / self.per_epoch)
        loss_sum = self.progress.loss_sum + mean
        self.progress = replace(self.progress, step=step + 1, steps=steps, epochs=epochs, loss_sum=loss_sum)
        made = Step(
            epoch=step // self.per_epoch + 1,
            epochs=epochs,
            step=step + 1,
            steps=steps,
            loss=mean,
            learning_rate=rate,
            images_per_second=self.pace.images_per_second(),
            seconds_left=self.pace.left(step + 1, steps),  # after the last step of an epoch, `_end_epoch` updates it
            broken=newly_broken,
        )
        return made, stop

    def _agreed(self, loss: float) -> tuple[float, bool, int]:
        """The values that all processes share: the mean loss, whether any wants to stop, and the first one's count of steps."""
        self.pace.step_done()
        done, steps = self.progress.step + 1, self.progress.steps
        if self.ranks.main and self.recipe.time_budget_minutes and self.pace.due(done):
            steps = self.pace.plan(done)
            self._tell(done, steps)
        own = torch.tensor([loss, float(self.stop()), steps if self.ranks.main else 0], dtype=torch.float64)
        total, stop, steps = self.ranks.sum(own).tolist()
        return total / self.ranks.count, stop > 0, int(steps)

    def _tell(self, done: int, steps: int) -> None:
        """Log how much of the run fits into its budget: early on, and again if that changes much."""
        wanted = self.recipe.epochs * self.per_epoch
        if done < min(4, wanted) or abs(steps - (self._told or wanted)) < 0.25 * (self._told or 4):
            return
        self._told = steps
        fitting = round(steps / self.per_epoch, 1) if steps < 10 * self.per_epoch else steps // self.per_epoch
        budget = self.recipe.time_budget_minutes
        time_left = f"{budget:.3g} minutes" if budget >= 2 else f"{60 * budget:.0f} seconds"
        log.info("about %g of %d epochs fit into %s", fitting, self.recipe.epochs, time_left)

    def _newly_broken(self, parts: list[Batch]) -> dict[str, str]:
        broken = {name: reason for part in parts for name, reason in part.broken if name not in self._broken}
        for name, reason in broken.items():
            log.warning("left out '%s': %s", name, reason)
        self._broken.update(broken)
        for part in parts:
            if part.broken and not part.weights.any():
                raise TrainingError(
                    f"no image of an entire batch can be read; the last one was '{part.broken[-1][0]}'",
                    hint="is the disk with the images still there?",
                )
        return broken

    def _end_epoch(self, step: Step) -> Step:
        """Validate if it is due, keep the best model, and check whether patience has run out."""
        progress, recipe, model = replace(self.progress, loss_sum=0.0), self.recipe, self.learner.model
        metrics = {"train_loss": self.progress.loss_sum / ((step.step - 1) % self.per_epoch + 1)}
        due = bool(self.validation) and (step.step == step.steps or step.epoch % recipe.evaluate_every_epochs == 0)
        best = not self.validation
        with self.learner.averaged():
            head = model.spec.head
            if due:
                outcome = self._outcome()
                metrics |= outcome.metrics()
                best = better(metrics, progress.best, self.learner.lesson.rank)
                head = outcome.fitted(head) if best else head
            if best:
                self._check_finite()
                progress = replace(progress, best=metrics, best_epoch=step.epoch)
                self.keeper.keep_best(model, head, metrics)
        if due and recipe.patience_epochs and step.epoch - progress.best_epoch >= recipe.patience_epochs:
            log.info("stopped early: no better validation result for %d epochs", step.epoch - progress.best_epoch)
            progress = replace(progress, epochs=step.epoch, steps=step.step)
        self.progress = progress
        to_training(model, recipe)
        left = self.pace.left(step.step, progress.steps)
        best = best and due
        return replace(step, epochs=progress.epochs, steps=progress.steps, metrics=metrics, best=best, seconds_left=left)

    def _outcome(self) -> Outcome:
        """The model's results on the validation split, gathered from all processes."""
        started = time.monotonic()
        self.ranks.share(self.learner.trained)  # the first one's running statistics, so that all validate the same model
        material = self.learner.material
        own = material.outcome()
        for name, reason in material.broken.items():
            if name not in self._broken:
                self._broken[name] = reason
                log.warning("left out '%s': %s", name, reason)
        first, *others = self.ranks.gather(own)
        outcome = first.joined(others)
        self.pace.validation_done(time.monotonic() - started)
        if not outcome.images:
            message = f"none of {len(self.validation)} validation images can be read"
            raise DataError(message, hint="run 'mobilenets check' on the data")
        if not outcome.finite():
            raise TrainingError(
                "the model's answers on the validation images are not finite",
                hint=f"a smaller learning rate than {self.recipe.learning_rate:g} often helps",
            )
        return outcome
