"""Text files of annotations, and the numbers in them."""

from __future__ import annotations

import math
from pathlib import Path

from mobilenets.errors import DataError


def text_of(path: Path) -> str:
    """The text of a file, UTF-8 with or without a mark.

    Raises:
        DataError: it cannot be read, or is no UTF-8.
    """
    try:
        return path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"'{path}' cannot be read: {getattr(error, 'strerror', None) or error}") from error


def finite(text: str, what: str) -> float:
    """The finite number that a word stands for.

    Args:
        text: the word.
        what: where it stands and what it is of, for the error.

    Raises:
        DataError: it stands for none.
    """
    try:
        value = float(text)
    except ValueError as error:
        raise DataError(f"{what} is '{text}', not a number") from error
    if not math.isfinite(value):
        raise DataError(f"{what} is '{text}', not a number")
    return value
