"""`Telling`: how long work says what it does, whoever shows it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

Bar = Callable[[str, int | None], AbstractContextManager[Callable[[int], None]]]
"""Opens a progress bar with a description and a total, and gives the function that advances it."""


def no_bar(description: str, total: int | None) -> AbstractContextManager[Callable[[int], None]]:
    """Shows nothing."""
    return nullcontext(lambda amount: None)


@dataclass(frozen=True, slots=True)
class Telling:
    """How long work says what it does; nothing by default.

    Args:
        progress: opens a progress bar.
        said: one line of text.
    """

    progress: Bar = no_bar
    said: Callable[[str], object] = lambda text: None
