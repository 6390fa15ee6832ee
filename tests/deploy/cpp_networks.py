"""Exported C++ for the tests: networks as folders, compiled for this machine or another, and run on files of numbers."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.deploy.conftest import LABELS, SPECS, trained
from tests.deploy.min_max import quantized_by_min_max

from mobilenets.deploy.cpp.write import write_cpp
from mobilenets.deploy.graph import Graph
from mobilenets.exporters.cpp import FLAGS, SOURCES
from mobilenets.exporters.lower import lower
from mobilenets.model import create
from mobilenets.runtime.images.prepare import normalize
from mobilenets.specs.families import backbone
from mobilenets.specs.model import InputContract, ModelSpec

STRICT = (*FLAGS, "-Werror")
"""What the tests compile with: nothing that a compiler warns of passes."""

SMALL = ModelSpec(backbone("mobilenet_v1", width=0.25), LABELS, InputContract(size=96))
NARROW = ModelSpec(backbone("mobilenet_v2", width=0.35), LABELS, InputContract(size=96))
"""What the issue of microcontrollers asks for: V1 0.25 and V2 0.35 at 96 px."""


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


MORE = {
    "v1 96": SMALL,
    "v2 96": NARROW,
    "v2 dilated": ModelSpec(backbone("mobilenet_v2", width=0.35, output_stride=16), LABELS, InputContract(size=64)),
    "v3 large minimalistic": ModelSpec(backbone("mobilenet_v3_large_minimalistic", width=0.35), LABELS, InputContract(size=64)),
}


def compiled(graph: Graph, folder: Path, compiler: str = "c++", options: Sequence[str] = ("-O1",)) -> Path:
    """The program `check` of a network."""
    need(compiler)
    write_cpp(graph, folder)
    program = folder / "check"
    sources = [str(folder / name) for name in SOURCES]
    subprocess.run([compiler, *STRICT, *options, *sources, "-o", str(program)], check=True)
    return program


def ran(program: Path, images: NDArray[np.generic], *, before: Sequence[str] = ()) -> NDArray[np.float32]:
    """The logits of images: floats N C H W, or pixels N H W C.

    Args:
        program: `check`.
        images: to run on.
        before: what runs the program.
    """
    folder = program.parent
    kind = "pixels" if images.dtype == np.uint8 else "floats"
    np.ascontiguousarray(images if kind == "pixels" else images.transpose(0, 2, 3, 1)).tofile(folder / "images")
    files = [str(folder / "images"), str(folder / "logits")]
    subprocess.run([*before, str(program), kind, *files], check=True)
    return np.fromfile(folder / "logits", np.float32).reshape(len(images), -1)
