"""`mobilenets models`: the networks, and the public weights available for them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Annotated

import typer

from mobilenets.cli import output
from mobilenets.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mobilenets.weights.catalog import PublicWeights

NETWORK_COLUMNS = ("Network", "Params", "MACs", "Size", "Weights", "Paper")
PUBLIC_COLUMNS = ("Weights", "Network", "Width", "Size", "Score", "Metric", "License", "Here")

_SHOWN = ("name", "params", "macs", "size", "weights", "paper", "network", "width", "score", "metric", "license", "cached")

IMAGENET_CLASSES = 1000


def command(
    pretrained: Annotated[bool, typer.Option("--pretrained", help="List public weights instead of networks.")] = False,
    model: Annotated[str, typer.Option(help="List only this network.", metavar="NAME", show_default=False)] = "",
    comparisons: Annotated[bool, typer.Option("--all", help="Include the papers' comparison networks.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
) -> None:
    """List the networks with their parameters and MACs at the paper's input size, or the public weights.

    Example: mobilenets models --pretrained --model mobilenet_v4_conv_small
    """
    if json and csv:
        raise UsageError("--json and --csv cannot be combined")
    columns, rows = _public(model) if pretrained else _networks(model, comparisons)
    if json:
        output.show_json(rows)
        return
    if csv:
        output.show_csv(list(rows[0]) if rows else columns, [list(row.values()) for row in rows])
        return
    output.show_table(columns, [[_readable(name, cell) for name, cell in row.items() if name in _SHOWN] for row in rows])
    if pretrained:
        output.show("to use one: mobilenets train photos/ --weights NAME, or: mobilenets convert NAME")
    else:
        output.show("for its layers: mobilenets info NAME; for its public weights: mobilenets models --pretrained --model NAME")


def _networks(only: str, comparisons: bool) -> tuple[Sequence[str], list[dict[str, object]]]:
    from mobilenets.analysis.outline import outline
    from mobilenets.specs.families import BACKBONES, COMPARISONS
    from mobilenets.weights.catalog import CATALOG

    names = [only] if only else [name for name in BACKBONES if comparisons or name not in COMPARISONS]
    public = [entry.model for entry in CATALOG.values()]
    rows: list[dict[str, object]] = []
    for name in names:
        build = BACKBONES[name]
        spec = build()
        graph = outline(spec, IMAGENET_CLASSES, spec.size, spec.size)
        rows.append(
            {
                "name": name,
                "params": graph.params,
                "macs": graph.macs,
                "size": spec.size,
                "weights": public.count(name),
                "paper": importlib.import_module(build.__module__).ARXIV,
            }
        )
    return NETWORK_COLUMNS, rows


def _public(only: str) -> tuple[Sequence[str], list[dict[str, object]]]:
    from mobilenets.specs.families import BACKBONES
    from mobilenets.weights.catalog import CATALOG
    from mobilenets.weights.download import cached

    if only:
        BACKBONES[only]  # a wrong name suggests near ones
    entries = [entry for entry in CATALOG.values() if only in ("", entry.model)]
    return PUBLIC_COLUMNS, [_entry(entry, cached(entry) is not None) for entry in entries]


def _entry(entry: PublicWeights, here: bool) -> dict[str, object]:
    contract = entry.input
    return {
        "name": entry.name,
        "network": entry.model,
        "width": entry.width,
        "size": contract.size,
        "score": entry.score,
        "metric": entry.metric,
        "license": entry.license,
        "cached": here,
        "library": entry.origin,
        "task": entry.task,
        "resize": contract.resize,
        "crop": round(contract.crop, 4),
        "interpolation": contract.interpolation,
        "mean": contract.mean,
        "std": contract.std,
        "checksum": entry.checksum,
        "url": entry.url,
    }


def _readable(name: str, cell: object) -> str:
    if name in ("params", "macs") and isinstance(cell, int):
        return f"{cell / 1e6:,.2f} M" if name == "params" else f"{cell / 1e6:,.0f} M"
    if name == "score":
        return f"{cell:.4f}" if isinstance(cell, float) else "-"
    if name == "cached":
        return "yes" if cell else ""
    return f"{cell:g}" if isinstance(cell, float) else str(cell)
