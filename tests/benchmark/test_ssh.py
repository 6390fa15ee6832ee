"""Other machines: a script in place of `ssh` that runs the commands here, and a real server where one is installed."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.benchmark.sshd import Sshd, running

from mobilenets.benchmark.elsewhere import benchmark_on_host
from mobilenets.benchmark.flow import Data
from mobilenets.benchmark.measure import Settings
from mobilenets.benchmark.plan import Asked
from mobilenets.benchmark.row import Case, Row, to_flat
from mobilenets.benchmark.ssh import OLD_DAYS, PLACE, Host, Kept, measured_on
from mobilenets.benchmark.tools import ToolError
from mobilenets.telling import Telling

QUICK = Settings(seconds=0.06, rounds=3, starts=1)
Write = Callable[..., str]


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Puts a script in place of `ssh`: it runs the shell's line, or does what it is told."""

    def write(body: str = 'exec sh -c "$last"') -> Path:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        script = folder / "ssh"
        script.write_text(f'#!/bin/sh\nfor last; do :; done\necho "$@" >> {shlex.quote(str(tmp_path / "calls"))}\n{body}\n')
        script.chmod(0o755)
        return tmp_path / "calls"

    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return write


FOREIGN = """
import json, sys
from mobilenets.benchmark.row import Case, Row, to_flat
files = [argument for argument in sys.argv[1:] if argument.startswith("/") and not argument.endswith("/out")]
sizes = [len(open(file, "rb").read()) for file in files]
rows = [Row(Case("model", file, "nap", "float32", 2, 1), p50_ms=float(size), rounds_ms=(1.0,), group="0")
        for file, size in zip(files, sizes)]
print("measuring", file=sys.stderr)
if "--data" in sys.argv:
    print(f"{files[0]} on nap: no accuracy: there is no folder 'photos of mine'", file=sys.stderr)
print(json.dumps({"rows": [to_flat(row) for row in rows], "arguments": sys.argv[1:]}))
"""


@pytest.fixture
def command(tmp_path: Path) -> str:
    """A command in place of `mobilenets` on the other machine: a file's latency is its length."""
    script = tmp_path / "far away.py"
    script.write_text(FOREIGN)
    return f"{shlex.quote(sys.executable)} {shlex.quote(str(script))}"


def test_files_are_copied_and_rows_come_back_under_the_names_they_have_here(
    ssh: Callable[..., Path], command: str, tmp_path: Path
) -> None:
    calls = ssh()
    first, second = tmp_path / "a b.nap", tmp_path / "folder.nap"
    first.write_bytes(b"x" * 11)
    (tmp_path / "weights.xml").write_bytes(b"x" * 5)
    (tmp_path / "weights.bin").write_bytes(b"x" * 3)
    second.write_bytes(b"x" * 7)
    cases = [Case("mine", str(first), "nap", macs=3), Case("other", str(tmp_path / "weights.xml"), "nap", activation_bytes=9)]
    rows = measured_on(Host("ssh://pi@far:2222", command), cases, ["--threads", "2"])
    assert [(row.case.model, row.case.file, row.p50_ms) for row in rows] == [
        ("mine", str(first), 11.0),
        ("other", str(tmp_path / "weights.xml"), 5.0),
    ]
    assert {row.case.machine for row in rows} == {"pi@far:2222"}
    assert (rows[0].case.macs, rows[1].case.activation_bytes) == (3, 9)
    lines = calls.read_text().splitlines()
    assert len(lines) == 4  # a folder, the files, the command, and the folder is removed
    folder = Path(lines[-1].split()[-1])
    assert lines[-1].endswith(f"ssh://pi@far:2222 rm -rf {folder}")
    assert not folder.exists()


@pytest.mark.parametrize(
    ("said", "message", "hint"),
    [
        ("Host key verification failed.", "cannot be reached: Host key verification failed", "compare the fingerprint"),
        ("pi@far: Permission denied (publickey).", "Permission denied", "ssh-copy-id"),
        (
            "ssh: Could not resolve hostname far: Name or service not known",
            "Could not resolve hostname far",
            "is the name right",
        ),
        ("ssh: connect to host far port 22: Connection refused", "Connection refused", "SSH server running"),
        ("ssh: connect to host far port 22: Connection timed out", "timed out", "switched on"),
    ],
)
def test_a_machine_that_cannot_be_reached_is_named_with_what_to_do(
    ssh: Callable[..., Path], said: str, message: str, hint: str
) -> None:
    ssh(f"echo {shlex.quote(said)} >&2; exit 255")
    with pytest.raises(ToolError, match=message) as error:
        measured_on(Host("far"), [], [])
    assert str(error.value).startswith("'far' ")
    assert hint in error.value.hint
    assert "HOST" not in error.value.hint


