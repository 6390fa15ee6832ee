"""`Telling`: how long-running work reports its progress, independent of who displays it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

Bar = Callable[[str, int | None], AbstractContextManager[Callable[[int], None]]]
"""Opens a progress bar with a description and a total, and returns the function that advances it."""


def no_bar(description: str, total: int | None) -> AbstractContextManager[Callable[[int], None]]:
    """A progress bar that shows nothing."""
    return nullcontext(lambda amount: None)


@dataclass(frozen=True, slots=True)
class Telling:
    """How long-running work reports what it does; by default not at all.

    Args:
        progress: opens a progress bar.
        said: receives one line of text.
    """

    progress: Bar = no_bar
    said: Callable[[str], object] = lambda text: None
