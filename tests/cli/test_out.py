"""A file where `--out` is to be a folder is refused in every command, before any work and as wrong usage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.conftest import Done

COMMANDS = {
    "benchmark": ("MODEL",),
    "bundle": ("MODEL",),
    "compare": ("MODEL", "MODEL"),
    "convert": ("MODEL",),
    "convert-data": ("IMAGES",),
    "evaluate": ("MODEL", "IMAGES"),
    "export": ("MODEL",),
    "papers": ("v1-equation-5",),
    "predict": ("MODEL", "IMAGES"),
    "quantize": ("MODEL",),
    "search": ("IMAGES", "--start", "MODEL", "--max-macs", "1"),
    "train": ("IMAGES",),
}


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_file_is_refused_where_a_folder_is_to_be_written(
    command: str, inside: bool, mobilenets: Callable[..., Done], segment_model: Path, tmp_path: Path
) -> None:
    (tmp_path / "images").mkdir()
    file = tmp_path / "file"
    file.write_text("mine")
    out = file / "sub" if inside else file
    named = {"MODEL": str(segment_model), "IMAGES": str(tmp_path / "images")}
    place = (out, "--to", "voc") if command == "convert-data" else ("--out", out)
    done = mobilenets(command, *(named.get(text, text) for text in COMMANDS[command]), *place)
    told = f"'{out}' cannot be created: " if inside else ""
    assert done.err == f"error: {told}'{file}' is a file, not a folder\n\nhint: name a new folder, or one that is there\n"
    assert (done.code, done.out) == (2, "")
    assert file.read_text() == "mine"
