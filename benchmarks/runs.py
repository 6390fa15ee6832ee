"""Train through the command line, as a user would, and read what the run's report says. The accuracy benchmarks share this."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def parser(description: str | None, *, recipe: str, out: str) -> argparse.ArgumentParser:
    """A parser with the options that every accuracy benchmark has.

    Args:
        description: the docstring of the benchmark.
        recipe: the default of `--recipe`.
        out: the default of `--out`.
    """
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--recipe", default=recipe)
    options.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change one key of the recipe")
    options.add_argument("--out", type=Path, default=Path(out))
    return options


def trained(data: str, run: Path, arguments: Sequence[str], changes: Sequence[str]) -> float:
    """Run `mobilenets train` to its end and return the minutes it took; its output goes to stderr.

    Args:
        data: the dataset.
        run: the run folder.
        arguments: options of `mobilenets train`.
        changes: recipe keys, each as `KEY=VALUE`.
    """
    command = [sys.executable, "-m", "mobilenets", "train", data, "--out", str(run), *arguments]
    for change in changes:
        command += ["--set", change]
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=sys.stderr)
    return (time.perf_counter() - start) / 60


def metrics_of(run: Path) -> dict[str, Any]:  # Any: JSON
    """The metrics in the report of a run, each a record with `value`."""
    metrics: dict[str, Any] = json.loads((run / "report" / "report.json").read_text())["metrics"]
    return metrics
