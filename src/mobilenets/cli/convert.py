"""`mobilenets convert`: weights of another library, or public ones, into a checkpoint."""

from __future__ import annotations

import shlex
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from mobilenets.cli import output

if TYPE_CHECKING:
    from mobilenets.specs.model import Resize
    from mobilenets.specs.rows import Activation
    from mobilenets.weights.catalog import Library as LibraryName
    from mobilenets.weights.compare import Comparison
    from mobilenets.weights.load import Reading
    from mobilenets.weights.told import Pixels


class Library(StrEnum):
    """Whose format a file has."""

    torchvision = "torchvision"
    timm = "timm"
    keras = "keras"
    tflite = "tflite"


def command(
    source: Annotated[
        str,
        typer.Argument(
            help="A .tflite, .h5, .keras, .pth, .ckpt or .safetensors file, or a name from `mobilenets models --pretrained`.",
            metavar="WEIGHTS",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="The checkpoint folder; by default the file's name without its extension.", show_default=False),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(help="A file with one class name per line; by default ImageNet's names, or numbers.", show_default=False),
    ] = None,
    library: Annotated[
        Library | None,
        typer.Option("--from", help="The library that wrote the file; detected by default.", show_default=False),
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            help="The network you expect, or the file's name in timm or our catalog, which determines its input contract.",
            metavar="NAME",
            show_default=False,
        ),
    ] = "",
    width: Annotated[float, typer.Option(help="The width you expect.", show_default=False)] = 0.0,
    pixels: Annotated[
        str,
        typer.Option(
            help="Pixel range the network expects, if the file does not say: 0..255, 0..1, -1..1 or imagenet (its "
            "mean and std).",
            metavar="SCALE",
            show_default=False,
        ),
    ] = "",
    resize: Annotated[
        str,
        typer.Option(
            help="How images are resized: crop_then_stretch, shorter_side_then_crop, stretch or letterbox.",
            metavar="RULE",
            show_default=False,
        ),
    ] = "",
    crop: Annotated[float, typer.Option(help="Share of the image that the network sees, 0 to 1.", show_default=False)] = 0.0,
    size: Annotated[
        int | None, typer.Option(min=1, help="Side of the input in px, if the file does not say.", show_default=False)
    ] = None,
    hidden_activation: Annotated[
        str,
        typer.Option(
            help="Activation of a state dict's hidden layers: relu, relu6, hard_swish, gelu or linear.",
            metavar="NAME",
            show_default=False,
        ),
    ] = "",
    key: Annotated[
        str,
        typer.Option(help="The state dict to use if the file has several.", metavar="NAME", show_default=False),
    ] = "",
    images: Annotated[
        str,
        typer.Option(
            help="Labeled images, such as one folder per class, to choose between likely pixel ranges and resize rules.",
            metavar="DATA",
            show_default=False,
        ),
    ] = "",
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Convert weights from torchvision, timm, transformers, Keras or TFLite to a checkpoint that every command accepts.

    Example: mobilenets convert mobilenet_v2_1.0_224_quant.tflite --labels imagenet_labels.txt
    """
    from mobilenets import checkpoint
    from mobilenets.files import check_writable
    from mobilenets.weights.compare import compare
    from mobilenets.weights.labels import read_labels
    from mobilenets.weights.load import read
    from mobilenets.weights.told import Told

    folder = out or Path(_stem(source))
    check_writable(folder)
    names = read_labels(labels) if labels else ()
    told = Told(
        pixels=cast("Pixels", pixels),  # `Told` refuses what is none
        resize=cast("Resize", resize),
        crop=crop,
        size=size or 0,
        hidden_activation=cast("Activation", hidden_activation),
        key=key,
    )
    kind: LibraryName | None = None if library is None else library.value
    reading = read(source, library=kind, model=model, width=width, labels=names, told=told)
    comparison = compare(reading, images) if images else None
    if comparison is not None:
        reading = comparison.reading
    verified = _verified(reading)
    checkpoint.save(reading.model, folder)
    if json:
        output.show_json(_data(reading, folder, comparison))
        return
    output.show_table(("", source, "known from"), _rows(reading), title=f"wrote {folder}")
    if comparison is not None:
        _show_comparison(comparison, images)
    output.show(f"verified:   {verified}")
    for note in reading.notes:
        output.note(f"note: {note}")
    _warn(reading, compared=comparison is not None)
    if reading.model.spec.classes:
        output.show(f"to predict: mobilenets predict {shlex.quote(str(folder))} image.jpg")
        output.show(f"to export:  mobilenets export {shlex.quote(str(folder))} --to tflite")
    output.show(f"to train:   mobilenets train photos/ --weights {shlex.quote(str(folder))}")


def _verified(reading: Reading) -> str:
    """What was verified of a converted model, by running it once on a gray image.

    Raises:
        WeightsError: an output is NaN or infinite.
    """
    import torch

    from mobilenets.errors import WeightsError

    model = reading.model
    contract = model.spec.input
    with torch.inference_mode():
        outputs = model.named(model(torch.zeros(1, contract.channels, *contract.shape)))
    broken = [name for name, values in outputs.items() if not torch.isfinite(values).all()]
    if broken:
        raise WeightsError(
            f"the converted network returns NaN or infinite {', '.join(broken)} for a gray image",
            hint="its training diverged, or the file is damaged; take an earlier checkpoint",
        )
    count = len(model.state_dict())
    return f"all {count} tensors were used and are finite, none was left over, and the network runs at {contract.size} px"


def _warn(reading: Reading, *, compared: bool) -> None:
    """Print which parts of the input contract were guessed, and what to do about it."""
    spec = reading.model.spec
    options = {"pixels": "--pixels", "resize": "--resize", "crop": "--crop", "size": "--size"}
    guessed = [part for part in reading.guesses if part in options]
    if guessed:
        output.note(
            f"note: the file does not say its {_listed(guessed)}, so the usual values were assumed. "
            f"If they are wrong, give {_listed([options[part] for part in guessed])}"
        )
        if not compared and spec.task == "classify" and spec.labels and {"pixels", "resize"} & {*guessed}:
            output.note("note: --images DATA tries the likely values on labeled images and takes the best")
    if reading.written_by in ("timm", "torchvision") and "pixels" in guessed:
        output.note("note: --model NAME takes the input contract of timm's or the catalog's model of that name")


def _show_comparison(comparison: Comparison, images: str) -> None:
    rows = [
        (candidate.name, f"{candidate.accuracy:.1%}", f"{candidate.nll:.3f}", "taken" if candidate is comparison.best else "")
        for candidate in comparison.candidates
    ]
    title = f"tried on {comparison.images} images of {images}"
    output.show_table(("input contract", "accuracy", "NLL", ""), rows, title=title)


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _stem(source: str) -> str:
    """The name of the folder to write for a file or a catalog entry: without folders and ending."""
    name = source.rstrip("/").rpartition("/")[2]
    for ending in (".weights.h5", ".tflite", ".h5", ".hdf5", ".keras", ".pth", ".pt", ".ckpt", ".safetensors"):
        name = name.removesuffix(ending)
    return name if not Path(name).is_file() else f"{name}.checkpoint"


def _rows(reading: Reading) -> list[tuple[str, str, str]]:
    """The rows of the table: each part of the model, and how it is known."""
    from mobilenets.weights import norms

    model, known = reading.model, reading.known
    spec = model.spec
    contract, labels = spec.input, spec.labels
    short = [label.partition(",")[0] for label in labels]  # ImageNet's have synonyms
    shown = ", ".join(short[:3]) + (f" ... {short[-1]}" if len(labels) > 3 else "")
    params = sum(parameter.numel() for parameter in model.parameters())
    mean, std = (", ".join(f"{value:g}" for value in values) for values in (contract.mean, contract.std))
    folded = norms.folded(model)
    sides = " x ".join(str(side) for side in contract.shape)
    rows = [
        ("weights", spec.weights, f"{reading.written_by} file"),
        ("network", f"{spec.backbone.name}, width {spec.backbone.width:g}, {params / 1e6:.2f} M parameters", "read"),
        (
            "layers",
            f"{len(spec.backbone.rows)} blocks, padding {spec.backbone.padding}, norm eps {spec.backbone.norm_eps:g}",
            "read",
        ),
        ("batch norm", "folded; restored from your images before training" if folded else "as trained", "read"),
        ("head", _head(reading), "read"),
        (
            "classes",
            f"{len(labels)}: {shown}" if labels else "none: the file has no classifier; train one on your images",
            "read",
        ),
        ("labels", "as listed above" if labels else "none", reading.labels if labels else "read"),
        ("size", sides, known.get("size", "read")),
        ("resize", f"{contract.resize}, {contract.interpolation}", known.get("resize", "read")),
        ("crop", f"{contract.crop:.4g}", known.get("crop", "read")),
        ("pixels", f"(pixel / 255 - mean) / std, mean {mean}, std {std}", known.get("pixels", "read")),
    ]
    return rows if labels else [row for row in rows if row[0] != "labels"]


def _head(reading: Reading) -> str:
    spec = reading.model.spec
    if spec.task != "classify":
        return type(spec.head).__name__
    hidden = [f"hidden layer of {row.c_out} ({row.activation.replace('_', '-')})" for row in spec.backbone.tail]
    return ", ".join([*hidden, "1 linear layer"] if spec.labels else hidden) or "none"


def _data(reading: Reading, folder: Path, comparison: Comparison | None) -> dict[str, object]:
    from mobilenets.specs.codec import to_data
    from mobilenets.weights import norms

    model = reading.model
    spec = model.spec
    return {
        "checkpoint": str(folder),
        "library": reading.written_by,
        "network": spec.backbone.name,
        "width": spec.backbone.width,
        "size": spec.input.size,
        "params": sum(parameter.numel() for parameter in model.parameters()),
        "padding": spec.backbone.padding,
        "norm_eps": spec.backbone.norm_eps,
        "folded": norms.folded(model),
        "input": to_data(spec.input),
        "known": {**reading.known, "labels": reading.labels},
        "labels": list(spec.labels),
        "weights": spec.weights,
        "notes": list(reading.notes),
        "compared": [
            {
                "name": candidate.name,
                "accuracy": candidate.accuracy,
                "nll": candidate.nll,
                "taken": candidate is comparison.best,
            }
            for candidate in comparison.candidates
        ]
        if comparison
        else [],
    }
