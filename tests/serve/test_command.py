"""`mobilenets serve` as a process: what it prints, its signals, its log, and what it refuses to start with."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import urllib3
from tests.serve.process import started
from typer.testing import CliRunner

from mobilenets.cli import app
from mobilenets.errors import MobileNetsError

Encode = Callable[..., bytes]


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system has no SIGHUP")
def test_a_server_reloads_on_sighup_and_ends_on_sigterm_when_it_has_answered(
    color_model: Path, encoded: Encode, tmp_path: Path
) -> None:
    shutil.copy(color_model, tmp_path / "color.onnx")
    (tmp_path / "key").write_text("secret\n")
    with started(str(tmp_path / "color.onnx"), "--json", "--api-key-file", str(tmp_path / "key"), folder=tmp_path) as server:
        headers = {"X-API-Key": "secret", "X-Request-Id": "mine"}

        def ask(_: int) -> int:
            return server.pool.request("POST", f"{server.url}/predict", body=encoded("red", (900, 900)), headers=headers).status

        assert server.pool.request("POST", f"{server.url}/predict", body=b"").status == 401
        with ThreadPoolExecutor(8) as pool:
            asked = [pool.submit(ask, i) for i in range(40)]
            server.process.send_signal(signal.SIGHUP)
            assert {one.result() for one in asked} == {200}
            asked = [pool.submit(ask, i) for i in range(8)]
            asked[0].result()
            server.process.send_signal(signal.SIGTERM)
            answered = [one.result() for one in asked if one.exception() is None]
        assert server.ended() == 0
        assert set(answered) == {200}
        assert [event["model"] for event in server.events("reloaded")] == ["color"]
        requests = server.events("request")
        # A request that the server logged was answered, and the client has the answer.
        assert sum(event["status"] == 200 for event in requests) == 40 + len(answered)
        assert {event["request"] for event in requests if event["status"] == 200} == {"mine"}
        assert {event["path"] for event in requests} == {"/predict"}


HANGS_UP = """
import os, signal, sys
from pathlib import Path

from tests.serve.held import Held

from mobilenets.runtime.engines.table import Runtime
from mobilenets.serve.app import Access
from mobilenets.serve.limits import Limits
from mobilenets.serve.model import Source
from mobilenets.serve.server import Settings, serve

signals = [signal.SIGHUP, signal.SIGTERM]

class Signaled(Held):
    def __init__(self, path, threads=None):
        super().__init__(path)
        os.write(1, b"opened\\n")
        os.kill(os.getpid(), signals.pop(0))

