"""A sample reads its bytes from a file, a part of a tar file, and nothing that would block or never end."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mobilenets.data.samples import Sample, measured


def test_a_file_and_a_part_of_a_tar_file_are_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"0123456789")
    sample = Sample(tmp_path / "a", 0, "train")
    assert sample.read() == b"0123456789"
    assert replace(sample, member=(3, 4)).read() == b"3456"


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "missing"])
def test_what_is_not_a_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    if kind == "pipe" and not hasattr(os, "mkfifo"):
        pytest.skip("there are no named pipes here")
    path = Path("/dev/zero") if kind == "device" else tmp_path / "x"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    with pytest.raises(OSError, match=r"pipe, socket or device|it is a folder|No such file"):
        Sample(path, 0, "train").read()


def test_sizes_are_asked_for_once_and_do_not_make_samples_differ(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"0123456789")
    samples = [
        Sample(tmp_path / "a", 0, "train"),
        Sample(tmp_path / "gone", 0, "train"),
        Sample(tmp_path, 0, "train", member=(5, 7)),
    ]
    sized = measured(samples, threads=2)
    assert [sample.size_bytes for sample in sized] == [10, None, 7]
    assert list(sized) == samples


def test_opening_local_data_imports_nothing_for_the_network() -> None:
    program = "import sys, mobilenets.data.open, mobilenets.data.checks.check; assert 'urllib3' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
