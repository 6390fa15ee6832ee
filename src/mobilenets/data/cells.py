"""Cells of CSV files: names and labels come from strangers, and a spreadsheet runs a cell that begins with `=` as a formula."""

from __future__ import annotations

import re

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_GUARDED = re.compile(r"'+[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def guarded(text: str) -> str:
    """A cell that a spreadsheet shows as it is: `'` goes before what it would take for a formula. Numbers stay.

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
