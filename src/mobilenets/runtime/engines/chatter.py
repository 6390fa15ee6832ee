"""`without_chatter`: silence what a library prints while it opens a model."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_ONE_AT_A_TIME = threading.RLock()


@contextmanager
def without_chatter() -> Iterator[None]:
    """Discard what C++ libraries write to stderr: ExecuTorch logs "Failed" without a failure, LiteRT what it created.

    This affects stderr of the whole process, so use it only around opening a model.
    """
    with _ONE_AT_A_TIME:
        sys.stderr.flush()
        kept = os.dup(2)
        try:
            with open(os.devnull, "wb") as nowhere:  # noqa: PTH123  # a device
                os.dup2(nowhere.fileno(), 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
