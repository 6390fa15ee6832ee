"""Predictions as rows and as JSON: the same words and numbers on the command line, from a server and in bulk."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

Row = dict[str, str | int | float]
"""One label, box or class of an image; a list of them makes a data frame."""

Record = dict[str, object]
"""A prediction as JSON holds it."""

SCORE_DIGITS = 6
"""Digits behind the point of scores and shares of an image."""

EDGE_DIGITS = 2
"""Digits behind the point of edges of boxes, px."""

_RAW_CONTROLS = re.compile("[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def json_line(data: Mapping[str, object]) -> str:
    """Data as one line of JSON in which no control character stands raw, whatever a file or a label is called.

    >>> json_line({"file": "a\\x9b.jpg"})
    '{"file": "a\\\\u009b.jpg"}'
    """
    return escaped(json.dumps(data, ensure_ascii=False))


def escaped(text: str) -> str:
    """JSON without the control characters that it need not escape but a terminal obeys."""
    return _RAW_CONTROLS.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
