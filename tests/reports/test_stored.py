from __future__ import annotations

import io
import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from mobilenets.errors import CheckpointError, DataError
from mobilenets.evaluation.classify.evaluate import Report
from mobilenets.evaluation.compare import FIGURES, compare
from mobilenets.evaluation.detect.evaluate import DetectionReport
from mobilenets.evaluation.detect.truth import Truth
from mobilenets.evaluation.segment.evaluate import SegmentationReport
from mobilenets.reports.kinds import Evaluated
from mobilenets.reports.record import PER_IMAGE
from mobilenets.reports.stored import measured_of, read_measured
from mobilenets.reports.write import _arrays
from mobilenets.runtime.detect.decode import Detections

NAMES = ("a.jpg", "b\udcff.jpg", "c\n.jpg", "d.jpg")


def reports() -> dict[str, Evaluated]:
    logits = np.array([[2, 0], [0, 2], [2, 0], [1, 0]], np.float32)
    scores = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).astype(np.float32)
    box = np.array([[0, 0, 40, 40]], np.float32)
    found = Detections(("x", "y"), box, np.array([0.7], np.float32), np.zeros(1, np.int64))
    clear = np.zeros(1, np.bool_)
    truth = Truth(box, np.zeros(1, np.int64), clear, clear)
    pixels = np.array([[5, 5]] * 4)
    return {
        "classify": Report("m", ("x", "y"), NAMES, np.array([0, 1, 0, 1]), logits, scores, 1.0),
        "detect": DetectionReport("m", ("x", "y"), NAMES, ((found, truth),) * 4),
        "segment": SegmentationReport(
            "m", ("x", "y"), ((0, 0, 0),) * 2, NAMES, pixels, pixels, pixels, np.diag([20, 20]), np.full((4, 2), np.nan)
        ),
    }


@pytest.fixture(params=["classify", "detect", "segment"])
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    (tmp_path / PER_IMAGE).write_bytes(_arrays(reports()[request.param]))
    return tmp_path


@pytest.mark.parametrize("task", ["classify", "detect", "segment"])
def test_what_is_stored_comes_back(task: str, tmp_path: Path) -> None:
    report = reports()[task]
    (tmp_path / PER_IMAGE).write_bytes(_arrays(report))
    found, expected = read_measured(tmp_path, "m"), measured_of(report, "m")
    assert found is not None
    assert (found.task, found.labels, found.names) == (expected.task, expected.labels, expected.names)
    assert found.arrays.keys() == expected.arrays.keys()
    for name, array in expected.arrays.items():
        np.testing.assert_array_equal(found.arrays[name], array)


def test_a_folder_without_one_has_none(tmp_path: Path) -> None:
    assert read_measured(tmp_path, "m") is None
    assert read_measured(tmp_path / "gone", "m") is None


def test_a_report_that_is_being_replaced_is_read_where_it_lies(stored: Path) -> None:
    shutil.copytree(stored, stored.with_name(f".{stored.name}.old"))
    shutil.rmtree(stored)
    assert read_measured(stored, "m") is not None


def test_a_damaged_file_is_refused_or_still_sound(stored: Path) -> None:
    """Random damage: an error that names the file, or arrays that every metric can be computed from."""
    path = stored / PER_IMAGE
    sound = path.read_bytes()
    generator = np.random.default_rng(0)
    for i in range(150):
        damaged = bytearray(sound)
        for _ in range(int(generator.integers(1, 8))):
            place = int(generator.integers(0, len(damaged)))
            damaged[place : place + int(generator.integers(0, 4))] = generator.bytes(int(generator.integers(0, 4)))
        path.write_bytes(bytes(damaged[: int(generator.integers(0, len(damaged)))] if i % 5 == 0 else damaged))
        with suppress(CheckpointError):
            _use(stored)


@pytest.mark.parametrize(
    "change",
    [
        {"truth": np.array([0, 1, 0, 2])},
        {"predicted": np.array([0.5, 1, 0, 1])},
        {"predicted": np.array([0, -1, 0, 1])},
        {"loss": np.array([0.1, np.nan, 0.1, 0.1])},
        {"loss": np.array([0.1, 0.1])},
        {"names": np.array(["a"])},
        {"task": np.array("draw")},
        {"truth": np.array([{}, {}, {}, {}], object)},
        {"truth": np.array(3)},
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(tmp_path: Path, change: dict[str, object]) -> None:
    with np.load(io.BytesIO(_arrays(reports()["classify"]))) as sound:
        arrays = {key: sound[key] for key in sound.files} | change
    np.savez(tmp_path / PER_IMAGE, **arrays)
    with pytest.raises(CheckpointError, match=r"per_image\.npz' is damaged"):
        read_measured(tmp_path, "m")


def _use(folder: Path) -> None:
    found = read_measured(folder, "m")
    assert found is not None
    for metric in FIGURES[found.task]:
        with suppress(DataError):
            compare([found, found], metric)
