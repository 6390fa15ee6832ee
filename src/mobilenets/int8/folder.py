"""The folder of a quantized network: the graph, the exported file for prediction, a description, and the report."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mobilenets.deploy import file
from mobilenets.documents import decode, finite, parse
from mobilenets.errors import CheckpointError, DocumentError, UsageError
from mobilenets.files import check_writable, replaced_folder, write_text
from mobilenets.int8.engines import running
from mobilenets.int8.flow import Quantized
from mobilenets.int8.report import write_report
from mobilenets.runtime.engines.base import Engine
from mobilenets.runtime.engines.table import ENGINES

if TYPE_CHECKING:
    from mobilenets.deploy.graph import Graph

FORMAT = 1
"""The format of the description."""

GRAPH = "graph.safetensors"
ABOUT = "quantize.json"
REPORT = "quantization"
"""Names in the folder."""

_OF_THE_RUN = ("run.json", "splits.csv")  # they say where the data is, so `evaluate` and `compare` accept the folder as a run


@dataclass(frozen=True, slots=True)
class About:
    """The description of a quantized network.

    Args:
        source: the float network, as the user named it.
        images: number of calibration images.
        seed: the seed that they were drawn with.
        max_drop: the largest drop allowed, in percentage points.
        passed: whether the drop is within this limit.
        metric: the metric: "top1", "map50", "miou" or "same_answers".
        real, int8: its values for the float and the quantized network, 0 to 1.
        drop: the difference, in percentage points.
        drop_low, drop_high: its 95% confidence interval; None if unknown.
        judged_on: number of images that it was measured on.
        float_layers: the layers that stayed in floats.
        runtime: the runtime of the measurement.
        latency_ms, float_latency_ms: latency per image on one thread.
        signal_to_noise_db: of the outputs, on calibration images; None if there is no noise.
        warnings: about the calibration and evaluation images.
        weight_bits: bits per weight, 8 or 4; the first layer and depthwise layers always have 8.
        weight_block: number of 4-bit weights that share a factor; 0 for a whole channel.
        format: the format of this description.
    """

    source: str
    images: int
    seed: int
    max_drop: float
    passed: bool
    metric: str
    real: float
    int8: float
    drop: float
    drop_low: float | None
    drop_high: float | None
    judged_on: int
    float_layers: tuple[str, ...]
    runtime: str
    latency_ms: float
    float_latency_ms: float
    signal_to_noise_db: float | None
    warnings: tuple[str, ...]
    weight_bits: int = 8
    weight_block: int = 0
    format: int = FORMAT


def about(done: Quantized, *, source: str, seed: int) -> About:
    """The description of a quantization."""
    gate, drop, last = done.gated, done.gated.last.drop, done.gated.last
    low, high, decibels = (finite(value) for value in (drop.low, drop.high, done.doubts.calibration_db))
    return About(
        source=source,
        images=len(done.calibration),
        seed=seed,
        max_drop=gate.limit,
        passed=gate.passed,
        metric=drop.metric,
        real=drop.real,
        int8=drop.int8,
        drop=drop.points,
        drop_low=low,
        drop_high=high,
        judged_on=drop.images,
        float_layers=last.float_layers,
        runtime=last.running.title,
        latency_ms=done.latency.int8,
        float_latency_ms=done.latency.real,
        signal_to_noise_db=decibels,
        warnings=(*done.cautions, *done.doubts.warnings),
        weight_bits=done.weights.bits,
        weight_block=done.weights.block,
    )


def check_free(folder: Path) -> None:
    """Check that a folder may be replaced: it is empty, missing, or holds a quantized model.

    Raises:
        UsageError: it contains something else, is a file, or cannot be written.
    """
    if folder.is_dir() and not (folder / ABOUT).is_file() and any(folder.iterdir()):
        raise UsageError(f"'{folder}' holds something other than a quantized model", hint="--out with a new folder")
    try:
        check_writable(folder)
    except OSError as error:
        raise UsageError(f"'{folder}' cannot be written: {error.strerror}", hint="--out FOLDER") from error


def write(done: Quantized, folder: Path, *, known: About, run: Path | None, title: str, next_command: str) -> list[str]:
    """Write the folder, replacing an older one as a whole.

    If the network did not pass the gate, only its report and description are written.

    Args:
        done: the quantization.
        folder: the folder to write.
        known: its description.
        run: the run of the float network, so that the folder refers to its data; None if there is none.
        title: title of the report.
        next_command: the command that the report suggests next.

    Returns:
        Messages about missing parts of the report, with the reason.

    Raises:
        CheckpointError: the folder cannot be written.
    """
    facts = {name: value for name, value in asdict(known).items() if name not in ("format", "warnings")}
    try:
        with replaced_folder(folder) as draft:
            missing = write_report(done, draft / REPORT, title=title, facts=facts, next_command=next_command)
            if known.passed:
                file.save(done.int8, draft / GRAPH)
                _copy_export(done, draft / "export")
            for name in _OF_THE_RUN if run is not None else ():
                if run is not None and (run / name).is_file():
                    shutil.copyfile(run / name, draft / name)
            write_text(draft / ABOUT, json.dumps(asdict(known), indent=1, ensure_ascii=False) + "\n")
    except OSError as error:
        raise CheckpointError(f"'{folder}' cannot be written: {error.strerror or error}", hint="--out FOLDER") from error
    return missing


def read_about(folder: Path) -> About:
    """The description in a folder.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    path = folder / ABOUT
    try:
        return decode(parse(path.read_bytes()), About)
    except OSError as error:
        raise CheckpointError(f"cannot read '{path}': {error.strerror or error}", hint="mobilenets quantize RUN") from error
    except DocumentError as error:
        raise CheckpointError(f"'{path}' is damaged: {error}", hint="mobilenets quantize RUN writes it again") from error


