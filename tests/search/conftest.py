"""Networks and images small enough that a search takes a second."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilenets.cli.app import main
from mobilenets.data.samples import Dataset, Sample, Split
from mobilenets.deploy.graph import Graph
from mobilenets.model import Model, create
from mobilenets.search.devices import Measures, Progress
from mobilenets.search.latency import Device, LatencyTable
from mobilenets.specs.model import InputContract, ModelSpec
from mobilenets.specs.rows import BackboneSpec, Bottleneck, Conv
from mobilenets.training.recipe import Recipe

Run = Callable[..., tuple[int, str, str]]

LABELS = ("bright", "dark")


class Counting:
    """A device on which a piece takes a millisecond for each of its weights."""

    @property
    def device(self) -> Device:
        return Device("a board", "onnx")

    def latencies_ms(self, graphs: Sequence[Graph], progress: Progress = lambda done: None) -> list[float]:
        return [float(sum(tensor.size for tensor in graph.tensors.values())) for graph in graphs]


@pytest.fixture
def device() -> Measures:
    """The device on which latency is the number of weights."""
    return Counting()


@pytest.fixture
def spec() -> ModelSpec:
    """A stem, three bottlenecks of which the last two share a residual, a last convolution and a tail; 32 px."""
    rows = (
        Conv(16, kernel=3, stride=2),
        Bottleneck(48, 24, stride=2, c_squeeze=16),
        Bottleneck(72, 24),
        Bottleneck(64, 24, kernel=5),
        Conv(96),
    )
    body = BackboneSpec("tiny", rows, tail=(Conv(64, norm=False),), size=32, norm_momentum=0.1)
    return ModelSpec(body, LABELS, InputContract(size=32))


@pytest.fixture
def model(spec: ModelSpec) -> Model:
    """The network with fresh weights."""
    return create(spec, seed=1).eval()


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of 96 images, dark or bright on average, in splits."""
    random = np.random.default_rng(0)
    for i in range(96):
        split: Split = "train" if i < 48 else "val" if i < 72 else "test"
        pixels = random.integers(0, 180, (36, 36, 3)) + 75 * (1 - i % 2)
        path = tmp_path / "shades" / split / LABELS[i % 2] / f"{i:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    return tmp_path / "shades"


@pytest.fixture
def dataset(images: Path) -> Dataset:
    """The same, opened."""
    samples = [
        Sample(path, LABELS.index(path.parent.name), split, name=path.relative_to(images).as_posix())
        for split in ("train", "val", "test")
        for path in sorted((images / split).glob("*/*.png"))
    ]
    return Dataset(LABELS, tuple(samples), "shades")


@pytest.fixture
def recipe() -> Recipe:
    """One epoch of four steps."""
    return Recipe(model="mobilenet_v2", epochs=1, batch=12, optimizer="adamw", learning_rate=3e-3, precision="fp32", workers=0)


@pytest.fixture
def search(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs `mobilenets search ARGUMENTS` in an empty folder: exit code, standard output and error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mobilenets", "search", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.StringIO())
        with pytest.raises(SystemExit) as stop:
            main()
        printed = capsys.readouterr()
        return int(stop.value.code or 0), printed.out, printed.err

    return run


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A latency table of another device, without latencies."""
    LatencyTable(Device("a board", "onnx")).saved_as(tmp_path / "board.jsonl")
    return tmp_path / "board.jsonl"
