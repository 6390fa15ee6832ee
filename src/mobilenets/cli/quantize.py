"""`mobilenets quantize`: a float model to an int8 model that loses no more than it may."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mobilenets.cli.output import note, progress, show, show_json, show_table
from mobilenets.cli.reading import ClassesOption, IgnoreOption, Reading
from mobilenets.cli.resuming import the_only
from mobilenets.data.text import counted
from mobilenets.errors import ExportError, MissingExtraError, MobileNetsError, UsageError

if TYPE_CHECKING:
    from mobilenets.deploy.graph import Graph
    from mobilenets.deploy.quantize.weights import Grid
    from mobilenets.int8.flow import Quantized

LAYERS = 5
"""The most sensitive layers, which are printed."""


def command(
    context: typer.Context,
    model: Annotated[
        Path,
        typer.Argument(metavar="MODEL", help="A run or checkpoint folder, or a float .onnx, .tflite or .graph file."),
    ],
    images: Annotated[
        str,
        typer.Option(
            help="Calibration images, a folder or a dataset; by default the run's train split.",
            show_default=False,
            metavar="DIR|DATA",
        ),
    ] = "",
    data: Annotated[
        str,
        typer.Option(
            help="Labeled images to measure the int8 model on; by default the run's validation split.",
            show_default=False,
            metavar="DATA",
        ),
    ] = "",
    max_drop: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Maximum drop in points of accuracy, mAP50 or mean IoU; 0.5 by default. Without labels, the "
            "percentage of answers that may change; 3 by default.",
            show_default=False,
            metavar="POINTS",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The folder to write; RUN/int8 by default.", show_default=False, metavar="FOLDER")
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Number of calibration images; by default 128, or as many as fit into 2 GB.",
            show_default=False,
            metavar="N",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed for drawing the images.")] = 0,
    weight_bits: Annotated[
        int,
        typer.Option(
            min=4,
            max=8,
            help="8, or 4 as an experiment that shows only the accuracy: file size and speed stay those of 8 bits.",
            metavar="8|4",
        ),
    ] = 8,
    weight_block: Annotated[
        int, typer.Option(min=0, help="With 4 bits: how many weights share a scale; 0 for a whole channel.", metavar="N")
    ] = 0,
    classes: ClassesOption = "",
    ignore: IgnoreOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Quantize a model to int8 with some calibration images, and measure the accuracy it loses.

        mobilenets quantize runs/photos

        mobilenets predict runs/photos/int8 image.jpg

    If the loss exceeds --max-drop, the noisiest layers stay in float; if that is not enough, only the report is written and the
    exit code is 1. Use the folder with any command: predict, evaluate, benchmark, export.
    """
    import tempfile

    from mobilenets.cli.quantize_images import material
    from mobilenets.int8.flow import quantized
    from mobilenets.int8.folder import about, check_free, is_quantized, write
    from mobilenets.int8.images import affordable
    from mobilenets.int8.truth import CHANGED, POINTS
    from mobilenets.reports.ancestry import home_of
    from mobilenets.telling import Telling

    weights = _grid(weight_bits, weight_block)
    home = home_of(model)
    folder = out or _folder(model, home)
    check_free(folder)
    context.with_resource(the_only([folder], "quantizes"))
    graph = float_graph(model)
    reading = Reading.of(graph.manifest.task, classes, ignore)
    most = affordable(graph)
    chosen = material(
        graph.manifest, home, images=images, data=data, reading=reading, count=count or most, seed=seed, model=model
    )
    limit = max_drop if max_drop is not None else POINTS if chosen.truth.labels else CHANGED
    note(f"calibrating on {counted(min(chosen.count, len(chosen.pictures)), 'image')} of {chosen.told}")
    with tempfile.TemporaryDirectory(prefix="mobilenets-int8-") as scratch:
        done = quantized(
            graph,
            chosen.pictures,
            chosen.truth,
            count=chosen.count,
            limit=limit,
            folder=Path(scratch),
            weights=weights,
            cautions=chosen.cautions,
            telling=Telling(progress, note),
        )
        known = about(done, source=str(model), seed=seed)
        run = home if (home / "run.json").is_file() else None
        if not known.passed and is_quantized(folder):
            note(f"the int8 model in '{folder}' is unchanged")
            folder = folder.with_name(f"{folder.name}-failed")
            check_free(folder)
        following = f"mobilenets predict {shlex.quote(str(folder))} IMAGE"
        if not known.passed:
            following = f"mobilenets quantize {shlex.quote(str(model))} --count {2 * known.images}"
        name = home.name if run is not None else model.stem
        missing = write(done, folder, known=known, run=run, title=f"{name} in int8", next_command=following)
    if json:
        _show_json(done, folder)
    else:
        _show(done)
    for text in missing:
        note(text)
    if not missing:
        note(f"report: {folder / 'quantization' / 'report.html'}")
    if not known.passed:
        _fail(done)
    note(f"int8 model: {folder}")
    note(f"next: {following}")


