"""`mobilenets export`: a checkpoint to a file for another runtime, compared with torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mobilenets.cli.output import note, show, show_json, show_table
from mobilenets.errors import DataError, ImageError, UsageError

if TYPE_CHECKING:
    from mobilenets.exporters.parity import Parity


def command(
    checkpoint: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, or a checkpoint folder.")],
    to: Annotated[
        str,
        typer.Option(
            metavar="FORMAT",
            help="What to export to: onnx, openvino, tflite, executorch or coreml; -half or -nms or -argmax after it.",
        ),
    ] = "onnx",
    out: Annotated[
        Path | None, typer.Option(help="The folder to write; RUN/export by default.", show_default=False, metavar="FOLDER")
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            help="Images to compare on, besides random input: a file or a folder.", show_default=False, metavar="PATH"
        ),
    ] = None,
    most: Annotated[int, typer.Option("--max-images", min=1, help="How many of them to take.", metavar="N")] = 32,
    tolerance: Annotated[
        float, typer.Option(min=0, help="Largest difference, relative to an output's largest value.", metavar="SHARE")
    ] = 1e-4,
    nms: Annotated[
        bool, typer.Option("--nms", help="Short for --to onnx-nms: a detector that returns boxes, in detector.onnx.")
    ] = False,
    argmax: Annotated[
        bool,
        typer.Option("--argmax", help="Short for --to onnx-argmax: a segmenter that returns classes, in segmenter.onnx."),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Export a trained model and check it against torch.

    The exported file holds the labels and the preprocessing, so it predicts without torch:

        mobilenets export runs/photos --to onnx --images photos/test

        mobilenets predict runs/photos/export/model.onnx image.jpg

    A detector's file returns scores and offsets at every anchor, which 'predict' decodes; with onnx-nms it returns boxes.
    A segmenter's returns coarse logits, which 'predict' enlarges; with onnx-argmax it returns the class of each input pixel.
    """
    if nms and argmax:
        raise UsageError("--nms is for detectors and --argmax for segmenters: a model takes one of them")
    from mobilenets import checkpoint as checkpoints
    from mobilenets.exporters.drafts import size_bytes as size_of
    from mobilenets.exporters.table import EXPORTERS, export
    from mobilenets.runtime.engines.open import checkpoint_in

    to = f"{to}-nms" if nms else f"{to}-argmax" if argmax else to
    file = EXPORTERS[to].file  # an unknown format is named before the model is loaded
    checkpoint_folder = checkpoint_in(checkpoint) or checkpoints.find(checkpoint)
    model = checkpoints.load(checkpoint_folder)
    readable = _readable(images, most) if images else []
    folder = out or _export_folder(checkpoint_folder)
    parity = export(model, folder, to=to, images=readable, tolerance=tolerance)
    size_bytes = size_of(folder / file)
    if json:
        show_json({"file": str(folder / file), "size_bytes": size_bytes, "passed": parity.passed, "parity": parity.to_data()})
        return
    _show(parity)
    show(f"{folder / file}  {size_bytes / 1e6:.1f} MB")
    note(f"next: mobilenets predict {folder / file} IMAGE")


def _show(parity: Parity) -> None:
    said = "ok" if parity.passed else "FAILED"
    rows = [
        (output.name, f"{output.max_abs:.2e}", f"{output.max_rel:.2e}", f"{parity.tolerance:.0e}", said)
        for output in parity.outputs
    ]
    rows += [
        (same.name, f"{same.differing:,} of {same.total:,} {same.unit}", f"{same.share:.2e}", f"{same.tolerance:.0e}", said)
        for same in parity.agreements
    ]
    random = sum(parity.batches) - parity.images
    batches = ", ".join(str(n) for n in sorted(set(parity.batches)))
    show_table(
        ("output", "largest difference", "relative", "tolerance", ""),
        rows,
        title=f"torch and {parity.runtime}",
        caption=f"{parity.images} images and {random} random inputs, in batches of {batches}",
    )


def _export_folder(checkpoint: Path) -> Path:
    """Beside a run's checkpoints, inside a checkpoint that stands alone: where `predict` looks for it."""
    run = checkpoint.parent
    return run / "export" if (run / "run.json").is_file() or checkpoint.name in ("best", "last") else checkpoint / "export"


def _readable(images: Path, most: int) -> list[bytes | Path]:
    from mobilenets.data.walk import SUFFIXES
    from mobilenets.runtime.images.decode import decode_image

    if not images.exists():
        raise DataError(f"there is no file or folder '{images}'")
    files = sorted(path for path in images.rglob("*") if path.suffix.lower() in SUFFIXES) if images.is_dir() else [images]
    readable: list[bytes | Path] = []
    for file in files:
        if len(readable) == most:
            break
        try:
            decode_image(file)
        except (ImageError, OSError) as error:
            note(f"skipped {file}: {error}")
        else:
            readable.append(file)
    if not readable:
        raise DataError(f"'{images}' has no image that can be read")
    return readable
