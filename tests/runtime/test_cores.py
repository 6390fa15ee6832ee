from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import mobilenets
from mobilenets.runtime.cores import cores


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system does not bind processes to processors")
def test_processors_that_a_process_may_not_use_are_not_counted() -> None:
    code = """
import os
from mobilenets.runtime.cores import cores
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
print(cores())
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "1\n"
    assert cores() >= 1


def test_processors_are_counted_in_one_place() -> None:
    source = Path(mobilenets.__file__).parent
    counting = [path for path in source.rglob("*.py") if {"sched_getaffinity", "cpu_count"} & set(_words(path))]
    assert [path.name for path in counting] == ["cores.py"]


def _words(path: Path) -> list[str]:
    return "".join(letter if letter.isalnum() or letter == "_" else " " for letter in path.read_text("utf-8")).split()
