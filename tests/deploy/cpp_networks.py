"""Exported C++ for the tests: networks as folders, compiled for this machine or another, and run on files of numbers."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.deploy.conftest import LABELS, SPECS, trained
from tests.deploy.min_max import quantized_by_min_max
from tests.exporters.networks import SPECS as TASK_SPECS

from mobilenets.deploy.cpp.outputs import parsed, returned
from mobilenets.deploy.cpp.write import write_cpp
from mobilenets.deploy.graph import Graph
from mobilenets.deploy.quantize.quantize import quantize
from mobilenets.deploy.tails import TAILS, Tail
from mobilenets.exporters.cpp import FLAGS, SOURCES
from mobilenets.exporters.lower import lower
from mobilenets.model import create
from mobilenets.runtime.images.prepare import normalize
from mobilenets.specs.deeplab import deeplab
from mobilenets.specs.families import backbone
from mobilenets.specs.model import InputContract, ModelSpec

STRICT = (*FLAGS, "-Werror")
"""What the tests compile with: nothing that a compiler warns of passes."""

FREESTANDING = {"memcpy", "memset", "memmove", "_GLOBAL_OFFSET_TABLE_", "__stack_chk_fail"}
"""What code may call that has no library: copies of memory, and the compiler's own."""

SMALL = ModelSpec(backbone("mobilenet_v1", width=0.25), LABELS, InputContract(size=96))
NARROW = ModelSpec(backbone("mobilenet_v2", width=0.35), LABELS, InputContract(size=96))
"""What the issue of microcontrollers asks for: V1 0.25 and V2 0.35 at 96 px."""


MODELS = {
    "ssdlite": TASK_SPECS["detect"],
    "lraspp": TASK_SPECS["segment"],
    "deeplab": deeplab(backbone("mobilenet_v2", width=0.1), ("a", "b", "c"), size=(48, 32), on="second_last", filters=16),
    "aspp": deeplab(
        backbone("mobilenet_v2", width=0.1),
        ("a", "b", "c"),
        size=(48, 64),
        on="second_last",
        rates=(1, 2),
        filters=16,
        decoder="s4",
    ),
    "hybrid": SPECS["v4 hybrid"](),
}
"""Networks of each task and with attention, as small as they can be."""


def need(*programs: str) -> None:
    """Skip the test if one of the programs is not installed."""
    if missing := [program for program in programs if shutil.which(program) is None]:
        pytest.skip(f"{', '.join(missing)} not installed")


def pixels_for(graph: Graph, count: int = 2) -> NDArray[np.uint8]:
    """Images of noise and of plain extremes, N H W C."""
    contract = graph.manifest.input
    pixels = np.random.default_rng(0).integers(0, 256, (count, *contract.shape, contract.channels), np.uint8)
    pixels[0, : contract.shape[0] // 2] = 255 * (pixels[0, : contract.shape[0] // 2] > 127)
    return pixels


def prepared(graph: Graph, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The pixels as the network in Python takes them, N C H W."""
    return np.stack([normalize(image, graph.manifest.input) for image in pixels])


def float_graph(spec: ModelSpec) -> Graph:
    """A network in floats, whose norms are not those of a fresh one."""
    return lower(trained(create(spec)))


def int8_graph(spec: ModelSpec) -> Graph:
    """A network in 8-bit integers."""
    graph = float_graph(spec)
    return quantized_by_min_max(graph, prepared(graph, pixels_for(graph)))


def spec_of(name: str) -> ModelSpec:
    """One of the networks of these tests."""
    return SPECS[name]() if name in SPECS else MORE[name]


@cache
def network(name: str, *, in_integers: bool, tail: Tail | None = None) -> Graph:
    """One of `MODELS`, with a tail or without."""
    if tail:
        return TAILS[tail].add(network(name, in_integers=in_integers, tail=None))
    graph = float_graph(MODELS[name])
    return quantize(graph, prepared(graph, pixels_for(graph))).graph if in_integers else graph


def same(made: Mapping[str, NDArray[Any]], expected: Mapping[str, NDArray[Any]]) -> None:  # Any: of any type
    """Hold that outputs in integers are equal. Boxes and their scores are exponentials, which no two libraries round alike."""
    assert made.keys() == expected.keys()
    for output, numbers in made.items():
        if output in ("boxes", "scores"):
            np.testing.assert_allclose(numbers, expected[output], rtol=1e-5, atol=1e-5)
        else:
            np.testing.assert_array_equal(numbers, expected[output])
            assert len(np.unique(numbers)) > 1


MORE = {
    "v1 96": SMALL,
    "v2 96": NARROW,
    "v2 dilated": ModelSpec(backbone("mobilenet_v2", width=0.35, output_stride=16), LABELS, InputContract(size=64)),
    "v3 large minimalistic": ModelSpec(backbone("mobilenet_v3_large_minimalistic", width=0.35), LABELS, InputContract(size=64)),
}


def compiled(graph: Graph, folder: Path, compiler: str = "c++", options: Sequence[str] = ("-O2",)) -> Path:
    """The program `check` of a network, optimized as the export compiles it."""
    need(compiler)
    write_cpp(graph, folder)
    program = folder / "check"
    sources = [str(folder / name) for name in SOURCES]
    subprocess.run([compiler, *STRICT, *options, *sources, "-o", str(program)], check=True)
    return program


def ran(
    program: Path, graph: Graph, images: NDArray[np.generic], *, before: Sequence[str] = ()
) -> dict[str, NDArray[Any]]:  # Any: numbers of the output's type
    """The outputs for images: floats N C H W, or pixels N H W C.

    Args:
        program: `check`.
        graph: that it was made of.
        images: to run on.
        before: what runs the program.
    """
    folder = program.parent
    kind = "pixels" if images.dtype == np.uint8 else "floats"
    np.ascontiguousarray(images if kind == "pixels" else images.transpose(0, 2, 3, 1)).tofile(folder / "images")
    files = [str(folder / "images"), str(folder / "outputs")]
    subprocess.run([*before, str(program), kind, *files], check=True)
    return parsed((folder / "outputs").read_bytes(), returned(graph))


def asked(graph: Graph, folder: Path) -> set[str]:
    """The names that the objects of a network ask a linker for."""
    need("c++", "nm")
    write_cpp(graph, folder)
    flags = [*STRICT, "-ffreestanding", "-Os", "-c"]
    names: set[str] = set()
    for name in ("network", "weights"):
        subprocess.run(["c++", *flags, str(folder / f"{name}.cpp"), "-o", str(folder / f"{name}.o")], check=True)
        listed = subprocess.run(["nm", "-u", str(folder / f"{name}.o")], check=True, capture_output=True, text=True)
        names |= {line.split()[-1] for line in listed.stdout.splitlines() if "mobilenet" not in line}
    return names
