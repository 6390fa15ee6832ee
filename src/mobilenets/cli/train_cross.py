"""Cross-validation in `mobilenets train`: every image is measured with a model that has not seen it."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mobilenets.cli.output import note
from mobilenets.cli.train_start import Start, first_weights
from mobilenets.cli.watch import duration
from mobilenets.data.text import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from mobilenets.evaluation.evaluators import AnyReport

_FOLDS = "folds"


def cross_validated(run: Path) -> dict[str, float | None] | None:
    """The metrics of a run whose cross-validation is complete: its report is there, and its folds are not any more."""
    from mobilenets.documents import parse
    from mobilenets.errors import DocumentError

    if (run / _FOLDS).exists():
        return None
    try:
        metrics = parse((run / "report" / "report.json").read_bytes())["metrics"]
        return {name: metric["value"] for name, metric in metrics.items()}
    except (OSError, DocumentError, KeyError, TypeError, AttributeError):
        return None


def forget_folds(run: Path) -> None:
    """Delete the models of the folds, once the report says what they measured."""
    shutil.rmtree(run / _FOLDS, ignore_errors=True)


def cross_validate(start: Start, run: Path, folds: int, *, device: str, asked: Callable[[], bool], minutes: float) -> AnyReport:
    """Train once for each fold, measure all images, and fit the run's final model to that.

    Each fold is a run of its own below `run`, until all are measured: what is trained when the process is killed stays.

    Args:
        start: dataset, first weights and recipe.
        run: whose final model is trained already, on all images.
        folds: how many.
        device: where to compute.
        asked: whether the user wants to stop.
        minutes: time budget of each fold; 0 for no limit.
    """
    from mobilenets import checkpoint
    from mobilenets.evaluation.evaluators import evaluate
    from mobilenets.evaluation.pooled import at_temperature, pooled
    from mobilenets.keys import values_of
    from mobilenets.model import TorchEngine, with_spec
    from mobilenets.runtime.manifest import manifest_of
    from mobilenets.runtime.predictor import Predictor
    from mobilenets.specs.model import ClassifierHead
    from mobilenets.training import state
    from mobilenets.training.cross import fitted, held_out, parted
    from mobilenets.training.loop import train

    epochs = state.progress_of(run / "last").epochs  # a time budget may have ended the final model's training early
    if epochs < start.recipe.epochs:
        note(f"each fold trains for {counted(epochs, 'epoch')} at most, like the final model that it stands for")
    recipe = replace(start.recipe, epochs=epochs, time_budget_minutes=minutes, tensorboard=False)
    dataset, first, reports = start.dataset, first_weights(start), []
    began = time.monotonic()
    for i, part in enumerate(parted(dataset, folds, seed=recipe.seed)):
        place = run / _FOLDS / f"{i + 1} of {folds}"
        begun = checkpoint.settled(place / "last").is_dir()
        steps = train(first, part, recipe, place, resume=begun, device=device, stop=asked)
        trained = epochs
        for step in steps:
            trained = step.epochs
        if steps.stopped:
            note(f"stopped in fold {i + 1} of {folds}; --resume continues there")
            raise typer.Exit(130)
        model = steps.model
        report = evaluate(Predictor(manifest_of(model.spec), TorchEngine(model)), held_out(part), dataset.labels)
        reports.append(report)
        metric = report.metrics[0]
        short = f", after {trained} of {counted(epochs, 'epoch')}: out of time" if trained < epochs else ""
        more = (time.monotonic() - began) / (i + 1) * (folds - i - 1)
        left = f"  about {duration(more)} left" if i + 1 < folds else ""
        note(f"fold {i + 1} of {folds}: {counted(len(report), 'image')}, {metric.name} {metric.value:.3f}{short}{left}")
    report = pooled(reports, dataset.task)
    best = checkpoint.load(run)
    head, metrics = fitted(best.spec.head, report, dataset.task)
    checkpoint.save(
        with_spec(best, replace(best.spec, head=head)), run / "best", metrics=metrics, recipe=values_of(start.recipe)
    )
    if isinstance(head, ClassifierHead):
        report = at_temperature(report, head.temperature)  # type: ignore[arg-type]  # it is a classifier's
    return report
