"""The page as a folder: what it weighs, what it says when it is not built, and the server that gives it out."""

from __future__ import annotations

import json
import signal
import socket
import struct
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.web.conftest import served
from typer.testing import CliRunner

from mobilenets.cli import app
from mobilenets.cli.demo import page_of
from mobilenets.errors import CheckpointError, ExportError
from mobilenets.runtime.predictor import Predictor
from mobilenets.web import folder as folders
from mobilenets.web.folder import weigh

PAGE_BYTES = 200_000
"""What the page may weigh besides runtime and model."""


@pytest.fixture(scope="module")
def page(built_page: Path, color_model: Path) -> Iterator[Path]:
    with page_of(color_model) as folder:
        yield folder


def test_the_page_is_light(page: Path, color_model: Path) -> None:
    weight = weigh(page)
    assert 10_000 < weight.page < PAGE_BYTES
    assert weight.runtimes > 1_000_000
    assert weight.model >= color_model.stat().st_size


def test_nothing_is_loaded_from_elsewhere(page: Path) -> None:
    """No address of another host in what the page loads, but for names of formats."""
    names = (b"http://www.w3.org/",)
    for file in [*page.glob("*.html"), *page.glob("*.js"), *page.glob("assets/*"), page / "manifest.webmanifest"]:
        text = file.read_bytes()
        for name in names:
            text = text.replace(name, b"")
        assert b"http://" not in text, file
        assert b"https://" not in text.replace(b"https:// or localhost", b""), file


def test_every_file_is_listed_for_the_service_worker(page: Path) -> None:
    listed = json.loads((page / "files.json").read_text())["files"]
    there = {file.relative_to(page).as_posix() for file in page.rglob("*") if file.is_file()}
    assert set(listed) == there - {"files.json"}


def test_another_model_is_another_version(built_page: Path, color_model: Path, cell_model: Path) -> None:
    versions = []
    for model in (color_model, color_model, cell_model):
        with page_of(model) as folder:
            versions.append(json.loads((folder / "files.json").read_text())["version"])
    assert versions[0] == versions[1] != versions[2]


def test_the_manifest_beside_the_model_is_the_predictors(page: Path, color_model: Path) -> None:
    model = json.loads((page / "model" / "model.json").read_text())
    assert model["manifest"] == json.loads(Predictor.open(color_model, engine="onnx").manifest.to_json())
    assert (page / "model" / "model.onnx").read_bytes() == color_model.read_bytes()


def test_a_folder_with_the_page_is_given_out_as_it_is(page: Path) -> None:
    with page_of(page) as folder:
        assert folder == page


def test_what_is_no_model_is_refused(built_page: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no file or folder"), page_of(tmp_path / "nothing"):
        pass


def test_a_checkout_without_the_page_says_how_to_build_it(
    color_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "_PAGE", tmp_path / "page")
    with pytest.raises(ExportError, match="is not built") as caught, page_of(color_model):
        pass
    assert "make web" in caught.value.hint
    assert "pip install ." in caught.value.hint  # the page is elsewhere than in a clone
    result = CliRunner().invoke(app.build("demo"), ["demo", str(color_model), "--no-open"])
    assert isinstance(result.exception, ExportError)


def test_a_clone_that_runs_from_its_source_need_not_be_installed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.setattr(folders, "_PAGE", tmp_path / "src" / "mobilenets" / "web" / "page")
    with pytest.raises(ExportError) as caught:
        folders.page_folder()
    assert caught.value.hint == "run 'make web' in your clone of mobilenets; it needs Node.js 20 or newer"


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("", "text/html; charset=utf-8"),
        ("sw.js", "text/javascript"),
        ("engines/onnx/ort-wasm-simd-threaded.wasm", "application/wasm"),
        ("engines/onnx/ort-wasm-simd-threaded.mjs", "text/javascript"),
        ("manifest.webmanifest", "application/manifest+json"),
        ("model/model.onnx", "application/octet-stream"),
    ],
)
def test_the_server_isolates_the_page_and_names_types(page: Path, path: str, kind: str) -> None:
    with served(page) as address, urllib.request.urlopen(address + path) as response:
        assert response.headers["Content-Type"] == kind
        assert response.headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert response.headers["Cross-Origin-Embedder-Policy"] == "require-corp"


@pytest.mark.parametrize("path", ["model/", "%2e%2e/%2e%2e/%2e%2e/etc/passwd", "nothing.js"])
def test_the_server_gives_out_the_folder_alone(page: Path, path: str) -> None:
    with served(page) as address, pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(address + path)
    assert caught.value.code == 404


def test_a_browser_that_hangs_up_is_no_error(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with served(page) as address:
        port = int(address.rstrip("/").rpartition(":")[2])
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", port)) as browser:
                browser.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, not a farewell
                browser.sendall(b"GET /engines/onnx/ort-wasm-simd-threaded.wasm HTTP/1.1\r\nHost: here\r\n\r\n")
                browser.recv(1000)
        with urllib.request.urlopen(address) as response:
            assert response.status == 200
    assert capsys.readouterr().err == ""


def test_demo_gives_out_the_page_until_it_is_interrupted(built_page: Path, color_model: Path) -> None:
    command = [sys.executable, "-m", "mobilenets", "demo", str(color_model), "--no-open", "--json"]
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell's background jobs are deaf to it
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heard,  # before any thread of it
    ) as demo:
        assert demo.stdout is not None
        text = ""
        while not text.endswith("}\n"):
            text += demo.stdout.readline()
        with urllib.request.urlopen(json.loads(text)["url"]) as response:
            assert b"<title>" in response.read()
        demo.send_signal(signal.SIGINT)
        _, errors = demo.communicate(timeout=20)
    assert demo.returncode == 0, errors
    assert "Traceback" not in errors


def test_a_port_that_is_taken_is_named(page: Path) -> None:
    with served(page) as address:
        port = address.rstrip("/").rpartition(":")[2]
        result = CliRunner().invoke(app.build("demo"), ["demo", str(page), "--no-open", "--port", port])
    assert f"port {port} of 127.0.0.1 cannot be used" in str(result.exception)
