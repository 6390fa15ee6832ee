"""`running`: an SSH server of this machine on a free port above 1024, for this user and with keys of its own."""

from __future__ import annotations

import contextlib
import getpass
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True, slots=True)
class Sshd:
    """A server that answers.

    Args:
        address: as `--ssh` takes it.
        folder: of its keys and of what it knows.
    """

    address: str
    folder: Path

    @property
    def remote(self) -> str:
        """How this package is called there, as `--remote` takes it."""
        source = Path(sys.modules["mobilenets"].__file__ or "").parents[1]
        return f"PYTHONPATH={shlex.quote(str(source))} {shlex.quote(sys.executable)} -m mobilenets"

    def client(self, *options: str) -> Path:
        """A folder with an `ssh` that has the user's key for this server, and reads and writes nothing in ~/.ssh."""
        real = shutil.which("ssh", path="/usr/bin:/bin:/usr/local/bin")
        own = ("-F", "none", "-i", str(self.folder / "user"), "-o", f"UserKnownHostsFile={self.folder / 'known'}")
        words = shlex.join([str(real), *own, "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", *options])
        script = self.folder / "bin" / "ssh"
        script.parent.mkdir(exist_ok=True)
        script.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        script.chmod(0o755)
        return script.parent


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Sshd]:
    """A server until the block ends; skips the test where OpenSSH's server is not installed."""
    program = shutil.which("sshd") or next((path for path in ("/usr/sbin/sshd",) if Path(path).exists()), None)
    if program is None or shutil.which("ssh-keygen") is None or shutil.which("ssh") is None:
        pytest.skip("OpenSSH is not installed; on Debian: apt-get install openssh-client openssh-server")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where it separates its privileges
    folder.mkdir()
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    shutil.copyfile(folder / "user.pub", folder / "authorized_keys")
    (folder / "authorized_keys").chmod(0o600)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    configuration = f"""
Port {port}
ListenAddress 127.0.0.1
HostKey {folder / "host"}
AuthorizedKeysFile {folder / "authorized_keys"}
StrictModes no
UsePAM no
PasswordAuthentication no
PidFile none
"""
    (folder / "sshd_config").write_text(configuration)
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([program, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=log)
    try:
        end = time.monotonic() + 20
        while not _listens(port):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < end
            time.sleep(0.05)
        yield Sshd(f"ssh://{getpass.getuser()}@127.0.0.1:{port}", folder)
    finally:
        process.terminate()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
