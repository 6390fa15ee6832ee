"""`without_chatter`: a library opens a model without what it prints about itself."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_ONE_AT_A_TIME = threading.RLock()


@contextmanager
def without_chatter() -> Iterator[None]:
    """Keep what libraries in C++ print from stderr: ExecuTorch says "Failed" of what is no failure, LiteRT what it made.

    It is the whole process's stderr, so this is for the moment in which a model is opened.
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
