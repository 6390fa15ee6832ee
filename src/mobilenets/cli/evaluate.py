"""`mobilenets evaluate`: measure a model on labeled images and write a report."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mobilenets.cli.measuring import (
    TORCH,
    check_engine,
    engine_line,
    is_own,
    learned_copies,
    predictor_of,
    trained_on_data,
)
from mobilenets.cli.output import note, progress, show
from mobilenets.cli.reading import ClassesOption, IgnoreOption, Reading, alike
from mobilenets.cli.results import show_remarks, show_report
from mobilenets.data.text import counted
from mobilenets.errors import CheckpointError, DataError, MissingExtraError, UsageError
from mobilenets.evaluation.part import PARTS, part_of

if TYPE_CHECKING:
    from mobilenets.evaluation.evaluators import AnyReport


def command(
    run: Annotated[Path, typer.Argument(metavar="RUN|MODEL.onnx", help="A run folder, an export folder or an .onnx file.")],
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA",
            help="A folder, CSV, tar shards or their address, boxes, or 'elpv'; by default, the dataset the run was "
            "trained on.",
            show_default=False,
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            metavar="SPLIT",
            help="train, val, test or all; by default test if there is one, else all.",
            show_default=False,
        ),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="onnx, tflite, ... or torch; by default the fastest that can open an export of RUN, else torch.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where to write the report; in RUN by default.", show_default=False),
    ] = None,
    worst: Annotated[int, typer.Option(min=0, metavar="N", help="Number of worst mistakes to show.")] = 8,
    batch: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Batch size; chosen automatically by default."),
    ] = None,
    multi_scale: Annotated[
        bool,
        typer.Option(
            "--multi-scale",
            help="Segmenters: average over six scales and their mirror images (the papers' MF); slow.",
        ),
    ] = False,
    classes: ClassesOption = "",
    ignore: IgnoreOption = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Print which engine is used, and why.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Measure a model on labeled images and write a report.

    Images are preprocessed exactly as in 'mobilenets predict':

        mobilenets evaluate runs/photos photos/test

    Unreadable images are listed and not counted. Without DATA, the test split of the run's own dataset is used.
    """
    if split is not None and split not in PARTS:
        raise UsageError(f"unknown split '{split}'; known: {', '.join(PARTS)}")
    check_engine(engine, torch=True)
    from mobilenets.evaluation.evaluators import evaluate
    from mobilenets.files import check_own
    from mobilenets.reports.ancestry import home_of
    from mobilenets.reports.classify.looked import look
    from mobilenets.reports.history import facts
    from mobilenets.reports.record import to_json
    from mobilenets.reports.remarks import copied_remarks, remarks_of
    from mobilenets.reports.write import write_report
    from mobilenets.runtime.segment.scales import MultiScale

    if out is not None:
        check_own(out, "report.json")
    predictor = predictor_of(run, TORCH if multi_scale and engine is None and run.is_dir() else engine)
    if verbose:
        note(engine_line(predictor))
    home = home_of(run)
    run_facts = facts(home)
    trained_on = str(run_facts.get("Data", {}).get("source", ""))
    if data is None and not trained_on:
        raise UsageError(
            f"'{run}' does not say what it was trained on, so DATA is needed",
            hint=f"mobilenets evaluate {shlex.quote(str(run))} DATA",
        )
    source = data or trained_on
    splits = home / "splits.csv"
    own = is_own(source, home)
    reading = Reading.of(predictor.manifest.task, classes, ignore)
    task = predictor.manifest.task
    if own:
        reading.refuse(source)
    dataset = trained_on_data(splits, run_facts.get("Data", {}), task) if own else reading.open(source, val=0, test=0)
    dataset.check_task(task, f"'{run}'")
    if not own:
        dataset = alike(dataset, predictor.manifest.labels)
    part, samples = part_of(dataset, split)
    note(f"{counted(len(samples), 'image')} of '{dataset.name}', {'every split' if part == 'all' else f'split {part}'}")
    measured = MultiScale(predictor) if multi_scale else predictor
    with progress("evaluating", len(samples)) as advance:
        report = evaluate(measured, samples, dataset.labels, progress=advance, batch=batch)

    name = home.name if run_facts else run.stem
    title = f"{name} on {dataset.name}" + ("" if part == "all" else f", {part}")
    following = f"mobilenets predict {shlex.quote(str(run))} IMAGE"
    folds = bool(run_facts.get("Data", {}).get("folds"))  # their report stays: it is of images that its models had not seen
    usual = "report" if (split is None or part == part_of(dataset, None)[0]) and not folds else f"report-{part}"
    folder = out or _beside_larger(home / (usual if own else f"report-{dataset.name}"), report)
    remarks = remarks_of(report, split=part, run=home, dataset=dataset if own else None)
    if not own:
        remarks = (*copied_remarks(len(learned_copies(samples, home, task)), len(samples)), *remarks)
    named = {sample.name: sample for sample in samples}
    written: Path | None = None
    failure: DataError | None = None

    def read_image(name: str) -> bytes:
        return named[name].read()

    try:
        written = write_report(
            report,
            folder,
            read_image=read_image,
            look=look(predictor, read_image),
            title=title,
            context=run_facts,
            history=home / "metrics.csv",
            next_command=following,
            worst=worst,
            remarks=remarks,
        )
    except OSError as error:
        reason = error.strerror or error  # what was measured is shown all the same
        failure = DataError(f"'{folder}': the report cannot be written: {reason}", hint="--out FOLDER")
    except MissingExtraError as error:
        if out is not None:
            raise
        note(f"no report: {error} ({error.hint})")
    if json:
        text = to_json(report, title=title, context=run_facts, next_command=following, worst=worst, remarks=remarks)
        show(text.rstrip())
    else:
        show_report(report, written)
        show_remarks(remarks)
        _name_unreadable(report)
    if failure is not None:
        raise failure
    if written is not None:
        note(f"report: {written}")
    note(f"next: {following}")


def _beside_larger(folder: Path, report: AnyReport) -> Path:
    """The folder; another one where it has a report of more images, some of which cannot be read any more."""
    from mobilenets.reports.stored import read_measured

    if not report.unreadable:
        return folder
    try:
        before = read_measured(folder, "")
    except CheckpointError:  # there is nothing to keep
        before = None
    if before is None or len(before.names) <= len(report):
        return folder
    note(f"'{folder}' keeps its report of {counted(len(before.names), 'image')}; only {len(report):,} could be read now")
    return folder.with_name(f"{folder.name}-readable")


def _name_unreadable(report: AnyReport) -> None:
    for name, error in report.unreadable[:10]:
        note(f"{name}: {error}")
    if report.unreadable:
        note(f"{counted(len(report.unreadable), 'image')} could not be read and are not counted")
