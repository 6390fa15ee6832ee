"""The command line as a whole: what is listed, how bad input ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mobilenets.cli.app import COMMANDS, failed
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


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("predict", "", "a.jpg"), "an argument is empty"),
        (("quantize", "runs/photos", "--images", " "), "the value of --images is empty"),
        (("quantize", "runs/photos", "--images="), "the value of --images is empty"),
    ],
)
def test_an_empty_argument_does_not_pass_for_none(mobilenets: Any, arguments: tuple[str, ...], words: str) -> None:
    done = mobilenets(*arguments)
    assert done.code == 2
    assert done.err == f"error: {words}\n\nhint: is a variable of the shell not set?\n"


FLOATS = [
    ("info", "mobilenet_v2", "--width", "nan"),
    ("train", "photos", "--width", "inf"),
    ("search", "photos", "--max-ms", "inf"),
    (
        "search",
        "photos",
        "--reward=-inf",
    ),
    ("benchmark", "mobilenet_v2", "--seconds", "inf"),
    ("export", "runs/x", "--to", "onnx", "--tolerance", "inf"),
]


@pytest.mark.parametrize("arguments", FLOATS)
def test_a_number_that_is_not_finite_is_refused_by_every_command(mobilenets: Any, arguments: tuple[str, ...]) -> None:
    option = next(argument for argument in reversed(arguments) if argument.startswith("--")).partition("=")[0]
    done = mobilenets(*arguments)
    assert done.code == 2
    assert f"{option} is " in done.err
    assert "must be a finite number" in done.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "photos", "--out", "s3://bucket/run"),
        ("evaluate", "runs/photos", "photos", "--out=s3://bucket/run"),
        ("convert-data", "photos", "s3://bucket/run", "--to", "shards"),
        ("predict", "MODEL", "a.jpg", "--out", "s3://bucket/run"),
    ],
)
def test_an_address_does_not_become_a_folder_of_that_name(
    mobilenets: Any, color_model: Path, arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = mobilenets(*(str(color_model) if argument == "MODEL" else argument for argument in arguments))
    assert done.code == 2
    assert done.err.startswith("error: 's3://bucket/run' is an address, not a folder of this machine\n\nhint: ")
    assert list(tmp_path.iterdir()) == []


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


# ---- what goes wrong outside of us ends in one line


def full_disk(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "mobilenets", *map(str, arguments)]
        return subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full, which is a full disk")
@pytest.mark.parametrize("options", [(), ("--csv",), ("--json",)])
def test_a_full_disk_behind_standard_output_is_one_line(color_model: Path, tmp_path: Path, options: tuple[str, ...]) -> None:
    for i in range(3):
        Image.new("RGB", (9, 9)).save(tmp_path / f"{i}.png")
    commands: list[tuple[str | Path, ...]] = [("predict", color_model, tmp_path, *options), ("--version",), ("--help",)]
    for arguments in commands:
        done = full_disk(*arguments)
        assert (done.returncode, "No space left on device" in done.stderr) == (1, True), done.stderr
        assert done.stderr.startswith("error: ")
        assert "Traceback" not in done.stderr
        assert "Exception" not in done.stderr


@pytest.mark.parametrize(
    ("streams", "arguments", "code", "words"),
    [
        (">&-", (), 0, ""),
        (">&- 2>&-", ("--json",), 0, ""),
        (">&-", ("--csv",), 0, ""),
        ("<&-", ("-",), 1, "error: there is nothing on standard input\n"),
    ],
)
def test_closed_streams_are_no_mistake_of_ours(
    color_model: Path, tmp_path: Path, streams: str, arguments: tuple[str, ...], code: int, words: str
) -> None:
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    given = arguments if "-" in arguments else (str(tmp_path), *arguments)
    command = [sys.executable, "-m", "mobilenets", "predict", str(color_model), *given]
    done = subprocess.run(["sh", "-c", f'"$@" {streams}', "sh", *command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.partition("\n")[0]) == (code, words.strip())


def test_a_reader_that_goes_away_is_no_error(color_model: Path, tmp_path: Path) -> None:
    for i in range(30):
        Image.new("RGB", (9, 9)).save(tmp_path / f"{i}.png")
    command = [sys.executable, "-m", "mobilenets", "predict", str(color_model), str(tmp_path), "--json", "--batch", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(13, "Permission denied", "runs/x"), "'runs/x': Permission denied"),
        (OSError(28, "No space left on device"), "cannot read or write: No space left on device"),
        (MemoryError(), "out of memory"),
        (RuntimeError("can't start new thread"), "out of memory"),
        (ImportError("libgomp.so.1: failed to map segment from shared object"), "out of memory"),
        (RecursionError("maximum recursion depth exceeded"), "nested too deep"),
        (ModuleNotFoundError("No module named 'torch'", name="torch"), "this needs 'torch'"),
    ],
)
def test_failures_have_words(error: Exception, words: str) -> None:
    found = failed(error)
    assert found is not None
    assert words in str(found)


def test_a_mistake_of_ours_keeps_its_traceback() -> None:
    assert failed(KeyError("x")) is None
    assert failed(RuntimeError("a bug")) is None


def test_ctrl_c_is_one_word(mobilenets: Any, color_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mobilenets.runtime.predictor.Predictor.open", interrupted)
    done = mobilenets("predict", color_model, "a.jpg")
    assert (done.code, done.out, done.err) == (130, "", "interrupted\n")
