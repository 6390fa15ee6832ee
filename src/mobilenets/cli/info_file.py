"""`mobilenets info` of an exported file: its operators, their cost, and the memory that it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mobilenets.cli import output
from mobilenets.data.text import counted
from mobilenets.errors import CheckpointError

if TYPE_CHECKING:
    from mobilenets.runtime.manifest import Manifest
    from mobilenets.runtime.profile import Layer, Profile

COLUMNS = ("#", "Layer", "Operator", "Output", "Weights", "MACs", "Share", "Bytes", "Live")

METRIC_TITLES = {"top1": "accuracy", "map50": "mAP50", "miou": "mean IoU", "same_answers": "same answers"}
"""What people call the metric that a quantized model was judged by."""


def is_exported(path: Path) -> bool:
    """Whether the ending of a path is that of an exported file, or it is the folder of a quantized model."""
    from mobilenets.runtime.engines.open import holds_graph
    from mobilenets.runtime.engines.table import ENGINES

    return path.suffix.lower() in ENGINES or holds_graph(path)


def show(path: Path, *, json: bool, csv: bool) -> None:
    """Print what an exported file says about itself, or the graph and the description of a quantized model.

    Args:
        path: the file or the folder.
        json: print everything as JSON.
        csv: print the table alone, as CSV.

    Raises:
        CheckpointError, GraphError: the file is missing or damaged, or an earlier version wrote it without a profile.
    """
    from mobilenets.runtime.engines.open import holds_graph

    network = _of_folder(path) if holds_graph(path) else _of_file(path)
    manifest, runtime = network.manifest, network.runtime
    if manifest.profile is None:
        raise CheckpointError(
            f"'{network.path}' does not describe its layers: an earlier version wrote it", hint="export the model again"
        )
    if json:
        output.show_json({**_data(network.path, runtime, manifest, manifest.profile), **network.facts})
        return
    rows = _rows(manifest.profile)
    if csv:
        output.show_csv(COLUMNS, rows)
        return
    readable = [[f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in rows]
    output.show_table(COLUMNS, readable, title=_title(network.path, runtime, manifest))
    for line in (*_summary(manifest.profile), *network.lines):
        output.show(line)


@dataclass(frozen=True, slots=True)
class _Network:
    """What there is to print about.

    Args:
        path: of the file or folder.
        runtime: that the file is for, for people.
        manifest: with a profile, unless an earlier version wrote the file and its operators cannot be read.
        lines: more to print.
        facts: the same for JSON.
    """

    path: Path
    runtime: str
    manifest: Manifest
    lines: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)  # Any: JSON


def _of_file(path: Path) -> _Network:
    from mobilenets.deploy.profile import profiled
    from mobilenets.deploy.read import READERS, read
    from mobilenets.runtime.engines.open import exported
    from mobilenets.runtime.engines.table import ENGINES
    from mobilenets.runtime.manifest import beside, read_beside

    path = exported(path)
    runtime = ENGINES[path.suffix.lower()]
    lies_beside = beside(path).is_file() or not runtime.fits_system
    manifest = read_beside(path) if lies_beside else runtime.open(path, threads=1).manifest()
    if manifest.profile is None and path.suffix.lower() in READERS:  # as in a file that was taught in the browser
        manifest = profiled(read(path)).manifest
    return _Network(path, runtime.title, manifest)


def _of_folder(folder: Path) -> _Network:
    """A quantized model, with what its quantization measured."""
    from mobilenets.deploy.profile import profiled
    from mobilenets.int8.folder import graph_of, read_about

    graph, known = profiled(graph_of(folder)), read_about(folder)
    kept = ", ".join(known.float_layers) or "none"
    noise = "" if known.signal_to_noise_db is None else f", signal to noise {known.signal_to_noise_db:.1f} dB"
    lines = (
        f"quantized from   {known.source}, with {counted(known.images, 'image')}{noise}",
        f"{METRIC_TITLES[known.metric]:<17}{known.int8:.1%} in int8, {known.real:.1%} in float, on "
        f"{counted(known.judged_on, 'image')}",
        f"layers in float  {kept}",
        *(f"beware           {text}" for text in known.warnings),
    )
    return _Network(folder, "every runtime", graph.manifest, lines, {"quantization": asdict(known)})


def _rows(profile: Profile) -> list[tuple[object, ...]]:
    macs = max(_macs(profile), 1)
    return [
        (
            i,
            layer.name,
            layer.operator,
            "x".join(map(str, layer.output)),
            layer.weights,
            layer.macs,
            f"{layer.macs / macs:.1%}",
            layer.output_bytes,
            layer.live_bytes,
        )
        for i, layer in enumerate(profile.layers)
    ]


def _title(path: Path, runtime: str, manifest: Manifest) -> str:
    height, width = manifest.input.shape
    classes = len(manifest.labels)
    return (
        f"{path.name}: {manifest.model} for {runtime}, {manifest.precision}, input {height}x{width}x{manifest.input.channels}, "
        f"{classes:,} class{'es' if classes != 1 else ''}"
    )


def _summary(profile: Profile) -> list[str]:
    weights, macs, peak = sum(layer.weights for layer in profile.layers), _macs(profile), _peak(profile)
    return [
        f"weights          {weights:,} ({weights / 1e6:.2f} M), batch norms folded in",
        f"MACs             {macs:,} ({macs / 1e6:.1f} M)",
        f"peak memory      {_bytes(profile.arena_bytes)} of activations; most at {peak.name} ({peak.operator})",
        f"row by row       {_bytes(profile.fused_bytes)}, when each block is computed row by row (V2, section 5.1)",
    ]


def _data(path: Path, runtime: str, manifest: Manifest, profile: Profile) -> dict[str, Any]:  # Any: JSON
    return {
        "file": str(path),
        "runtime": runtime,
        "network": manifest.model,
        "precision": manifest.precision,
        "input": [manifest.input.channels, *manifest.input.shape],
        "classes": len(manifest.labels),
        "weights": sum(layer.weights for layer in profile.layers),
        "macs": _macs(profile),
        "peak_bytes": profile.arena_bytes,
        "peak_layer": _peak(profile).name,
        "peak_bytes_row_by_row": profile.fused_bytes,
        "layers": [
            {
                "index": i,
                "name": layer.name,
                "operator": layer.operator,
                "output": list(layer.output),
                "weights": layer.weights,
                "macs": layer.macs,
                "output_bytes": layer.output_bytes,
                "live_bytes": layer.live_bytes,
            }
            for i, layer in enumerate(profile.layers)
        ],
    }


def _macs(profile: Profile) -> int:
    return sum(layer.macs for layer in profile.layers)


def _peak(profile: Profile) -> Layer:
    return max(profile.layers, key=lambda layer: layer.live_bytes)


def _bytes(n: int) -> str:
    return f"{n / 1e6:.2f} MB" if n >= 1e6 else f"{n / 1e3:.1f} kB"
