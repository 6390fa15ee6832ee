"""Benchmarks on other machines over `ssh`: copies the models, runs this package's command there, and reads its rows."""

from __future__ import annotations

import contextlib
import io
import json
import os
import secrets
import shlex
import subprocess
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mobilenets.benchmark.plan import parts
from mobilenets.benchmark.row import NO_ACCURACY, Case, Row, from_flat
from mobilenets.benchmark.tools import ToolError
from mobilenets.errors import DocumentError
from mobilenets.files import write_bytes, write_text

CONNECT_S = 20
PLACE = ".cache/mobilenets/ssh"
"""The folder for files on the other machine, below the user's home."""

OLD_DAYS = 6
"""Files there that are older than this many days are abandoned."""

_LOST = 255  # the exit code of ssh itself
_NOT_FOUND = 127


@dataclass(frozen=True, slots=True)
class Host:
    """Another machine.

    Args:
        address: as for `ssh`: a name in ~/.ssh/config, "pi@raspberrypi.local", or "ssh://pi@host:2222".
        command: this package's command there.
    """

    address: str
    command: str = "mobilenets"

    def run(self, line: str, *, given: bytes = b"") -> bytes:
        """The standard output of a command there.

        Args:
            line: the shell command.
            given: its standard input.

        Raises:
            ToolError: the machine cannot be reached, or the command fails; the hint says what to do.
        """
        return self._answer(line, input=given)[0]

    def run_watched(self, line: str, *, said: Callable[[str], object] = lambda text: None) -> bytes:
        """The same for a long-running command, which is ended if this process ends.

        Args:
            line: a single shell command.
            said: called with each line of its standard error, unless it fails.

        Raises:
            ToolError: see `run`.
        """
        ours, theirs = os.pipe()  # closed if this process is killed, so that the other machine reads end of file
        try:
            printed, told = self._answer(_WATCHED.format(line=line), stdin=ours)
        finally:
            os.close(ours)
            os.close(theirs)
        for text in told.decode("utf-8", "replace").splitlines():
            said(text)
        return printed

    def _answer(self, line: str, **stdin: Any) -> tuple[bytes, bytes]:  # Any: of `subprocess.run`
        """Standard output and standard error of a command there."""
        command = ["ssh", "-o", f"ConnectTimeout={CONNECT_S}", self.address, line]
        try:
            done = subprocess.run(command, capture_output=True, check=False, **stdin)
        except FileNotFoundError as error:
            raise ToolError("'ssh' is not installed", hint="install OpenSSH's client") from error
        if done.returncode == 0 or (done.returncode == 1 and b"{" in done.stdout):  # rows, each with an error
            return done.stdout, done.stderr
        printed = done.stderr.decode("utf-8", "replace").strip()
        lines = [text for text in printed.splitlines() if text.strip() and not text.startswith("Warning")]
        last = lines[-1].strip()[:300] if lines else "it printed nothing"
        if done.returncode == _LOST:
            hint = next((hint for words, hint in _FAILURES.items() if words in printed), "does 'ssh HOST true' work?")
            raise ToolError(f"'{self.address}' cannot be reached: {last}", hint=hint.replace("HOST", self.address))
        if done.returncode == _NOT_FOUND:
            raise ToolError(
                f"'{self.address}' has no command '{self.command}'",
                hint="install mobilenets there, or say where it is: --remote .venv/bin/mobilenets",
            )
        errors = [text.removeprefix("error: ") for text in lines if text.startswith("error: ")]
        raise ToolError(f"on '{self.address}': {errors[0] if errors else last}")


@dataclass(frozen=True, slots=True)
class Kept:
    """State of a benchmark that is kept between runs, so that it can be resumed.

    Args:
        name: name of the folder on the other machine, which is kept until its rows have been copied here.
        rows: a file on this machine, for the rows as saved on the other.
    """

    name: str
    rows: Path

    @staticmethod
    def of(folder: Path) -> Kept:
        """The state of the benchmark in a folder; raises OSError if it cannot be written."""
        file = folder / "there.txt"
        if not file.is_file():
            write_text(file, secrets.token_hex(8))
        return Kept(file.read_text(), folder / "there.jsonl")


