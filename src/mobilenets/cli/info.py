"""`mobilenets info`: a network's table, parameters, MACs and memory."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mobilenets.cli import info_file, output
from mobilenets.errors import UsageError

if TYPE_CHECKING:
    from mobilenets.analysis.layers import LayerGraph
    from mobilenets.analysis.memory import MemoryPlan, Precision
    from mobilenets.analysis.paper_table import PaperTable
    from mobilenets.specs.model import ModelSpec

LAYER_COLUMNS = ("#", "Layer", "Operator", "Output", "Params", "MACs", "Share", "Bytes", "Live")

_MOST_CLASSES = 1_000_000  # the largest public dataset of labels has 22,000


def command(
    network: Annotated[
        str, typer.Argument(help="A network's name, a checkpoint or run folder, or an exported file.", metavar="NETWORK")
    ],
    width: Annotated[float | None, typer.Option(help="Width multiplier; the default is 1.", show_default=False)] = None,
    size: Annotated[
        str,
        typer.Option(help="Input size in px: 192, or 512x1024 (height x width); default: the paper's.", show_default=False),
    ] = "",
    classes: Annotated[int | None, typer.Option(help="Number of classes; the default is 1000.", show_default=False)] = None,
    channels: Annotated[int | None, typer.Option(help="Input channels; the default is 3.", show_default=False)] = None,
    padding: Annotated[str, typer.Option(help="tf, symmetric or end; the default is tf.", show_default=False)] = "",
    output_stride: Annotated[
        int | None,
        typer.Option(help="Input px per px of the last feature map: 8, 16 or 32 (default).", show_default=False),
    ] = None,
    precision: Annotated[
        str, typer.Option(help="fp32, fp16 or int8; the default is fp32, or int8 for a run trained with quantize=int8.")
    ] = "",
    layers: Annotated[bool, typer.Option("--layers", help="Print one row per layer instead of the paper's table.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print the table alone, as CSV.")] = False,
) -> None:
    """Print a network's table as in its paper, with parameters, MACs, memory and receptive field.

    For an exported file, print its operators, their cost, and the memory it needs.

    Example: mobilenets info mobilenet_v2 --width 0.75 --size 192 --layers --precision int8
    """
    if json and csv:
        raise UsageError("--json and --csv cannot be combined")
    if info_file.is_exported(Path(network)):
        changed = {"width": width, "size": size, "classes": classes, "channels": channels, "padding": padding}
        changed |= {"output-stride": output_stride, "precision": precision}
        given = [f"--{name}" for name, value in changed.items() if value not in (None, "")]
        if given:
            raise UsageError(f"{', '.join(given)}: an exported file cannot be changed")
        info_file.show(Path(network), json=json, csv=csv)
        return
    number_format = _precision(precision) if precision else None
    shape = _size(size) if size else None
    options = {"width": width, "classes": classes, "channels": channels, "padding": padding, "output-stride": output_stride}
    if _is_checkpoint(network):
        given = [f"--{name}" for name, value in options.items() if value not in (None, "")]
        if given:
            raise UsageError(
                f"{', '.join(given)}: a checkpoint already defines this", hint="--size and --precision work with both"
            )
        known = _of_checkpoint(Path(network), shape, number_format)
    else:
        spec = _classifier(network, width, classes, channels, padding, output_stride)
        known = _of_spec(spec, shape or spec.input.shape, number_format or "fp32")
    _show(known, layers=layers, json=json, csv=csv)


@dataclass(frozen=True, slots=True)
class _Network:
    """What there is to print about.

    Args:
        spec: what it is.
        graph: its layers, with the shapes of their values.
        precision: of weights and values.
        weights_bytes: size of its weights.
        row_by_row_bytes: memory of a run whose blocks are computed row by row.
    """

    spec: ModelSpec
    graph: LayerGraph
    precision: Precision
    weights_bytes: int
    row_by_row_bytes: int


def _show(network: _Network, *, layers: bool, json: bool, csv: bool) -> None:
    from mobilenets.analysis.memory import plan
    from mobilenets.analysis.paper_table import paper_table

    spec, graph = network.spec, network.graph
    height, across = graph.shapes[0][2:]
    memory = plan(graph, network.precision)
    table = paper_table(spec.backbone, spec.classes, height, across)
    if json:
        output.show_json(_data(network, memory, table))
        return
    columns, rows = (LAYER_COLUMNS, _layer_rows(graph, memory)) if layers else (table.columns, table.lines)
    if csv:
        output.show_csv(columns, rows)
        return
    output.show_table(columns, [[_readable(cell) for cell in row] for row in rows], title=_title(spec, height, across))
    for line in _summary(network, memory):
        output.show(line)


def _is_checkpoint(network: str) -> bool:
    from mobilenets.specs.families import BACKBONES

    return network not in BACKBONES and (Path(network).exists() or os.sep in network)


def _of_checkpoint(path: Path, shape: tuple[int, int] | None, asked: Precision | None) -> _Network:
    """A checkpoint at an input size and in a precision, by default its own."""
    from mobilenets import checkpoint
    from mobilenets.analysis.memory import BYTES
    from mobilenets.analysis.sketch import row_by_row_bytes, sized
    from mobilenets.analysis.trace import trace
    from mobilenets.deploy.arena import fused_plan
    from mobilenets.exporters.lower import lower
    from mobilenets.model import with_spec

    model = checkpoint.load(path)
    integers, floats = model.int8_graph(), model.floats()
    precision: Precision = asked or ("fp32" if integers is None else "int8")
    spec = floats.spec if shape is None else sized(floats.spec, *shape)
    graph = trace(floats, (1, spec.backbone.in_channels, *spec.input.shape))
    weights_bytes = graph.params * BYTES[precision]
    if integers is not None and precision == "int8":
        weights_bytes = integers.weights_bytes
        if shape is None:
            return _Network(spec, graph, precision, weights_bytes, fused_plan(integers).size_bytes)
    lowered = lower(floats if shape is None else with_spec(floats, spec))
    return _Network(spec, graph, precision, weights_bytes, row_by_row_bytes(lowered, precision))


def _of_spec(spec: ModelSpec, shape: tuple[int, int], precision: Precision) -> _Network:
    """A classifier that is only specified, without importing torch."""
    from mobilenets.analysis.memory import BYTES
    from mobilenets.analysis.outline import outline
    from mobilenets.analysis.sketch import row_by_row_bytes, sketch

    graph = outline(spec.backbone, spec.classes, *shape)
    memory = row_by_row_bytes(sketch(spec, graph), precision)
    return _Network(spec, graph, precision, graph.params * BYTES[precision], memory)


def _classifier(
    name: str, width: float | None, classes: int | None, channels: int | None, padding: str, output_stride: int | None
) -> ModelSpec:
    """The spec of a classifier to order."""
    from mobilenets.specs.families import backbone
    from mobilenets.specs.model import InputContract, ModelSpec

    if classes is not None and not 1 <= classes <= _MOST_CLASSES:
        raise UsageError(f"{classes:,} classes; the number must be from 1 to {_MOST_CLASSES:,}")
    body = backbone(
        name,
        width=1.0 if width is None else width,
        in_channels=3 if channels is None else channels,
        padding=padding or "tf",  # type: ignore[arg-type]  # checked there
        output_stride=32 if output_stride is None else output_stride,
    )
    labels = tuple(str(i) for i in range(1000 if classes is None else classes))
    return ModelSpec(body, labels, InputContract(size=body.size, channels=body.in_channels, mean=(0.5,), std=(0.5,)))


def _precision(text: str) -> Precision:
    from mobilenets.analysis.memory import BYTES

    for known in BYTES:
        if known == text:
            return known
    raise UsageError(f"precision '{text}' is not one of {', '.join(BYTES)}")


def _size(text: str) -> tuple[int, int]:
    """Height and width in "192" or "512x1024"."""
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isascii() and side.isdigit() and int(side) > 0 for side in sides):
        raise UsageError(f"size '{text}' is neither a number of px nor height x width", hint="--size 192 or --size 512x1024")
    return int(sides[0]), int(sides[-1])


def _layer_rows(graph: LayerGraph, memory: MemoryPlan) -> list[tuple[object, ...]]:
    from mobilenets.analysis.memory import activation_bytes

    macs = max(graph.macs, 1)
    return [
        (
            i,
            layer.name,
            layer.operator,
            "x".join(map(str, graph.shapes[layer.output][1:])),
            layer.params,
            layer.macs,
            f"{layer.macs / macs:.1%}",
            activation_bytes(graph, layer, memory.precision),
            live,
        )
        for i, (layer, live) in enumerate(zip(graph.layers, memory.live_bytes, strict=True))
    ]


def _title(spec: ModelSpec, height: int, across: int) -> str:
    body = spec.backbone
    width = f", width {body.width:g}" if body.width != 1 else ""
    stride = f", output stride {body.output_stride}" if body.output_stride != 32 else ""
    classes = f"{spec.classes:,} class{'es' if spec.classes != 1 else ''}"
    return f"{body.name}{width}{stride}, input {height}x{across}x{body.in_channels}, {classes}"


def _summary(network: _Network, memory: MemoryPlan) -> list[str]:
    from mobilenets.analysis.layers import COUNTING_RULE
    from mobilenets.analysis.memory import bottleneck_plan
    from mobilenets.analysis.receptive_field import receptive_field

    graph = network.graph
    place = graph.layers[memory.peak]
    narrow = bottleneck_plan(graph, memory.precision)
    field = receptive_field(graph)
    return [
        f"parameters       {graph.params:,} ({graph.params / 1e6:.2f} M)",
        f"MACs             {graph.macs:,} ({graph.macs / 1e6:.1f} M)",
        f"weights          {_bytes(network.weights_bytes)} in {network.precision}",
        f"peak memory      {_bytes(memory.peak_bytes)} of activations, at {place.name} ({place.operator})",
        f"between blocks   {_bytes(narrow.peak_bytes)}, when blocks are computed piece by piece (V2, section 5.1)",
        f"row by row       {_bytes(network.row_by_row_bytes)}, when a piece is a row, including the rows that a block keeps",
        f"receptive field  {field.size} px by its convolutions, stride {field.stride}",
        "",
        COUNTING_RULE,
    ]


def _data(network: _Network, memory: MemoryPlan, table: PaperTable) -> dict[str, Any]:  # Any: JSON
    from mobilenets.analysis.layers import COUNTING_RULE
    from mobilenets.analysis.memory import bottleneck_plan
    from mobilenets.analysis.receptive_field import receptive_field

    spec, graph = network.spec, network.graph
    body = spec.backbone
    field = receptive_field(graph)
    columns = ("index", "name", "operator", "output", "params", "macs", "share", "output_bytes", "live_bytes")
    layers = [dict(zip(columns, row, strict=True)) for row in _layer_rows(graph, memory)]
    for row, layer in zip(layers, graph.layers, strict=True):
        row["output"], row["share"] = list(graph.shapes[layer.output][1:]), layer.macs / max(graph.macs, 1)
    return {
        "network": body.name,
        "width": body.width,
        "input": list(graph.shapes[0][1:]),
        "classes": spec.classes,
        "padding": body.padding,
        "output_stride": body.output_stride,
        "params": graph.params,
        "macs": graph.macs,
        "precision": network.precision,
        "weights_bytes": network.weights_bytes,
        "peak_bytes": memory.peak_bytes,
        "peak_layer": graph.layers[memory.peak].name,
        "peak_bytes_between_blocks": bottleneck_plan(graph, memory.precision).peak_bytes,
        "peak_bytes_row_by_row": network.row_by_row_bytes,
        "receptive_field": {"size": field.size, "stride": field.stride},
        "counting_rule": COUNTING_RULE,
        "table": [dict(zip(table.columns, line, strict=True)) for line in table.lines],
        "layers": layers,
    }


def _readable(cell: object) -> str:
    return f"{cell:,}" if isinstance(cell, int) else str(cell)


def _bytes(n: int) -> str:
    return f"{n / 1e6:.2f} MB" if n >= 1e6 else f"{n / 1e3:.1f} kB"
