"""What every engine promises, and what the gate before it keeps. A new runtime is one more entry in `OPENED`."""

from __future__ import annotations

import atexit
import copy
import functools
import importlib.util
import pickle
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mobilenets.errors import CheckpointError, UsageError
from mobilenets.runtime.classify import Classification
from mobilenets.runtime.detect.tiles import predict_tiles_decoded
from mobilenets.runtime.engines.base import Engine, Outputs
from mobilenets.runtime.engines.gate import Gate
from mobilenets.runtime.engines.onnx import OnnxEngine
from mobilenets.runtime.engines.table import ENGINES, Runtime
from mobilenets.runtime.manifest import Manifest, beside
from mobilenets.runtime.predictor import Predictor
from mobilenets.runtime.segment.scales import MultiScale
from mobilenets.runtime.segment.tiles import predict_tiles_decoded as segment_tiles_decoded
from mobilenets.specs.deeplab import DeepLabHead
from mobilenets.specs.model import ClassifierHead, InputContract, ModelSpec
from mobilenets.specs.rows import BackboneSpec, Conv
from mobilenets.specs.ssd import SsdHead


def _toy() -> Any:  # Any: a module, which lies beside this file and in no package
    spec = importlib.util.spec_from_file_location("toy_runtime", Path(__file__).with_name("toy.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["toy_runtime"] = module  # where pickle looks for it
    spec.loader.exec_module(module)
    return module


TOY = _toy()
CONTRACT = InputContract(size=16)
MANIFEST = Manifest("color", ("red", "green", "blue"), CONTRACT)


def onnx_engine(color_model: Path, folder: Path) -> Engine:
    return OnnxEngine(color_model)


def torch_engine(color_model: Path, folder: Path) -> Engine:
    pytest.importorskip("torch")
    from mobilenets.model import TorchEngine, create

    backbone = BackboneSpec("color", (Conv(8, kernel=3, stride=2),))
    return TorchEngine(create(ModelSpec(backbone, MANIFEST.labels, CONTRACT)))


def toy_engine(color_model: Path, folder: Path) -> Engine:
    engine: Engine = TOY.ToyEngine(TOY.write_toy(folder / "model.toy", MANIFEST, 4))
    return engine


def litert_engine(color_model: Path, folder: Path) -> Engine:
    pytest.importorskip("torch")
    from mobilenets.exporters.table import export
    from mobilenets.model import create
    from mobilenets.runtime.engines.litert import LiteRtEngine

    backbone = BackboneSpec("color", (Conv(8, kernel=3, stride=2),))
    export(create(ModelSpec(backbone, MANIFEST.labels, CONTRACT)), folder, to="tflite")
    return LiteRtEngine(folder / "model.tflite")


def openvino_engine(color_model: Path, folder: Path) -> Engine:
    pytest.importorskip("openvino")
    pytest.importorskip("torch")
    from mobilenets.exporters.table import export
    from mobilenets.model import create
    from mobilenets.runtime.engines.openvino import OpenVinoEngine

    backbone = BackboneSpec("color", (Conv(8, kernel=3, stride=2),))
    export(create(ModelSpec(backbone, MANIFEST.labels, CONTRACT)), folder, to="openvino")
    return OpenVinoEngine(folder / "model.xml", threads=1)


def openvino_of_onnx(color_model: Path, folder: Path) -> Engine:
    pytest.importorskip("openvino")
    from mobilenets.runtime.engines.openvino import OpenVinoEngine

    return OpenVinoEngine(color_model)


def executorch_engine(color_model: Path, folder: Path) -> Engine:
    pytest.importorskip("executorch")
    from mobilenets.runtime.engines.executorch import ExecuTorchEngine

    return ExecuTorchEngine(executorch_file())


@functools.cache
def executorch_file() -> Path:
    from mobilenets.exporters.table import export
    from mobilenets.model import create

    backbone = BackboneSpec("color", (Conv(8, kernel=3, stride=2),))
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    export(create(ModelSpec(backbone, MANIFEST.labels, CONTRACT)), folder.name, to="executorch")
    return Path(folder.name, "model.pte")


def coreml_engine(color_model: Path, folder: Path) -> Engine:
    if sys.platform != "darwin":
        pytest.skip("macOS, where Core ML runs")
    from mobilenets.exporters.table import export
    from mobilenets.model import create
    from mobilenets.runtime.engines.coreml import CoreMlEngine

    backbone = BackboneSpec("color", (Conv(8, kernel=3, stride=2),))
    export(create(ModelSpec(backbone, MANIFEST.labels, CONTRACT)), folder, to="coreml")
    return CoreMlEngine(folder / "model.mlpackage")


def native_engine(color_model: Path, folder: Path) -> Engine:
    pytest.importorskip("mobilenets_native")
    pytest.importorskip("torch")
    from mobilenets.exporters.table import export
    from mobilenets.model import create
    from mobilenets.runtime.engines.native import NativeEngine

    backbone = BackboneSpec("color", (Conv(8, kernel=3, stride=2),))
    export(create(ModelSpec(backbone, MANIFEST.labels, CONTRACT)), folder, to="native")
    return NativeEngine(folder / "model.graph", threads=2)


OPENED: dict[str, Callable[[Path, Path], Engine]] = {
    "onnx": onnx_engine,
    "torch": torch_engine,
    "toy": toy_engine,
    "tflite": litert_engine,
    "xml": openvino_engine,
    "openvino of onnx": openvino_of_onnx,
    "pte": executorch_engine,
    "mlpackage": coreml_engine,
    "graph": native_engine,
}
SLOW = {"pte", "mlpackage"}  # their converters take seconds


@pytest.fixture(params=[pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in OPENED])
def engine(request: pytest.FixtureRequest, color_model: Path, tmp_path: Path) -> Engine:
    return OPENED[request.param](color_model, tmp_path)


def noise(n: int, size: int = 16) -> NDArray[np.float32]:
    return np.random.default_rng(n).normal(size=(n, 3, size, size)).astype(np.float32)


def test_every_exported_kind_of_file_has_an_engine_under_contract() -> None:
    assert {f".{name}" for name in OPENED} >= set(ENGINES)


def test_it_says_what_it_is(engine: Engine) -> None:
    assert engine.source
    assert engine.outputs == ("logits",)
    assert engine.manifest().labels == MANIFEST.labels
    assert engine.input_shape in (None, CONTRACT.shape)
    assert engine.precision == "float32"


@pytest.mark.parametrize("n", [1, 2, 5])
def test_through_the_gate_it_takes_any_number_of_images_and_each_alone_gives_the_same(engine: Engine, n: int) -> None:
    batch = noise(n)
    together = Gate(engine, 1).run(batch)
    assert together["logits"].shape == (n, 3)
    alone = np.concatenate([Gate(engine, 1).run(batch[i : i + 1])["logits"] for i in range(n)])
    np.testing.assert_allclose(together["logits"], alone, rtol=1e-4, atol=1e-5)


def test_the_input_is_left_as_it_is(engine: Engine) -> None:
    batch = noise(engine.batch or 2)
    before = batch.copy()
    engine.run(batch)
    np.testing.assert_array_equal(batch, before)


def test_many_threads_get_the_answers_of_one(engine: Engine) -> None:
    predictor = Predictor(engine.manifest(), engine, threads=4, runs=4)
    batches = [noise(2 + i % 3) for i in range(24)]
    expected = [predictor.run(batch)["logits"] for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda batch: predictor.run(batch)["logits"], batches))
    for found, one in zip(results, expected, strict=True):
        np.testing.assert_allclose(found, one, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("duplicate", [lambda it: pickle.loads(pickle.dumps(it)), copy.deepcopy, copy.copy])
def test_a_predictor_is_duplicated_with_its_engine(engine: Engine, duplicate: Callable[[Predictor], Predictor]) -> None:
    predictor = Predictor(engine.manifest(), engine, threads=3, batch=4).with_head(ClassifierHead(temperature=2.0))
    image = Image.new("RGB", (20, 20), (200, 30, 90))
    other = duplicate(predictor)
    first, second = predictor.predict(image), other.predict(image)
    assert isinstance(first, Classification)
    assert isinstance(second, Classification)
    np.testing.assert_allclose(second.scores, first.scores, rtol=1e-5)
    assert (other.threads, other.batch) == (3, 4)


def test_the_share_on_fast_kernels_comes_from_the_runtime(engine: Engine) -> None:
    fast = engine.fast_path()
    if fast is not None:
        assert 0 < fast.fast <= fast.total
        assert fast.total - fast.fast == sum(fast.slow.values())


def test_a_profile_has_every_operator_once(engine: Engine) -> None:
    fast, times = engine.fast_path(), engine.operator_times()
    assert bool(times) == isinstance(engine, OnnxEngine)
    if fast is not None and times:
        assert sum(of.count for of in times.values()) == fast.total
        assert 0 < sum(of.ms for of in times.values()) < 1000


def test_it_can_be_closed(engine: Engine) -> None:
    engine.close()


# ---- a runtime from outside


def test_a_runtime_from_outside_is_one_more_entry_of_the_table(tmp_path: Path) -> None:
    path = TOY.write_toy(tmp_path / "model.toy", MANIFEST, 4)
    engines = {**ENGINES, ".toy": Runtime("Toy", TOY.ToyEngine)}
    for place in (path, tmp_path):
        predictor = Predictor.open(place, engines=engines)
        image = Image.new("RGB", (20, 20), "lime")
        results = list(predictor.stream([image] * 5))
        assert [result.prediction.label for result in results if isinstance(result.prediction, Classification)] == ["green"] * 5
    with pytest.raises(CheckpointError, match=r"not an \.onnx, \.tflite, \.xml, \.pte, \.mlpackage or \.graph file"):
        Predictor.open(path)


def test_a_manifest_that_is_not_beside_the_file_is_asked_for(tmp_path: Path) -> None:
    path = TOY.write_toy(tmp_path / "model.toy", MANIFEST, 4)
    beside(path).unlink()
    with pytest.raises(CheckpointError, match=r"model\.toy' has no 'model\.toy\.json' beside it"):
        TOY.ToyEngine(path).manifest()


@pytest.mark.parametrize("content", [b"\xff\xfe", b"{", b"[" * 5000, b"null"])
def test_a_damaged_manifest_beside_the_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = TOY.write_toy(tmp_path / "model.toy", MANIFEST, 4)
    beside(path).write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model\.toy\.json'"):
        TOY.ToyEngine(path).manifest()


def test_a_file_of_another_input_size_than_its_manifest_is_refused(tmp_path: Path, color_model: Path) -> None:
    onnx = pytest.importorskip("onnx")
    from mobilenets.runtime.manifest import METADATA_KEY

    model = onnx.load(color_model)
    onnx.helper.set_model_props(model, {METADATA_KEY: Manifest("color", MANIFEST.labels, InputContract(size=33)).to_json()})
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(CheckpointError, match=r"takes inputs of 16 x 16 px, but its manifest says 33 x 33 px"):
        Predictor.open(tmp_path)


# ---- the gate


class Alone(Engine):
    """Notices when it is entered twice at once. Its logits are those of a coarse map, or of nothing found."""

    def __init__(self, outputs: tuple[str, ...]) -> None:
        self.outputs = outputs
        self.inside = self.most = self.runs = 0
        self._lock = threading.Lock()

    def run(self, batch: NDArray[np.float32]) -> Outputs:
        with self._lock:
            self.inside += 1
            self.runs += 1
            self.most = max(self.most, self.inside)
        time.sleep(0.003)
        with self._lock:
            self.inside -= 1
        n = len(batch)
        if "boxes" in self.outputs:
            return {
                "boxes": np.zeros((n, 1, 4), np.float32),
                "scores": np.zeros((n, 1), np.float32),
                "classes": np.zeros((n, 1), np.float32),
            }
        if "map" in self.outputs:
            return {"logits": batch[:, :, ::4, ::4]}
        return {"logits": batch.mean(axis=(2, 3))}


IMAGE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8))
DETECTOR = SsdHead(maps=("s32",), strides=(32,), anchors=(((1 / 3, 1.0),),), extras=())
STRETCH = InputContract(size=32, resize="stretch", crop=1.0)


