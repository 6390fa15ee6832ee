"""`drafted`: writes and checks a file in a separate folder before moving it into place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mobilenets.errors import ExportError
from mobilenets.files import scratch_folder


@contextmanager
def drafted(path: Path, ending: str) -> Iterator[Path]:
    """A folder beside `path` for drafts of the file. It is always removed afterwards.

    Args:
        path: the final file; its folder is created.
        ending: suffix of the draft folder's name.

    Raises:
        ExportError: a file cannot be written.
    """
    try:
        with scratch_folder(path, ending) as drafts:
            yield drafts
    except OSError as error:
        raise ExportError(f"cannot write '{path}': {error.strerror or error}") from error
