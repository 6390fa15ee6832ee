"""`cores`: how many processors this process may use."""

from __future__ import annotations

import os


def cores() -> int:
    """Processors that this process may run on, at least 1; fewer than the machine's under `taskset` and in many containers."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
