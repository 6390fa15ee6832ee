"""The training loop: an iterator of steps. The caller prints, and may stop at any step; the run can then be resumed.

A step follows from the recipe, the seed, the data and the weights before it. Nothing else is random: a run that was killed
goes on from its last checkpoint and ends with the very weights it would have had.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import time
from collections import deque
from collections.abc import Generator, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from mobilenets import checkpoint
from mobilenets.data.samples import Dataset
from mobilenets.errors import CheckpointError, TrainingError
from mobilenets.feeding.augment import seed_of
from mobilenets.feeding.loader import Batch, Plan
from mobilenets.model import Model, with_spec
from mobilenets.specs.model import Head
from mobilenets.training import lessons, machine, record, state
from mobilenets.training.lesson import Outcome, better
from mobilenets.training.material import from_features, from_images
from mobilenets.training.optim import Average, add_l2, learning_rate, optimizer, set_learning_rate
from mobilenets.training.recipe import Recipe
from mobilenets.training.start import first_model, freeze, set_norm_momentum, to_training
from mobilenets.training.state import Progress
from mobilenets.training.step import Step

log = logging.getLogger("mobilenets.training")

_RATE_WINDOW = 30  # steps that the shown rate is averaged over
_SECONDS_BETWEEN_CURVES = 30.0


def train(
    model: Model,
    dataset: Dataset,
    recipe: Recipe,
    run: Path,
    *,
    resume: bool = False,
    device: str = "auto",
    source: str = "",
    reading: Mapping[str, object] | None = None,
) -> Generator[Step, None, None]:
    """Train a copy of `model` on the dataset; the results are the checkpoints `best` and `last` in the run's folder.

    Under `torchrun` or `accelerate launch` each process calls this with the same arguments and computes its part of each batch.
    Closing the iterator saves the run where it stands.

    Args:
        model: first weights. It gets a fresh head where its labels are not the dataset's, or the recipe names another head.
        dataset: images in splits "train" and "val".
        recipe: how to train.
        run: a folder for the run, new unless `resume`.
        resume: go on with the run that is there.
        device: "auto" for a GPU where there is one, or "cpu".
        source: what the dataset was opened from; run.json keeps it for `mobilenets evaluate`.
        reading: how it was opened, for the same.

    Raises:
        TrainingError: the loss is not a number, the disk is full, no image can be read, or a server that has them is gone;
            names the last good checkpoint.
        CheckpointError: the folder holds a run already, or for `resume` none, or one with another recipe or other data.
        DataError: there is nothing to train on.
        RecipeError: the recipe does not fit the model or the machine.
    """
    accelerator = machine.accelerator(recipe, run, device)
    origin = {"source": source, "reading": dict(reading or {})}
    loop = _Loop(model, dataset, recipe, run, accelerator, None if resume else origin)
    try:
        yield from loop.steps()
    except GeneratorExit:
        loop.save()
        raise
    except ConnectionError as error:
        said = str(error).strip().splitlines()[-1].removeprefix("ConnectionError: ")  # a worker sends its traceback along
        hint = f"when the server answers again, resume '{run}'"
        raise TrainingError(f"images cannot be fetched: {said}{loop.good()}", hint=hint) from error
    except (CheckpointError, OSError) as error:
        raise TrainingError(f"the run had to stop: {error}{loop.good()}", hint=f"make room, then resume '{run}'") from error
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):  # torch has no type of its own for it
            raise
        raise TrainingError(
            f"a process that reads images died: {error}{loop.good()}",
            hint="out of memory? workers=0 or a smaller cache_mb helps",
        ) from error
    finally:
        if accelerator.num_processes > 1:
            accelerator.wait_for_everyone()


class _Loop:
    """A run in progress: everything that one step and the next share."""

    def __init__(
        self,
        model: Model,
        dataset: Dataset,
        recipe: Recipe,
        run: Path,
        accelerator: Accelerator,
        origin: Mapping[str, object] | None,
    ) -> None:
        """`origin`: where the dataset is from, for run.json; None where the run is resumed."""
        resume = origin is None
        self.recipe, self.run, self.accelerator = recipe, run, accelerator
        self.device, self.main = accelerator.device, accelerator.is_main_process
        self.began = time.monotonic()
        lessons.check(recipe, dataset.task)
        machine.check(dataset, recipe, accelerator)
        self.last = run / "last"
        resumes = resume and checkpoint.settled(self.last).is_dir()
        if resume:
            record.check_same(run, recipe, dataset)
        elif self.main and (run / record.RUN).exists():
            raise CheckpointError(
                f"'{run}' holds a run already", hint="add --resume to go on with it, or choose another folder with --out"
            )
        model = checkpoint.load(self.last) if resumes else first_model(model, dataset, recipe)
        self.progress = state.progress_of(self.last) if resumes else Progress(epochs=recipe.epochs)
        self.schedule = replace(recipe, epochs=self.progress.epochs)
        if self.main and origin is not None:
            record.begin(run, recipe, dataset, model.spec, origin)
        self.model = model.to(self.device)
        if recipe.channels_last:
            self.model.to(memory_format=torch.channels_last)
        freeze(self.model, recipe)
        if recipe.sync_norms:
            self.model = nn.SyncBatchNorm.convert_sync_batchnorm(self.model)  # type: ignore[no-untyped-call]
        processes, process = accelerator.num_processes, accelerator.process_index
        self.plan = Plan(recipe.batch, recipe.accumulate, processes, process)
        self.lesson = lessons.lesson(model.spec, dataset.split("train"), recipe, self.device)
        if recipe.cached_features:
            self.material = from_features(self.model, dataset, recipe, self.plan, self.device, run, main=self.main)
        else:
            local = machine.local_processes()
            self.material = from_images(self.model, self.lesson, dataset, recipe, self.plan, self.device, local=local)
        trained = self.material.trained
        self.optimizer = optimizer(trained, recipe)
        self.average = Average(trained, recipe.ema) if recipe.ema else None
        if resumes:
            state.restore(self.last, trained, self.optimizer, self.average)
        self.network: nn.Module = accelerator.prepare_model(trained)
        if recipe.compile:
            self.network = torch.compile(self.network)  # type: ignore[assignment]  # a module for a module
        self.amp = machine.autocast_type(recipe, self.device)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.amp is torch.float16)
        if self.progress.loss_scale:
            self.scaler.load_state_dict({**self.scaler.state_dict(), "scale": self.progress.loss_scale})
        self.per_epoch = self.plan.steps_per_epoch(len(self.material.samples))
        self.validates = bool(dataset.split("val"))
        self.broken: dict[str, str] = {}
        self.durations: deque[float] = deque(maxlen=_RATE_WINDOW)
        self.validation_seconds = 0.0
        self.metrics = record.Metrics(run, self.lesson.columns, step=self.progress.step) if self.main else None
        self.saved = self.drawn = self.epoch_began = time.monotonic()

    def steps(self) -> Iterator[Step]:
        """The steps that are left."""
        if self.recipe.tensorboard:
            self.accelerator.init_trackers("tensorboard")
        if self.progress.step == 0:
            self.save()  # from here on the run can be resumed without the weights it began with
        else:
            log.info("going on after step %d of %d", self.progress.step, self.progress.epochs * self.per_epoch)
        to_training(self.model, self.recipe)
        self.epoch_began = time.monotonic()
        total = self.progress.epochs * self.per_epoch
        parts = self.material.batches(self.progress.step, total)
        while self.progress.step < self.progress.epochs * self.per_epoch:
            started = time.monotonic()
            step = self._step([next(parts) for _ in range(self.recipe.accumulate)])
            self.durations.append(time.monotonic() - started)
            step = replace(step, images_per_second=self._rate(), seconds_left=self._seconds_left())
            if step.step % self.per_epoch == 0:
                step = self._end_epoch(step)
            if self.metrics is not None:
                self._note(self.metrics, step)
            if step.step % self.per_epoch == 0 or time.monotonic() - self.saved > self.recipe.save_every_seconds:
                self.save()
            if self.recipe.tensorboard:
                self.accelerator.log({"loss": step.loss, "learning_rate": step.learning_rate, **step.metrics}, step=step.step)
            yield step
        if self.recipe.tensorboard:
            self.accelerator.end_training()

    def _note(self, metrics: record.Metrics, step: Step) -> None:
        """Write down a step, and at the end of an epoch its row; draw the curves now and then, and at the end."""
        values = {"epoch": step.epoch, "step": step.step, "learning_rate": step.learning_rate}
        metrics.step({**values, "loss": step.loss, **({"broken": dict(step.broken)} if step.broken else {})})
        if step.metrics:
            speed = {"images_per_second": round(step.images_per_second, 1), "seconds": round(self.seconds(), 1)}
            metrics.epoch({**values, **step.metrics, **speed})
            if step.step == step.steps or time.monotonic() - self.drawn > _SECONDS_BETWEEN_CURVES:
                record.draw_curves(self.run)
                self.drawn = time.monotonic()

    def save(self) -> None:
        """Save the run where it stands."""
        if self.metrics is None:
            return
        self.metrics.flush()
        progress = replace(
            self.progress, seconds=self.seconds(), loss_scale=self.scaler.get_scale() if self.scaler.is_enabled() else 0.0
        )
        state.save(
            self.last,
            self.model,
            self.material.trained,
            self.optimizer,
            self.average,
            progress,
            recipe=dataclasses.asdict(self.recipe),
        )
        self.saved = time.monotonic()

    def _step(self, parts: list[Batch]) -> Step:
        recipe, step = self.recipe, self.progress.step
        rate = learning_rate(self.schedule, step, self.per_epoch)
        set_learning_rate(self.optimizer, rate)
        torch.manual_seed(seed_of(recipe.seed, step, self.plan.process))  # of dropout and stochastic depth
        total = torch.zeros((), device=self.device)
        for i, part in enumerate(parts):
            set_norm_momentum(self.model, step * len(parts) + i)
            with self._sync_after(i == len(parts) - 1):
                loss = self._loss(part, seed_of(recipe.seed, step, self.plan.process, i)) / len(parts)
                self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]  # torch's backward has no types
            total += loss.detach()
        mean = float(self.accelerator.reduce(total, "mean"))
        if not math.isfinite(mean):
            raise TrainingError(
                f"the loss of step {step + 1} is {mean}{self.good()}",
                hint=f"a smaller learning rate than {recipe.learning_rate:g}, or clip_norm=1, often helps",
            )
        self.scaler.unscale_(self.optimizer)
        if recipe.clip_norm:
            clip_grad_norm_(self.material.trained.parameters(), recipe.clip_norm, foreach=True)
        add_l2(self.optimizer)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update(step + 1)
        self.progress = replace(self.progress, step=step + 1, loss_sum=self.progress.loss_sum + mean)
        return Step(
            epoch=step // self.per_epoch + 1,
            epochs=self.progress.epochs,
            step=step + 1,
            steps=self.progress.epochs * self.per_epoch,
            loss=mean,
            learning_rate=rate,
            images_per_second=0.0,
            seconds_left=0.0,
            broken=self._newly_broken(parts),
        )

    def _loss(self, part: Batch, seed: int) -> Tensor:
        targets = tuple(target.to(self.device, non_blocking=True) for target in part.targets)
        x, targets = self.lesson.prepare(self.material.inputs(part.images), targets, seed)
        with torch.autocast(self.device.type, self.amp, enabled=self.amp is not None):
            outputs = self.network(x)
        return self.lesson.loss(outputs, targets, part.weights.to(self.device))

    def _sync_after(self, last: bool) -> AbstractContextManager[Any]:  # Any: accelerate's own type
        """Gradients travel between processes after the last part of a step only."""
        return contextlib.nullcontext() if last else self.accelerator.no_sync(self.network)

    def _newly_broken(self, parts: list[Batch]) -> dict[str, str]:
        found = {name: reason for part in parts for name, reason in part.broken if name not in self.broken}
        for name, reason in found.items():
            log.warning("left out '%s': %s", name, reason)
        self.broken.update(found)
        if any(part.broken and not part.weights.any() for part in parts):
            raise TrainingError(
                f"no image of a whole batch can be read, the last one '{parts[-1].broken[-1][0]}'{self.good()}",
                hint="is the disk with the images still there?",
            )
        return found

    def _end_epoch(self, step: Step) -> Step:
        progress = replace(self.progress, loss_sum=0.0)
        metrics = {"train_loss": self.progress.loss_sum / self.per_epoch}
        last = step.epoch == progress.epochs
        best = not self.validates
        average = self.average.applied() if self.average is not None else contextlib.nullcontext()
        with average:
            head = self.model.spec.head
            if self.validates and (last or step.epoch % self.recipe.evaluate_every_epochs == 0):
                started = time.monotonic()
                self._share_weights()
                outcome = self._outcome()
                self.validation_seconds = time.monotonic() - started
                metrics |= outcome.metrics()
                best = better(metrics, progress.best, self.lesson.rank)
                head = outcome.fitted(head) if best else head
            if best:
                progress = replace(progress, best=metrics, best_epoch=step.epoch)
                self._save_best(metrics, head)
        if step.epoch == 1:
            progress = replace(progress, epochs=self._epochs_in_budget())
        if self.recipe.patience_epochs and step.epoch - progress.best_epoch >= self.recipe.patience_epochs:
            log.info("stopped early: no better validation result for %d epochs", self.recipe.patience_epochs)
            progress = replace(progress, epochs=step.epoch)
        if progress.epochs != self.schedule.epochs:
            self.schedule = replace(self.schedule, epochs=progress.epochs)
        self.progress = progress
        to_training(self.model, self.recipe)
        return replace(
            step, epochs=progress.epochs, steps=progress.epochs * self.per_epoch, metrics=metrics, best=best and self.validates
        )

    def _share_weights(self) -> None:
        """Give every process the running statistics of the first, so that all validate the same model."""
        if self.plan.processes > 1:
            for tensor in self.material.trained.state_dict().values():
                torch.distributed.broadcast(tensor, 0)

    def _outcome(self) -> Outcome:
        """What the model says of the validation split, gathered from all processes."""
        outcome = self.material.outcome()
        for name, reason in self.material.broken.items():
            if name not in self.broken:
                self.broken[name] = reason
                log.warning("left out '%s': %s", name, reason)
        if self.plan.processes > 1:
            first, *others = gather_object([outcome])
            outcome = first.joined(others)
        if not outcome.finite():
            raise TrainingError(
                f"the model's answers on the validation images are not finite{self.good()}",
                hint=f"a smaller learning rate than {self.recipe.learning_rate:g} often helps",
            )
        return outcome

    def _save_best(self, metrics: Mapping[str, float], head: Head) -> None:
        if self.main:
            best = with_spec(self.model, replace(self.model.spec, head=head))
            checkpoint.save(best, self.run / "best", metrics=metrics, recipe=dataclasses.asdict(self.recipe))

    def _epochs_in_budget(self) -> int:
        """How many epochs the run can have, from how long the first one took."""
        budget = self.recipe.time_budget_minutes * 60
        epochs = [self.recipe.epochs]
        if budget:
            one = time.monotonic() - self.epoch_began
            epochs = [min(self.recipe.epochs, 1 + max(0, int(0.95 * (budget - self.seconds()) / one)))]
            if self.plan.processes > 1:
                broadcast_object_list(epochs)
            log.info("%d epochs fit into %g minutes", epochs[0], self.recipe.time_budget_minutes)
        return epochs[0]

    def _rate(self) -> float:
        return self.recipe.batch * len(self.durations) / max(sum(self.durations), 1e-9)

    def _seconds_left(self) -> float:
        steps = self.progress.epochs * self.per_epoch - self.progress.step
        per_step = sum(self.durations) / len(self.durations)
        return steps * per_step + steps / self.per_epoch * self.validation_seconds

    def seconds(self) -> float:
        """Trained so far, earlier parts of the run included."""
        return self.progress.seconds + time.monotonic() - self.began

    def good(self) -> str:
        """The last good checkpoint, in words."""
        with contextlib.suppress(CheckpointError):
            return f"; the last good checkpoint is '{self.last}', of step {state.progress_of(self.last).step}"
        return "; there is no checkpoint yet"