@pytest.mark.parametrize(
    ("command", "message", "hint"),
    [
        ("no-such-command-here", "'far' has no command 'no-such-command-here'", "--remote .venv/bin/mobilenets"),
        ("sh -c 'echo error: no space >&2; exit 1'", "on 'far': no space", ""),
        ("sh -c 'echo Welcome'", "answers something other than rows", "another version"),
        ('sh -c \'echo "{\\"rows\\": [{\\"model\\": 3}]}"\'', "answers something other than rows", "another version"),
    ],
)
def test_a_command_that_fails_there_is_named(
    ssh: Callable[..., Path], tmp_path: Path, command: str, message: str, hint: str
) -> None:
    ssh()
    (tmp_path / "m.nap").touch()
    with pytest.raises(ToolError, match=message) as error:
        measured_on(Host("far", command), [Case("m", str(tmp_path / "m.nap"), "nap")], [])
    assert hint in error.value.hint


def test_rows_that_all_failed_there_are_rows_here_and_a_greeting_is_no_answer(ssh: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "m.nap").touch()
    rows = json.dumps({"rows": [to_flat(Row(Case("m", "/tmp/x/0/m.nap", "nap"), error="it is not installed"))]})
    (tmp_path / "answer").write_text(f"Welcome\n{rows}")
    ssh('echo Hello; exec sh -c "$last"')
    host = Host("far", f"sh -c 'cat {tmp_path / 'answer'}; exit 1' x")
    [row] = measured_on(host, [Case("mine", str(tmp_path / "m.nap"), "nap")], [])
    assert (row.case.model, row.error) == ("mine", "it is not installed")


def test_a_machine_that_cannot_be_reached_is_named_before_anything_is_exported(
    ssh: Callable[..., Path], tmp_path: Path
) -> None:
    ssh("echo Connection refused >&2; exit 255")
    said: list[str] = []
    asked = Asked(("mobilenet_v3_small",), ("onnx",))
    with pytest.raises(ToolError, match="'far' cannot be reached: Connection refused"):
        list(benchmark_on_host(asked, tmp_path / "out", Host("far"), settings=QUICK, telling=Telling(said=said.append)))
    assert said == []
    assert not (tmp_path / "out").exists()


def test_without_ssh_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match="'ssh' is not installed"):
        Host("far").run("true")


def test_the_machine_is_asked_for_what_was_asked_here(
    toys: str, nap: Write, ssh: Callable[..., Path], command: str, tmp_path: Path
) -> None:
    calls = ssh()
    asked = Asked((nap(1), nap(2)), ("nap",), ("float32",), (1, 2), (1, 8), table=toys)
    data = Data("photos of mine", "test", ("a", "b"), ("void",))
    said: list[str] = []
    telling = Telling(said=said.append)
    rows = list(benchmark_on_host(asked, tmp_path / "out", Host("far", command), data=data, settings=QUICK, telling=telling))
    assert said == ["2 files are measured on far", "0/nap-1.nap on nap: no accuracy: there is no folder 'photos of mine'"]
    assert [row.case.model for row in rows] == ["nap-1", "nap-2"]
    assert (tmp_path / "out" / "rows.jsonl").read_text().count("\n") == 2
    line = next(line for line in calls.read_text().splitlines() if " benchmark " in line)
    for words in (
        "/0/nap-1.nap ",
        "/1/nap-2.nap --json --out ",
        "--threads 1,2 --batch 1,8 --seconds 0.06 --rounds 3 --runtime nap --precision float32",
        "--data 'photos of mine' --split test --classes a,b --ignore void",
    ):
        assert words in line


STOPPED = """
import pathlib, sys
out = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
out.mkdir()
(out / "rows.jsonl").write_text("a row\\n")
print("error: no space left", file=sys.stderr)
sys.exit(1)
"""


