"""ExecuTorch and Core ML: files of every task, what is said of what cannot run here, and converters that are not installed."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from tests.exporters.networks import SPECS

from mobilenets.errors import CheckpointError, ExportError
from mobilenets.exporters import executorch as executorch_exporter
from mobilenets.exporters import vendor
from mobilenets.exporters.table import export
from mobilenets.exporters.vendor import Vendor
from mobilenets.model import TorchEngine, create
from mobilenets.runtime.engines.executorch import ExecuTorchEngine
from mobilenets.runtime.manifest import METADATA_KEY, Manifest, manifest_of
from mobilenets.runtime.predictor import Predictor


@pytest.mark.slow
@pytest.mark.parametrize("task", SPECS)
def test_executorch_files_give_what_torch_gives_with_nearly_every_operator_on_xnnpack(task: str, tmp_path: Path) -> None:
    pytest.importorskip("executorch")
    model = create(SPECS[task])
    parity = export(model, tmp_path, to="executorch")
    assert parity.fast_path is not None
    assert parity.fast_path.share > 0.97
    assert sorted(path.name for path in tmp_path.iterdir()) == ["executorch.parity.json", "model.pte", "model.pte.json"]
    predictor = Predictor.open(tmp_path)
    assert predictor.manifest == manifest_of(model.spec)
    batch = np.random.default_rng(0).normal(size=(2, 3, *model.spec.input.shape)).astype(np.float32)
    expected = TorchEngine(model).run(batch)
    for name, values in predictor.run(batch).items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-3, atol=1e-4 * np.abs(expected[name]).max())
    engine = predictor.engine
    assert isinstance(engine, ExecuTorchEngine)
    assert engine.fast_path().share > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("task", SPECS)
@pytest.mark.parametrize("to", ["coreml", "coreml-half"])
def test_core_ml_packages_hold_the_network_and_say_that_they_were_not_run(task: str, to: str, tmp_path: Path) -> None:
    coremltools = pytest.importorskip("coremltools")
    model = create(SPECS[task])
    parity = export(model, tmp_path, to=to)
    assert parity.passed
    assert sys.platform == "darwin" or "was not run" in parity.note
    [package] = tmp_path.glob("*.mlpackage")
    spec = coremltools.models.MLModel(str(package), skip_model_load=True).get_spec()
    manifest = Manifest.from_json(spec.description.metadata.userDefined[METADATA_KEY])
    assert manifest == manifest_of(model.spec, precision="float16" if to == "coreml-half" else "float32")
    assert [one.name for one in spec.description.output] == list(model.outputs)
    if sys.platform != "darwin":
        with pytest.raises(CheckpointError, match="runs on macOS and iOS only"):
            Predictor.open(package)


@pytest.mark.parametrize("damage", [b"\0" * 64, b"ET12 but not really a program at all"])
def test_a_damaged_executorch_file_is_refused(damage: bytes, tmp_path: Path) -> None:
    pytest.importorskip("executorch")
    (tmp_path / "model.pte").write_bytes(damage)
    with pytest.raises(CheckpointError, match="is not a network that ExecuTorch can run"):
        Predictor.open(tmp_path / "model.pte")


# ---- converters in environments of their own


def wheel(folder: Path, name: str) -> Path:
    """A package as pip installs it, with one module that says its name."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}/__init__.py", f"NAME = {name!r}\n")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


SCRIPT = """
import json, sys
import toy_converter
import numpy
given, made, facts = sys.argv[1:]
open(made, "w").write(open(given).read() + toy_converter.NAME)
json.dump({"prefix": sys.prefix, "numpy": numpy.__version__}, open(facts, "w"))
"""


@pytest.mark.slow
def test_a_converter_that_is_missing_is_installed_once_into_an_environment_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    (tmp_path / "convert.py").write_text(SCRIPT)
    (tmp_path / "given").write_text("made by ")
    toy = Vendor("Toy", "toy_converter", (str(wheel(tmp_path, "toy_converter")),), 1, tmp_path / "convert.py")
    said: list[str] = []
    for _ in range(2):
        arguments = [tmp_path / name for name in ("given", "made", "facts")]
        known = vendor.convert(toy, arguments, say=said.append)
        assert (tmp_path / "made").read_text() == "made by toy_converter"
        assert Path(known["prefix"]) == vendor.environment(toy)
        assert known["numpy"] == np.__version__  # of the environment beneath
    assert len([words for words in said if "installing" in words]) == 1
    assert "(about 1 MB) into" in said[0]
    with pytest.raises(ImportError):
        __import__("toy_converter")


def test_a_converter_that_cannot_be_installed_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    toy = Vendor("Toy", "toy_converter", (str(tmp_path / "missing-1.0-py3-none-any.whl"),), 1, tmp_path / "convert.py")
    with pytest.raises(ExportError, match="Toy cannot be installed into") as error:
        vendor.convert(toy, [tmp_path / name for name in ("given", "made", "facts")], say=lambda text: None)
    assert error.value.hint.startswith("install it where there is a network: pip install")
    assert not vendor.environment(toy).exists()


def test_a_converter_that_fails_says_its_last_words(tmp_path: Path) -> None:
    (tmp_path / "convert.py").write_text("raise ValueError('the operator is not supported')")
    toy = Vendor("Toy", "numpy", (), 1, tmp_path / "convert.py")
    with pytest.raises(ExportError, match="Toy cannot convert this network: ValueError: the operator is not supported"):
        vendor.convert(toy, [tmp_path / name for name in ("given", "made", "facts")], say=lambda text: None)


@pytest.mark.slow
def test_another_environments_executorch_gives_the_same(tmp_path: Path) -> None:
    pytest.importorskip("executorch")
    model = create(SPECS["detect"])
    export(model, tmp_path, to="executorch")
    batch = np.random.default_rng(0).normal(size=(1, 3, *model.spec.input.shape)).astype(np.float32)
    other = executorch_exporter._OtherProcess(tmp_path / "model.pte", ("logits", "offsets"))
    here = ExecuTorchEngine(tmp_path / "model.pte").run(batch)
    for name, values in other.run(batch).items():
        np.testing.assert_array_equal(values, here[name])
    other.close()
    with pytest.raises(ExportError, match="ExecuTorch cannot run"):
        other.run(batch)


def test_a_converter_has_the_version_that_is_installed_or_would_be() -> None:
    assert Vendor("NumPy", "numpy", ("numpy==0.1",), 1, Path()).version == np.__version__
    assert Vendor("Toy", "toy", ("toy-nowhere==3.1",), 1, Path()).version == "3.1"
