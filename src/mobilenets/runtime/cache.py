"""`user_cache`: the user's cache folder, for files that this package can recreate."""

from __future__ import annotations

import os
from pathlib import Path


def user_cache() -> Path:
    """`mobilenets` in the user's cache folder: `XDG_CACHE_HOME`, Windows' `LOCALAPPDATA`, or `~/.cache`. It need not exist."""
    root = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or Path.home() / ".cache"
    return Path(root) / "mobilenets"
