"""Other machines by way of `ssh`: the models are copied, the command of this package runs there, and its rows are read."""

from __future__ import annotations

import contextlib
import io
import json
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

CONNECT_S = 20
_LOST = 255  # the exit code of ssh itself
_NOT_FOUND = 127


@dataclass(frozen=True, slots=True)
class Host:
    """Another machine.

    Args:
        address: as `ssh` takes it: a name of ~/.ssh/config, "pi@raspberrypi.local", or "ssh://pi@host:2222".
        command: how this package is called there.
    """

    address: str
    command: str = "mobilenets"

    def run(self, line: str, *, given: bytes = b"", said: Callable[[str], object] = lambda text: None) -> bytes:
        """What a command there prints on standard output.

        Args:
            line: of the shell there.
            given: its standard input.
            said: is told each line that it prints on standard error, if it does not fail.

        Raises:
            ToolError: the machine cannot be reached, or the command fails; the hint says what to do.
        """
        command = ["ssh", "-o", f"ConnectTimeout={CONNECT_S}", self.address, line]
        try:
            done = subprocess.run(command, input=given, capture_output=True, check=False)
        except FileNotFoundError as error:
            raise ToolError("'ssh' is not installed", hint="install OpenSSH's client") from error
        if done.returncode == 0 or (done.returncode == 1 and b"{" in done.stdout):  # rows, though each of them says why not
            for text in done.stderr.decode("utf-8", "replace").splitlines():
                said(text)
            return done.stdout
        printed = done.stderr.decode("utf-8", "replace").strip()
        lines = [text for text in printed.splitlines() if text.strip() and not text.startswith("Warning")]
        last = lines[-1].strip()[:300] if lines else "it said nothing"
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


def measured_on(
    host: Host, cases: Sequence[Case], options: Sequence[str], *, said: Callable[[str], object] = lambda text: None
) -> list[Row]:
    """The rows that the machine measured, the models named as here.

    Args:
        host: the machine.
        cases: a case for each file, with what is known of it here.
        options: of `mobilenets benchmark` there, such as `--threads 1,2`.
        said: is told why there is no accuracy, which no row says.

    Raises:
        ToolError: the machine cannot be reached, or its command fails.
    """
    answer = host.run("mktemp -d").decode("utf-8", "replace").split() or [""]  # a shell may greet before
    folder = answer[-1]
    if not folder.startswith("/"):
        raise ToolError(f"'{host.address}' has no folder for temporary files: it answers '{folder[:80]}'")
    quoted = shlex.quote(folder)

    def without_accuracy(line: str) -> None:
        if NO_ACCURACY in line:
            said(line.replace(f"{folder}/", ""))

    try:
        host.run(f"tar -xf - -C {quoted}", given=_packed(cases))
        models = [f"{folder}/{i}/{Path(case.file).name}" for i, case in enumerate(cases)]
        arguments = [*models, "--json", "--out", f"{folder}/out", *options]
        text = host.run(f"{host.command} benchmark {shlex.join(arguments)}", said=without_accuracy)
    finally:
        with contextlib.suppress(ToolError):  # the machine was lost, which another error says
            host.run(f"rm -rf {quoted}")
    return _rows(host, text, cases)


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
            f"'{host.address}' answers something else than rows: {str(error)[:200]}",
            hint="is another version of mobilenets installed there? 'mobilenets --version' tells",
        ) from error
    return [_named(row, host, cases) for row in rows]


def _named(row: Row, host: Host, cases: Sequence[Case]) -> Row:
    """The row with what is known here of its file."""
    number = Path(row.case.file).parent.name  # of the folder that its file lies in
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
_FAILURES = {  # words in what ssh says: what to do
    "Host key verification failed":  "connect once by hand, 'ssh HOST', and compare the fingerprint that it shows",
    "REMOTE HOST IDENTIFICATION":    "the host's key has changed; find out why before you remove the old one from known_hosts",
    "Permission denied":             "copy your key to it with 'ssh-copy-id HOST'",
    "Could not resolve hostname":    "is the name right? an address such as 192.168.1.20 works too",
    "Connection refused":            "is its SSH server running?",
    "timed out":                     "is it switched on, and in the same network?",
    "No route to host":              "is it switched on, and in the same network?",
}
# fmt: on
