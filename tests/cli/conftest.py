"""The command line in this process."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from mobilenets import checkpoint
from mobilenets.cli.app import main
from mobilenets.model import create
from mobilenets.specs.model import InputContract, ModelSpec
from mobilenets.specs.rows import BackboneSpec, Conv

PLAIN = ModelSpec(BackboneSpec("plain", (Conv(8, 3, 2), Conv(8, 3, 2))), ("cat", "dog"), InputContract(size=32))
"""The smallest classifier."""


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture
def mobilenets(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Runs `mobilenets ARGUMENTS`, with bytes on standard input."""

    def run(*arguments: str | Path, stdin: bytes = b"") -> Done:
        monkeypatch.setattr(sys, "argv", ["mobilenets", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(stdin))))
        with pytest.raises(SystemExit) as stop:
            main()
        printed = capsys.readouterr()
        return Done(int(stop.value.code or 0), printed.out, printed.err)

    return run


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A run folder with `PLAIN` as a training leaves it."""
    checkpoint.save(create(PLAIN), tmp_path / "run" / "best")
    (tmp_path / "run" / "run.json").write_text("{}")
    return tmp_path / "run"


@pytest.fixture(scope="session")
def segment_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An `.onnx` file that segments into red, green and blue: logits of a cell of 4 x 4 px are 8 times its mean color."""
    onnx = pytest.importorskip("onnx")
    from mobilenets.runtime.manifest import METADATA_KEY, Manifest
    from mobilenets.specs.deeplab import DeepLabHead
    from mobilenets.specs.model import InputContract

    floats = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node("AveragePool", ["image"], ["means"], kernel_shape=[4, 4], strides=[4, 4]),
            onnx.helper.make_node("Mul", ["means", "eight"], ["logits"]),
        ],
        "colors",
        [onnx.helper.make_tensor_value_info("image", floats, ["n", 3, 32, 48])],
        [onnx.helper.make_tensor_value_info("logits", floats, ["n", 3, 8, 12])],
        [onnx.helper.make_tensor("eight", floats, [1], [8.0])],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    contract = InputContract(size=32, wide=48, resize="stretch", crop=1.0)
    head = DeepLabHead(colors=((250, 0, 0), (0, 250, 0), (0, 0, 250)))
    manifest = Manifest("colors", ("red", "green", "blue"), contract, head)
    onnx.helper.set_model_props(model, {METADATA_KEY: manifest.to_json()})
    path: Path = tmp_path_factory.mktemp("colors") / "model.onnx"
    onnx.save(model, path)
    return path


@pytest.fixture(scope="session")
def classes_model(segment_model: Path) -> Path:
    """The same with the class of each pixel as output."""
    onnx = pytest.importorskip("onnx")
    import numpy as np

    from mobilenets.deploy import operators as op
    from mobilenets.deploy.graph import INPUT, Graph
    from mobilenets.deploy.tails import with_argmax
    from mobilenets.deploy.write_onnx import to_onnx
    from mobilenets.runtime.engines.onnx import OnnxEngine

    path = segment_model.with_name("segmenter.onnx")
    operators = (
        op.Pool(name="means", inputs=(INPUT,), output="means", kernel=(4, 4), stride=(4, 4)),
        op.Depthwise(name="logits", inputs=("means",), output="logits", weight="eight", bias="zero"),
    )
    tensors = {"eight": np.full((3, 1, 1, 1), 8, np.float32), "zero": np.zeros(3, np.float32)}
    graph = Graph(OnnxEngine(segment_model).manifest(), operators, tensors, {"logits": "logits"})
    onnx.save(to_onnx(with_argmax(graph)), path)
    return path
