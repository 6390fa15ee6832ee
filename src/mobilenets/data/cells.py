"""Guards cells of CSV files: names and labels are untrusted, and a spreadsheet runs a cell that begins with `=`."""

from __future__ import annotations

import re

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_GUARDED = re.compile(r"'+[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def guarded(text: str) -> str:
    """The text of a cell that a spreadsheet shows as it is: `'` is put before what looks like a formula. Numbers stay.

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