def test_a_benchmark_goes_on_with_the_rows_that_are_there_and_then_leaves_nothing_there(
    ssh: Callable[..., Path], command: str, tmp_path: Path
) -> None:
    calls = ssh()
    (tmp_path / "m.nap").write_bytes(b"x")
    (tmp_path / "stopped.py").write_text(STOPPED)
    cases, kept, there = [Case("m", str(tmp_path / "m.nap"), "nap")], Kept.of(tmp_path / "out"), tmp_path / "home" / PLACE
    for name, days in (("lost", OLD_DAYS + 2), ("young", 1)):
        (there / name).mkdir(parents=True)
        os.utime(there / name, (time.time() - days * 86400,) * 2)
    with pytest.raises(ToolError, match="no space left"):
        measured_on(Host("far", f"{shlex.quote(sys.executable)} {tmp_path / 'stopped.py'}"), cases, [], kept=kept)
    assert sorted(path.name for path in there.iterdir()) == sorted(["young", kept.name])
    for _ in range(2):  # with the rows that were left there, and with those that were fetched
        calls.unlink()
        measured_on(Host("far", command), cases, [], kept=Kept.of(tmp_path / "out"))
        assert "--resume" in next(line for line in calls.read_text().splitlines() if " benchmark " in line)
        assert kept.rows.read_text() == "a row\n"
        assert [path.name for path in there.iterdir()] == ["young"]


def test_a_command_there_ends_with_this_process(ssh: Callable[..., Path], tmp_path: Path) -> None:
    ssh()
    pid = tmp_path / "pid"
    line = f"sh -c 'echo $$ > {pid}.new; mv {pid}.new {pid}; exec sleep 1000'"
    code = f"from mobilenets.benchmark.ssh import Host; Host('far').run_watched({line!r})"
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        _until(pid.exists)
    finally:
        process.kill()
        process.wait()
    _until(lambda: not Path(f"/proc/{pid.read_text().strip()}").exists())


def _until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Sshd]:
    """An SSH server of this machine."""
    with running(tmp_path / "sshd") as found:
        yield found


@pytest.mark.slow
def test_over_ssh_to_this_machine(server: Sshd, color_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(server.address, server.remote)
    asked = Asked((str(color_model),), runtimes=("onnx",), threads=(1, 2))
    monkeypatch.setenv("PATH", f"{server.client()}:{os.environ['PATH']}")

    def run(where: Host) -> list[Row]:
        return list(benchmark_on_host(asked, tmp_path / "out", where, settings=QUICK))

    with pytest.raises(ToolError, match="Host key verification failed") as unknown:
        run(host)
    assert "compare the fingerprint" in unknown.value.hint
    server.client("-o", "StrictHostKeyChecking=accept-new")
    rows = run(host)
    assert [(row.case.threads, row.case.precision) for row in rows] == [(1, "float32"), (2, "float32")]
    assert all(row.p50_ms is not None and row.peak_bytes is not None for row in rows)
    assert {row.case.machine for row in rows} == {server.address.removeprefix("ssh://")}
    with pytest.raises(ToolError, match="has no command 'mobilenets-of-nowhere'"):
        run(Host(server.address, "mobilenets-of-nowhere"))
    (server.folder / "authorized_keys").write_text("")
    with pytest.raises(ToolError, match="Permission denied") as denied:
        run(host)
    assert "ssh-copy-id" in denied.value.hint


@pytest.mark.slow
def test_the_command_measures_over_ssh_and_touches_no_key_of_the_user(server: Sshd, color_model: Path, tmp_path: Path) -> None:
    before = _user_files()
    path = f"{server.client('-o', 'StrictHostKeyChecking=accept-new')}:{os.environ['PATH']}"
    command = [sys.executable, "-m", "mobilenets", "benchmark", str(color_model), "--runtime", "onnx", "--threads", "1"]
    command += ["--ssh", server.address, "--remote", server.remote, "--seconds", "0.06", "--rounds", "3"]
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "out"), "--json"],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": path},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["rows"]
    assert row["machine"] == server.address.removeprefix("ssh://")
    assert row["p50_ms"] > 0
    assert row["error"] == ""
    log = (server.folder / "log").read_text()
    # the version, a folder, the files, what is known, the command, the rows, and the folder is removed
    assert log.count("Accepted publickey") == 7
    assert _user_files() == before


def _user_files() -> dict[str, int]:
    """What ~/.ssh holds, and when it was written."""
    return {str(file): file.stat().st_mtime_ns for file in (Path.home() / ".ssh").rglob("*")}


def test_rows_are_json_that_older_readers_understand() -> None:
    """What one machine prints the other reads: the keys are a promise between versions."""
    flat = json.loads(json.dumps(to_flat(Row(Case("m", "f", "onnx")))))
    assert {"model", "file", "runtime", "precision", "threads", "batch", "p50_ms", "p90_ms", "rounds_ms", "error"} <= set(flat)
