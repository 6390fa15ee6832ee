"""`mobilenets export`: a checkpoint to a file for another runtime, compared with torch."""

from __future__ import annotations

import math
import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mobilenets.cli.comparing import asked_for
from mobilenets.cli.output import note, show, show_json, show_table
from mobilenets.data.text import counted
from mobilenets.errors import ExportError, UsageError
from mobilenets.files import check_writable
from mobilenets.table import unknown_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from mobilenets.cli.export_int8 import Asked
    from mobilenets.exporters.parity import Parity
    from mobilenets.exporters.table import Exporter
    from mobilenets.runtime.engines.base import FastPath


Record = dict[str, object]
"""What programs are told of an exported file."""

ENDS = ("float", "int8", "uint8")
"""What a quantized TFLite file can take and return."""


def command(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            metavar="RUN",
            help="A run folder, a checkpoint folder, the folder of an int8 model, or an exported .onnx or .tflite file.",
        ),
    ],
    to: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FORMAT",
            help="Export format; may be repeated: onnx (the default), openvino, tflite, executorch, coreml, native, "
            "web (a page that runs the model in the browser) or cpp (standalone C++); tflite-half, coreml-half "
            "and native-half use 16 bits.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The folder to write; RUN/export by default, or FILE without its extension.",
            show_default=False,
            metavar="FOLDER",
        ),
    ] = None,
    images: Annotated[
        str,
        typer.Option(
            help="Images to compare on: a file, folder or glob; by default the run's validation split, if available.",
            show_default=False,
            metavar="PATH",
        ),
    ] = "",
    data: Annotated[
        str,
        typer.Option(
            help="A labeled dataset; the accuracy of both networks is measured on its test split.",
            show_default=False,
            metavar="DATA",
        ),
    ] = "",
    most: Annotated[
        int | None,
        typer.Option(
            "--max-images",
            min=1,
            help="Maximum number of images; by default 32 for comparing and all for accuracy.",
            show_default=False,
            metavar="N",
        ),
    ] = None,
    tolerance: Annotated[
        float, typer.Option(min=0, help="Largest difference, relative to an output's largest value.", metavar="SHARE")
    ] = 1e-4,
    steps: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Quantized models: largest difference of an output, in steps of 256; 16 by default. The mean may be "
            "a quarter of it.",
            show_default=False,
            metavar="N",
        ),
    ] = None,
    weight_bits: Annotated[
        int,
        typer.Option(
            min=7,
            max=8,
            help="Quantized models: 7 is correct and fast in every runtime on x86 processors without VNNI.",
            metavar="N",
        ),
    ] = 8,
    ends: Annotated[
        str,
        typer.Option(
            help="Quantized models: type of a TFLite file's inputs and outputs, float, int8 or uint8.", metavar="KIND"
        ),
    ] = "float",
    batch: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1024,
            help="Fixed batch size of the file; by default any for onnx and openvino, else 1.",
            show_default=False,
            metavar="N",
        ),
    ] = None,
    nms: Annotated[bool, typer.Option("--nms", help="Decode inside the file: a detector that returns boxes.")] = False,
    argmax: Annotated[
        bool, typer.Option("--argmax", help="Decode inside the file: a segmenter that returns the class of each pixel.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Export a trained model and check it against torch.

    The exported file includes the labels and the preprocessing, so it predicts without torch:

        mobilenets export runs/photos --to onnx --to tflite --images photos/test

        mobilenets predict runs/photos/export/model.onnx image.jpg

    A detector's file returns scores and offsets at every anchor, which 'predict' decodes; with --nms it returns boxes.
    A segmenter's returns coarse logits, which 'predict' upsamples; with --argmax it returns the class of each input pixel.

    For an int8 model, give the folder that 'quantize' wrote or a run trained with quantize=int8. The export is compared with
    a reference that computes in integers:

        mobilenets export runs/photos/int8 --to tflite

    A file without its run, such as one trained in the browser, is compared with its own export:

        mobilenets export taught.onnx --to tflite
    """
    if nms and argmax:
        raise UsageError("--nms is for detectors and --argmax for segmenters; give only one of them")
    if ends not in ENDS:
        raise UsageError(f"unknown --ends '{ends}'; known: {', '.join(ENDS)}")
    from mobilenets.cli.export_int8 import Asked

    kinds = [_kind(format_, "nms" if nms else "argmax" if argmax else "") for format_ in dict.fromkeys(to or ["onnx"])]
    if out is not None:
        check_writable(out)
    records: list[Record] = []
    try:
        for kind in kinds:
            choice = Asked(kind, images, data, most, tolerance, batch=batch, ends=ends, steps=steps, weight_bits=weight_bits)
            records.append(_exported(checkpoint, out, choice, quiet=json))
    except ExportError as error:
        if json and error.comparison is not None:
            records.append({"file": None, "size_bytes": 0, "passed": False, "parity": error.comparison})
        raise
    finally:
        if json and records:
            show_json(records if len(kinds) > 1 else records[0])


def _kind(to: str, tail: str) -> str:
    """The key of `EXPORTERS` for a format, with what is decoded inside the file.

    Raises:
        UsageError: there is none.
    """
    from mobilenets.exporters.table import EXPORTERS

    if to not in EXPORTERS:  # named before the model is loaded
        raise unknown_name("format", to, {name: kind for name, kind in EXPORTERS.items() if kind.tail is None})
    if not tail:
        return to
    if f"{to}-{tail}" not in EXPORTERS:
        having = [name.removesuffix(f"-{tail}") for name, kind in EXPORTERS.items() if kind.tail == tail]
        raise UsageError(f"--{tail} does not apply to the format {to}", hint=f"leave it out, or export to {', '.join(having)}")
    return f"{to}-{tail}"


def _exported(checkpoint: Path, out: Path | None, asked: Asked, *, quiet: bool) -> Record:
    """Export to one format, and say so unless that is for programs; returns what it is for those."""
    from mobilenets import checkpoint as checkpoints
    from mobilenets.cli.export_int8 import export_file, export_int8, export_trained
    from mobilenets.deploy.read import read
    from mobilenets.exporters import again
    from mobilenets.exporters.quantized import quantized_in
    from mobilenets.exporters.table import EXPORTERS, export
    from mobilenets.qat.model import QuantizedModel
    from mobilenets.runtime.engines.open import checkpoint_in

    finish = partial(_finish, exporter=EXPORTERS[asked.to], quiet=quiet)
    quantized = quantized_in(checkpoint)
    if quantized is not None:
        folder = out or quantized.parent / "export"
        return finish(lambda: export_int8(quantized, folder, asked), folder)
    if again.readable(checkpoint) and checkpoints.exported_from(checkpoint) is None:
        folder, graph = out or checkpoint.with_suffix(""), read(checkpoint)
        if graph.quantization:
            return finish(lambda: export_file(graph, checkpoint, folder, asked), folder)
        _refuse_int8_options(checkpoint, asked)
        chosen, labeled = asked_for(asked.images, asked.data, asked.most, graph.manifest, run=None)
        return finish(
            lambda: again.export_again(
                checkpoint, folder, to=asked.to, images=chosen, tolerance=asked.tolerance, labeled=labeled, batch=asked.batch
            ),
            folder,
            standard="the file",
        )
    checkpoint_folder = checkpoint_in(checkpoint) or checkpoints.find(checkpoint)
    model = checkpoints.load(checkpoint_folder)
    folder = out or _export_folder(checkpoint_folder)
    if isinstance(model, QuantizedModel):
        return finish(lambda: export_trained(model, checkpoint_folder.parent, folder, asked), folder)
    _refuse_int8_options(checkpoint, asked)
    chosen, labeled = asked_for(asked.images, asked.data, asked.most, model.spec, run=checkpoint_folder.parent)
    return finish(
        lambda: export(
            model, folder, to=asked.to, images=chosen, tolerance=asked.tolerance, labeled=labeled, batch=asked.batch
        ),
        folder,
    )


def _refuse_int8_options(checkpoint: Path, asked: Asked) -> None:
    if asked.steps is not None or asked.ends != "float" or asked.weight_bits != 8:
        raise UsageError(
            f"--steps, --weight-bits and --ends are for quantized models, but '{checkpoint}' is not one",
            hint="mobilenets quantize RUN writes one",
        )


def _finish(
    exported: Callable[[], Parity], folder: Path, exporter: Exporter, *, quiet: bool, standard: str = "torch"
) -> Record:
    """Export, and say what was compared and written.

    Args:
        exported: exports.
        folder: what it writes to.
        exporter: the format.
        quiet: whether nothing is said.
        standard: what a float file is compared with.

    Returns:
        The same for programs.

    Raises:
        ExportError: the file does not match.
        OSError: the folder cannot be written.
    """
    from mobilenets.exporters.drafts import size_bytes as size_of

    check_writable(folder)
    file = folder / exporter.file
    parity = exported()
    size_bytes = size_of(file)
    if not quiet:
        show_parity(parity, standard)
        show(f"{file}  {size_bytes / 1e6:.1f} MB")
        note(f"next: {exporter.after.format(shlex.quote(str(file)))}")
    return {"file": str(file), "size_bytes": size_bytes, "passed": parity.passed, "parity": parity.to_data()}


def show_parity(parity: Parity, standard: str) -> None:
    """Print the comparison of an exported network with `standard`, what it was compared with in words."""
    from mobilenets.reports import words

    rows = [
        (
            output.name,
            f"{output.max_abs:.2e}",
            f"{output.max_rel:.2e}" if output.steps is None else f"{output.steps:.0f} steps, mean {output.mean_steps:.2f}",
            f"{parity.limit:.0e}" if output.steps is None else f"{parity.steps:g} steps",
            f"{output.cosine:.6f}" if output.name != "detections" else "",
            "ok" if parity.close(output) else "FAILED",
        )
        for output in parity.outputs
    ]
    rows += [
        (
            same.name,
            same.told,
            f"{same.share:.2e}" if same.total else "",
            f"{same.tolerance:.0e}",
            "",
            ("ok" if same.passed else "FAILED") if same.total else "not compared",
        )
        for same in parity.agreements
    ]
    made_up = sum(parity.batches) - parity.images
    batches = ", ".join(str(n) for n in sorted(set(parity.batches)))
    if rows:
        show_table(
            ("output", "largest difference", "relative", "tolerance", "cosine", ""),
            rows,
            title=f"{'the integer reference' if parity.steps else standard} and {parity.runtime}",
            caption=f"{parity.images} images and {made_up} synthetic ones, in batches of {batches}",
        )
    for accuracy in parity.accuracies:
        before = "in floats" if accuracy.floats else f"with {'the integer reference' if parity.steps else standard}"
        if math.isnan(accuracy.model) or math.isnan(accuracy.exported):
            show(f"{accuracy.metric}  not measured: {counted(accuracy.images, 'labeled image')} with nothing to find")
            continue
        change = f"{words.difference(100 * (accuracy.exported - accuracy.model), 2)} points"
        values = f"{accuracy.model:.1%} {before}, {accuracy.exported:.1%} exported ({change})"
        show(f"{accuracy.metric}  {values}, on {counted(accuracy.images, 'labeled image')}")
    if parity.fast_path is not None:
        show(_fast(parity.fast_path))
    if parity.memory is not None:
        flash, memory = parity.memory.constant_bytes, parity.memory.arena_bytes
        show(f"flash   {flash:,} bytes of weights and tables, and some tens of kB of code")
        show(f"memory  {memory:,} bytes for all values of a run, what operators need besides, and 2 to 3 kB of stack")
    if parity.note:
        note(f"note: {parity.note}")


def _fast(path: FastPath) -> str:
    pieces = f", in {path.pieces} piece{'s' if path.pieces != 1 else ''}" if path.pieces is not None else ""
    others = ", ".join(f"{count} {kind}" for kind, count in sorted(path.slow.items(), key=lambda item: -item[1]))
    rest = f"; the others are {others}" if others else ""
    return f"{path.name} runs {path.fast} of {path.total} operators ({path.share:.0%}){pieces}{rest}"


def _export_folder(checkpoint: Path) -> Path:
    """Beside a run's checkpoints, inside a checkpoint that stands alone: where `predict` looks for it."""
    run = checkpoint.parent
    return run / "export" if (run / "run.json").is_file() or checkpoint.name in ("best", "last") else checkpoint / "export"
