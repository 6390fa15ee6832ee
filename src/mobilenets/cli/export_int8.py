"""`export` of a quantized model: which images it is compared on, and whose accuracy is given beside its own."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from mobilenets.cli.comparing import asked_for
from mobilenets.cli.output import progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from mobilenets.deploy.graph import Graph
    from mobilenets.exporters.parity import Parity
    from mobilenets.exporters.tflite import Ends
    from mobilenets.qat.model import QuantizedModel
    from mobilenets.runtime.engines.base import Engine


@dataclass(frozen=True, slots=True)
class Asked:
    """What the user asked for.

    Args:
        to: the format.
        images: to compare on, a file, a folder or a glob; "" for those of the run.
        data: a labeled dataset; "" for the images of the run.
        most: how many images to take; None for the usual number.
        tolerance: the largest relative difference of floats that passes.
        batch: images at once; None for what the format does.
        ends: what the file takes and returns.
        steps: the largest difference that passes; None for the usual one.
        weight_bits: 7 or 8.
    """

    to: str
    images: str
    data: str
    most: int | None
    tolerance: float
    batch: int | None
    ends: str
    steps: float | None
    weight_bits: int = 8


def export_int8(file: Path, folder: Path, asked: Asked) -> Parity:
    """Export the quantized network in a file into a folder.

    Raises:
        MobileNetsError: the file is damaged, or the export failed.
    """
    from mobilenets.deploy.file import load

    graph, home = load(file), file.parent
    return _export(graph, home, lambda: _float_engine(home), folder, asked)


def export_file(graph: Graph, file: Path, folder: Path, asked: Asked) -> Parity:
    """Export the quantized network of an exported file without its run, such as one that was taught in the browser.

    Args:
        graph: of the file.
        file: as it was given.
        folder: to export to.
        asked: what the user asked for.

    Raises:
        MobileNetsError: the file would be replaced by its own export, or the export failed.
    """
    from mobilenets.exporters.again import refuse_itself
    from mobilenets.exporters.table import EXPORTERS

    refuse_itself(file, folder / EXPORTERS[asked.to].file)
    return _export(graph, file.parent, lambda: None, folder, asked)


def export_trained(model: QuantizedModel, home: Path, folder: Path, asked: Asked) -> Parity:
    """Export a model that was trained in integers into a folder.

    Args:
        model: whose float network is the one before quantization.
        home: the run, or the checkpoint's folder.
        folder: to export to.
        asked: what the user asked for.

    Raises:
        MobileNetsError: the export failed.
    """
    from mobilenets.exporters.lower import lower
    from mobilenets.model import TorchEngine

    return _export(lower(model), home, lambda: TorchEngine(model.floats()), folder, asked)


def _export(graph: Graph, home: Path, floats: Callable[[], Engine | None], folder: Path, asked: Asked) -> Parity:
    from mobilenets.exporters.compared import STEPS
    from mobilenets.exporters.quantized import NARROW, export_quantized

    chosen, labeled = asked_for(asked.images, asked.data, asked.most, graph.manifest, run=home)
    narrow = asked.weight_bits == NARROW
    with progress("fitting weights of 7 bits", len(graph.operators)) if narrow else nullcontext(lambda done: None) as advance:
        return export_quantized(
            graph,
            folder,
            to=asked.to,
            images=chosen,
            labeled=labeled,
            before=floats() if labeled is not None else None,
            steps=STEPS if asked.steps is None else asked.steps,
            ends=cast("Ends", asked.ends),
            weight_bits=7 if narrow else 8,
            batch=asked.batch,
            advance=advance,
        )


def _float_engine(home: Path) -> Engine | None:
    """The network that a quantized one in a run was made from; None where it is not there."""
    from mobilenets import checkpoint as checkpoints
    from mobilenets.model import TorchEngine
    from mobilenets.runtime.engines.open import checkpoint_in

    checkpoint = checkpoint_in(home.parent)
    return None if checkpoint is None else TorchEngine(checkpoints.load(checkpoint))
