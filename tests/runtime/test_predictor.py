from __future__ import annotations

import gc
import io
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mobilenets.errors import CheckpointError, ImageError
from mobilenets.runtime.classify import Classification
from mobilenets.runtime.decoders import Prediction
from mobilenets.runtime.engines.base import Engine
from mobilenets.runtime.manifest import Manifest
from mobilenets.runtime.predictor import Predictor
from mobilenets.specs.model import ClassifierHead, InputContract

COLORS = ("red", "lime", "blue")
LABELS = {"red": "red", "lime": "green", "blue": "blue"}


def image(color: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (20, 30), color).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i in range(30):
        (tmp_path / f"{i:02}.png").write_bytes(image(COLORS[i % 3]))
    return tmp_path


class Named:
    """An image that is read late."""

    def __init__(self, name: str, color: str) -> None:
        self.name = name
        self._color = color

    def read(self) -> bytes:
        return image(self._color)


def classified(prediction: Prediction | None) -> Classification:
    assert isinstance(prediction, Classification)
    return prediction


def test_a_path_text_bytes_or_reader_give_the_same_prediction(color_model: Path, folder: Path) -> None:
    predictor = Predictor.open(color_model)
    sources = (folder / "01.png", str(folder / "01.png"), image("lime"), Named("x", "lime"))
    predictions = [classified(predictor.predict(source)) for source in sources]
    assert {one.label for one in predictions} == {"green"}
    # green is (-1, 1, -1) after scaling, times 4: softmax of (-4, 4, -4)
    np.testing.assert_allclose(predictions[0].scores[1], 1 / (1 + 2 * np.exp(-8)), rtol=1e-6)


@pytest.mark.parametrize("inside", ["model.onnx", "export/model.onnx"])
def test_open_finds_the_model_in_an_export_or_run_folder(color_model: Path, tmp_path: Path, inside: str) -> None:
    (tmp_path / inside).parent.mkdir(exist_ok=True)
    (tmp_path / inside).write_bytes(color_model.read_bytes())
    assert Predictor.open(tmp_path).manifest.model == "color"


def test_a_run_that_was_never_exported_says_how_to(tmp_path: Path) -> None:
    (tmp_path / "best").mkdir()
    with pytest.raises(CheckpointError, match="holds no exported model") as caught:
        Predictor.open(tmp_path)
    assert caught.value.hint == f"mobilenets export {tmp_path} --to onnx"


def test_a_folder_with_a_model_of_another_name_says_which_file_to_give(color_model: Path, tmp_path: Path) -> None:
    (tmp_path / "export").mkdir()
    file = tmp_path / "export" / "detector.onnx"
    file.write_bytes(color_model.read_bytes())
    with pytest.raises(CheckpointError, match="holds no exported model") as caught:
        Predictor.open(tmp_path / "export")
    assert caught.value.hint == f"give the file: {file}"


def test_a_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no file or folder '.*nowhere'"):
        Predictor.open(tmp_path / "nowhere")


