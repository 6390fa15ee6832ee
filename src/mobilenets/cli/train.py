"""`mobilenets train`: images with labels, boxes or masks to a checked, exported and evaluated model."""

from __future__ import annotations

import logging
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mobilenets.cli.output import note, progress, show, show_json
from mobilenets.cli.reading import ClassesOption, IgnoreOption, Reading, TaskOption
from mobilenets.cli.results import show_report
from mobilenets.errors import DataError, ExportError, ImageError, MissingExtraError, UsageError, WeightsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mobilenets.data.samples import Dataset, Split
    from mobilenets.evaluation.evaluators import AnyReport
    from mobilenets.model import Model
    from mobilenets.runtime.predictor import Predictor
    from mobilenets.training.recipe import Recipe

RUNS = Path("runs")
_USUAL: dict[str, dict[str, str]] = {  # recipe of each task, with weights to begin with and without
    "classify": {"weights": "finetune", "scratch": "scratch-small"},
    "detect": {"weights": "detect", "scratch": "detect"},
    "segment": {"weights": "segment", "scratch": "segment"},
}
NAMED = 5  # files that a message names


def command(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="Folder with a folder per class, CSV, tar shards or their http(s) address, or 'elpv'; boxes as Pascal VOC, "
            "COCO, YOLO or CSV; masks in images/ and masks/, Pascal VOC or COCO.",
        ),
    ],
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="The network; the recipe's by default.", show_default=False)
    ] = None,
    width: Annotated[
        float | None, typer.Option(metavar="SHARE", help="Its width multiplier; the recipe's by default.", show_default=False)
    ] = None,
    size: Annotated[
        int | None, typer.Option(metavar="PX", help="Input size; the recipe's by default.", show_default=False)
    ] = None,
    weights: Annotated[
        str, typer.Option(metavar="auto|none|PATH|NAME", help="First weights; auto takes public ones where they can be had.")
    ] = "auto",
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="By default detect for boxes, segment for masks, else finetune with weights and scratch-small without.",
            show_default=False,
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one thing of the recipe; may be repeated.", show_default=False),
    ] = None,
    epochs: Annotated[int | None, typer.Option(metavar="N", help="Short for --set epochs=N.", show_default=False)] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Of splits, order, augmentation and fresh weights; 0.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="RUN", help="The run folder; runs/DATA by default.", show_default=False)
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out, or with the latest one.")] = False,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out files that cannot be read, instead of stopping.")
    ] = False,
    task: TaskOption = None,
    classes: ClassesOption = "",
    ignore: IgnoreOption = None,
    with_val: Annotated[
        bool, typer.Option("--with-val", help="Train on the val split too and keep the last checkpoint, when all is decided.")
    ] = False,
    no_test: Annotated[
        bool, typer.Option("--no-test", help="Leave the test split alone and report on val: for trying recipes.")
    ] = False,
    device: Annotated[str, typer.Option(metavar="auto|cpu", help="Where to compute.")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Train a classifier, detector or segmenter on your images.

    What is learned follows from the data; splits, weights and recipe are chosen and said:

        mobilenets train photos/ --set dihedral=true --out runs/photos

        mobilenets train cells/ --epochs 50 --out runs/cells

        mobilenets train streets/ --set wide=480 --size 352 --out runs/streets

    The run folder then holds checkpoints, the exported network, learning curves and a report. Ctrl-C saves; --resume goes on.
    Several GPUs: torchrun --nproc_per_node 4 -m mobilenets train photos/
    """
    try:
        from mobilenets.training.loop import train
    except ImportError as error:
        raise MissingExtraError(error.name or "torch", "train") from error
    from mobilenets import checkpoint
    from mobilenets.cli.watch import Watch, interrupts
    from mobilenets.training import record

    main = os.environ.get("RANK", "0") == "0"
    _speak(main)
    chosen = {"--model": model, "--width": width, "--size": size, "--recipe": recipe, "--epochs": epochs, "--seed": seed}
    if resume:
        run = out or _latest()
        settings = _settings_of(run, [name for name, value in chosen.items() if value is not None], overrides or [])
    else:
        settings = None
    told = record.read_run(run)["data"].get("reading", {}) if settings else {}
    reading = Reading.from_data(told) if settings else Reading.of(task, classes, ignore)
    dataset = reading.open(data, seed=settings.seed if settings else seed or 0)
    for line in dataset.notes:
        logging.getLogger("mobilenets").info(line)
    if settings is not None:
        dataset = _repaired(_as_before(dataset, run))
        network = checkpoint.load(run / "last")
    else:
        run = out or _fresh(dataset.name)
        dataset = _repaired(dataset.with_val_in_train() if with_val else dataset)
        dataset = _checked(dataset, skip_bad=skip_bad, main=main)
        network, settings = _begin(dataset, model, width, size, weights, recipe, overrides or [], epochs, seed)
    log = logging.getLogger("mobilenets")
    counts = ", ".join(f"{len(dataset.split(split)):,} {split}" for split in ("train", "val", "test") if dataset.split(split))
    log.info("%s: %d classes; images: %s", dataset.name, len(dataset.labels), counts)
    again = f"mobilenets train {shlex.quote(data)} --out {shlex.quote(str(run))} --resume"
    steps = train(network, dataset, settings, run, resume=resume, device=device, source=data, reading=reading.to_data())
    with interrupts() as asked, Watch(quiet=not main) as watch:
        for step in steps:
            watch.show(step)
            if asked():
                steps.close()  # saves
                log.info("stopped after step %d of %d; everything is saved", step.step, step.steps)
                log.info("go on with: %s", again)
                raise typer.Exit(130)
    if main:
        _finish(run, dataset, data, parts=("val", "train") if no_test else ("test", "val", "train"), json=json)


def _speak(main: bool) -> None:
    """Send the package's log to stderr, one line each."""

    class Notes(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            note(record.getMessage() if record.levelno < logging.WARNING else f"warning: {record.getMessage()}")

    logger = logging.getLogger("mobilenets")
    logger.handlers = [Notes()]
    logger.setLevel(logging.INFO if main else logging.WARNING)
    logger.propagate = False


def _settings_of(run: Path, chosen: list[str], overrides: list[str]) -> Recipe:
    """The recipe of the run that is resumed."""
    from mobilenets.training import record
    from mobilenets.training.recipe import with_overrides

    if chosen:
        raise UsageError(f"--resume goes on as '{run}' began; leave out {', '.join(chosen)}")
    return with_overrides(record.recipe_of(run), overrides)


def _as_before(dataset: Dataset, run: Path) -> Dataset:
    """The images that the run was started with, in its splits; those that came later are left out."""
    from mobilenets.data.readers.lists import in_splits, split_names

    return in_splits(dataset, split_names(run / "splits.csv"))


def _repaired(dataset: Dataset) -> Dataset:
    """The dataset with the boxes it trains on put right, which is said."""
    from mobilenets.data.checks.boxes import repaired

    if dataset.task != "detect":
        return dataset
    found = repaired(dataset)
    for line in found.notes[len(dataset.notes) :]:
        logging.getLogger("mobilenets").info(line)
    return found


def _checked(dataset: Dataset, *, skip_bad: bool, main: bool) -> Dataset:
    """The dataset after the quick check, without unreadable files where the user agreed to that."""
    from mobilenets.data.checks.boxes import REPAIRED
    from mobilenets.data.checks.check import quick_check, without

    if not main:
        return without(dataset, quick_check(dataset).broken) if skip_bad else dataset
    with progress("checking", len(dataset.samples)) as advance:
        findings = quick_check(dataset, advance=advance)
    for finding in findings.items:
        if finding.level == "warning" or finding.code in REPAIRED:
            note(f"warning: {finding.message}")
    serious = [finding for finding in findings.at("error") if finding.code not in REPAIRED]
    errors = [finding for finding in serious if not (skip_bad and set(finding.files) & findings.broken)]
    if errors:
        each = [f"{finding.message}: {_some(finding.files)}" if finding.files else finding.message for finding in errors]
        said = "; ".join(each[:NAMED]) + (f"; and {len(each) - NAMED} more" if len(each) > NAMED else "")
        hint = "mobilenets check DATA lists all; --skip-bad trains without unreadable files"
        raise DataError(said, hint=hint if findings.broken else "mobilenets check DATA says more")
    if findings.broken:
        note(f"skipped {len(findings.broken)} files that cannot be read: {_some(sorted(findings.broken))}")
        return without(dataset, findings.broken)
    return dataset


def _begin(
    dataset: Dataset,
    model: str | None,
    width: float | None,
    size: int | None,
    weights: str,
    recipe: str | None,
    overrides: list[str],
    epochs: int | None,
    seed: int | None,
) -> tuple[Model, Recipe]:
    """The first model and the recipe, with one line on the weights."""
    from dataclasses import replace

    from mobilenets.model import create
    from mobilenets.specs.families import backbone
    from mobilenets.specs.model import InputContract
    from mobilenets.training import recipes
    from mobilenets.training.heads import spec_for, without_effect
    from mobilenets.training.recipe import keys_of, with_overrides

    options = {"model": model, "width": width, "size": size, "epochs": epochs, "seed": seed}
    texts = [f"{name}={value}" for name, value in options.items() if value is not None]
    chosen = recipe or _USUAL[dataset.task]["scratch" if weights == "none" else "weights"]
    settings = with_overrides(recipes.recipe(chosen), [*texts, *overrides])
    found = _with_weights(settings, weights, named=model is not None)
    if found is None and recipe is None:
        chosen = _USUAL[dataset.task]["scratch"]
        settings = with_overrides(recipes.recipe(chosen), [*texts, *overrides])
    if found is None and settings.freeze_blocks == -1:
        raise UsageError(
            f"recipe '{chosen}' freezes the backbone, which is worth nothing without weights",
            hint="--weights PATH, or another recipe",
        )
    if found is None:
        shape = backbone(settings.model, width=settings.width)
        spec = spec_for(dataset, shape, InputContract(size=settings.size or shape.size), settings)
        found = create(spec, seed=settings.seed)
    elif said := without_effect(found.spec.head, dataset.task, settings, keys_of(overrides)):
        note(f"warning: {said}")
    body = found.spec.backbone
    settings = replace(settings, model=body.name, width=body.width)
    px = settings.size or found.spec.input.size
    note(f"{body.name} {body.width:g} at {px if settings.wide in (0, px) else f'{px} x {settings.wide}'} px, recipe {chosen}")
    return found, settings


def _with_weights(settings: Recipe, weights: str, *, named: bool) -> Model | None:
    """The model with the weights asked for; none where "auto" finds none, or none are wanted."""
    from dataclasses import replace

    from mobilenets.model import with_spec
    from mobilenets.weights.load import load, load_best

    if weights == "none":
        note("weights: none, as asked; training from scratch")
        return None
    if weights == "auto":
        if not settings.from_weights:
            note("weights: none, as this recipe trains from scratch (--weights NAME begins with public ones)")
            return None
        try:
            found = load_best(settings.model, settings.width)
        except (WeightsError, MissingExtraError) as error:
            note(f"weights: none, training from scratch: {error}")
            return None
        note(f"weights: {found.spec.weights}")
        return found
    found = load(weights)
    spec = found.spec
    if named and spec.backbone.name != settings.model:
        raise UsageError(f"'{weights}' holds weights of {spec.backbone.name}, but --model is {settings.model}")
    note(f"weights: {weights}")
    return with_spec(found, replace(spec, weights=weights)) if spec.weights == "scratch" else found


def _finish(run: Path, dataset: Dataset, data: str, *, parts: Sequence[Split], json: bool) -> None:
    """Export, evaluate on the first of these splits that there is, report, and say what to type next."""
    from mobilenets import checkpoint
    from mobilenets.evaluation.evaluators import evaluate
    from mobilenets.model import TorchEngine
    from mobilenets.runtime.manifest import manifest_of
    from mobilenets.runtime.predictor import Predictor

    best = checkpoint.load(run)
    exported = _exported(best, run, dataset)
    predictor = Predictor.open(run) if exported else Predictor(manifest_of(best.spec), TorchEngine(best))
    part = next((split for split in parts if dataset.split(split)), "train")
    samples = [sample for sample in dataset.samples if sample.split == part]
    with progress(f"evaluating {part}", len(samples)) as advance:
        report = evaluate(predictor, samples, dataset.labels, progress=advance)
    page = _report(report, predictor, run, dataset, part)
    if json:
        metrics = {one.name: one.value for one in report.metrics}
        files = {"report": str(page) if page else None, "onnx": str(run / "export" / "model.onnx") if exported else None}
        show_json({"run": str(run), "split": part, "metrics": metrics, "best": checkpoint.read(run).metrics, **files})
    else:
        show_report(report, page, title=f"{part} split, {len(samples):,} images")
        show(f"run       {run}")
        if exported:
            show(f"export    {run / 'export' / 'model.onnx'}")
        if page:
            show(f"report    {page}")
    place = shlex.quote(str(run))
    note(f"next: mobilenets predict {place} IMAGE")
    note(f"      mobilenets evaluate {place} {shlex.quote(data)}")
    note(f"      mobilenets train {shlex.quote(data)} --weights {place}")


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


def _report(report: AnyReport, predictor: Predictor, run: Path, dataset: Dataset, part: str) -> Path | None:
    from mobilenets.reports.history import facts
    from mobilenets.reports.write import write_report

    by_name = {sample.name: sample for sample in dataset.samples}
    try:
        return write_report(
            report,
            run / "report",
            read_image=lambda name: by_name[name].read(),
            title=f"{run.name} on {dataset.name}, {part}",
            context=facts(run),
            history=run / "metrics.csv",
            next_command=f"mobilenets predict {run} IMAGE",
        )
    except (MissingExtraError, OSError) as error:
        note(f"warning: no report: {error}")
        return None


def _fresh(name: str) -> Path:
    """runs/NAME, or with a number behind where that exists."""
    stem = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in name).strip("-.") or "run"
    if not (RUNS / stem).exists():
        return RUNS / stem
    return next(RUNS / f"{stem}-{i}" for i in range(2, 10_000) if not (RUNS / f"{stem}-{i}").exists())


def _latest() -> Path:
    """The run that was written to last."""
    runs = sorted(RUNS.glob("*/run.json"), key=lambda path: path.stat().st_mtime) if RUNS.is_dir() else []
    if not runs:
        raise UsageError(f"there is no run in '{RUNS}' to resume", hint="--out RUN says which")
    return runs[-1].parent


def _some(names: tuple[str, ...] | list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(f"'{name}'" for name in names[:NAMED]) + more
