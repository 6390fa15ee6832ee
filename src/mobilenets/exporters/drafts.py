"""`drafted`: a file is written and tried elsewhere before it takes its place."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mobilenets.errors import ExportError


@contextmanager
def drafted(path: Path, ending: str) -> Iterator[Path]:
    """A folder beside `path` for drafts of it, which is gone afterwards, whatever happens.

    Args:
        path: the file to be; its folder is made.
        ending: of the drafts' folder.

    Raises:
        ExportError: a file cannot be written.
    """
    drafts = path.with_name(f".{path.name}.{ending}")
    try:
        shutil.rmtree(drafts, ignore_errors=True)  # of an export that was killed
        drafts.mkdir(parents=True)
        try:
            yield drafts
        finally:
            shutil.rmtree(drafts, ignore_errors=True)
    except OSError as error:
        raise ExportError(f"cannot write '{path}': {error.strerror or error}") from error
