"""`mobilenets info`: a network's table, parameters, MACs and memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mobilenets.cli import output
from mobilenets.errors import UsageError

if TYPE_CHECKING:
    from mobilenets.analysis.graph import Graph
    from mobilenets.analysis.memory import MemoryPlan, Precision
    from mobilenets.analysis.paper_table import PaperTable
    from mobilenets.model import Model

LAYER_COLUMNS = ("#", "Layer", "Operator", "Output", "Params", "MACs", "Share", "Bytes", "Live")


def command(
    network: Annotated[str, typer.Argument(help="A network's name, or a checkpoint or run folder.", metavar="NETWORK")],
    width: Annotated[float | None, typer.Option(help="Width multiplier, 1 if not given.", show_default=False)] = None,
    size: Annotated[
        str,
        typer.Option(help="Input size in px, 192 or 512x1024 (height x width); the paper's if not given.", show_default=False),
    ] = "",
    classes: Annotated[int | None, typer.Option(help="Outputs, 1000 if not given.", show_default=False)] = None,
    channels: Annotated[int | None, typer.Option(help="Input channels, 3 if not given.", show_default=False)] = None,
    padding: Annotated[str, typer.Option(help="tf, symmetric or end; tf if not given.", show_default=False)] = "",
    output_stride: Annotated[
        int | None, typer.Option(help="8, 16 or 32: input px per px of the last map; 32 if not given.", show_default=False)
    ] = None,
    precision: Annotated[str, typer.Option(help="Of memory and weights: fp32, fp16 or int8.")] = "fp32",
    layers: Annotated[bool, typer.Option("--layers", help="A row a layer in place of the paper's table.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Everything, for programs.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="The table alone, as CSV.")] = False,
) -> None:
    """Print a network's table as its paper does, with parameters, MACs, memory and receptive field.

    Example: mobilenets info mobilenet_v2 --width 0.75 --size 192 --layers --precision int8
    """
    if json and csv:
        raise UsageError("--json and --csv exclude each other")
    from mobilenets.analysis.graph import trace
    from mobilenets.analysis.memory import plan
    from mobilenets.analysis.paper_table import paper_table

    wide = _precision(precision)
    model = _model(network, width, classes, channels, padding, output_stride)
    spec = model.spec.backbone
    height, across = _size(size) if size else (model.spec.input.size,) * 2
    graph = trace(model, (1, spec.in_channels, height, across))
    memory = plan(graph, wide)
    table = paper_table(spec, model.spec.classes, height, across)
    if json:
        output.show_json(_data(model, graph, memory, table, height, across))
        return
    columns, rows = (LAYER_COLUMNS, _layer_rows(graph, memory)) if layers else (table.columns, table.lines)
    if csv:
        output.show_csv(columns, rows)
        return
    output.show_table(columns, [[_readable(cell) for cell in row] for row in rows], title=_title(model, height, across))
    for line in _summary(graph, memory):
        output.show(line)


def _model(
    network: str, width: float | None, classes: int | None, channels: int | None, padding: str, output_stride: int | None
) -> Model:
    import torch

    from mobilenets.model import Model
    from mobilenets.specs.families import BACKBONES, backbone
    from mobilenets.specs.model import InputContract, ModelSpec

    if network not in BACKBONES and (Path(network).exists() or os.sep in network):
        options = {"width": width, "classes": classes, "channels": channels, "padding": padding, "output-stride": output_stride}
        given = [f"--{name}" for name, value in options.items() if value not in (None, "")]
        if given:
            raise UsageError(f"{', '.join(given)}: a checkpoint says this itself", hint="--size and --precision work with both")
        from mobilenets import checkpoint

        return checkpoint.load(Path(network))
    if classes is not None and classes < 1:
        raise UsageError(f"{classes} classes; at least 1 is needed")
    spec = backbone(
        network,
        width=1.0 if width is None else width,
        in_channels=3 if channels is None else channels,
        padding=padding or "tf",  # type: ignore[arg-type]  # checked there
        output_stride=32 if output_stride is None else output_stride,
    )
    labels = tuple(str(i) for i in range(1000 if classes is None else classes))
    contract = InputContract(size=spec.size, channels=spec.in_channels, mean=(0.5,), std=(0.5,))
    with torch.device("meta"):
        return Model(ModelSpec(spec, labels, contract))


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


def _layer_rows(graph: Graph, memory: MemoryPlan) -> list[tuple[object, ...]]:
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


def _title(model: Model, height: int, across: int) -> str:
    spec = model.spec.backbone
    width = f", width {spec.width:g}" if spec.width != 1 else ""
    stride = f", output stride {spec.output_stride}" if spec.output_stride != 32 else ""
    return f"{spec.name}{width}{stride}, input {height}x{across}x{spec.in_channels}, {model.spec.classes:,} classes"


def _summary(graph: Graph, memory: MemoryPlan) -> list[str]:
    from mobilenets.analysis.graph import COUNTING_RULE
    from mobilenets.analysis.memory import BYTES, bottleneck_plan
    from mobilenets.analysis.receptive_field import receptive_field

    place = graph.layers[memory.peak]
    narrow = bottleneck_plan(graph, memory.precision)
    field = receptive_field(graph)
    return [
        f"parameters       {graph.params:,} ({graph.params / 1e6:.2f} M)",
        f"MACs             {graph.macs:,} ({graph.macs / 1e6:.1f} M)",
        f"weights          {_bytes(graph.params * BYTES[memory.precision])} in {memory.precision}",
        f"peak memory      {_bytes(memory.peak_bytes)} of activations, at {place.name} ({place.operator})",
        f"between blocks   {_bytes(narrow.peak_bytes)}, when blocks are computed piece by piece (V2, section 5.1)",
        f"receptive field  {field.size} px by its convolutions, stride {field.stride}",
        "",
        COUNTING_RULE,
    ]


def _data(
    model: Model, graph: Graph, memory: MemoryPlan, table: PaperTable, height: int, across: int
) -> dict[str, Any]:  # Any: JSON
    from mobilenets.analysis.graph import COUNTING_RULE
    from mobilenets.analysis.memory import BYTES, bottleneck_plan
    from mobilenets.analysis.receptive_field import receptive_field

    spec = model.spec.backbone
    field = receptive_field(graph)
    columns = ("index", "name", "operator", "output", "params", "macs", "share", "output_bytes", "live_bytes")
    layers = [dict(zip(columns, row, strict=True)) for row in _layer_rows(graph, memory)]
    for row, layer in zip(layers, graph.layers, strict=True):
        row["output"], row["share"] = list(graph.shapes[layer.output][1:]), layer.macs / max(graph.macs, 1)
    return {
        "network": spec.name,
        "width": spec.width,
        "input": [spec.in_channels, height, across],
        "classes": model.spec.classes,
        "padding": spec.padding,
        "output_stride": spec.output_stride,
        "params": graph.params,
        "macs": graph.macs,
        "precision": memory.precision,
        "weights_bytes": graph.params * BYTES[memory.precision],
        "peak_bytes": memory.peak_bytes,
        "peak_layer": graph.layers[memory.peak].name,
        "peak_bytes_between_blocks": bottleneck_plan(graph, memory.precision).peak_bytes,
        "receptive_field": {"size": field.size, "stride": field.stride},
        "counting_rule": COUNTING_RULE,
        "table": [dict(zip(table.columns, line, strict=True)) for line in table.lines],
        "layers": layers,
    }


def _readable(cell: object) -> str:
    return f"{cell:,}" if isinstance(cell, int) else str(cell)


def _bytes(n: int) -> str:
    return f"{n / 1e6:.2f} MB" if n >= 1e6 else f"{n / 1e3:.1f} kB"
