"""Reads HDF5 files first in a separate process, as a test, before this process reads them.

In a damaged file, HDF5's C code can loop forever or crash, which Python can neither interrupt nor catch.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from mobilenets.errors import WeightsError
from mobilenets.weights.guards import megabytes
from mobilenets.weights.keras import walk

SECONDS = 60.0
"""Time limit for reading. The largest network takes a second or two."""
MOST_MEMORY = 4 << 30
"""Limit of the process's address space, in bytes."""
SCRIPT = Path(walk.__file__)


def check(data: bytes, origin: str, *, most_bytes: int, most_attribute: int) -> None:
    """Make sure that an HDF5 file can be read to its end.

    Args:
        data: the file's content.
        origin: the file, for messages.
        most_bytes: maximum size of all its datasets together, unpacked.
        most_attribute: maximum size of an attribute in bytes; larger ones are skipped, because the reader rejects them.

    Raises:
        WeightsError: reading it does not end, crashes, or needs too much memory; the message names the file.
    """
    limits = map(str, (most_bytes, most_attribute, MOST_MEMORY))
    command = [sys.executable, "-P", str(SCRIPT), *limits, *sys.path]  # -P: no modules from the script's folder are imported
    try:
        code = subprocess.run(
            command, input=data, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=SECONDS, check=False
        ).returncode
    except subprocess.TimeoutExpired as error:
        raise _damaged(origin, f"reading it did not end within {SECONDS:g} seconds") from error
    except (OSError, ValueError) as error:
        raise WeightsError(f"'{origin}' cannot be checked: no second Python process starts: {error}") from error
    if code == walk.TOO_LARGE:
        raise WeightsError(f"'{origin}' unpacks to more than {megabytes(most_bytes)} of weights, which no MobileNet needs")
    if code == walk.NO_MEMORY:
        raise _damaged(origin, "reading it takes more memory than any MobileNet needs")
    if code == walk.UNLISTED:
        raise _damaged(origin, "an object in it cannot say what it holds")
    if code:
        raise _damaged(origin, f"HDF5 crashes while reading it (exit code {code})")


def _damaged(origin: str, why: str) -> WeightsError:
    return WeightsError(f"'{origin}' is damaged: {why}", hint="copy or download it again")
