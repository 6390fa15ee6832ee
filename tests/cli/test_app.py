"""The command line as a whole: what is listed, how bad input ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from mobilenets.cli.app import COMMANDS


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
    shown = run("predict", str(tmp_path / "no-model.onnx"), "picture.jpg")
    assert shown.returncode == 1
    assert shown.stderr.startswith("error: ")
    assert "Traceback" not in shown.stderr