def is_quantized(folder: Path) -> bool:
    """Whether a folder contains a quantized network."""
    return (folder / GRAPH).is_file()


def quantized_graph(model: Path) -> Graph | None:
    """The graph of a quantized network; it is stored because exported int8 files cannot be read back.

    None for any other model, or if safetensors, which comes with the extra 'train', is not installed.
    """
    try:
        return graph_of(model) if is_quantized(model) else None
    except ImportError:
        return None


def graph_of(folder: Path) -> Graph:
    """The quantized network in a folder.

    Raises:
        CheckpointError, GraphError: there is none, or it is damaged.
    """
    if not is_quantized(folder):
        raise CheckpointError(f"'{folder}' holds no quantized model", hint="mobilenets quantize RUN writes one")
    return file.load(folder / GRAPH)


def engine_of(folder: Path) -> Engine:
    """The engine for a quantized network without an exported file: exports it now for a runtime that computes it correctly.

    If the native engine is installed, its file is written too. From then on, the faster of the two opens the folder.

    Raises:
        GraphError: the graph is damaged.
    """
    graph = graph_of(folder)
    made = running(graph, folder / "export" / "model", _made_up(graph))
    if made.file is not None and ENGINES[".graph"].runs_here:
        file.save(graph, made.file.with_suffix(".graph"))
    return made.engine


def _made_up(graph: Graph) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Two synthetic images with large areas of random color, N C H W."""
    contract = graph.manifest.input
    areas = np.random.default_rng(0).normal(size=(2, contract.channels, 8, 8)).astype(np.float32)
    rows, columns = (np.arange(side) * 8 // side for side in contract.shape)
    return np.ascontiguousarray(areas[:, :, rows][:, :, :, columns])


def _copy_export(done: Quantized, folder: Path) -> None:
    """Copy the file that was measured; there is none if the reference executor was used."""
    made = done.gated.last.running.file
    if made is not None:
        folder.mkdir()
        shutil.copyfile(made, folder / f"model{made.suffix}")
