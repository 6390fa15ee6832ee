"""Small networks whose answers are known, and images for them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.cli.conftest import mobilenets  # noqa: F401  # the command line in this process

from mobilenets.deploy import operators as op
from mobilenets.deploy.graph import INPUT, Graph
from mobilenets.deploy.write_onnx import to_onnx
from mobilenets.runtime.manifest import Manifest
from mobilenets.specs.model import InputContract

COLORS = ("red", "green", "blue")
CONTRACT = InputContract(size=16, resize="stretch", crop=1.0, mean=(0.0,), std=(1.0,))


def color_graph() -> Graph:
    """A classifier of an image's strongest color: logits are 8 times the mean of each channel."""
    eye = np.eye(3, dtype=np.float32)
    tensors = {
        "w": 8 * eye.reshape(3, 3, 1, 1),
        "b": np.zeros(3, np.float32),
        "dense": eye,
        "zero": np.zeros(3, np.float32),
    }
    operators = (
        op.Conv(name="mix", inputs=(INPUT,), output="mix", weight="w", bias="b", activation="relu"),
        op.Pool(name="mean", inputs=("mix",), output="mean", kernel=(16, 16)),
        op.Flatten(name="flat", inputs=("mean",), output="flat"),
        op.Dense(name="classify", inputs=("flat",), output="classify", weight="dense", bias="zero"),
    )
    return Graph(Manifest("colors", COLORS, CONTRACT), operators, tensors, {"logits": "classify"})


def hard_graph() -> Graph:
    """The same with one value that 8 bits cannot hold: beside the colors it carries a channel that is 3,000 times as large,
    which the next layer takes out again. Adding the value to itself on the way ties its scale to that of others."""
    wide = np.zeros((4, 3, 1, 1), np.float32)
    wide[:3, :, 0, 0] = 8 * np.eye(3)
    wide[3] = 8_000.0
    narrow = np.zeros((3, 4, 1, 1), np.float32)
    narrow[:, :3, 0, 0] = 0.5 * np.eye(3)
    graph = color_graph()
    pool, flatten, dense = graph.operators[1:]
    operators = (
        op.Conv(name="wide", inputs=(INPUT,), output="wide", weight="wide.w", bias="wide.b"),
        op.Add(name="twice", inputs=("wide", "wide"), output="twice"),
        op.Conv(name="mix", inputs=("twice",), output="mix", weight="w", bias="b", activation="relu"),
        pool,
        flatten,
        dense,
    )
    tensors = {**graph.tensors, "wide.w": wide, "wide.b": np.zeros(4, np.float32), "w": narrow}
    return Graph(graph.manifest, operators, tensors, graph.outputs)


def write_images(folder: Path, *, each: int, seed: int = 0) -> Path:
    """Images of blobs in a folder for each color, in which that color is a little stronger than the others."""
    random = np.random.default_rng(seed)
    for k, color in enumerate(COLORS):
        (folder / color).mkdir(parents=True, exist_ok=True)
        for i in range(each):
            small = random.uniform(40, 200, (4, 4, 3))
            small -= small.mean((0, 1)) - 120
            small[..., k] += 6
            pixels = np.clip(small, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).resize((24, 24), Image.Resampling.BICUBIC).save(folder / color / f"{seed}-{i}.png")
    return folder


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Latency is measured for a moment only, and matplotlib, which takes seconds to draw a page, is not installed."""
    monkeypatch.setattr("mobilenets.int8.timing.SECONDS", 0.02)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A labeled dataset with the splits train, val and test."""
    folder = tmp_path_factory.mktemp("data")
    for seed, (part, each) in enumerate({"train": 8, "val": 5, "test": 3}.items()):
        write_images(folder / part, each=each, seed=seed)
    return folder


@pytest.fixture(scope="session")
def export(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Graph], Path]:
    """Writes a graph as an ONNX file."""

    def write(graph: Graph) -> Path:
        path = tmp_path_factory.mktemp("float") / "net.onnx"
        path.write_bytes(to_onnx(graph).SerializeToString())
        return path

    return write
