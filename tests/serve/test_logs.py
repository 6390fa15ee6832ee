"""Log lines are one line each, whatever clients send."""

from __future__ import annotations

import json
import logging

import pytest

from mobilenets.serve.logs import JsonLines, Lines


def record(exception: BaseException | None = None, **fields: object) -> logging.LogRecord:
    info = (type(exception), exception, None) if exception is not None else None
    made = logging.LogRecord("mobilenets.serve", logging.INFO, "", 0, "request", (), info)
    made.created = 0.25
    made.fields = fields  # what `event` puts there
    return made


ODD = "/a\n2026 info fake\x1b[31m\u2028\x9b"


@pytest.mark.parametrize("formatter", [JsonLines(), Lines()])
def test_what_a_client_sends_cannot_begin_a_line_or_reach_the_terminal(formatter: logging.Formatter) -> None:
    line = formatter.format(record(path=ODD))
    assert len(line.splitlines()) == 1
    assert not set("\x1b\x9b\n\u2028") & set(line)


def test_json_lines_hold_time_level_event_and_fields() -> None:
    assert json.loads(JsonLines().format(record(path=ODD, status=200))) == {
        "time": "1970-01-01T00:00:00.250+00:00",
        "level": "info",
        "event": "request",
        "path": ODD,
        "status": 200,
    }


def test_lines_for_people_have_the_same() -> None:
    assert Lines().format(record(path="/a", status=200)) == "1970-01-01T00:00:00.250+00:00 info    request path=/a status=200"


def test_a_mistake_of_ours_has_its_traceback() -> None:
    found = json.loads(JsonLines().format(record(ValueError("a mistake"))))
    assert "ValueError: a mistake" in found["traceback"]
