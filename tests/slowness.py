"""Slow tests come last, and where their time is limited, those that have not begun by then are skipped and say so."""

from __future__ import annotations

import os
import time

import pytest

LIMIT = "MOBILENETS_SLOW_MINUTES"
"""Environment variable: minutes from the beginning after which no slow test begins. Without it all run."""

_began = time.monotonic()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=is_slow)


def pytest_runtest_setup(item: pytest.Item) -> None:
    minutes = os.environ.get(LIMIT)
    if minutes and is_slow(item) and time.monotonic() - _began >= 60 * float(minutes):
        pytest.skip(f"a slow test that had not begun after {minutes} minutes ({LIMIT})")


def is_slow(item: pytest.Item) -> bool:
    """Whether a test has the mark."""
    return item.get_closest_marker("slow") is not None
