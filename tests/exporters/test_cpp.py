"""`export --to cpp`: compared where there is a compiler, said where there is none, refused by name where it cannot be."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from tests.deploy.conftest import SPECS

from mobilenets import checkpoint
from mobilenets.cli.app import main
from mobilenets.deploy.graph import Graph
from mobilenets.exporters.quantized import export_quantized
from mobilenets.exporters.table import export
from mobilenets.model import create
from mobilenets.specs.model import InputContract, ModelSpec
from mobilenets.specs.rows import BackboneSpec, Bottleneck, Conv

SPEC = ModelSpec(BackboneSpec("tiny", (Conv(8, 3, 2), Bottleneck(16, 8, stride=2))), ("cat", "dog"), InputContract(size=32))
has_compiler = pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler")


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["mobilenets", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    checkpoint.save(create(SPEC), tmp_path / "run" / "best")
    (tmp_path / "run" / "run.json").write_text("{}")
    return tmp_path / "run"


@has_compiler
def test_a_run_is_exported_and_compared(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "export", trained, "--to", "cpp") == 0
    said = capsys.readouterr()
    assert "logits" in said.out
    assert "1e-04" in said.out
    assert f"next: cmake -S {trained / 'export' / 'cpp'} -B build" in " ".join(said.err.split())
    assert {file.name for file in (trained / "export").iterdir()} == {"cpp", "cpp.parity.json"}
    assert (trained / "export" / "cpp" / "network.hpp").is_file()


@has_compiler
def test_a_quantized_network_is_that_of_the_reference_to_the_bit(classifier: Graph, tmp_path: Path) -> None:
    parity = export_quantized(classifier, tmp_path, to="cpp")
    assert [output.steps for output in parity.outputs] == [0.0]
    assert sum(parity.batches) == 8


def test_without_a_compiler_the_folder_is_written_and_not_checked(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    assert run(monkeypatch, "export", trained, "--to", "cpp") == 0
    said = capsys.readouterr()
    assert "note: not checked: no C++ compiler" in said.err
    assert "logits" not in said.out
    assert (trained / "export" / "cpp" / "network.cpp").is_file()
    assert run(monkeypatch, "export", trained, "--to", "cpp", "--json") == 0
    assert json.loads(capsys.readouterr().out)["parity"]["note"] == "not checked: no C++ compiler"


@has_compiler
def test_a_folder_that_does_not_compile_is_not_kept(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    broken = tmp_path / "compiler"
    broken.write_text("#!/bin/sh\n[ $1 = --version ] && echo broken 1.0 && exit 0\necho 'network.cpp: all wrong' >&2; exit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    assert run(monkeypatch, "export", trained, "--to", "cpp") == 1
    assert "does not compile: network.cpp: all wrong" in " ".join(capsys.readouterr().err.split())
    assert not (trained / "export" / "cpp").exists()


@pytest.mark.parametrize("name", ["v4 hybrid", "v3 lraspp"])
def test_networks_that_exported_cpp_cannot_run_are_refused_with_a_way_out(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint.save(create(SPECS[name]()), tmp_path / "model")
    assert run(monkeypatch, "export", tmp_path / "model", "--to", "cpp") == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "cannot be exported to C++" in said
    assert "hint: --to native runs every network" in said
    assert not (tmp_path / "model" / "export" / "cpp").exists()


def test_one_image_at_a_time(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="runs one image at a time, not 4"):
        export(create(SPEC), tmp_path, to="cpp", batch=4)
