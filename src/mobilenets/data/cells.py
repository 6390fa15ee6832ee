"""Protects CSV files against formulas: names and labels are untrusted, and a spreadsheet executes a cell starting with `=`."""

from __future__ import annotations

import re

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_GUARDED = re.compile(r"'+[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def guarded(text: str) -> str:
    """The text as a cell that a spreadsheet shows literally: a leading `'` disables formulas. Numbers stay unchanged.

    >>> guarded("=cmd|' /C calc'!A0"), guarded("cat"), guarded("-1.5")
    ("'=cmd|' /C calc'!A0", 'cat', '-1.5')
    """
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def unguarded(cell: str) -> str:
    """The text that `guarded` was given.

    >>> unguarded("'=a"), unguarded("'a")
    ('=a', "'a")
    """
    return cell[1:] if _GUARDED.match(cell) else cell
