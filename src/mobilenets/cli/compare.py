"""`mobilenets compare`: several runs on the same test images, in one table and one plot."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mobilenets.cli.measuring import is_own, learned_among, predictor_of, trained_on_data
from mobilenets.cli.output import note, progress, show, show_table
from mobilenets.cli.reading import ClassesOption, IgnoreOption, Reading
from mobilenets.errors import DataError, UsageError
from mobilenets.evaluation.part import PARTS, part_of

if TYPE_CHECKING:
    from mobilenets.evaluation.compare import Measured


def command(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN RUN...", help="Run folders or exports; the first is the baseline.")
    ],
    data: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="The dataset to evaluate all of them on; by default, the one each was tested on."),
    ] = None,
    split: Annotated[
        str | None, typer.Option(metavar="SPLIT", help="train, val, test or all of DATA; test by default if there is one.")
    ] = None,
    metric: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="top1, balanced_accuracy, macro_f1, nll; map, map50, map75; miou, pixel_accuracy. By default the "
            "first for the task.",
        ),
    ] = "",
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write comparison.html, .md, .json and .png to this folder.", show_default=False),
    ] = None,
    classes: ClassesOption = "",
    ignore: IgnoreOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Compare runs on the same images, with confidence intervals of each metric and of each difference from the first run.

        mobilenets compare runs/photos runs/photos-2 --out comparison

    Differences are paired: models are compared image by image, which reveals much smaller differences than two separate
    intervals would. Predictions come from the runs' reports if they have them; otherwise the runs are evaluated.
    """
    if len(runs) < 2:
        raise UsageError("comparing needs at least two runs", hint="mobilenets compare RUN RUN...")
    if split is not None and split not in PARTS:
        raise UsageError(f"unknown split '{split}'; known: {', '.join(PARTS)}")
    if split is not None and data is None:
        raise UsageError("--split needs --data DATA")
    from mobilenets.evaluation.compare import compare
    from mobilenets.files import check_own
    from mobilenets.reports import comparison as written

    if out is not None:
        check_own(out, "comparison.json")

    named = tuple(zip(runs, _names(runs), strict=True))
    evaluated = partial(_evaluated, data=data, split=split, classes=classes, ignore=ignore)
    kept = [_stored(run, name) if data is None else None for run, name in named]
    measured = [model or evaluated(run, name) for (run, name), model in zip(named, kept, strict=True)]
    if any(model.trained_on for model in measured):
        measured = [
            evaluated(run, name) if old is not None and _cross_validated(run) else model
            for (run, name), old, model in zip(named, kept, measured, strict=True)
        ]
    result = compare(measured, metric)
    if json:
        show(written.to_json(result).rstrip())
    else:
        show_table(written.columns(result), written.rows(result))
        show_table(("", f"difference from {result.rows[0].name}"), written.bars(result))
        note(written.sentence(result))
    if out is not None:
        try:
            note(f"comparison: {written.write_comparison(result, out)}")
        except OSError as error:
            raise DataError(f"'{out}': the comparison cannot be written: {error.strerror or error}") from error


def _names(runs: list[Path]) -> list[str]:
    """The last part of each path, with more of the path if several end alike."""
    short = [run.resolve().name for run in runs]
    return [name if short.count(name) == 1 else str(run) for run, name in zip(runs, short, strict=True)]


def _stored(run: Path, name: str) -> Measured | None:
    """What the run's report says about each image; None if there is no report, or one of an older model."""
    from mobilenets.reports.ancestry import home_of, inherited, learned_from
    from mobilenets.reports.history import facts
    from mobilenets.reports.record import PER_IMAGE
    from mobilenets.reports.stored import read_measured

    home = home_of(run)
    for folder in (home / "report", home):
        measured = read_measured(folder, name)
        if measured is None:
            continue
        checkpoint = home / "best" / "model.json"
        if checkpoint.is_file() and checkpoint.stat().st_mtime > (folder / PER_IMAGE).stat().st_mtime:
            note(f"'{run}': the report is older than the model, so the model is evaluated again")
            return None
        learned = inherited if facts(home).get("Data", {}).get("folds") else learned_from
        return replace(measured, trained_on=learned(home) & set(measured.names))
    return None


def _cross_validated(run: Path) -> bool:
    """Whether the run's report tells of other models than this one, which had not seen the images: those of the folds."""
    from mobilenets.reports.ancestry import home_of
    from mobilenets.reports.history import facts

    if not facts(home_of(run)).get("Data", {}).get("folds"):
        return False
    note(
        f"'{run}': its report is a cross-validation; the model itself is evaluated, because another run was trained on these "
        "images"
    )
    return True


def _evaluated(run: Path, name: str, data: str | None, split: str | None, classes: str, ignore: list[str] | None) -> Measured:
    """What the run's model does on each image of the dataset, or of its own test split."""
    from mobilenets.evaluation.evaluators import evaluate
    from mobilenets.reports.ancestry import home_of
    from mobilenets.reports.history import facts
    from mobilenets.reports.stored import measured_of

    predictor = predictor_of(run, None)
    home = home_of(run)
    recorded = facts(home).get("Data", {})
    source = data or str(recorded.get("source", ""))
    if not source:
        raise UsageError(f"'{run}' has no report, and does not say what it was trained on", hint="--data DATA")
    task, splits = predictor.manifest.task, home / "splits.csv"
    own = is_own(source, home)
    reading = Reading.of(task, classes, ignore)
    if own:
        reading.refuse(source)
    dataset = trained_on_data(splits, recorded, task) if own else reading.open(source, val=0, test=0)
    dataset.check_task(task, f"'{run}'")
    part, samples = part_of(dataset, split)
    with progress(f"evaluating {name} on {part}", len(samples)) as advance:
        report = evaluate(predictor, samples, dataset.labels, progress=advance)
    return measured_of(report, name, learned_among(samples, home, source, task) & set(report.names))