def float_graph(model: Path) -> Graph:
    """The float graph of a run, a checkpoint, an export folder, or an exported file.

    Only a checkpoint needs torch; where that is not installed, the checkpoint's export is read.

    Raises:
        CheckpointError, GraphError: there is none, or it is damaged or quantized already.
        MissingExtraError: a library that reads it is not installed.
    """
    from mobilenets.deploy.read import READERS, read_floats
    from mobilenets.int8.folder import is_quantized
    from mobilenets.runtime.engines.open import checkpoint_in, exported

    if model.is_dir() and is_quantized(model):
        raise UsageError(f"'{model}' is quantized already", hint="give the run or the model that it was made from")
    if model.suffix.lower() in READERS or model.is_file():
        return read_floats(model)
    checkpoint = checkpoint_in(model)
    if checkpoint is not None:
        try:
            from mobilenets import checkpoint as checkpoints
            from mobilenets.exporters.lower import lower
        except ImportError as error:
            try:
                return read_floats(exported(model))
            except MobileNetsError:  # there is no export, or it cannot be read: what is missing is torch
                raise MissingExtraError(error.name or "torch", "train") from error
        graph = lower(checkpoints.load(checkpoint))
        if graph.quantization:
            raise UsageError(
                f"'{model}' was trained with quantize=int8 and is an int8 model already",
                hint=f"mobilenets export {shlex.quote(str(model))} --to tflite",
            )
        return graph
    return read_floats(exported(model))


def _grid(bits: int, block: int) -> Grid:
    from mobilenets.deploy.quantize.weights import Grid

    if bits == 8:
        if block:
            raise UsageError(
                f"--weight-block {block} needs --weight-bits 4", hint="8-bit weights have a scale for each channel"
            )
        return Grid()
    if bits == 4:
        return Grid(bits=4, block=block)
    raise UsageError(f"--weight-bits {bits} is neither 8 nor 4", hint="for 7 bits: mobilenets export --weight-bits 7")


def _folder(model: Path, home: Path) -> Path:
    """In the run or the checkpoint folder; beside a file that stands alone."""
    if (home / "run.json").is_file() or model.is_dir():
        return home / "int8"
    return model.with_name(f"{model.stem}-int8")


def _show(done: Quantized) -> None:
    from mobilenets.int8.gate import told
    from mobilenets.int8.report import metrics
    from mobilenets.int8.slower import why_slower
    from mobilenets.reports import words

    show_table(("", "int8", ""), [(metric.title, words.value(metric), metric.note) for metric in metrics(done)])
    layers = sorted(done.gated.sensitivities, key=lambda layer: -layer.share)[:LAYERS]
    kept = done.gated.last.float_layers
    rows = [
        (layer.layer, f"{layer.share:.1%}", f"{layer.decibels:.1f}", "float" if layer.layer in kept else "int8")
        for layer in layers
        if layer.share
    ]
    show_table(("most sensitive layers", "share of the noise", "dB alone", "computes in"), rows)
    if kept:
        cost = ""
        if done.latency.whole is not None:
            cost = f": {done.latency.int8:.2f} ms for an image, {done.latency.whole:.2f} ms without them"
        show(f"{counted(len(kept), 'layer')} stayed in float{cost}")
    if slower := why_slower(done):
        note(f"note: {slower}")
    for text in done.doubts.warnings:
        note(f"warning: {text}")
    for title, reason in done.gated.last.running.refused:
        note(f"note: not measured with {title}: {reason}")
    show(f"{told(done.gated.last.drop)}; the limit is {done.gated.limit:g}")


def _show_json(done: Quantized, folder: Path) -> None:
    from mobilenets.int8.report import data

    show_json({"folder": str(folder), **data(done)})


def _fail(done: Quantized) -> None:
    from mobilenets.int8.gate import told

    last = done.gated.last
    raise ExportError(
        f"{told(last.drop)} even with {counted(len(last.float_layers), 'layer')} in float; the limit is {done.gated.limit:g}, "
        "so no model was written",
        hint="calibrate on more images (--count, --images), or raise --max-drop; the report shows where the noise comes from",
    )
