"""Fixtures that more than one folder of tests needs."""

from __future__ import annotations

import io
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.slowness import pytest_collection_modifyitems, pytest_runtest_setup

from mobilenets.runtime.engines.base import Engine
from mobilenets.runtime.manifest import Manifest
from mobilenets.runtime.predictor import Predictor
from mobilenets.specs.deeplab import DeepLabHead
from mobilenets.specs.model import InputContract

__all__ = ["pytest_collection_modifyitems", "pytest_runtest_setup"]  # hooks

Pixels = NDArray[np.uint8]


@dataclass
class Web:
    """A web server of this machine.

    Args:
        folder: whose files it gives.
        url: its address.
        ranges: whether it gives parts of files.
        busy: how many of the next requests it turns away.
        cut: after how many bytes it breaks the next connection off; 0 never.
        impatient: whether it hangs up after each answer, without a word.
        connections: how many there have been.
        moved: paths that are elsewhere now.
        asked: path and range of every request.
        twist: gives the `Content-Range`, the bytes and the ETag that are sent, from the first and last byte that are asked for
            and the whole data; None for the truth.
        drip_s: pause after each byte of a part; 0 for none.
        headers: further ones.
    """

    folder: Path
    url: str = ""
    ranges: bool = True
    busy: int = 0
    cut: int = 0
    impatient: bool = False
    connections: int = 0
    moved: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    twist: Callable[[int, int, bytes], tuple[str, bytes, str]] | None = None
    drip_s: float = 0.0
    headers: dict[str, str] = field(default_factory=dict)


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """A web server for the folder `web`, and an empty cache folder; nothing waits before asking again."""
    server = Web(tmp_path / "web")
    server.folder.mkdir()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            server.connections += 1
            super().setup()

        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            server.asked.append((self.path, wanted))
            path = server.folder / self.path.partition("?")[0].lstrip("/")
            if server.busy:
                server.busy -= 1
                self.send_error(503)
            elif self.path in server.moved:
                self.send_response(302)
                self.send_header("Location", server.moved[self.path])
                self.send_header("Content-Length", "0")
                self.end_headers()
            elif not path.is_file():
                self.send_error(404)
            else:
                self._give(path.read_bytes(), wanted)

        def _give(self, data: bytes, wanted: str) -> None:
            mark, first, last = hash(data), 0, len(data) - 1
            if server.ranges and wanted:
                first, last = (int(end) for end in wanted.removeprefix("bytes=").split("-"))
                last = min(last, len(data) - 1)
                self.send_response(206)
                span, part, tag = f"bytes {first}-{last}/{len(data)}", data[first : last + 1], f'"{mark}"'
                if server.twist is not None:
                    span, part, tag = server.twist(first, last, data)
                self.send_header("Content-Range", span)
            else:
                self.send_response(200)
                part, tag = data, f'"{mark}"'
            self.send_header("ETag", tag)
            self.send_header("Content-Length", str(len(part)))
            for name, value in server.headers.items():
                self.send_header(name, value)
            self.end_headers()
            if server.cut and len(part) > server.cut:
                part, server.cut, self.close_connection = part[: server.cut], 0, True
            if server.drip_s and wanted:
                for i in range(len(part)):
                    self.wfile.write(part[i : i + 1])
                    time.sleep(server.drip_s)
            else:
                self.wfile.write(part)
            self.close_connection |= server.impatient

        def log_message(self, *_: Any) -> None:  # Any: of the class above
            pass

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr("mobilenets.data.remote.BACKOFF_S", 0.0)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        server.url = f"http://127.0.0.1:{http.server_port}"
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        yield server
        http.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of published figures, weights and images that lies beside the checkout."""
    folder = Path(os.environ.get("MOBILENETS_SHARED", Path(__file__).parents[2] / "shared"))
    if not folder.is_dir():
        pytest.skip(f"the folder of published figures, weights and images is not at {folder}; set MOBILENETS_SHARED")
    return folder


@pytest.fixture(scope="session")
def color_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An `.onnx` file that tells red, green and blue images apart: logits are 4 times the channels' means, -1 to 1."""
    onnx = pytest.importorskip("onnx")
    from mobilenets.runtime.manifest import METADATA_KEY, Manifest
    from mobilenets.specs.model import InputContract

    floats = onnx.TensorProto.FLOAT
    nodes = [
        onnx.helper.make_node("GlobalAveragePool", ["image"], ["pooled"]),
        onnx.helper.make_node("Flatten", ["pooled"], ["means"]),
        onnx.helper.make_node("Mul", ["means", "four"], ["logits"]),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "color",
        [onnx.helper.make_tensor_value_info("image", floats, ["n", 3, 16, 16])],
        [onnx.helper.make_tensor_value_info("logits", floats, ["n", 3])],
        [onnx.helper.make_tensor("four", floats, [1], [4.0])],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    manifest = Manifest("color", ("red", "green", "blue"), InputContract(size=16))
    onnx.helper.set_model_props(model, {METADATA_KEY: manifest.to_json()})
    path: Path = tmp_path_factory.mktemp("color") / "model.onnx"
    onnx.save(model, path)
    return path


@pytest.fixture(scope="session")
def cell_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An `.onnx` file that finds red ("rose") and blue ("sky") cells of an image cut into 3 x 3; the input is 96 x 96 px.

    Each cell is an anchor. A pure color scores 98%, black 1.8% for either.
    """
    onnx = pytest.importorskip("onnx")
    from mobilenets.runtime.manifest import METADATA_KEY, Manifest
    from mobilenets.specs.model import InputContract
    from mobilenets.specs.ssd import SsdHead

    floats, helper = onnx.TensorProto.FLOAT, onnx.helper
    nodes = [
        helper.make_node("AveragePool", ["image"], ["cells"], kernel_shape=[32, 32], strides=[32, 32]),
        helper.make_node("Transpose", ["cells"], ["last"], perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", ["last", "shape"], ["colors"]),  # N 9 3
        helper.make_node("MatMul", ["colors", "weights"], ["differences"]),
        helper.make_node("Add", ["differences", "bias"], ["logits"]),
        helper.make_node("MatMul", ["colors", "zeros"], ["offsets"]),
    ]
    graph = helper.make_graph(
        nodes,
        "cells",
        [helper.make_tensor_value_info("image", floats, ["n", 3, 96, 96])],
        [
            helper.make_tensor_value_info("logits", floats, ["n", 9, 3]),
            helper.make_tensor_value_info("offsets", floats, ["n", 9, 4]),
        ],
        [
            helper.make_tensor("shape", onnx.TensorProto.INT64, [3], [0, 9, 3]),
            helper.make_tensor("weights", floats, [3, 3], [0, 4, -4, 0, 0, 0, 0, -4, 4]),
            helper.make_tensor("bias", floats, [3], [0, -4, -4]),
            helper.make_tensor("zeros", floats, [3, 4], [0] * 12),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    head = SsdHead(maps=("s32",), strides=(32,), anchors=(((1 / 3, 1.0),),), extras=())
    contract = InputContract(size=96, resize="stretch", crop=1.0)
    helper.set_model_props(model, {METADATA_KEY: Manifest("cells", ("rose", "sky"), contract, head).to_json()})
    path: Path = tmp_path_factory.mktemp("cells") / "model.onnx"
    onnx.save(model, path)
    return path


@dataclass
class MeanColors(Engine):
    """An engine: the logits of each cell are 8 times its mean red, green and blue, -1 to 1.

    Args:
        stride: side of a cell, px.
        shapes: of the inputs that it has seen.
    """

    stride: int
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    outputs: tuple[str, ...] = ("logits",)

    def run(self, batch: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        self.shapes.append(batch.shape)
        n, c, height, width = batch.shape
        cells = batch.reshape(n, c, height // self.stride, self.stride, width // self.stride, self.stride)
        return {"logits": 8 * cells.mean(axis=(3, 5))}


@pytest.fixture
def segmenter() -> Callable[..., Predictor]:
    """Makes a predictor of red, green and blue for inputs of a height and width, with a stride."""

    def make(height: int, width: int, stride: int = 4) -> Predictor:
        contract = InputContract(size=height, wide=0 if width == height else width, resize="stretch", crop=1.0)
        manifest = Manifest("colors", ("red", "green", "blue"), contract, DeepLabHead())
        return Predictor(manifest, MeanColors(stride), threads=2)

    return make


@pytest.fixture
def blocks() -> Callable[[int, int], Pixels]:
    """Makes an image, H W 3, of blocks of random color."""

    def make(height: int, width: int) -> Pixels:
        pixels = np.random.default_rng(0).integers(0, 255, (-(-height // 7), -(-width // 7), 3), dtype=np.uint8)
        return np.kron(pixels, np.ones((7, 7, 1), np.uint8))[:height, :width]

    return make


@pytest.fixture
def png() -> Callable[[Pixels], bytes]:
    """Encodes an image without loss."""

    def encode(pixels: Pixels) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        return buffer.getvalue()

    return encode
