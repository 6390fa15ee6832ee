"""`write_cpp`: writes a graph as a folder of C++ that builds with CMake and needs no library."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mobilenets.deploy.arena import fused_plan
from mobilenets.deploy.cpp.contract import contract_header
from mobilenets.deploy.cpp.network import Parts, declarations, header, source
from mobilenets.deploy.cpp.outputs import kind_of
from mobilenets.deploy.cpp.readme import Figures, readme
from mobilenets.deploy.cpp.schedule import scheduled
from mobilenets.deploy.cpp.sources import copy_headers
from mobilenets.deploy.cpp.step import Record, Step
from mobilenets.deploy.cpp.steps import step_of
from mobilenets.deploy.cpp.text import Array, Name
from mobilenets.deploy.graph import INPUT, Graph
from mobilenets.deploy.integers import quantize
from mobilenets.errors import GraphError
from mobilenets.runtime.images.prepare import normalize

KERNELS = "mobilenets"
"""The folder of the kernels' headers."""

FILES = ("CMakeLists.txt", "check.cpp", "example.cpp", "image.hpp", "ppm.hpp")
"""Files that are the same for every network."""

_FILES = Path(__file__).parent / "files"


@dataclass(frozen=True, slots=True)
class Written:
    """The memory that the code of a folder needs on a device.

    Args:
        constant_bytes: size of weights and tables, which may stay in flash.
        arena_bytes: size of the RAM for all values.
    """

    constant_bytes: int
    arena_bytes: int


def write_cpp(graph: Graph, folder: Path) -> Written:
    """Write a network as self-contained C++.

    Args:
        graph: a float or quantized network.
        folder: created by this function.

    Raises:
        ExportError: the kernels' sources are missing.
        GraphError: its outputs are not known, or its sums do not fit 32 bits.
        OSError: a file cannot be written.
    """
    graph.check()
    kind = kind_of(graph)
    schedule = scheduled(graph)
    steps = {i: step_of(graph, schedule.places, i) for i in schedule.operators}
    parts = Parts(graph, schedule, steps, _image(graph, steps, stays=schedule.image_stays))
    arrays = _merged(array for step in (*steps.values(), *parts.image) for array in step.arrays)
    figures = Figures(
        constant_bytes=sum(array.size_bytes for array in arrays),
        arena_bytes=schedule.arena_bytes,
        fused_bytes=fused_plan(graph).size_bytes,
        banded=sum(not stage.is_whole for stage in schedule.stages),
    )
    folder.mkdir(parents=True, exist_ok=True)
    copy_headers(folder / KERNELS)
    for name in FILES:
        shutil.copyfile(_FILES / name, folder / name)
    shutil.copyfile(_FILES / kind.show, folder / "show.hpp")
    manifest = graph.manifest
    texts = {
        "network.hpp": header(graph, schedule.arena_bytes),
        "network.cpp": source(parts),
        "weights.hpp": declarations([array.declaration for array in arrays]),
        "weights.cpp": _definitions(arrays),
        "contract.hpp": contract_header(manifest.input, manifest.head),
        "README.md": readme(graph, figures),
        "manifest.json": manifest.to_json() + "\n",
    }
    for name, text in texts.items():
        (folder / name).write_text(text, "utf-8")
    return Written(figures.constant_bytes, figures.arena_bytes)


def _image(graph: Graph, steps: dict[int, Step], *, stays: bool) -> tuple[Step, Step]:
    """The steps that read an image from floats and from 8-bit pixels."""
    contract = graph.manifest.input
    channels, width = contract.channels, contract.shape[1]
    if not stays:
        mean, std = (np.broadcast_to(np.asarray(values, np.float64), channels) for values in (contract.mean, contract.std))
        factors = Array("pixel_factors", (1 / (255 * std)).astype(np.float32), "of each channel of a pixel")
        shifts = Array("pixel_shifts", (mean / std).astype(np.float32))
        fields: Record = {"factors": Name(factors.name), "shifts": Name(shifts.name), "width": width, "channels": channels}
        floats = Step("CopiedFloats", {"numbers": width * channels})
        return floats, Step("PixelFloats", fields, arrays=(factors, shifts))
    starts = [i for i in steps if graph.operators[i].inputs == (INPUT,)]
    if len(starts) != 1:
        raise GraphError(f"the image is quantized {len(starts)} times, but exported C++ does it once")
    made = graph.quantization[graph.operators[starts[0]].output]
    pixels = np.repeat(np.arange(256, dtype=np.float32)[:, np.newaxis, np.newaxis], channels, axis=2)  # 256 1 C
    tables = quantize(normalize(pixels, contract), made).reshape(channels, -1)
    is_one = bool((tables == tables[0]).all())
    table = Array("pixel_table", tables[0] if is_one else tables, "what a pixel becomes")
    fields = {"table": Name(table.name), "width": width, "channels": channels, "next": 0 if is_one else 256}
    return steps[starts[0]], Step("PixelTable", fields, arrays=(table,))


def _merged(arrays: Iterable[Array]) -> list[Array]:
    """The longest array of each name."""
    merged: dict[str, Array] = {}
    for array in arrays:
        if array.name not in merged or merged[array.name].size_bytes < array.size_bytes:
            merged[array.name] = array
    return list(merged.values())


def _definitions(arrays: Sequence[Array]) -> str:
    """`weights.cpp`."""
    begin = '// The network\'s constants.\n#include "weights.hpp"\n\nnamespace mobilenet {\n\n'
    return begin + "\n".join(array.definition for array in arrays) + "\n}  // namespace mobilenet\n"
