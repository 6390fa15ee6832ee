"""Names of files and labels may hold anything, and a terminal obeys some of it. Here it becomes harmless."""

from __future__ import annotations

import re

# Control characters but tab, line and paragraph separators, and what turns the direction of writing.
_CONTROLS = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    r"""The text on one line, with every control character as Python writes it in a string.

    >>> printable("a\x1b[31m.jpg")
    'a\\x1b[31m.jpg'
    """
    return _CONTROLS.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


def printable_lines(text: str) -> str:
    """As `printable`, for a text of our own that may have several lines."""
    return "\n".join(printable(line) for line in text.split("\n"))