source = Source("held", Path(sys.argv[1]), engine="held", engines={".held": Runtime("Held", Signaled)})
serve([source], Settings("127.0.0.1", 0, Limits(), Access()), ready=lambda models, addresses: os.write(1, b"ready\\n"))
os.write(1, b"ended\\n")
"""


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system has no SIGHUP")
def test_a_sighup_while_the_models_are_opened_opens_them_again_when_the_server_listens(tmp_path: Path) -> None:
    (tmp_path / "model.held").write_text("0")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", HANGS_UP, str(tmp_path / "model.held")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    first, *then, last = done.stdout.split()
    assert (done.returncode, first, sorted(then), last) == (0, "opened", ["opened", "ready"], "ended"), done.stderr


def test_ctrl_c_ends_quietly(color_model: Path, tmp_path: Path) -> None:
    with started(f"a={color_model}", folder=tmp_path) as server:
        assert server.pool.request("GET", f"{server.url}/v2/models/a").status == 200
        server.process.send_signal(signal.SIGINT)
        assert server.ended() == 0
        log = server.log.read_text()
    assert "a: classify, color, mobilenets_onnx, " in log
    assert "Traceback" not in log
    assert "method=GET path=/v2/models/a status=200" in log
    assert "info    ending requests=0" in log
    assert "info    ended" in log


def test_a_second_ctrl_c_answers_who_still_sends_and_ends_quietly(color_model: Path, tmp_path: Path) -> None:
    with started(f"a={color_model}", folder=tmp_path) as server:
        address = urllib3.util.parse_url(server.url)
        with socket.create_connection((address.host, address.port), timeout=20) as client:
            client.sendall(b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf")
            while server.pool.request("GET", f"{server.url}/metrics").data.count(b"mobilenets_held_bytes 4.0") == 0:
                pass
            server.process.send_signal(signal.SIGINT)
            while "ending requests=1" not in server.log.read_text():
                pass
            server.process.send_signal(signal.SIGINT)
            answer = client.makefile("rb").read()
        assert server.ended() == 0
        log = server.log.read_text()
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert answer.endswith(b'{"error":"the server is shutting down; try again"}')
    assert "path=/predict status=503" in log
    assert "Traceback" not in log


def test_a_log_of_json_holds_nothing_else(color_model: Path, tmp_path: Path) -> None:
    with started(f"a={color_model}", "--json", folder=tmp_path) as server:
        server.process.send_signal(signal.SIGTERM)
        assert server.ended() == 0
        events = [json.loads(line) for line in server.log.read_text().splitlines()]
    assert [event["event"] for event in events] == ["opened", "ending", "ended"]
    assert (events[0]["model"], events[0]["task"], events[0]["network"]) == ("a", "classify", "color")


def refused(*arguments: str) -> str:
    """What the command says of arguments that it cannot serve."""
    result = CliRunner().invoke(app.build("serve"), ["serve", *arguments])
    assert isinstance(result.exception, MobileNetsError), result.output
    return str(result.exception)


def test_what_cannot_be_served_is_refused_before_anything_listens(color_model: Path, tmp_path: Path) -> None:
    assert "two models are named 'a'" in refused(f"a={color_model}", f"a={color_model}")
    assert "cannot be part of an address" in refused(f"a b={color_model}")
    assert "cannot end in '.images'" in refused(f"a.images={color_model}")
    assert "there is no file or folder" in refused(str(tmp_path / "nowhere"))
    assert "unknown engine 'x'" in refused(str(color_model), "--engine", "x")
    assert "does not read" in refused(str(color_model), "--engine", "tflite")
    (tmp_path / "key").write_text("\n")
    assert "holds no API key" in refused(str(color_model), "--api-key-file", str(tmp_path / "key"))
    assert "holds no API key" in refused(str(color_model), "--api-key-file", str(color_model))
    assert "'a=' does not name a model" in refused("a=")
    for site in ("example.org", "https://example.org/", "https://example.org/page", "ftp://example.org", "https://", "null"):
        assert "is not the origin of a website" in refused(str(color_model), "--cors", site)


@pytest.mark.parametrize("option", ["--max-mb", "--max-megapixels", "--seconds", "--watch"])
def test_a_limit_is_a_finite_number(option: str, color_model: Path) -> None:
    assert f"{option} is inf; it must be a finite number" in refused(str(color_model), option, "inf")


def test_a_port_that_is_taken_is_named(color_model: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"cannot listen on 127.0.0.1, port {port}" in refused(str(color_model), "--port", str(port))


@pytest.mark.parametrize("host", ["192.0.2.1", "999.1.1.1"])  # of another machine; none
def test_a_host_that_is_not_this_machine_gets_a_hint_about_the_host(host: str, color_model: Path) -> None:
    result = CliRunner().invoke(app.build("serve"), ["serve", str(color_model), "--host", host, "--port", "0"])
    assert isinstance(result.exception, MobileNetsError)
    assert f"cannot listen on {host}" in str(result.exception)
    assert "--host 0.0.0.0" in result.exception.hint


def test_the_server_loads_no_torch(color_model: Path) -> None:
    code = """
import sys
import mobilenets.serve.server, mobilenets.cli.serve
print("torch" in sys.modules)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment).stdout == "False\n"


def test_a_benchmark_of_a_server_that_does_not_begin_says_what_the_server_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    benchmark: Any = importlib.import_module("serve")
    says = r"error: there is no file or folder '.*nowhere'"
    with pytest.raises(SystemExit, match=says), benchmark.server(tmp_path / "nowhere", None, None):
        pass
