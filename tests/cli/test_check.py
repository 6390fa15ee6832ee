"""`mobilenets check` speaks to people and to programs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mobilenets", "check", *arguments], capture_output=True, text=True, check=False
    )


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    root = tmp_path / "pets"
    for k, label in enumerate(("cat", "dog")):
        (root / label).mkdir(parents=True)
        for i in range(8):
            values = np.random.default_rng(10 * k + i).integers(0, 256, (9, 9, 3), dtype=np.uint8)
            Image.fromarray(values).resize((240, 240), Image.Resampling.BICUBIC).save(root / label / f"{i}.jpg")
    return root


def test_good_pictures_end_with_0(pets: Path) -> None:
    done = run(str(pets))
    assert (done.returncode, done.stderr) == (0, "")
    assert "pets: 16 pictures, 2 classes" in done.stdout
    assert done.stdout.endswith("0 errors, 0 warnings, 0 notes\n")


def test_pillows_own_warnings_are_not_shown(pets: Path) -> None:
    Image.open(pets / "cat" / "0.jpg").save(pets / "cat" / "0.jpg", exif=b"Exif\0\0MM\0*\0\0\xff\xff\xff\xff")
    assert run(str(pets)).stderr == ""


def test_errors_are_named_and_end_with_1(pets: Path) -> None:
    for i in range(7):
        (pets / "cat" / f"{i}.jpg").write_bytes(b"")
    done = run(str(pets))
    assert done.returncode == 1
    assert "error: empty files (7)\n  cat/0.jpg: is empty: 0 bytes\n" in done.stdout
    assert "  and 2 more; --all names them\n" in done.stdout
    assert "cat/6.jpg" not in done.stdout
    assert "cat/6.jpg" in run(str(pets), "--all").stdout


def test_json_holds_everything(pets: Path) -> None:
    (pets / "cat" / "0.jpg").write_bytes(b"<html>")
    done = run(str(pets), "--json", "--quick")
    data = json.loads(done.stdout)
    assert done.returncode == 1
    assert data["labels"] == ["cat", "dog"]
    assert data["counts"] == {"train": [6, 6], "val": [1, 1], "test": [1, 1]}
    assert data["sizes"][0] == {"side": "width", "min": 240, "p5": 240, "median": 240, "p95": 240, "max": 240}
    assert data["findings"][0] == {
        "level": "error",
        "code": "not-an-image",
        "message": "is not a picture of a known format",
        "files": ["cat/0.jpg"],
    }


def test_a_clean_list_is_written(pets: Path, tmp_path: Path) -> None:
    (pets / "cat" / "0.jpg").write_bytes(b"")
    done = run(str(pets), "--write", str(tmp_path / "clean.csv"))
    assert f"next: mobilenets train {tmp_path / 'clean.csv'}" in done.stderr
    assert run(str(tmp_path / "clean.csv")).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nowhere"], 1, "error: there is no 'nowhere'\n\nhint: a data set is the name elpv; a CSV"),
        ([".", "--quick", "--write", "x"], 2, "error: --write needs the whole check"),
        ([], 2, "Missing argument 'DATA'"),
    ],
)
def test_bad_input_is_said_in_two_lines(arguments: list[str], code: int, words: str) -> None:
    done = run(*arguments)
    assert done.returncode == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_torch_is_not_loaded(pets: Path) -> None:
    program = (
        "import sys; sys.argv = ['mobilenets', 'check', sys.argv[1]]\n"
        "from mobilenets.cli.app import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "assert 'torch' not in sys.modules and 'mobilenets.data.check' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program, str(pets)], check=True, capture_output=True)
