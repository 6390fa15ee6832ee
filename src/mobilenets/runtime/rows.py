"""Predictions as rows and as JSON, with the same names and numbers on the command line, from a server and in bulk."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

Row = dict[str, str | int | float]
"""One label, box or class of an image; a list of rows makes a data frame."""

Record = dict[str, object]
"""A prediction, as written to JSON."""

SCORE_DIGITS = 6
"""Decimal places of scores and of shares of an image."""

EDGE_DIGITS = 2
"""Decimal places of the edges of boxes, px."""

_RAW_CONTROLS = re.compile("[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def json_line(data: Mapping[str, object]) -> str:
    """Data as one line of JSON with all control characters escaped, whatever a file or a label is called.

    >>> json_line({"file": "a\\x9b.jpg"})
    '{"file": "a\\\\u009b.jpg"}'
    """
    return escaped(json.dumps(data, ensure_ascii=False))


def escaped(text: str) -> str:
    """JSON text in which control characters that terminals obey, but JSON allows, are escaped as well."""
    return _RAW_CONTROLS.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
