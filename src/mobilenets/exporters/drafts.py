"""`drafted` and `settle`: an export is written and checked in a separate folder, and then moved into place."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mobilenets.errors import ExportError
from mobilenets.files import scratch_folder
from mobilenets.runtime.manifest import beside


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


def settle(drafts: Path, path: Path) -> None:
    """Move everything in the draft folder beside `path`, and last the file or folder of that name itself.

    Some exports need other files beside them. In that case an older `path` is removed first, so that a reader never finds the
    new files together with the old one.

    Args:
        drafts: the folder of drafts.
        path: the exported file or folder.

    Raises:
        OSError: a file cannot be moved.
    """
    companions = [draft for draft in sorted(drafts.iterdir()) if draft.name != path.name]
    if path.is_dir():
        shutil.rmtree(path)
    elif companions:
        path.unlink(missing_ok=True)
    for draft in companions:
        draft.replace(path.with_name(draft.name))
    (drafts / path.name).replace(path)


def size_bytes(path: Path) -> int:
    """The size of an exported file or folder, including files that it needs beside it: OpenVINO's weights, a manifest."""
    companions = [beside(path), *([path.with_suffix(".bin")] if path.suffix == ".xml" else [])]
    every = [path, *companions, *(path.rglob("*") if path.is_dir() else ())]
    return sum(file.stat().st_size for file in every if file.is_file())
