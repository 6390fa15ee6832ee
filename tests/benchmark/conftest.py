"""Toy runtimes, which the benchmark's own processes find too."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

TABLE = "bench_toys:ENGINES"


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> str:
    """Where the table of the toy runtimes is."""
    here = str(Path(__file__).parent)
    monkeypatch.syspath_prepend(here)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([here, os.environ.get("PYTHONPATH", "")]))
    return TABLE


@pytest.fixture
def nap(tmp_path: Path) -> Callable[..., str]:
    """Writes a `.nap` file whose runs take some ms an image."""

    def write(text: object, name: str = "") -> str:
        path = tmp_path / (name or f"nap-{text}.nap")
        path.write_text(str(text))
        return str(path)

    return write
