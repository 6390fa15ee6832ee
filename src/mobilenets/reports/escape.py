"""Makes untrusted text, such as file names and labels, safe for a terminal, Markdown and CSV."""

from __future__ import annotations

import re
import unicodedata

_HIDDEN = frozenset(
    ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
)  # control, format (such as bidirectional marks), surrogates, separators
_SPECIAL = re.compile(r"[\\`*\[\]<>|&~#]|(?<!\w)_|_(?!\w)")
_FORMULA = ("=", "+", "-", "@")


def printable(text: str) -> str:
    r"""The text on one line, with what cannot be seen written as an escape sequence.

    >>> printable("a\nb"), printable("\x1b[31mred"), printable("b\udcff.png")
    ('a\\nb', '\\x1b[31mred', 'b\\udcff.png')
    """
    if text.isprintable():
        return text
    return "".join(
        letter.encode("unicode_escape").decode() if unicodedata.category(letter) in _HIDDEN else letter for letter in text
    )


def markdown(text: str) -> str:
    r"""The text as Markdown shows it literally, also in a cell of a table.

    >>> markdown("<b>*a*|b"), markdown("learning_rate")
    ('\\<b\\>\\*a\\*\\|b', 'learning_rate')
    """
    return _SPECIAL.sub(lambda special: "\\" + special.group(), printable(text))


def code(text: str) -> str:
    r"""The text as inline code of Markdown, also in a cell of a table.

    >>> code("a|b"), code("a`b")
    ('`a\\|b`', '`` a`b ``')
    """
    shown = printable(text).replace("|", "\\|")
    fence = "`" * (max((len(run) for run in re.findall("`+", shown)), default=0) + 1)
    return f"{fence} {shown} {fence}" if len(fence) > 1 else f"`{shown}`"


def csv_cell(text: str) -> str:
    """The text as a CSV cell that no spreadsheet treats as a formula: a leading `'` is added where necessary.

    >>> csv_cell("=1+1"), csv_cell("cat")
    ("'=1+1", 'cat')
    """
    shown = printable(text)
    return f"'{shown}" if shown.lstrip("' ").startswith(_FORMULA) else shown
