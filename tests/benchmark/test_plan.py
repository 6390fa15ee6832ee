"""Which files a model has, and which runtimes read them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mobilenets import checkpoint
from mobilenets.benchmark.plan import Asked, FileOnRuntime, digest, files_of, networks, parts, size_bytes
from mobilenets.benchmark.row import Row
from mobilenets.deploy import file
from mobilenets.deploy.quantize.quantize import quantize
from mobilenets.errors import CheckpointError, UnknownNameError
from mobilenets.exporters.lower import lower
from mobilenets.exporters.table import export
from mobilenets.model import create
from mobilenets.specs.model import InputContract, ModelSpec
from mobilenets.specs.rows import BackboneSpec, Conv


def found(asked: Asked, folder: Path) -> list[tuple[str, str, str]]:
    cases = [item.case for network in networks(asked) for item in files_of(network, asked, folder)]
    return [(case.model, Path(case.file).name, case.runtime) for case in cases]


def test_a_run_folder_has_its_exports_and_files_with_other_names_say_so(toys: str, tmp_path: Path) -> None:
    export = tmp_path / "pets" / "export"
    export.mkdir(parents=True)
    for name in ("model.nap", "half.nap", "model.doze", "notes.txt"):
        (export / name).write_text("1")
    expected = [
        ("pets/half.nap", "half.nap", "nap"),
        ("pets/half.nap", "half.nap", "doze"),
        ("pets", "model.doze", "doze"),
        ("pets", "model.nap", "nap"),  # and not a second time on the runtime that has a file of its own
    ]
    for path in (tmp_path / "pets", export):
        assert found(Asked((str(path),), table=toys), tmp_path) == expected
    assert found(Asked((str(export / "model.nap"),), table=toys), tmp_path) == [
        ("pets", "model.nap", "nap"),
        ("pets", "model.nap", "doze"),
    ]


def test_weights_and_manifest_beside_a_file_belong_to_it(tmp_path: Path) -> None:
    for name, size in (("model.xml", 5), ("model.bin", 7), ("model.onnx", 11), ("model.pte", 13), ("model.pte.json", 2)):
        (tmp_path / name).write_bytes(b"x" * size)
    (tmp_path / "model.mlpackage" / "Data").mkdir(parents=True)
    (tmp_path / "model.mlpackage" / "Data" / "weights").write_bytes(b"x" * 17)
    sizes = {path.name: size_bytes(path) for path in tmp_path.iterdir() if path.suffix not in (".bin", ".json")}
    assert sizes == {"model.xml": 12, "model.onnx": 11, "model.pte": 15, "model.mlpackage": 17}
    assert [path.name for path in parts(tmp_path / "model.xml")] == ["model.xml", "model.bin"]
    before = digest(tmp_path / "model.xml")
    (tmp_path / "model.bin").write_bytes(b"y" * 7)
    assert digest(tmp_path / "model.xml") != before


@pytest.mark.parametrize("name", ["folder", "folder/notes.txt", "gone.nap", "folder/gone"])
def test_what_is_no_model_is_named(toys: str, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").touch()
    with pytest.raises(CheckpointError, match=f"'{name}'"):
        networks(Asked((name,), table=toys))


def test_a_name_that_is_no_network_suggests_one() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'mobilenet_v2'"):
        networks(Asked(("mobilenet_v2x",)))


def test_a_runtime_of_another_machine_needs_not_be_here(toys: str, tmp_path: Path) -> None:
    (tmp_path / "model.gone").write_text("1")
    for here in (True, False):
        asked = Asked((str(tmp_path / "model.gone"),), table=toys, here=here)
        [item] = files_of(networks(asked)[0], asked, tmp_path)
        assert isinstance(item, Row if here else FileOnRuntime)


def test_a_run_is_compared_with_the_quantized_network_in_it(tmp_path: Path) -> None:
    spec = ModelSpec(BackboneSpec("plain", (Conv(8, 3, 2), Conv(8, 3, 2))), ("cat", "dog"), InputContract(size=32))
    model = create(spec)
    checkpoint.save(model, tmp_path / "run" / "best")
    images = np.random.default_rng(0).normal(size=(4, 3, 32, 32)).astype(np.float32)
    file.save(quantize(lower(model), images).graph, tmp_path / "run" / "int8" / "graph.safetensors")
    for named in ("run", "run/int8"):
        asked = Asked((str(tmp_path / named),), runtimes=("onnx",))
        models = [(model, Path(name).name) for model, name, _ in found(asked, tmp_path / "benchmark")]
        assert models == [("run", "model.onnx"), ("run/int8", "model.onnx")]


def test_a_file_that_is_exported_on_the_way_takes_the_place_of_another_that_its_runtime_reads_too(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    spec = ModelSpec(BackboneSpec("plain", (Conv(8, 3, 2), Conv(8, 3, 2))), ("cat", "dog"), InputContract(size=32))
    model = create(spec)
    checkpoint.save(model, tmp_path / "run" / "best")
    export(model, tmp_path / "run" / "export")
    asked = Asked((str(tmp_path / "run"),), runtimes=("onnx", "openvino"))
    expected = [("run", "model.onnx", "onnx"), ("run", "model.xml", "openvino")]
    for _ in range(2):  # it is found the second time
        assert found(asked, tmp_path / "benchmark") == expected
