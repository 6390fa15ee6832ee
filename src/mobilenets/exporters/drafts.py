"""`drafted`: a file is written and tried elsewhere before it takes its place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mobilenets.errors import ExportError
from mobilenets.files import scratch_folder


@contextmanager
def drafted(path: Path, ending: str) -> Iterator[Path]:
    """A folder beside `path` for drafts of it, which is gone afterwards, whatever happens.

    Args:
        path: the file to be; its folder is made.
        ending: of the drafts' folder.

    Raises:
        ExportError: a file cannot be written.
    """
    try:
        with scratch_folder(path, ending) as drafts:
            yield drafts
    except OSError as error:
        raise ExportError(f"cannot write '{path}': {error.strerror or error}") from error
