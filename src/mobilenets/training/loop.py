"""The training loop: an iterator of steps. The caller prints, and may stop at any step; the run can then be resumed.

A step depends only on the recipe, the seed, the data and the weights before it. So a run that was killed continues from its
last checkpoint and ends with exactly the weights that it would have had. The exception is a time budget that ends a run
early: how many steps fit depends on the machine's speed.
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
    """Train a copy of `model` on the dataset, one step each time the result is iterated.

    With a run folder, the results are its checkpoints `best` and `last`. Without one, nothing is written, and the best model is
    `Training.model`. Closing the iterator saves the run at its current step.

    Under `torchrun`, each process calls this with the same arguments and computes its part of each batch.

    Args:
        model: the initial weights. It gets a new head if its labels differ from the dataset's, or the recipe names another.
        dataset: images in the splits "train" and "val".
        recipe: how to train.
        run: a folder for the run, new unless `resume` is set; None keeps everything in memory.
        resume: continue the run in the folder.
        device: "auto" for a GPU if there is one, or "cpu".
        source: where the dataset was opened from, which run.json stores for `mobilenets evaluate`.
        reading: the options that it was opened with, stored for the same purpose.
        weights: where the initial weights come from, stored in case the run is killed before its first checkpoint.
        folds: number of further trainings that will evaluate this one by cross-validation, stored for the same purpose.
        stop: called at every step. Once it returns true in one process, all processes save and stop after the same step.
        around: work before and after the training that the recipe's time budget also covers.

    Raises:
        TrainingError: while iterating: the loss is not finite, the disk is full, no image can be read, the images' server is
            gone, or another process failed. The message names the last good checkpoint.
        CheckpointError: the folder already contains a run; or, with `resume`, none, or one with another recipe or other data.
        DataError: there is nothing to train on.
        RecipeError: the recipe does not fit the model or the machine.

    >>> for step in train(model, dataset, recipe, "runs/photos"):  # doctest: +SKIP
    ...     print(step.step, step.loss)
    """
    origin = {"source": source, "reading": dict(reading or {}), "weights": weights, "folds": folds}
    job = Job(model, dataset, recipe, None if run is None else Path(run), resume, device, origin, stop, around)
    return Training(job)


class Training(Iterator[Step]):
    """A training in progress: an iterator of `Step`s. Nothing happens before the first step is requested."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._running: Running | None = None
        self._steps = self._guarded()

    def __next__(self) -> Step:
        """Train for one more step."""
        return next(self._steps)

    def close(self) -> None:
        """Stop here; a run with a folder is saved."""
        self._steps.close()

    @property
    def stopped(self) -> bool:
        """Whether the training ended early because `stop` returned true."""
        return self._running is not None and self._running.stopped

    @property
    def model(self) -> Model:
        """The best model so far by validation, or the latest one without validation, in eval mode."""
        best = None if self._running is None else self._running.keeper.best()
        if best is not None:
            return best
        current = self._job.model if self._running is None else self._running.learner.model
        return with_spec(current, current.spec).eval()

    def _good(self) -> str:
        """The last good checkpoint, as the end of a message."""
        return "" if self._job.run is None else good_of(self._job.run)

    def _guarded(self) -> Generator[Step, None, None]:
        """The steps, with errors extended by the last good checkpoint."""
        together = ranks(self._job.device)
        run = self._job.run
        hint = "" if run is None else f"make room, then resume '{run}'"
        try:
            with together.failing_together():
                self._running = _begun(self._job, together)
                yield from self._running.steps()
        except ConnectionError as error:
            reason = str(error).strip().splitlines()[-1].removeprefix("ConnectionError: ")  # a worker adds its traceback
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
            if "DataLoader worker" not in str(error):  # torch has no exception type of its own for it
                raise
            raise TrainingError(
                f"a process that reads images died: {error}{self._good()}",
                hint="out of memory? workers=0 or a smaller cache_mb helps",
            ) from error


def _begun(job: Job, together: Ranks) -> Running:
    """A run that is checked and built. Its folder is changed only after all checks have passed."""
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
    """Whether there is a run to continue. Raises if a run exists unexpectedly, or is expected but missing.

    A run exists once its first checkpoint is there. What remains of a start that was killed earlier is overwritten.
    """
    begun = checkpoint.settled(run / "last").is_dir()
    if resume:
        record.check_same(run, recipe, dataset)
    elif begun:
        raise CheckpointError(
            f"'{run}' holds a run already", hint="add --resume to continue it, or choose another folder with --out"
        )
    return begun
