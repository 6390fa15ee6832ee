"""Cross-validation in `mobilenets train`: every image is measured with a model that has not seen it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mobilenets.cli.output import note
from mobilenets.cli.train_start import Start, first_weights

if TYPE_CHECKING:
    from collections.abc import Callable

    from mobilenets.evaluation.evaluators import AnyReport


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
    from mobilenets.training.cross import fitted, held_out, parted
    from mobilenets.training.loop import train

    recipe = replace(start.recipe, time_budget_minutes=minutes, tensorboard=False)
    dataset, first, reports = start.dataset, first_weights(start), []
    for i, part in enumerate(parted(dataset, folds, seed=recipe.seed)):
        place = run / "folds" / f"{i + 1} of {folds}"
        begun = checkpoint.settled(place / "last").is_dir()
        steps = train(first, part, recipe, place, resume=begun, device=device, stop=asked)
        for _ in steps:
            pass
        if steps.stopped:
            note(f"stopped in fold {i + 1} of {folds}; --resume goes on there")
            raise typer.Exit(130)
        model = steps.model
        report = evaluate(Predictor(manifest_of(model.spec), TorchEngine(model)), held_out(part), dataset.labels)
        reports.append(report)
        metric = report.metrics[0]
        note(f"fold {i + 1} of {folds}: {len(report)} images, {metric.name} {metric.value:.3f}")
    report = pooled(reports, dataset.task)
    best = checkpoint.load(run)
    head, metrics = fitted(best.spec.head, report, dataset.task)
    checkpoint.save(
        with_spec(best, replace(best.spec, head=head)), run / "best", metrics=metrics, recipe=values_of(start.recipe)
    )
    shutil.rmtree(run / "folds", ignore_errors=True)
    if isinstance(head, ClassifierHead):
        report = at_temperature(report, head.temperature)  # type: ignore[arg-type]  # it is a classifier's
    return report
