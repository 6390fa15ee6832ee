"""`Storage`: the database of a search over shapes, and this worker's identity; and addresses without passwords."""

from __future__ import annotations

import re
import socket
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from mobilenets.errors import MissingExtraError, MobileNetsError, UsageError

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial

DATABASE = "study.db"
STUDY = "mobilenets"
"""The default name of a study."""

LOST_AFTER_S = 120
_LEAST_S = 4  # smallest `lost_after_s`: a worker sends four heartbeats in this time, at most one per second
_CONNECT_S = 10
_ATTEMPTS = 5  # attempts to create the tables, since several workers may start at the same moment


class StorageError(MobileNetsError):
    """A database that cannot be reached or used, or a study that belongs to another search."""


@dataclass(frozen=True, slots=True)
class Storage:
    """The database of a study, and the identity of this worker.

    Args:
        url: address of the database; "" for a file in the search's folder. It may contain a password.
        study: name of the study in the database.
        worker: identifies this search among those that share the study; it stays the same after a kill and `--resume`.
        lost_after_s: a worker without heartbeat for this many seconds is considered lost.
    """

    url: str = field(default="", repr=False)
    study: str = STUDY
    worker: str = ""
    lost_after_s: int = LOST_AFTER_S

    @property
    def title(self) -> str:
        """Its description for users, without the password."""
        return f"the study '{self.study}' in {without_password(self.url)}" if self.url else "the study in the search's folder"

    @property
    def beat_s(self) -> int:
        """The interval between a worker's heartbeats, in seconds."""
        return max(1, self.lost_after_s // 4)

    def mine(self, worker: str | None) -> bool:
        """Whether a worker belongs to this search; always true for a file in its folder."""
        return not self.url or worker == self.worker


OWN = Storage()
"""A file in the search's folder."""


def place_of(folder: Path) -> str:
    """A description of where a search runs: machine and folder."""
    return f"{socket.gethostname()}:{folder.absolute()}"


def check_storage(url: str) -> None:
    """Check that a text is the address of a database.

    Raises:
        UsageError: it is not; the message does not contain a password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"--storage is not an address: {error}", hint=_EXAMPLE) from error
    if not parts.scheme or "://" not in url:
        raise UsageError(f"--storage '{without_password(url)}' is not the address of a database", hint=_EXAMPLE)
    if parts.scheme.partition("+")[0] not in _POSTGRES:
        raise UsageError(f"--storage '{without_password(url)}' is not a PostgreSQL database", hint=_EXAMPLE)
    if not parts.path.strip("/"):
        where = f"{parts.hostname or 'the local server'}{'' if port is None else f', port {port}'}"
        raise UsageError(f"--storage names no database on {where}", hint=_EXAMPLE)


def without_password(url: str) -> str:
    """The address of a database without its password, for folders and messages.

    >>> without_password("postgresql://me:secret@host:5432/search?sslmode=require&password=secret")
    'postgresql://me@host:5432/search?sslmode=require'
    """
    plain = re.sub(r"^([\w+.-]+://[^:/@?]*):.*@", r"\1@", url)
    return re.sub(rf"(?<=[?&])({'|'.join(_SECRET)})=[^&]*&?", "", plain).rstrip("?&")


@contextmanager
def in_words(storage: Storage) -> Iterator[None]:
    """Turn errors of the database into one line without the password.

    Raises:
        StorageError: the database cannot be reached, or refuses a request.
    """
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        cause = error if isinstance(error, SQLAlchemyError) else error.__cause__ or error
        raise _failure(storage, cause) from None  # the chained errors contain addresses


def database(storage: Storage, folder: Path, lost: Callable[[Study, FrozenTrial], None]) -> RDBStorage:
    """The database of a study; missing tables are created.

    Args:
        storage: the storage.
        folder: folder of the search, for the file if no database is given.
        lost: called with each trial that fails because its worker is lost.

    Raises:
        MissingExtraError: Optuna, or the database's driver, is not installed.
        StorageError: the database cannot be reached.
    """
    try:
        from optuna.storages import RDBStorage
    except ImportError as error:
        raise MissingExtraError("optuna", "search") from error
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import IntegrityError, ProgrammingError

    url = _with_driver(storage.url) or f"sqlite:///{(folder / DATABASE).absolute()}"
    settings: dict[str, Any] = {}  # Any: of SQLAlchemy
    if url.startswith("postgresql"):
        settings = {"pool_pre_ping": True, "connect_args": {"connect_timeout": _CONNECT_S}}
    beats: dict[str, Any] = {}  # Any: as above
    if storage.url:
        beats = {"heartbeat_interval": storage.beat_s, "grace_period": storage.lost_after_s}
        beats |= {"heartbeat_stale_trial_callback": lost}
    with in_words(storage):
        for attempt in range(_ATTEMPTS):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # heartbeats are experimental
                    return RDBStorage(url, engine_kwargs=settings, **beats)
            except (
                IntegrityError,
                ProgrammingError,
                StorageInternalError,
            ):  # another worker is creating the same tables
                if attempt == _ATTEMPTS - 1:
                    raise
            except ImportError as error:
                name = error.name or getattr(error.__cause__, "name", None)  # Optuna says it in its own words
                raise MissingExtraError(name or "the database's driver", "search") from error
    raise AssertionError


def _with_driver(url: str) -> str:
    """The address for SQLAlchemy: with psycopg for PostgreSQL, unless another driver is given."""
    scheme, _, rest = url.partition("://")
    return f"postgresql+psycopg://{rest}" if scheme in _POSTGRES else url


def _failure(storage: Storage, cause: BaseException) -> StorageError:
    said = str(getattr(cause, "orig", None) or cause)
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    known = [(line, hint) for line in lines for words, hint in _HINTS.items() if words in line]
    last, hint = known[0] if known else (lines[0] if lines else type(cause).__name__, "")
    for secret in _secrets(storage.url):
        last = last.replace(secret, "***")
    where = f"the database {without_password(storage.url)}" if storage.url else f"'{DATABASE}' in the search's folder"
    return StorageError(f"{where} cannot be used: {last[:300]}", hint=hint or "does 'psql URL' work from this machine?")


def _secrets(url: str) -> list[str]:
    parts = urlsplit(url)
    given = [parts.password or "", *(value for name, value in parse_qsl(parts.query) if name in _SECRET)]
    return [secret for value in given for secret in (value, unquote(value)) if secret]


_POSTGRES = ("postgres", "postgresql")
_SECRET = ("password", "sslpassword")
_EXAMPLE = "--storage postgresql://user@host/search"

# fmt: off
_HINTS = {  # words in the message of the server or driver: what to do
    "Connection refused":              "is the server running, and does it listen on that port?",
    "No such file or directory":       "is the server running, and is that the folder of its socket?",
    "resolve":                         "is the name right? an address such as 192.168.1.20 works too",
    "timeout expired":                 "is the machine switched on, and does its firewall let this one through?",
    "no password supplied":            "put the password into ~/.pgpass or into the variable PGPASSWORD",
    "password authentication failed":  "check the password in ~/.pgpass, in the variable PGPASSWORD, or in the address",
    "does not exist":                  "make the database once: createdb NAME",
    "pg_hba.conf":                     "the server does not accept this machine or user; its pg_hba.conf decides that",
    "permission denied":               "its owner can let the user make tables: GRANT CREATE ON SCHEMA public TO USER",
    "server closed the connection":    "when the server is back, start the search again with --resume",
    "terminating connection":          "when the server is back, start the search again with --resume",
}
# fmt: on
