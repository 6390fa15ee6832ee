"""`mobilenets check` speaks to people and to programs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    root = tmp_path / "pets"
    for k, label in enumerate(("cat", "dog")):
        (root / label).mkdir(parents=True)
        for i in range(8):
            values = np.random.default_rng(10 * k + i).integers(0, 256, (9, 9, 3), dtype=np.uint8)
            Image.fromarray(values).resize((240, 240), Image.Resampling.BICUBIC).save(root / label / f"{i}.jpg")
    return root


def test_good_images_end_with_0(pets: Path, mobilenets: Any) -> None:
    done = mobilenets("check", pets)
    assert (done.code, done.err) == (0, "")
    assert "pets: 16 images, 2 classes" in done.out
    assert done.out.endswith("0 errors, 0 warnings, 0 notes\n")


def test_errors_are_named_and_end_with_1(pets: Path, mobilenets: Any) -> None:
    for i in range(7):
        (pets / "cat" / f"{i}.jpg").write_bytes(b"")
    done = mobilenets("check", pets)
    assert done.code == 1
    assert "error: empty files (7)\n  cat/0.jpg: is empty: 0 bytes\n" in done.out
    assert "  and 2 more; --all lists them\n" in done.out
    assert "cat/6.jpg" not in done.out
    assert "cat/6.jpg" in mobilenets("check", pets, "--all").out


def test_json_holds_everything(pets: Path, mobilenets: Any) -> None:
    (pets / "cat" / "0.jpg").write_bytes(b"<html>")
    done = mobilenets("check", pets, "--json", "--quick")
    data = json.loads(done.out)
    assert done.code == 1
    assert data["labels"] == ["cat", "dog"]
    assert data["counts"] == {"train": [6, 6], "val": [1, 1], "test": [1, 1]}
    assert data["sizes"][0] == {"side": "width", "min": 240, "p5": 240, "median": 240, "p95": 240, "max": 240}
    assert data["findings"][0] == {
        "level": "error",
        "code": "not-an-image",
        "message": "is not an image, but a web page",
        "files": ["cat/0.jpg"],
    }


def test_a_clean_list_is_written(pets: Path, tmp_path: Path, mobilenets: Any) -> None:
    (pets / "cat" / "0.jpg").write_bytes(b"")
    done = mobilenets("check", pets, "--write", tmp_path / "clean.csv")
    assert f"next: mobilenets train {tmp_path / 'clean.csv'}" in done.err
    assert mobilenets("check", tmp_path / "clean.csv").code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nowhere"], 1, "error: there is no 'nowhere'\n\nhint: a folder, a file, the address of"),
        ([".", "--quick", "--write", "x"], 2, "error: --write needs the full check"),
        ([], 2, "Missing argument 'DATA'"),
    ],
)
def test_bad_input_is_said(arguments: list[str], code: int, words: str, mobilenets: Any) -> None:
    done = mobilenets("check", *arguments)
    assert done.code == code
    assert words in done.err


@pytest.mark.skipif(sys.platform != "linux", reason="file names are Unicode here")
def test_file_names_need_not_be_utf8(pets: Path) -> None:
    (pets / "cat" / "sch\udcf6n.jpg").write_bytes(b"")
    for options, shown in (([], r"sch\xf6n.jpg"), (["--json"], r"sch\\xf6n.jpg")):
        command = [sys.executable, "-m", "mobilenets", "check", str(pets), *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert shown in done.stdout


def test_torch_is_not_loaded(pets: Path) -> None:
    program = (
        "import sys; sys.argv = ['mobilenets', 'check', sys.argv[1]]\n"
        "from mobilenets.cli.app import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "assert 'torch' not in sys.modules and 'mobilenets.data.checks.check' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program, str(pets)], check=True, capture_output=True)


def test_what_matters_comes_first_and_the_verdict_last(pets: Path, mobilenets: Any) -> None:
    (pets / "cat" / "0.jpg").write_bytes(b"")
    for split in ("train", "val", "test"):
        for label in ("cat", "dog"):
            (pets / split / label).mkdir(parents=True)
    for i in range(8):
        for label in ("cat", "dog"):
            (pets / label / f"{i}.jpg").rename(pets / ("test" if i > 5 else "val" if i == 5 else "train") / label / f"{i}.jpg")
    for label in ("cat", "dog"):
        (pets / label).rmdir()
    shutil.copy(pets / "test/dog/7.jpg", pets / "train/dog/again.jpg")
    Image.open(pets / "test/cat/7.jpg").resize((200, 200)).save(pets / "train/cat/smaller.png")
    done = mobilenets("check", pets)
    lines = done.out.splitlines()
    assert done.code == 1
    assert lines.index("error: empty files (1)") < lines.index("error: the same image in two splits (1)")
    assert lines.index("error: images that look the same in two splits (1)") < next(
        i for i, line in enumerate(lines) if line.split()[:1] == ["class"]
    )
    assert "2 of 4 test images are also in train, so results on test look better than they are" in lines
    assert f"  mobilenets check {pets} --write clean.csv && mobilenets train clean.csv" in lines
    assert lines[-1].startswith("not ready to train: 3 errors, ")
    data = json.loads(mobilenets("check", pets, "--json").out)
    assert data["verdict"] == lines[-1]
    leak = data["leaks"][0]
    assert (leak["split"], leak["other"], leak["images"]) == ("test", "train", 4)
    assert sorted(leak["names"]) == ["test/cat/7.jpg", "test/dog/7.jpg"]
    mobilenets("check", pets, "--write", pets / "clean.csv")
    assert "ready to train" in mobilenets("check", pets / "clean.csv").out.splitlines()[-1]


def test_the_cure_can_be_pasted_into_a_shell(pets: Path, mobilenets: Any) -> None:
    odd = pets.rename(pets.with_name("my pets; ls"))
    (odd / "cat" / "0.jpg").write_bytes(b"")
    assert f"  mobilenets check '{odd}' --write clean.csv && mobilenets train clean.csv\n" in mobilenets("check", odd).out
