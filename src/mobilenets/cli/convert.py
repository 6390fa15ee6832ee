"""`mobilenets convert`: weights of another library, or public ones, into a checkpoint."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mobilenets.cli import output

if TYPE_CHECKING:
    from mobilenets.model import Model


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
            help="A .tflite, .h5, .keras, .pth or .safetensors file, or a name from `mobilenets models --pretrained`.",
            metavar="WEIGHTS",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="The checkpoint folder; the file's name without ending if not given.", show_default=False),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="A file with one class name a line; ImageNet's names if not given.", show_default=False)
    ] = None,
    library: Annotated[
        Library | None, typer.Option("--from", help="Whose format it is; found out if not given.", show_default=False)
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            help="The network you expect; or timm's or the catalogue's name for the file, which gives its input contract.",
            metavar="NAME",
            show_default=False,
        ),
    ] = "",
    width: Annotated[float, typer.Option(help="The width you expect.", show_default=False)] = 0.0,
    json: Annotated[bool, typer.Option("--json", help="What was found, for programs.")] = False,
) -> None:
    """Read weights of torchvision, timm, Keras or TFLite and write a checkpoint that every command takes.

    Example: mobilenets convert mobilenet_v2_1.0_224_quant.tflite --labels imagenet_labels.txt
    """
    from mobilenets import checkpoint
    from mobilenets.weights import norms
    from mobilenets.weights.labels import read_labels
    from mobilenets.weights.load import ASSUMED, PLAIN, load

    names = read_labels(labels) if labels else ()
    found = load(source, library=None if library is None else library.value, model=model, width=width, labels=names)
    folder = out or Path(_stem(source))
    checkpoint.save(found, folder)
    folded = norms.folded(found)
    if json:
        output.show_json(_data(found, folder, folded))
        return
    output.show_table(("", source), _rows(found, folded), title=f"wrote {folder}")
    if ASSUMED in found.spec.weights:
        output.note(
            "the file says nothing of its input; --model NAME takes it from timm's or the catalogue's entry of that name"
        )
    if PLAIN in found.spec.weights:
        output.note(
            "the file may be of timm's variant with pooling in place of strides (aa, blur), which has the same tensors; "
            "it is taken for the plain network; --model NAME with timm's name says what it is"
        )
    if found.spec.classes:
        output.show(f"to predict: mobilenets export {folder} --to onnx, then mobilenets predict {folder} image.jpg")
    output.show(f"to train:   mobilenets train photos/ --weights {folder}")


def _stem(source: str) -> str:
    """A folder's name for a file or a catalogue entry: no folders, no ending."""
    name = source.rstrip("/").rpartition("/")[2]
    for ending in (".weights.h5", ".tflite", ".h5", ".hdf5", ".keras", ".pth", ".pt", ".safetensors"):
        name = name.removesuffix(ending)
    return name if not Path(name).is_file() else f"{name}.checkpoint"


def _rows(model: Model, folded: bool) -> list[tuple[str, str]]:
    spec = model.spec
    contract, labels = spec.input, spec.labels
    short = [label.partition(",")[0] for label in labels]  # ImageNet's have synonyms
    shown = ", ".join(short[:3]) + (f" ... {short[-1]}" if len(labels) > 3 else "")
    params = sum(parameter.numel() for parameter in model.parameters())
    mean, std = (", ".join(f"{value:g}" for value in values) for values in (contract.mean, contract.std))
    return [
        ("weights", spec.weights),
        ("network", f"{spec.backbone.name}, width {spec.backbone.width:g}, {params / 1e6:.2f} M parameters"),
        ("layers", f"{len(spec.backbone.rows)} blocks, padding {spec.backbone.padding}, norm eps {spec.backbone.norm_eps:g}"),
        ("batch norm", "folded; put back from images when trained" if folded else "as trained"),
        ("classes", f"{len(labels)}: {shown}" if labels else "none: the file has no classifier, train it on your images"),
        ("input", f"{contract.size} x {contract.size}, {contract.resize}, crop {contract.crop:.4g}, {contract.interpolation}"),
        ("pixels", f"(pixel / 255 - mean) / std, mean {mean}, std {std}"),
    ]


def _data(model: Model, folder: Path, folded: bool) -> dict[str, object]:
    from mobilenets.specs.codec import to_data

    spec = model.spec
    return {
        "checkpoint": str(folder),
        "network": spec.backbone.name,
        "width": spec.backbone.width,
        "size": spec.input.size,
        "params": sum(parameter.numel() for parameter in model.parameters()),
        "padding": spec.backbone.padding,
        "norm_eps": spec.backbone.norm_eps,
        "folded": folded,
        "input": to_data(spec.input),
        "labels": list(spec.labels),
        "weights": spec.weights,
    }
