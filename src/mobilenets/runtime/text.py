"""Makes text safe to print: names of files and labels may contain control characters that a terminal obeys."""

from __future__ import annotations

import re

# Control characters except tab, line and paragraph separators, and characters that change the direction of writing.
_CONTROLS = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    r"""The text on one line, with every control character escaped as in a Python string.

    >>> printable("a\x1b[31m.jpg")
    'a\\x1b[31m.jpg'
    """
    return _CONTROLS.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


def printable_lines(text: str) -> str:
    """As `printable`, for our own texts, which may have several lines."""
    return "\n".join(printable(line) for line in text.split("\n"))


def shown_bytes(head: bytes) -> str:
    """The first bytes of a file, for people: as text if they are text, otherwise in hexadecimal.

    >>> shown_bytes(b"a text"), shown_bytes(b"\\0asm\\1\\0")
    ("'a text'", 'the bytes 00 61 73 6d 01 00')
    """
    text = head.decode("ascii", "replace")
    if all(sign.isprintable() or sign in "\t\r\n" for sign in text) and "\ufffd" not in text:
        return repr(text)
    return f"the bytes {head[:8].hex(' ')}"