@pytest.mark.parametrize(
    ("head", "outputs", "look"),
    [
        (ClassifierHead(), ("logits",), lambda it: list(it.stream([IMAGE] * 12, batch=1))),
        (ClassifierHead(mirrors="both"), ("logits",), lambda it: list(it.stream([IMAGE] * 4, batch=1))),
        (DETECTOR, ("boxes",), lambda it: predict_tiles_decoded(it, IMAGE, tile=40)),
        (DeepLabHead(), ("logits", "map"), lambda it: segment_tiles_decoded(it, IMAGE)),
        (
            DeepLabHead(),
            ("logits", "map"),
            lambda it: list(ThreadPoolExecutor(4).map(MultiScale(it, scales=[1.0]).predict, [IMAGE] * 6)),
        ),
    ],
    ids=["stream", "views", "tiles of a detector", "tiles of a segmenter", "scales"],
)
@pytest.mark.parametrize("runs", [1, 4])
def test_an_engine_that_is_not_concurrent_is_never_entered_twice(head: Any, outputs: Any, look: Any, runs: int) -> None:
    engine = Alone(outputs)
    predictor = Predictor(Manifest("alone", ("a", "b", "c"), STRETCH, head), engine, threads=4, runs=runs)
    threads = [
        threading.Thread(target=look, args=(one,)) for one in (predictor, predictor.with_head(head), copy.copy(predictor))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert engine.runs > 8
    assert engine.most == 1


class Fewer(Engine):
    outputs = ("logits",)

    def run(self, batch: NDArray[np.float32]) -> Outputs:
        return {"logits": np.zeros((1, 3), np.float32)}


def test_an_engine_that_loses_images_is_named() -> None:
    with pytest.raises(CheckpointError, match=r"given 4 images, but 'logits' has shape \[1, 3\]"):
        Gate(Fewer(), 1).run(noise(4))


def test_a_threshold_is_for_detectors(color_model: Path) -> None:
    with pytest.raises(UsageError, match="a threshold is for detectors; this model's task is 'classify'"):
        Predictor.open(color_model).predict(IMAGE, threshold=0.5)


def test_litert_opens_and_runs_without_a_word_of_its_own(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    from mobilenets.exporters.table import export
    from mobilenets.model import create

    spec = ModelSpec(BackboneSpec("plain", (Conv(8, 3, 2), Conv(8, 3, 2))), ("a", "b"), InputContract(size=32))
    export(create(spec), tmp_path, to="tflite")
    code = "import sys, mobilenets; mobilenets.Predictor.open(sys.argv[1]).predict(sys.argv[2])"
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    command = [sys.executable, "-c", code, str(tmp_path / "model.tflite"), str(tmp_path / "a.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize("ending", [ending for ending, runtime in ENGINES.items() if runtime.fits_system])
def test_an_empty_file_is_called_empty_by_every_runtime(ending: str, tmp_path: Path) -> None:
    runtime = ENGINES[ending]
    if ending == ".xml" and not runtime.installed:
        pytest.skip("openvino is not installed")
    (tmp_path / f"model{ending}").write_bytes(b"")
    with pytest.raises(CheckpointError, match=rf"model\{ending}' is empty"):
        runtime.open(tmp_path / f"model{ending}", threads=1)
