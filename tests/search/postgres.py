"""`running`: a PostgreSQL server of the test's own, in a temporary folder and reached by a socket there."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

USER, PASSWORD = "tester", "s3cret-of-the-test"


@dataclass(frozen=True, slots=True)
class Postgres:
    """A server that answers.

    Args:
        folder: of its socket.
    """

    folder: Path

    def url(self, database: str, password: str = f":{PASSWORD}") -> str:
        """The address of a database there."""
        return f"postgresql://{USER}{password}@/{database}?host={self.folder}"

    def fresh(self, database: str) -> str:
        """The address of a database that is made now."""
        import psycopg

        with psycopg.connect(self.url("postgres"), autocommit=True) as link:
            link.execute(f"create database {database}".encode())
        return self.url(database)


def programs() -> Path:
    """The folder of the server's programs; skips the test where there is none."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not folders:
        pytest.skip("there is no PostgreSQL server; on Debian: apt-get install postgresql")
    return folders[-1]


@contextlib.contextmanager
def running() -> Iterator[Postgres]:
    """A server until the block ends. It does not run as root, which PostgreSQL refuses."""
    bin_ = programs()
    own: dict[str, Any] = {}  # Any: of Popen
    home = Path(tempfile.mkdtemp(prefix="pg-"))  # short, as the path of a socket must be; and not within a folder of root alone
    try:
        (home / "password").write_text(PASSWORD)
        if os.getuid() == 0:
            user = next((pwd.getpwnam(name) for name in ("postgres", "nobody") if _known(name)), None)
            if user is None:
                pytest.skip("PostgreSQL does not run as root, and there is no user 'postgres' or 'nobody'")
            own = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            for path in (home, home / "password"):
                os.chown(path, user.pw_uid, user.pw_gid)
        made: list[str | Path] = [
            bin_ / "initdb",
            "-D",
            home / "data",
            "-U",
            USER,
            "--pwfile",
            home / "password",
            "-A",
            "scram-sha-256",
        ]
        subprocess.run([*made, "-E", "UTF8", "--locale", "C", "--no-sync"], check=True, capture_output=True, cwd=home, **own)
        settings = ["-c", "listen_addresses=", "-c", "fsync=off", "-c", f"unix_socket_directories={home}"]
        with (home / "log").open("w") as log:
            server = subprocess.Popen(
                [bin_ / "postgres", "-D", home / "data", *settings], stdout=log, stderr=log, cwd=home, **own
            )
        try:
            end = time.monotonic() + 60
            while subprocess.run([bin_ / "pg_isready", "-q", "-h", home], check=False).returncode:
                assert server.poll() is None, (home / "log").read_text()
                assert time.monotonic() < end
                time.sleep(0.05)
            yield Postgres(home)
        finally:
            server.send_signal(signal.SIGQUIT)  # at once: nothing there is kept
            server.wait(60)
    finally:
        shutil.rmtree(home)


def _known(name: str) -> bool:
    with contextlib.suppress(KeyError):
        return bool(pwd.getpwnam(name))
    return False