def test_a_checkpoint_file_is_not_mistaken_for_a_model(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(CheckpointError, match=r"not an \.onnx, .* file"):
        Predictor.open(tmp_path / "model.safetensors")


def test_predict_raises_for_a_bad_image(color_model: Path) -> None:
    with pytest.raises(ImageError):
        Predictor.open(color_model).predict(b"nothing")


@pytest.mark.parametrize("batch", [1, 4, 7, 100])
@pytest.mark.parametrize("threads", [1, 3])
def test_stream_keeps_the_order(color_model: Path, folder: Path, batch: int, threads: int) -> None:
    paths = sorted(folder.glob("*.png"))
    results = list(Predictor.open(color_model, threads=threads).stream(paths, batch=batch))
    assert [result.name for result in results] == [str(path) for path in paths]
    labels = [classified(result.prediction).label for result in results]
    assert labels == [LABELS[COLORS[i % 3]] for i in range(30)]


def test_a_bad_file_is_a_result_with_its_reason_and_stops_nothing(color_model: Path, folder: Path) -> None:
    (folder / "03.png").write_bytes(image("red")[:50])
    (folder / "04.png").unlink()
    (folder / "05.png").write_bytes(b"")
    paths = [folder / f"{i:02}.png" for i in range(30)]
    results = list(Predictor.open(color_model).stream(paths, batch=4))
    assert [i for i, result in enumerate(results) if result.prediction is None] == [3, 4, 5]
    assert [result.error for result in results[3:6]] == [
        "the image is truncated: the file ends before the image does",
        "No such file or directory",
        "the image is empty: 0 bytes",
    ]


def test_a_batch_of_bad_files_only_is_no_trouble(color_model: Path) -> None:
    results = list(Predictor.open(color_model).stream([b"", b"x"], batch=2))
    assert all(result.prediction is None and result.error for result in results)


def test_an_empty_stream_ends_at_once(color_model: Path) -> None:
    assert list(Predictor.open(color_model).stream([])) == []


def test_stream_reads_ahead_no_further_than_a_few_batches(color_model: Path) -> None:
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield image("red")

    stream = Predictor.open(color_model, threads=2).stream(endless(), batch=4)
    for _ in range(40):
        next(stream)
    stream.close()  # type: ignore[attr-defined]  # a generator
    assert taken <= 40 + 4 * 6


def test_memory_does_not_grow_with_the_stream(color_model: Path) -> None:
    tracemalloc = pytest.importorskip("tracemalloc")
    predictor = Predictor.open(color_model, threads=2)
    buffer = io.BytesIO()
    Image.new("RGB", (400, 400)).save(buffer, "PNG")
    peaks = []
    for count in (40, 400):
        gc.collect()
        tracemalloc.start()
        for _ in predictor.stream((buffer.getvalue() + bytes(100_000) for _ in range(count)), batch=2):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] * 1.5


class SlowEngine(Engine):
    """Sleeps for a batch, and remembers how many were inside at once."""

    outputs = ("logits",)

    def __init__(self, *, concurrent: bool) -> None:
        self.concurrent = concurrent
        self.inside = self.most = 0
        self._lock = threading.Lock()

    def run(self, batch: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        with self._lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        time.sleep(0.01)
        with self._lock:
            self.inside -= 1
        return {"logits": batch.mean(axis=(2, 3))}


@pytest.mark.parametrize("runs", [1, 2])
def test_no_more_threads_than_allowed_are_inside_the_engine(runs: int) -> None:
    engine = SlowEngine(concurrent=True)
    predictor = Predictor(Manifest("m", ("a", "b", "c"), InputContract(size=8)), engine, threads=4, runs=runs)
    assert len(list(predictor.stream([image("red")] * 24, batch=1))) == 24
    assert engine.most == runs


def test_predicting_needs_no_training_library(color_model: Path, folder: Path) -> None:
    program = f"""
    import sys

    blocked = {{"torch", "torchvision", "matplotlib", "jinja2", "safetensors", "onnx", "scipy"}}

    class Blocker:
        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] in blocked:
                raise ImportError(f"{{name}} is blocked")

    sys.meta_path.insert(0, Blocker())
    from mobilenets.runtime.predictor import Predictor
    from mobilenets.evaluation.evaluators import evaluate
    predictor = Predictor.open({str(color_model)!r})
    print(predictor.predict({str(folder / "02.png")!r}).label, len(list(predictor.stream([{str(folder / "02.png")!r}] * 3))))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("blue 3", "")


def test_decoded_images_are_predicted_as_encoded_ones(color_model: Path, tmp_path: Path) -> None:
    image = Image.new("RGB", (40, 30), (200, 100, 50))
    image.save(tmp_path / "a.png")
    predictor = Predictor.open(color_model)
    (decoded,) = predictor.predict_decoded([image])
    encoded = predictor.predict(tmp_path / "a.png")
    assert isinstance(decoded, Classification)
    assert isinstance(encoded, Classification)
    np.testing.assert_array_equal(decoded.scores, encoded.scores)


def test_another_head_decodes_otherwise_and_leaves_the_first_as_it_is(color_model: Path) -> None:
    image = Image.new("RGB", (40, 30), "red")
    predictor = Predictor.open(color_model)
    (first,) = predictor.predict_decoded([image])
    (soft,) = predictor.with_head(ClassifierHead(temperature=1e6)).predict_decoded([image])
    (again,) = predictor.predict_decoded([image])
    assert [one.scores[0] for one in (first, soft, again) if isinstance(one, Classification)] == pytest.approx(
        [0.99933, 1 / 3, 0.99933], abs=1e-4
    )
