"""What a predictor takes for an image, and what it says of what it does not take."""

from __future__ import annotations

import io
import multiprocessing
import os
import pickle
import re
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mobilenets.errors import ImageError, UsageError
from mobilenets.runtime.classify import Classification
from mobilenets.runtime.detect.decode import Detections
from mobilenets.runtime.images.prepare import prepare, prepare_channels
from mobilenets.runtime.predictor import Predictor
from mobilenets.specs.model import InputContract

GREEN = np.full((30, 20, 3), (10, 250, 30), np.uint8)


def encoded(pixels: np.ndarray[Any, Any], **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", **options)
    return buffer.getvalue()


def scores(prediction: object) -> np.ndarray[Any, Any]:
    assert isinstance(prediction, Classification)
    return prediction.scores


@pytest.fixture
def predictor(color_model: Path) -> Predictor:
    return Predictor.open(color_model, threads=2)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "green.png").write_bytes(encoded(GREEN))
    return tmp_path / "green.png"


KINDS: dict[str, Callable[[Path], Any]] = {
    "path": lambda file: file,
    "text": str,
    "entry of a folder": lambda file: next(os.scandir(file.parent)),
    "bytes": lambda file: file.read_bytes(),
    "bytearray": lambda file: bytearray(file.read_bytes()),
    "memoryview": lambda file: memoryview(file.read_bytes()),
    "BytesIO": lambda file: io.BytesIO(file.read_bytes()),
    "open file": lambda file: file.open("rb"),
    "Pillow image": Image.open,
    "array": lambda file: np.asarray(Image.open(file)),
    "array that is not contiguous": lambda file: np.asarray(Image.open(file))[::-1, :, ::-1][::-1, :, ::-1],
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", ["predict", "list", "stream", "stream of one"])
def test_every_kind_of_image_gives_the_same_prediction(predictor: Predictor, file: Path, kind: str, way: str) -> None:
    source = KINDS[kind](file)
    if way == "predict":
        found: Any = predictor.predict(source)
    elif way == "list":
        (found,) = predictor.predict([source])
    else:
        (result,) = predictor.stream(source if way == "stream of one" else [source])
        found = result.prediction
    np.testing.assert_allclose(scores(found), scores(predictor.predict(file)), rtol=1e-6)


def test_a_list_is_predicted_in_its_order(predictor: Predictor) -> None:
    colors = [(255, 0, 0), (0, 255, 0), (0, 0, 255)] * 7
    found = predictor.predict([np.full((9, 9, 3), color, np.uint8) for color in colors])
    assert [one.label for one in found if isinstance(one, Classification)] == ["red", "green", "blue"] * 7
    assert predictor.predict([]) == []


def test_an_image_of_pillow_is_turned_upright_and_laid_over_white_as_its_file_is(predictor: Predictor, tmp_path: Path) -> None:
    pixels = np.zeros((40, 20, 4), np.uint8)
    pixels[:20] = (255, 0, 0, 255)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    image = Image.open(tmp_path / "turned.png")
    np.testing.assert_array_equal(scores(predictor.predict(image)), scores(predictor.predict(tmp_path / "turned.png")))
    assert image.size == (20, 40)


@pytest.mark.parametrize(
    ("array", "message", "hint"),
    [
        (GREEN / 255, r"30 x 20 x 3 float64; an image is H W 3, RGB, uint8", "255"),
        (GREEN.astype(np.int64), "int64", "astype"),
        (GREEN.transpose(2, 0, 1), "channels first", r"transpose\(1, 2, 0\)"),
        (GREEN[:, :, 0], "is gray", "np.stack"),
        (np.dstack([GREEN, GREEN[:, :, 0]]), "alpha", r"\[:, :, :3\]"),
        (GREEN[np.newaxis], "a batch", r"list\(array\)"),
        (GREEN[:0], "0 x 20 x 3", ""),
        (np.zeros((), np.uint8), "a single number", ""),
        (np.zeros((5, 5, 2), np.uint8), "5 x 5 x 2", ""),
        (np.array(["a.jpg", "b.jpg"]), "<U5", ""),
    ],
)
def test_an_array_that_is_no_image_says_what_it_looks_like(predictor: Predictor, array: Any, message: str, hint: str) -> None:
    with pytest.raises(ImageError, match=message) as caught:
        predictor.predict(array)
    assert re.search(hint, caught.value.hint)
    (result,) = predictor.stream([array])
    assert result.prediction is None
    assert result.error == str(caught.value)


class Broken:
    name = "broken"

    def read(self) -> bytes:
        raise KeyError("who reads this")


def closed() -> io.BytesIO:
    file = io.BytesIO(encoded(GREEN))
    file.close()
    return file


@pytest.mark.parametrize(
    "source",
    [
        None,
        3,
        4.5,
        object(),
        {"a": 1},
        Broken(),
        closed(),
        io.StringIO("text"),
        io.BytesIO(b""),
        b"",
        bytearray(b"x"),
        "",
        "\0",
    ],
    ids=lambda source: type(source).__name__,
)
def test_a_bad_source_of_any_kind_is_a_result_with_its_reason(predictor: Predictor, source: Any) -> None:
    results = list(predictor.stream([GREEN, source, GREEN]))
    assert [result.prediction is None for result in results] == [False, True, False]
    assert results[1].error
    assert set(results[1].record()) == {"file", "error"}
    with pytest.raises((ImageError, OSError)):
        predictor.predict(source)


def at_its_end() -> io.BytesIO:
    file = io.BytesIO()
    Image.fromarray(GREEN).save(file, "PNG")
    return file


@pytest.mark.parametrize(
    ("source", "message", "hint"),
    [
        (at_its_end(), "'<BytesIO>' was read to its end before", "seek"),
        (Image.new("RGB", (0, 5)), "has no pixels: 0 x 5", ""),
        ("https://host/a.jpg", "'https://host/a.jpg' is an address", "download"),
    ],
)
def test_a_slip_is_named(predictor: Predictor, source: Any, message: str, hint: str) -> None:
    with pytest.raises(ImageError, match=message) as caught:
        predictor.predict(source)
    assert hint in caught.value.hint


def test_a_text_that_is_streamed_is_a_path_not_its_letters(predictor: Predictor, file: Path) -> None:
    assert [result.name for result in predictor.stream(str(file))] == [str(file)]
    assert [result.name for result in predictor.stream("no such file.jpg")] == ["no such file.jpg"]


def test_pipes_and_devices_are_not_waited_for(predictor: Predictor, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    results = list(predictor.stream([tmp_path / "pipe.jpg", Path("/dev/zero"), tmp_path]))
    assert [result.error for result in results] == [
        "it is a named pipe, not a file",
        "it is a device, not a file",
        "Is a directory",
    ]


def test_other_numbers_of_channels_are_prepared_one_by_one() -> None:
    """Five channels, of which the first three are those of an RGB image."""
    pixels = np.random.default_rng(0).integers(0, 256, (31, 47, 5), dtype=np.uint8)
    for resize in ("stretch", "letterbox", "shorter_side_then_crop", "crop_then_stretch", "sample"):
        contract = InputContract(size=24, channels=5, mean=(0.1, 0.2, 0.3, 0.4, 0.5), std=(0.5,), resize=resize)
        rgb = InputContract(size=24, mean=(0.1, 0.2, 0.3), std=(0.5,), resize=resize)
        found = prepare_channels(pixels, contract)
        assert found.shape == (5, 24, 24)
        np.testing.assert_allclose(found[:3], prepare(Image.fromarray(pixels[:, :, :3]), rgb), atol=1e-6)


def test_a_threshold_holds_for_one_call(cell_model: Path) -> None:
    predictor = Predictor.open(cell_model)
    image = Image.new("RGB", (96, 96))
    image.paste((255, 0, 0), (0, 0, 32, 32))
    counts = []
    for threshold in (None, 0.9, 0.01, None):
        found = predictor.predict(image, threshold=threshold)
        (streamed,) = predictor.stream([image], threshold=threshold)
        assert isinstance(found, Detections)
        assert isinstance(streamed.prediction, Detections)
        assert len(found) == len(streamed.prediction)
        counts.append(len(found))
    assert counts == [17, 1, 17, 17]  # 8 black cells score 1.8% for either label; the head's own threshold is lower
    for wrong in (-0.1, 1.5, float("nan")):
        with pytest.raises(UsageError, match="not between 0 and 1"):
            predictor.predict(image, threshold=wrong)


def test_a_predictor_goes_to_other_processes_by_its_file(color_model: Path) -> None:
    predictor = Predictor.open(color_model)
    assert len(pickle.dumps(predictor)) < 4000
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(Predictor.predict, predictor, GREEN).result(60).summary() == "green 99.8%"


def test_a_predictor_says_what_it_is(color_model: Path) -> None:
    predictor = Predictor.open(color_model)
    assert repr(predictor) == (
        f"Predictor('color', task='classify', 3 labels, input=16 x 16 px, engine=OnnxEngine({str(color_model)!r}))"
    )
    assert "red, green, blue" in predictor._repr_html_()
