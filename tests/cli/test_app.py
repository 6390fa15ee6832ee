"""The command line as a whole: what is listed, how bad input ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mobilenets.cli.app import COMMANDS
from mobilenets.runtime.images.decode import decode_image


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "mobilenets", *arguments], capture_output=True, text=True, check=False)


def test_help_lists_every_command() -> None:
    shown = run("--help")
    assert shown.returncode == 0
    assert all(name in shown.stdout for name in COMMANDS)


def test_every_command_has_a_module_and_help_with_an_example() -> None:
    for name in COMMANDS:
        shown = run(name, "--help")
        assert shown.returncode == 0, shown.stderr
        assert f"mobilenets {name}" in shown.stdout, name


def test_wrong_usage_exits_with_2() -> None:
    assert run("fly").returncode == 2
    assert run("info").returncode == 2


def test_bad_input_ends_in_an_error_and_a_hint_without_a_traceback(tmp_path: Path) -> None:
    shown = run("predict", str(tmp_path / "no-model.onnx"), "image.jpg")
    assert shown.returncode == 1
    assert shown.stderr.startswith("error: ")
    assert "Traceback" not in shown.stderr


@pytest.mark.parametrize("command", ["predict", "evaluate", "check"])
def test_what_pillow_says_of_damaged_exif_is_not_shown(
    command: str, mobilenets: Any, color_model: Path, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    exif = b"Exif\0\0MM\0*\0\0\xff\xff\xff\xff"
    for label, color in (("red", "red"), ("green", "lime")):
        (tmp_path / "photos" / label).mkdir(parents=True)
        Image.new("RGB", (20, 20), color).save(tmp_path / "photos" / label / "0.jpg", exif=exif)
    with pytest.warns(UserWarning, match="EXIF"):
        decode_image(tmp_path / "photos" / "red" / "0.jpg")
    model = () if command == "check" else (color_model,)
    options = ("--out", tmp_path / "report") if command == "evaluate" else ()
    assert mobilenets(command, *model, tmp_path / "photos", *options).out
    assert [str(one.message) for one in recwarn if "EXIF" in str(one.message)] == []