def measured_on(
    host: Host,
    cases: Sequence[Case],
    options: Sequence[str],
    *,
    said: Callable[[str], object] = lambda text: None,
    kept: Kept | None = None,
) -> list[Row]:
    """The rows that the other machine measured, with the models' names on this one.

    Args:
        host: the machine.
        cases: a case for each file, with the facts known here.
        options: options of `mobilenets benchmark` there, such as `--threads 1,2`.
        said: called with the reason if there is no accuracy, since rows do not contain it.
        kept: the state of a benchmark that can be resumed; None for one that cannot.

    Raises:
        ToolError: the machine cannot be reached, or its command fails.
        OSError: the state cannot be read or written.
    """
    begin = _BEGIN.format(place=PLACE, name=shlex.quote(secrets.token_hex(8) if kept is None else kept.name), days=OLD_DAYS)
    answer = host.run(begin).decode("utf-8", "replace").splitlines() or [""]  # the shell may print a greeting first
    folder = answer[-1].strip()
    if not folder.startswith("/"):
        raise ToolError(f"'{host.address}' has no folder for temporary files: it answers '{folder[:80]}'")
    quoted = shlex.quote(folder)

    def without_accuracy(line: str) -> None:
        if NO_ACCURACY in line:
            said(line.replace(f"{folder}/", ""))

    whole = kept is None
    try:
        host.run(f"tar -xf - -C {quoted}", given=_packed(cases))
        resume = [] if kept is None else _resumed(host, quoted, kept)
        models = [f"{folder}/{i}/{Path(case.file).name}" for i, case in enumerate(cases)]
        arguments = [*models, "--json", "--out", f"{folder}/out", *options, *resume]
        text = host.run_watched(f"{host.command} benchmark {shlex.join(arguments)}", said=without_accuracy)
        if kept is not None:
            write_bytes(kept.rows, host.run(f"cat {quoted}/{_ROWS} 2>/dev/null || true"))
        whole = True
    finally:
        if whole:
            with contextlib.suppress(ToolError):  # the machine was lost, which another error reports
                host.run(f"rm -rf {quoted}")
    return _rows(host, text, cases)


def _resumed(host: Host, quoted: str, kept: Kept) -> list[str]:
    """`--resume`, if the machine has rows of this benchmark, or receives those that are stored here."""
    earlier = kept.rows.read_bytes() if kept.rows.is_file() else b""
    answer = host.run(_RESUME.format(folder=quoted, rows=_ROWS), given=earlier).decode("utf-8", "replace").split()
    return ["--resume"] if answer[-1:] == ["resume"] else []


def _packed(cases: Sequence[Case]) -> bytes:
    """The files of the cases as a tar archive, each in a folder of its own."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for i, case in enumerate(cases):
            file = Path(case.file)
            for part in parts(file):
                inner = part.relative_to(file.parent)
                tar.add(part, arcname=f"{i}/{inner.as_posix()}")
    return archive.getvalue()


def _rows(host: Host, text: bytes, cases: Sequence[Case]) -> list[Row]:
    try:
        data: dict[str, Any] = json.loads(text[max(0, text.find(b"{")) :])  # Any: JSON
        rows = [from_flat(row) for row in data["rows"]]
    except (ValueError, KeyError, TypeError, DocumentError) as error:
        raise ToolError(
            f"'{host.address}' answers something other than rows: {str(error)[:200]}",
            hint="is another version of mobilenets installed there? compare 'mobilenets --version'",
        ) from error
    return [_named(row, host, cases) for row in rows]


def _named(row: Row, host: Host, cases: Sequence[Case]) -> Row:
    """The row with the facts about its file that are known here."""
    number = Path(row.case.file).parent.name  # of the folder that contains its file
    known = cases[int(number)] if number.isdigit() and int(number) < len(cases) else None
    machine = host.address.removeprefix("ssh://")
    case = replace(row.case, machine=machine)
    if known is not None:
        case = replace(
            case,
            model=known.model,
            file=known.file,
            random_weights=known.random_weights,
            macs=known.macs,
            activation_bytes=known.activation_bytes,
        )
    return replace(row, case=case, group=f"{machine} {row.group}")


# fmt: off
_ROWS = "out/rows.jsonl"
_BEGIN = (  # creates a folder, and removes folders that lost connections left behind
    "cd && umask 077 && mkdir -p {place}/{name} && touch {place}/{name}"
    " && find {place} -mindepth 1 -maxdepth 1 -mtime +{days} -exec rm -rf {{}} + ; cd {place}/{name} && pwd"
)
_RESUME = (
    "cd {folder} && cat > earlier && if [ ! -s {rows} ]; then rm -rf out; fi"
    " && if [ ! -e out ] && [ -s earlier ]; then mkdir out && mv earlier {rows}; fi && if [ -e {rows} ]; then echo resume; fi"
)
_WATCHED = (  # `cat` ends when the connection does
    "exec 3<&0; {line} </dev/null & job=$!; (cat <&3; kill $job) >/dev/null 2>&1 & wait $job; code=$?; kill $!; exit $code"
)
_FAILURES = {  # words in ssh's message: what to do
    "Host key verification failed":  "connect once by hand, 'ssh HOST', and compare the fingerprint that it shows",
    "REMOTE HOST IDENTIFICATION":    "the host's key has changed; find out why before you remove the old one from known_hosts",
    "Permission denied":             "copy your key to it with 'ssh-copy-id HOST'",
    "Could not resolve hostname":    "is the name right? an address such as 192.168.1.20 works too",
    "Connection refused":            "is its SSH server running?",
    "timed out":                     "is it switched on, and in the same network?",
    "No route to host":              "is it switched on, and in the same network?",
}
# fmt: on
