"""Mutants of every file that describes a dataset are read or refused in one line; `benchmarks/fuzz_datasets.py` tries more."""

from __future__ import annotations

import runpy
from collections import Counter
from pathlib import Path

import pytest

FUZZ = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "fuzz_datasets.py"))


@pytest.mark.parametrize("kind", FUZZ["KINDS"])
def test_a_mutant_is_read_or_refused(kind: str) -> None:
    lines: list[str] = []
    outcomes: Counter[str] = FUZZ["run"](kind, 25, 7, say=lines.append)
    assert set(outcomes) <= {"read", "refused"}, lines
