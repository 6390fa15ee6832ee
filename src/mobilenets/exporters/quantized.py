"""`export_quantized`: exports an int8 network to a file for a runtime, and compares it with the int8 reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from mobilenets.deploy.graph import Graph
from mobilenets.deploy.narrow import narrowed
from mobilenets.deploy.profile import profiled
from mobilenets.deploy.quantize.values import decibels
from mobilenets.errors import ExportError
from mobilenets.exporters.compared import INT8_TOLERANCE, STEPS, Labeled, Standard, export_compared, refuse_half
from mobilenets.exporters.parity import Parity, write_parity
from mobilenets.exporters.table import EXPORTERS, Exporter
from mobilenets.exporters.tflite import WITH_ENDS, Ends
from mobilenets.int8.engines import ReferenceEngine
from mobilenets.int8.folder import GRAPH
from mobilenets.runtime.engines.base import Engine
from mobilenets.runtime.images.prepare import load_input

NARROW = 7
"""Bits of weights with which the fast int8 kernels of every processor add products without overflow."""


def quantized_in(path: Path) -> Path | None:
    """The file of a quantized network at a path, which may be the file itself or its folder; None if there is none."""
    file = path / GRAPH if path.is_dir() else path
    return file if file.name == GRAPH and file.is_file() else None


def export_quantized(
    graph: Graph,
    folder: str | Path = "export",
    *,
    to: str = "onnx",
    images: Sequence[bytes | Path] = (),
    labeled: Labeled | None = None,
    before: Engine | None = None,
    steps: float = STEPS,
    ends: Ends = "float",
    weight_bits: Literal[7, 8] = 8,
    batch: int | None = None,
    advance: Callable[[int], object] = lambda _: None,
) -> Parity:
    """Export a network in 8-bit integers and compare the file with the reference executor, integer by integer.

    The folder then contains the network's file, which `Predictor.open` opens, and a `parity.json` with the comparison.

    Args:
        graph: with a float input and float outputs, as `quantize` makes it.
        folder: the output folder; it is created if missing.
        to: as for `export`: "onnx", "openvino", "tflite", "executorch", "coreml" or "native"; with "-nms" a detector outputs
            boxes, and with "-argmax" a segmenter the class of each pixel.
        images: files or encoded bytes to compare on, in addition to made-up images.
        labeled: images to measure accuracy on, before and after.
        before: the network in floats, whose accuracy is given beside the file's; None for the reference executor.
        steps: the largest allowed difference of an output in steps of its scale. The mean may be a quarter of it.
        ends: what the file takes and returns: floats, or the integers themselves, signed or unsigned. Only TFLite files have
            integer ends.
        weight_bits: 7 for a file that is right and fast on x86 processors without VNNI, in whatever program runs it. The
            weights are then fitted anew, with `images`, to what the network computes with 8 bits.
        batch: the only number of images that the file takes at once; by default that of the format.
        advance: is called with 1 after each operator whose weights are fitted.

    Raises:
        ExportError: 7 bits are asked for without images, or the export failed or does not match the reference. The folder's
            files are unchanged.
        ImageError: an image cannot be decoded.
        MissingExtraError: a library that the format needs is not installed.
        UnknownNameError: there is no such format.
    """
    folder, exporter, note = Path(folder), _exporter(to, ends), ""
    if weight_bits == NARROW:
        graph, note = _narrowed(graph, images, advance)
    exporter = replace(exporter, format=replace(exporter.format, note="; ".join(filter(None, (note, exporter.format.note)))))
    standard = Standard(profiled(graph), ReferenceEngine(graph), tolerance=INT8_TOLERANCE, steps=steps, before=before)
    parity = export_compared(
        standard,
        folder / exporter.file,
        exporter.format,
        images=images,
        labeled=labeled,
        tail=exporter.tail,
        batch=batch,
    )
    write_parity(parity, folder / exporter.parity)
    return parity


def _narrowed(graph: Graph, images: Sequence[bytes | Path], advance: Callable[[int], object]) -> tuple[Graph, str]:
    """The graph with 7-bit weights, and a message about the change.

    Raises:
        ExportError: there are no images.
    """
    if not images:
        raise ExportError("weights of 7 bits are fitted to images, and there are none", hint="--images FOLDER")
    inputs = np.stack([load_input(image, graph.manifest.input) for image in images])
    made = narrowed(graph, inputs, advance=advance)
    wide, narrow = (ReferenceEngine(each).run(inputs) for each in (graph, made))
    noise = ", ".join(f"'{name}' {decibels(wide[name], narrow[name]):.1f} dB" for name in wide)
    return made, f"weights are 7 bits; signal to noise against 8 bits on the {len(images)} images: {noise}"


def _exporter(to: str, ends: Ends) -> Exporter:
    """The exporter for a quantized network.

    Raises:
        ExportError: quantized networks cannot be exported this way.
        UnknownNameError: there is no such format.
    """
    exporter = EXPORTERS[to]
    refuse_half(exporter.format, to)
    if ends == "float":
        return exporter
    if to != "tflite":
        raise ExportError(f"only TFLite files can take and return integers, but {to} was requested", hint="--to tflite")
    return replace(exporter, format=WITH_ENDS[ends])
