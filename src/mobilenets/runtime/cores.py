"""`cores`: the number of processors available to this process."""

from __future__ import annotations

import os


def cores() -> int:
    """The number of processors this process may run on, at least 1. `taskset` and many containers allow fewer than exist."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
