"""Size limits for reading files of unknown origin."""

from __future__ import annotations

from pathlib import Path

from mobilenets.errors import WeightsError


def bounded_bytes(path: Path, most: int) -> bytes:
    """The content of a file.

    Args:
        path: the file.
        most: maximum size in bytes for this kind of file.

    Raises:
        WeightsError: it cannot be read, or is larger.
    """
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise WeightsError(f"cannot read '{path}': {error.strerror or error}") from error
    if len(data) > most:
        raise WeightsError(f"'{path}' has more than {megabytes(most)}, which no MobileNet needs")
    return data


def megabytes(count: int) -> str:
    """A number of bytes as text, for people."""
    return f"{count / 2**20:,.0f} MB"
