"""How the tests themselves are run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = """
import pytest

@pytest.mark.slow
def test_slow():
    pass

def test_quick():
    pass
"""


@pytest.mark.parametrize(("minutes", "said"), [("", "2 passed"), ("60", "2 passed"), ("0", "1 passed, 1 skipped")])
def test_slow_tests_come_last_and_end_with_their_time(minutes: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "test_both.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = slow: slow\n")
    environment = {**os.environ, "MOBILENETS_SLOW_MINUTES": minutes, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-m", "pytest", "-p", "tests.slowness", "-v", "-rs", str(tmp_path)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, cwd=tmp_path).stdout
    assert said in printed
    assert printed.index("::test_quick") < printed.index("::test_slow")
    assert ("had not begun after 0 minutes" in printed) == (minutes == "0")
