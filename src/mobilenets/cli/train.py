"""`mobilenets train`: images with labels, boxes or masks to a checked, exported and evaluated model."""

from __future__ import annotations

import logging
import os
import shlex
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mobilenets.cli.output import note
from mobilenets.cli.reading import ClassesOption, IgnoreOption, Reading, TaskOption, anywhere
from mobilenets.cli.resuming import the_only, unused
from mobilenets.cli.train_cross import cross_validate, cross_validated, forget_folds
from mobilenets.cli.train_finish import finish, say_complete
from mobilenets.cli.train_start import Chosen, Start, checked, fresh, repaired, resumed
from mobilenets.errors import MissingExtraError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mobilenets.data.samples import Split

RUNS = Path("runs")
WITH_VAL = (
    "the model is trained on val too: the last checkpoint is kept, no temperature or threshold is fitted, and 'mobilenets "
    "quantize' can only measure the drop on the test split"
)
LATE = 1.1
"""How many times its time budget a training may take before that is said."""


def command(
    context: typer.Context,
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="A folder with one folder per class, a CSV, tar shards or their http(s) address, or 'elpv'; boxes as "
            "Pascal VOC, COCO, YOLO or CSV; masks in images/ and masks/, or as Pascal VOC or COCO.",
        ),
    ],
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="The network; the recipe's by default.", show_default=False)
    ] = None,
    width: Annotated[
        float | None, typer.Option(metavar="SHARE", help="Width multiplier; the recipe's by default.", show_default=False)
    ] = None,
    size: Annotated[
        int | None, typer.Option(metavar="PX", help="Input size; the recipe's by default.", show_default=False)
    ] = None,
    weights: Annotated[
        str, typer.Option(metavar="auto|none|PATH|NAME", help="Initial weights; auto uses public ones if available.")
    ] = "auto",
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="By default detect for boxes and segment for masks; for labels finetune with weights, scratch-small without.",
            show_default=False,
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change one setting of the recipe; may be repeated.", show_default=False
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option(metavar="N", help="Short for --set epochs=N.", show_default=False)] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Seed for splits, order, augmentation and new weights; 0 by default.", show_default=False
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="RUN", help="The run folder; runs/DATA by default.", show_default=False)
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Resume the run in --out, or the latest one.")] = False,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Skip unreadable files instead of stopping.")] = False,
    task: TaskOption = None,
    classes: ClassesOption = "",
    ignore: IgnoreOption = None,
    with_val: Annotated[
        bool, typer.Option("--with-val", help="Train on the val split too and keep the last checkpoint; for the final model.")
    ] = False,
    no_test: Annotated[
        bool, typer.Option("--no-test", help="Leave the test split untouched and report on val; for comparing recipes.")
    ] = False,
    folds: Annotated[
        int | None,
        typer.Option(
            metavar="K",
            min=0,
            help="Cross-validate: K models are evaluated on images they have not seen, and the final model is trained "
            "on all images. By default 5 if the data has no splits of its own and a class has under 30 images, "
            "or val or test under 100; 0 turns it off.",
            show_default=False,
        ),
    ] = None,
    device: Annotated[str, typer.Option(metavar="auto|cpu", help="Device to train on.")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Train a classifier, detector or segmenter on your images.

    The data decides the task. Splits, weights and recipe are chosen for you and printed:

        mobilenets train photos/ --set dihedral=true --out runs/photos

        mobilenets train cells/ --epochs 50 --out runs/cells

        mobilenets train streets/ --set wide=480 --size 352 --out runs/streets

    The run folder will contain checkpoints, the exported network, learning curves and a report. Ctrl-C saves the run and
    --resume continues it. On several GPUs: torchrun --nproc_per_node 4 -m mobilenets train photos/
    """
    began = time.monotonic()
    try:
        from mobilenets.training.loop import train
    except ImportError as error:
        raise MissingExtraError(error.name or "torch", "train") from error
    from mobilenets.cli.watch import Watch, duration, interrupts
    from mobilenets.reports.ancestry import behind
    from mobilenets.reports.remarks import inherited_remarks
    from mobilenets.training.cross import whole
    from mobilenets.training.pace import Around

    main = os.environ.get("RANK", "0") == "0"  # of the processes of a run; it has the folder, which the others only read
    _speak(main)
    asked_for = {"--model": model, "--width": width, "--size": size, "--recipe": recipe, "--epochs": epochs, "--seed": seed}
    restarted = _begun(out)
    doing = "trains"
    if resume or restarted:
        run = out or _latest()
        if main and run.is_dir():
            context.with_resource(the_only([run], doing))
        given = [name for name, value in asked_for.items() if value is not None and not restarted]
        start = resumed(run, data, given, overrides or [])
    else:
        if main and out is not None:
            context.with_resource(the_only([out], doing))
        dataset = Reading.of(task, classes, ignore).open(data, seed=seed or 0)
        run = out or (context.with_resource(the_only(_fresh(dataset.name), doing)) if main else next(_fresh(dataset.name)))
        dataset = checked(repaired(dataset.with_val_in_train() if with_val else dataset), skip_bad=skip_bad, main=main)
        if with_val and main:
            note(WITH_VAL)
        chosen = Chosen(model, width, size, weights, recipe, tuple(overrides or ()), epochs, seed)
        start = fresh(dataset, chosen, Reading.of(task, classes, ignore))
    learned = behind(start.weights, anywhere(data))
    folds = _folds(start, folds, fixed=with_val or no_test or bool(learned))
    start = replace(start, dataset=whole(start.dataset)) if folds else start
    dataset, budget = start.dataset, start.recipe.time_budget_minutes / (1 if resume else folds + 1)
    log = logging.getLogger("mobilenets")
    counts = ", ".join(f"{len(dataset.split(split)):,} {split}" for split in ("train", "val", "test") if dataset.split(split))
    log.info("%s: %d classes; images: %s", dataset.name, len(dataset.labels), counts)
    parts: tuple[Split, ...] = ("val", "train") if no_test else ("test", "val", "train")
    reported: Split = next((part for part in parts if dataset.split(part)), "train")
    if not start.resumes:
        for remark in inherited_remarks(dataset, "cross-validation" if folds else reported, learned):
            log.info("warning: %s", remark.text)
    after = f"{folds} more trainings and the report" if folds else "the export and the report"
    with interrupts() as asked, Watch(quiet=not main, after=after) as watch:
        steps = train(
            start.model,
            dataset,
            replace(start.recipe, time_budget_minutes=budget),
            run,
            resume=start.resumes,
            device=device,
            source=anywhere(data),
            reading=start.reading.to_data(),
            weights=start.weights,
            folds=folds,
            stop=asked,
            around=Around(time.monotonic() - began, 0 if folds else len(dataset.split(reported)), folds),
        )
        went_on = False
        for step in steps:
            watch.show(step)
            went_on = True
    trained = time.monotonic()
    if folds and start.resumes and not went_on and (metrics := cross_validated(run)) is not None:
        say_complete(run, metrics, json=json)
        return
    measured = None
    if folds and not steps.stopped:
        with interrupts() as asked:
            measured = cross_validate(start, run, folds, device=device, asked=asked, minutes=budget)
    if steps.stopped:
        log.info("stopped after step %d of %d; everything is saved", step.step, step.steps)
        log.info("resume with: mobilenets train %s --out %s --resume", shlex.quote(data), shlex.quote(str(run)))
        raise typer.Exit(130)
    written = not main or finish(run, dataset, data, part=reported, json=json, measured=measured)
    if main and written:
        forget_folds(run)
    took, minutes = time.monotonic() - began, start.recipe.time_budget_minutes
    if main and minutes and took > LATE * 60 * minutes and not start.resumes:
        rest = duration(time.monotonic() - trained)
        note(f"note: this took {duration(took)}, and time_budget_minutes was {minutes:g}; {after} took {rest} of that")
    if not written:
        raise typer.Exit(1)


def _folds(start: Start, wanted: int | None, *, fixed: bool) -> int:
    """How many folds to cross-validate with; 0 for none.

    Args:
        start: of the run.
        wanted: how many the user asked for; None to let the size of the dataset decide.
        fixed: whether they are only made if asked for: the splits are the user's, or the first weights have seen the images.
    """
    from mobilenets.training.cross import FOLDS, why_small

    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    wanted = start.folds if wanted is None else wanted
    if wanted == 1:
        raise UsageError("--folds 1 leaves nothing to train on; at least 2 are needed")
    if wanted and several:
        raise UsageError("--folds runs in one process; leave out torchrun, or --folds")
    if wanted and start.recipe.quantize == "int8":
        raise UsageError(
            "--folds evaluates on images that no weights have seen, but quantize=int8 starts from weights that were trained "
            "on this dataset",
            hint="leave out --folds: the run is evaluated on its val and test splits",
        )
    if wanted is not None or start.recipe.quantize == "int8":
        return wanted or 0
    why = "" if several or fixed or not start.dataset.drawn else why_small(start.dataset)
    if not why:
        return 0
    note(
        f"{why}, too few to evaluate on: the final model trains on all images, and {FOLDS} more models, each trained without "
        f"some of them, estimate its accuracy (--folds 0: one training, evaluated on val and test)"
    )
    return FOLDS


def _speak(main: bool) -> None:
    """Send the package's log to stderr, one line each."""

    class Notes(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            note(record.getMessage() if record.levelno < logging.WARNING else f"warning: {record.getMessage()}")

    logger = logging.getLogger("mobilenets")
    logger.handlers = [Notes()]
    logger.setLevel(logging.INFO if main else logging.WARNING)
    logger.propagate = False


def _fresh(name: str) -> Iterator[Path]:
    """runs/NAME, and with a number behind, where nothing is yet."""
    stem = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in name).strip("-.") or "run"
    return unused(RUNS / stem)


def _begun(out: Path | None) -> bool:
    """Whether torchrun starts a run again because it lost a process (`--max_restarts`), and there is something to go on with.

    Raises:
        UsageError: the run has no name, so that another one would begin.
    """
    if os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0":
        return False
    if out is None:
        raise UsageError("torchrun restarted the processes, but does not know which run to resume", hint="--out RUN")
    return (out / "run.json").is_file()


def _latest() -> Path:
    """The run that was written to last."""
    runs = sorted(RUNS.glob("*/run.json"), key=lambda path: path.stat().st_mtime) if RUNS.is_dir() else []
    if not runs:
        raise UsageError(f"there is no run in '{RUNS}' to resume", hint="--out RUN says which")
    return runs[-1].parent
