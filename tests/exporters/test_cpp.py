"""`export --to cpp`: every task compared where there is a compiler, said where there is none; a refusal names a way out."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.cli.conftest import PLAIN, Done
from tests.exporters.networks import SPECS

from mobilenets import checkpoint
from mobilenets.deploy.graph import Graph
from mobilenets.deploy.operators import Conv
from mobilenets.errors import ExportError
from mobilenets.exporters.quantized import export_quantized
from mobilenets.exporters.table import export
from mobilenets.model import create

Run = Callable[..., Done]


def needed(folder: Path) -> list[str]:
    """Flash and memory as the folder's README states them."""
    return re.findall(r"\| (?:weights|arena)[^|]*\| ([\d,]+) \|", (folder / "README.md").read_text())


has_compiler = pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler")


@has_compiler
def test_a_run_is_exported_and_compared(trained: Path, mobilenets: Run) -> None:
    done = mobilenets("export", trained, "--to", "cpp")
    assert done.code == 0
    assert "logits" in done.out
    assert "1e-04" in done.out
    assert f"next: cmake -S {trained / 'export' / 'cpp'} -B build" in " ".join(done.err.split())
    weights, arena = needed(trained / "export" / "cpp")
    assert f"flash   {weights} bytes of weights and tables" in done.out
    assert f"memory  {arena} bytes for all values of a run" in done.out
    assert {file.name for file in (trained / "export").iterdir()} == {"cpp", "cpp.parity.json"}
    assert (trained / "export" / "cpp" / "network.hpp").is_file()


@has_compiler
@pytest.mark.parametrize(
    ("task", "option", "agreement", "declared"),
    [
        ("segment", "--argmax", "pixels", "const std::uint8_t (&classes)[64][96];"),
        pytest.param("segment", None, "pixels", "const float (&logits)[8][12][3];", marks=pytest.mark.slow),
        pytest.param("detect", "--nms", "detections", "const float (&boxes)[100][4];", marks=pytest.mark.slow),
        pytest.param("detect", None, "detections", "const float (&offsets)[258][4];", marks=pytest.mark.slow),
    ],
)
def test_a_segmenter_and_a_detector_leave_as_cpp_with_and_without_a_tail(
    task: str, option: str | None, agreement: str, declared: str, tmp_path: Path, mobilenets: Run
) -> None:
    checkpoint.save(create(SPECS[task]), tmp_path / "run" / "best")
    (tmp_path / "run" / "run.json").write_text("{}")
    done = mobilenets("export", tmp_path / "run", "--to", "cpp", *([option] if option else []))
    assert done.code == 0, done.err
    assert agreement in done.out
    folder = {None: "cpp", "--argmax": "segmenter-cpp", "--nms": "detector-cpp"}[option]
    assert declared in (tmp_path / "run" / "export" / folder / "network.hpp").read_text()


@has_compiler
def test_a_quantized_network_is_that_of_the_reference_to_the_bit(classifier: Graph, tmp_path: Path) -> None:
    parity = export_quantized(classifier, tmp_path, to="cpp")
    assert [output.steps for output in parity.outputs] == [0.0]
    assert sum(parity.batches) == 8


@has_compiler
@pytest.mark.parametrize("to", ["cpp-nms", pytest.param("cpp", marks=pytest.mark.slow)])
def test_a_quantized_detector_is_that_of_the_reference(detector: Graph, to: str, tmp_path: Path) -> None:
    parity = export_quantized(detector, tmp_path, to=to)
    [agreement] = parity.agreements
    assert agreement.differing == 0
    assert all(output.steps == 0.0 for output in parity.outputs if to == "cpp")


def test_without_a_compiler_the_folder_is_written_and_not_checked(
    trained: Path, mobilenets: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    done = mobilenets("export", trained, "--to", "cpp")
    assert done.code == 0
    assert "note: not checked: no C++ compiler" in done.err
    assert "logits" not in done.out
    assert (trained / "export" / "cpp" / "network.cpp").is_file()
    done = mobilenets("export", trained, "--to", "cpp", "--json")
    assert done.code == 0
    parity = json.loads(done.out)["parity"]
    assert parity["note"] == "not checked: no C++ compiler"
    assert [f"{parity['memory'][key]:,}" for key in ("constant_bytes", "arena_bytes")] == needed(trained / "export" / "cpp")


@has_compiler
def test_a_folder_that_does_not_compile_is_not_kept(
    trained: Path, mobilenets: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "compiler"
    broken.write_text("#!/bin/sh\n[ $1 = --version ] && echo broken 1.0 && exit 0\necho 'network.cpp: all wrong' >&2; exit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    done = mobilenets("export", trained, "--to", "cpp")
    assert done.code == 1
    assert "does not compile: network.cpp: all wrong" in " ".join(done.err.split())
    assert not (trained / "export" / "cpp").exists()


def test_sums_that_do_not_fit_32_bits_are_refused_with_a_way_out(classifier: Graph, tmp_path: Path) -> None:
    conv = next(operator for operator in classifier.operators if isinstance(operator, Conv))
    tensors = {**classifier.tensors, conv.bias: np.full_like(classifier.tensors[conv.bias], 2**31 - 1)}
    with pytest.raises(
        ExportError, match=r"'tiny' cannot be exported to C\+\+: '.*' has sums that do not fit into 32 bits"
    ) as refused:
        export_quantized(replace(classifier, tensors=tensors), tmp_path, to="cpp")
    assert refused.value.hint == "--to native runs every network"
    assert not (tmp_path / "cpp").exists()


def test_one_image_at_a_time(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="runs one image at a time, not 4"):
        export(create(PLAIN), tmp_path, to="cpp", batch=4)
