"""The server's log on standard error: one event per line, for people or as JSON."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime

import msgspec

from mobilenets.runtime.rows import escaped
from mobilenets.runtime.text import printable

LOGGER = logging.getLogger("mobilenets.serve")
"""The server's logger, which writes nothing until `configure`."""


def event(name: str, *, level: int = logging.INFO, exception: BaseException | None = None, **fields: object) -> None:
    """Log an event with its fields.

    Args:
        name: the kind of event, such as "request".
        level: a level of `logging`.
        exception: exception whose traceback is logged; only for our own errors.
        fields: facts about the event.
    """
    if LOGGER.isEnabledFor(level):
        traceback = None if exception is None else (type(exception), exception, exception.__traceback__)
        record = LOGGER.makeRecord(LOGGER.name, level, "", 0, name, (), traceback, extra={"fields": fields})
        LOGGER.handle(record)  # `LOGGER.log` would look up the calling line, which costs more than everything else


def configure(*, json_lines: bool) -> None:
    """Write events, and the web server's own warnings, to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if json_lines else Lines())
    for logger, level in ((LOGGER, logging.INFO), (logging.getLogger("uvicorn.error"), logging.WARNING)):
        logger.handlers = [handler]
        logger.setLevel(level)
        logger.propagate = False
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # otherwise it warns of each damaged form


class JsonLines(logging.Formatter):
    """Formats an event as a JSON object on one line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        data = {"time": _time(record), "level": record.levelname.lower(), "event": record.getMessage(), **_fields(record)}
        if record.exc_info:
            data["traceback"] = self.formatException(record.exc_info)
        return escaped(msgspec.json.encode(data, enc_hook=str).decode())


class Lines(logging.Formatter):
    """Formats an event for people: time, level, event, then its fields as `key=value`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line; the traceback of an error of ours follows on further lines."""
        fields = " ".join(f"{key}={value}" for key, value in _fields(record).items())
        line = printable(f"{_time(record)} {record.levelname.lower():<7} {record.getMessage()} {fields}".rstrip())
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def _fields(record: logging.LogRecord) -> dict[str, object]:
    fields: dict[str, object] = getattr(record, "fields", {})
    return fields
