"""`user_cache`: the folder where this package keeps what can be made again."""

from __future__ import annotations

import os
from pathlib import Path


def user_cache() -> Path:
    """`mobilenets` in the user's cache folder: `XDG_CACHE_HOME`, Windows' `LOCALAPPDATA`, or `~/.cache`. It need not exist."""
    root = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or Path.home() / ".cache"
    return Path(root) / "mobilenets"
