"""OpenVINO files of all three tasks, and what is said where a part of one is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.exporters.networks import SPECS

from mobilenets.errors import CheckpointError, ExportError
from mobilenets.exporters.table import export
from mobilenets.model import TorchEngine, create
from mobilenets.runtime.engines.openvino import OpenVinoEngine
from mobilenets.runtime.manifest import manifest_of
from mobilenets.runtime.predictor import Predictor

pytest.importorskip("openvino")


@pytest.mark.parametrize("task", SPECS)
def test_openvino_files_give_what_torch_gives(task: str, tmp_path: Path) -> None:
    model = create(SPECS[task])
    assert export(model, tmp_path, to="openvino").passed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.bin", "model.xml", "openvino.parity.json"]
    predictor = Predictor.open(tmp_path)
    assert predictor.manifest == manifest_of(model.spec)
    height, width = model.spec.input.shape
    batch = np.random.default_rng(0).normal(size=(3, 3, height, width)).astype(np.float32)
    expected = TorchEngine(model).run(batch)
    for name, values in predictor.run(batch).items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-3, atol=1e-4 * np.abs(expected[name]).max())


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("openvino")
    export(create(SPECS["classify"]), folder, to="openvino")
    return folder / "model.xml"


def test_every_operator_but_hard_sigmoid_runs_on_an_optimized_kernel(exported: Path) -> None:
    fast = OpenVinoEngine(exported).fast_path()
    assert fast.total > 80
    assert dict(fast.slow) == {"Math": 9}  # the gates of squeeze-and-excite, a number for each channel


def test_a_file_without_its_weights_says_which_file_is_missing(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "model.xml").write_bytes(exported.read_bytes())
    with pytest.raises(CheckpointError, match=r"model\.xml' has no 'model\.bin' beside it, which holds its weights"):
        Predictor.open(tmp_path)


DAMAGE = {
    b"<net": "Unable to read the model",
    b"<net name='a' version='11'>": "Start-end tags mismatch",
    b"<net name='a' version='11'></net>": "",
    b"<a/>": "",
    b"no network": "Unable to read the model",
    bytes(1000): "Unable to read the model",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_refused_in_one_line(
    damage: bytes, exported: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model.xml").write_bytes(damage)
    (tmp_path / "model.bin").write_bytes(exported.with_suffix(".bin").read_bytes())
    with pytest.raises(CheckpointError, match=f"is not a network that OpenVINO .* can run: {DAMAGE[damage]}") as refused:
        Predictor.open(tmp_path)
    assert "src/" not in str(refused.value)
    assert capfd.readouterr().err == ""


def test_weights_that_were_cut_off_are_refused(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "model.xml").write_bytes(exported.read_bytes())
    (tmp_path / "model.bin").write_bytes(exported.with_suffix(".bin").read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"is not a network that OpenVINO .* can run: Incorrect weights in bin file"):
        Predictor.open(tmp_path)


def test_a_failed_export_leaves_both_files_as_they_were(exported: Path) -> None:
    before = {path.name: path.read_bytes() for path in exported.parent.iterdir()}
    with pytest.raises(ExportError, match="the tolerance is"):
        export(create(SPECS["classify"], seed=1), exported.parent, to="openvino", tolerance=1e-15)
    assert {path.name: path.read_bytes() for path in exported.parent.iterdir()} == before
    export(create(SPECS["classify"], seed=1), exported.parent, to="openvino")
    assert {path.name for path in exported.parent.iterdir()} == set(before)
    assert exported.with_suffix(".bin").read_bytes() != before["model.bin"]


def test_what_two_threads_must_not_do_at_once_is_done_when_openvino_is_first_imported() -> None:
    program = """
import numpy as np
from numpy.lib._version import NumpyVersion
from mobilenets.runtime.engines.openvino import openvino

runtime, asked, init = openvino(), [], NumpyVersion.__init__
NumpyVersion.__init__ = lambda version, text: (asked.append(text), init(version, text))[1]
runtime.Type.f32.to_dtype()
runtime.Tensor(np.zeros(1, np.float32))
print(len(asked))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "0\n"
