"""How `mobilenets train` ends: the best model is exported, evaluated and reported, and the next command is said."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from mobilenets.cli.output import note, progress, show, show_json
from mobilenets.cli.results import show_remarks, show_report
from mobilenets.errors import ExportError, ImageError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mobilenets.data.samples import Dataset, Split
    from mobilenets.evaluation.evaluators import AnyReport
    from mobilenets.model import Model
    from mobilenets.reports.page import Remark
    from mobilenets.runtime.predictor import Predictor


def finish(run: Path, dataset: Dataset, data: str, *, part: Split, json: bool, measured: AnyReport | None = None) -> bool:
    """Export, evaluate, report, and say what to type next.

    Args:
        run: the run folder.
        dataset: that it was trained on.
        data: where it is.
        part: the split to evaluate on.
        json: whether results are for programs.
        measured: the report of a cross-validation, which then takes the place of an evaluation.

    Returns:
        Whether an export or a report could be written.
    """
    from mobilenets import checkpoint
    from mobilenets.evaluation.evaluators import evaluate
    from mobilenets.model import TorchEngine
    from mobilenets.reports.remarks import remarks_of
    from mobilenets.runtime.manifest import manifest_of
    from mobilenets.runtime.predictor import Predictor

    best = checkpoint.load(run)
    exported = _exported(best, run, dataset)
    predictor = Predictor.open(run) if exported else Predictor(manifest_of(best.spec), TorchEngine(best))
    samples = [sample for sample in dataset.samples if sample.split == part]
    if measured is None:
        with progress(f"evaluating {part}", len(samples)) as advance:
            report = evaluate(predictor, samples, dataset.labels, progress=advance)
    else:
        report = measured
    shown: str = part if measured is None else "cross-validation"
    remarks = remarks_of(report, split=shown, run=run, dataset=dataset)
    page = _report(report, run, dataset, shown, remarks, predictor if measured is None else None)
    if json:
        metrics = {metric.name: metric.value for metric in report.metrics}
        files = {"report": str(page) if page else None, "onnx": str(run / "export" / "model.onnx") if exported else None}
        show_json({"run": str(run), "split": shown, "metrics": metrics, "best": checkpoint.read(run).metrics, **files})
    else:
        show_report(report, page, title=f"{shown}{' split' if measured is None else ''}, {len(report):,} images")
        show_remarks(remarks)
        show(f"run       {run}")
        if exported:
            show(f"export    {run / 'export' / 'model.onnx'}")
        if page:
            show(f"report    {page}")
    quoted = shlex.quote(str(run))
    if not exported and not page:
        return False
    note(f"next: mobilenets predict {quoted} IMAGE")
    if measured is None:  # after cross-validation there is no image left that the model has not seen
        note(f"      mobilenets evaluate {quoted} {shlex.quote(data)}")
        note(f"      mobilenets train {shlex.quote(data)} --weights {quoted}")
    return True


def say_complete(run: Path, metrics: Mapping[str, float | None], *, json: bool) -> None:
    """Say that nothing is left to do for a cross-validated run, and where its results are.

    Args:
        run: the run folder.
        metrics: of the cross-validation, by name.
        json: whether results are for programs.
    """
    from mobilenets import checkpoint

    onnx, page = run / "export" / "model.onnx", run / "report" / "report.html"
    files = {"report": str(page) if page.is_file() else None, "onnx": str(onnx) if onnx.is_file() else None}
    if json:
        best = checkpoint.read(run).metrics
        show_json({"run": str(run), "split": "cross-validation", "metrics": metrics, "best": best, **files})
    note(f"'{run}' is complete: it is trained, cross-validated and evaluated")
    for name, path in files.items():
        if path and not json:
            show(f"{name:10}{path}")
    note(f"next: mobilenets predict {shlex.quote(str(run))} IMAGE")


def _exported(best: Model, run: Path, dataset: Dataset) -> bool:
    from mobilenets.exporters.table import export
    from mobilenets.runtime.images.decode import decode_image

    images = []
    for sample in (dataset.split("val") or dataset.split("train"))[:16]:
        try:
            image = sample.read()
            decode_image(image)
        except (OSError, ImageError):
            continue
        images.append(image)
    try:
        export(best, run / "export", images=images)
    except (ExportError, MissingExtraError) as error:
        note(f"warning: no export: {error}")
        return False
    return True


def _report(
    report: AnyReport,
    run: Path,
    dataset: Dataset,
    part: str,
    remarks: Sequence[Remark],
    predictor: Predictor | None,
) -> Path | None:
    """Write the report. Without the predictor that gave it, as after cross-validation, it does not show where that looked."""
    from mobilenets.reports.classify.looked import look
    from mobilenets.reports.history import facts
    from mobilenets.reports.write import write_report

    by_name = {sample.name: sample for sample in dataset.samples}

    def read_image(name: str) -> bytes:
        return by_name[name].read()

    try:
        return write_report(
            report,
            run / "report",
            read_image=read_image,
            look=look(predictor, read_image) if predictor is not None else None,
            title=f"{run.name} on {dataset.name}, {part}",
            context=facts(run),
            history=run / "metrics.csv",
            next_command=f"mobilenets predict {shlex.quote(str(run))} IMAGE",
            remarks=remarks,
        )
    except (MissingExtraError, OSError) as error:
        note(f"warning: no report: {error}")
        return None
