"""The training loop: an iterator of steps. The caller prints, and may stop at any step; the run can then be resumed.

A step follows from the recipe, the seed, the data and the weights before it. Nothing else is random: a run that was killed
goes on from its last checkpoint and ends with the very weights it would have had. A time budget that ends a run early is the
exception: how many steps fit depends on the machine and the moment.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path

import torch
from torch import nn

from mobilenets import checkpoint
from mobilenets.data.samples import Dataset
from mobilenets.errors import CheckpointError, RecipeError, TrainingError
from mobilenets.feeding.loader import Plan
from mobilenets.model import Model, with_spec
from mobilenets.training import lessons, machine, record, state
from mobilenets.training.int8 import first_int8
from mobilenets.training.keeping import Folder, Keeper, Memory, Onlooker, good_of
from mobilenets.training.learner import Learner
from mobilenets.training.material import from_features, from_images
from mobilenets.training.pace import ALONE, Around
from mobilenets.training.ranks import Ranks, ranks
from mobilenets.training.recipe import Recipe
from mobilenets.training.running import Job, Running
from mobilenets.training.start import first_model, freeze, unused_norms
from mobilenets.training.state import Progress
from mobilenets.training.step import Step


def train(
    model: Model,
    dataset: Dataset,
    recipe: Recipe,
    run: str | Path | None = None,
    *,
    resume: bool = False,
    device: str = "auto",
    source: str = "",
    reading: Mapping[str, object] | None = None,
    weights: str = "",
    folds: int = 0,
    stop: Callable[[], bool] = lambda: False,
    around: Around = ALONE,
) -> Training:
    """Train a copy of `model` on the dataset, step by step as the result is iterated over.

    With a run folder the results are its checkpoints `best` and `last`. Without one nothing is written, and the best model is
    `Training.model`. Closing the iterator saves the run where it stands.

    Under `torchrun` each process calls this with the same arguments and computes its part of each batch.

    Args:
        model: first weights. It gets a new head if its labels are not the dataset's, or the recipe names another head.
        dataset: images in splits "train" and "val".
        recipe: how to train.
        run: a folder for the run, new unless `resume`; None keeps everything in memory.
        resume: go on with the run that is there.
        device: "auto" for a GPU if there is one, or "cpu".
        source: what the dataset was opened from; run.json keeps it for `mobilenets evaluate`.
        reading: how it was opened, for the same.
        weights: what the first weights were loaded from, for a run that is killed before its first checkpoint.
        folds: how many more trainings will measure this one, for the same.
        stop: asked at every step. As soon as it is true in one process, all of them save and stop after the same step.
        around: what happens before and after, which the recipe's time budget pays for too.

    Raises:
        TrainingError: while iterating: the loss is not a number, the disk is full, no image can be read, the images' server is
            gone, or another process failed; names the last good checkpoint.
        CheckpointError: the folder holds a run already, or for `resume` none, or one with another recipe or other data.
        DataError: there is nothing to train on.
        RecipeError: the recipe does not fit the model or the machine.

    >>> for step in train(model, dataset, recipe, "runs/photos"):  # doctest: +SKIP
    ...     print(step.step, step.loss)
    """
    origin = {"source": source, "reading": dict(reading or {}), "weights": weights, "folds": folds}
    job = Job(model, dataset, recipe, None if run is None else Path(run), resume, device, origin, stop, around)
    return Training(job)


class Training(Iterator[Step]):
    """A training in progress: an iterator of `Step`s. Nothing happens before the first one is asked for."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._running: Running | None = None
        self._steps = self._guarded()

    def __next__(self) -> Step:
        """Train one step more."""
        return next(self._steps)

    def close(self) -> None:
        """Stop here; in a run folder everything is saved."""
        self._steps.close()

    @property
    def stopped(self) -> bool:
        """Whether it ended early because `stop` asked for it."""
        return self._running is not None and self._running.stopped

    @property
    def model(self) -> Model:
        """The best model so far, in eval mode: by validation, or the last one if there is no validation."""
        best = None if self._running is None else self._running.keeper.best()
        if best is not None:
            return best
        current = self._job.model if self._running is None else self._running.learner.model
        return with_spec(current, current.spec).eval()

    def _good(self) -> str:
        """The last good checkpoint, in words that end a message."""
        return "" if self._job.run is None else good_of(self._job.run)

    def _guarded(self) -> Generator[Step, None, None]:
        """The steps, with errors that name the last good checkpoint."""
        together = ranks(self._job.device)
        run = self._job.run
        hint = "" if run is None else f"make room, then resume '{run}'"
        try:
            with together.failing_together():
                self._running = _begun(self._job, together)
                yield from self._running.steps()
        except ConnectionError as error:
            reason = str(error).strip().splitlines()[-1].removeprefix("ConnectionError: ")  # a worker sends its traceback along
            again = "" if run is None else f"when the server answers again, resume '{run}'"
            raise TrainingError(f"images cannot be fetched: {reason}{self._good()}", hint=again) from error
        except TrainingError as error:
            raise TrainingError(f"{error}{self._good()}", hint=error.hint) from error
        except (CheckpointError, OSError) as error:
            if self._running is None and isinstance(error, CheckpointError):
                raise
            own = error.hint if isinstance(error, CheckpointError) else ""
            raise TrainingError(f"the run had to stop: {error}{self._good()}", hint=own or hint) from error
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):  # torch has no type of its own for it
                raise
            raise TrainingError(
                f"a process that reads images died: {error}{self._good()}",
                hint="out of memory? workers=0 or a smaller cache_mb helps",
            ) from error


def _begun(job: Job, together: Ranks) -> Running:
    """A run that is checked and built. Its folder is touched only when everything that can be refused has been looked at."""
    recipe, dataset, run = job.recipe, job.dataset, job.run
    lessons.check(recipe, dataset.task)
    machine.check(dataset, recipe, together)
    if run is None and recipe.tensorboard:
        raise RecipeError("tensorboard=true needs a run folder")
    resumes = together.first(together.main and run is not None and _may_go_on(run, recipe, dataset, resume=job.resume))
    if resumes and run is not None:
        model = checkpoint.load(run / "last")
    elif recipe.quantize == "int8":
        model = first_int8(job.model, dataset, recipe, together)
    else:
        model = first_model(job.model, dataset, recipe)
    progress = (
        state.progress_of(run / "last")
        if resumes and run is not None
        else Progress(epochs=recipe.epochs, young_norms=unused_norms(model.learning))
    )
    model = model.to(together.device)
    if recipe.channels_last:
        model.to(memory_format=torch.channels_last)
    freeze(model, recipe)
    if recipe.sync_norms:
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
    lesson = lessons.lesson(model.spec, dataset.split("train"), recipe, together.device)
    if run is not None and together.main and not resumes:
        record.begin(run, recipe, dataset, model.spec, job.origin)
    plan = Plan(recipe.batch, recipe.accumulate, together.count, together.index)
    if recipe.cached_features:
        material = from_features(model, dataset, recipe, plan, together.device, run, main=together.main)
    else:
        material = from_images(model, lesson, dataset, recipe, plan, together.device, local=together.local)
    learner = Learner(model, lesson, material, recipe, together, young_norms=progress.young_norms)
    if resumes and run is not None:
        state.restore(run / "last", learner)
        if progress.loss_scale:
            learner.scaler.load_state_dict({**learner.scaler.state_dict(), "scale": progress.loss_scale})
    keeper: Keeper = Memory()
    if run is not None:
        keeper = Folder(run, recipe, lesson.columns, step=progress.step) if together.main else Onlooker(run)
    return Running(job, together, learner, keeper, progress, per_epoch=plan.steps_per_epoch(len(material.samples)))


def _may_go_on(run: Path, recipe: Recipe, dataset: Dataset, *, resume: bool) -> bool:
    """Whether there is a run to go on with; refuses to touch one where none is expected, and the other way round.

    A run has begun when its first checkpoint is there. What a start leaves behind that was killed before is begun anew.
    """
    begun = checkpoint.settled(run / "last").is_dir()
    if resume:
        record.check_same(run, recipe, dataset)
    elif begun:
        raise CheckpointError(
            f"'{run}' holds a run already", hint="add --resume to go on with it, or choose another folder with --out"
        )
    return begun
