"""What the members of a tar shard are: the images and labels that belong to one key, with their places in the file."""

from __future__ import annotations

import json
import logging
import os
import tarfile
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import IO, cast

from mobilenets.data import remote
from mobilenets.data.entries import SUFFIXES
from mobilenets.data.remote import RemoteFile
from mobilenets.errors import DataError

LABEL_SUFFIXES = (".json", ".txt", ".cls")
"""Endings of members that name a class; the first that a key has counts."""

SHARD_HINT = "a shard is an uncompressed tar file that holds key.jpg beside key.cls, key.txt or key.json"
_LABEL_BYTES = 1 << 20
_FORMAT = 1  # of the kept indices
log = logging.getLogger("mobilenets.data")


@dataclass
class Key:
    """What the members of one key say.

    Args:
        name: its path up to the first dot of the file name.
        suffix, offset, size: of its image; an empty suffix where it has none.
        label: what the member that names its class holds.
        label_suffix: which kind of member that is; empty for none.
    """

    name: str
    suffix: str = ""
    offset: int = 0
    size: int = 0
    label: str = ""
    label_suffix: str = ""

    def note_label(self, suffix: str, text: bytes) -> None:
        """Take a member that names the class, unless one that counts more was met."""
        ranks = LABEL_SUFFIXES
        if text and (not self.label_suffix or ranks.index(suffix) < ranks.index(self.label_suffix)):
            self.label, self.label_suffix = text.decode("utf-8", "replace").strip(), suffix


def split_name(member: tarfile.TarInfo) -> tuple[str, str]:
    """Key and suffix of a member: its path up to the first dot of its file name, and what follows the last one."""
    folder, _, file = member.name.removeprefix("./").rpartition("/")
    stem, dot, _ = file.partition(".")
    if not member.isfile() or not stem or not dot or folder.startswith("__MACOSX"):
        return "", ""
    return (f"{folder}/{stem}" if folder else stem), "." + file.rsplit(".", 1)[1].lower()


def keys_of(shard: str) -> list[Key]:
    """The keys of a shard in its order.

    A shard on a web server is read from front to back once; what was found is kept in the cache folder until the file changes.

    Raises:
        DataError: the shard cannot be read, or is cut off; names it.
    """
    try:
        if remote.is_remote(shard):
            return _remote_keys(remote.ask(shard))
        path = Path(shard)
        with tarfile.open(path, "r:") as tar:
            return _keys(tar, shard, path.stat().st_size)
    except (OSError, tarfile.TarError, EOFError) as error:
        hint = "is the address right, and is there a network?" if isinstance(error, ConnectionError) else SHARD_HINT
        raise DataError(f"shard '{shard}' cannot be read: {error}", hint=hint) from error


def _remote_keys(file: RemoteFile) -> list[Key]:
    index = remote.cache_file(file.url, ".json")
    mark = [_FORMAT, file.url, file.length, file.version]
    kept = _kept(index, mark)
    if kept is not None:
        return kept
    log.info("reading '%s' once, to know where its images lie", file.url)
    remote.cache_file(file.url, ".tar").unlink(missing_ok=True)  # of an earlier version
    if file.ranges:
        with remote.Stream(file) as stream:
            readable = cast("IO[bytes]", stream)  # "r|" calls `read` alone
            with tarfile.open(fileobj=readable, mode="r|", bufsize=1 << 18) as tar:
                keys = _keys(tar, file.url, file.length)
    else:
        log.info("its server does not give parts of files, so the whole shard is kept in '%s'", index.parent)
        path = remote.download(file.url)
        with tarfile.open(path, "r:") as tar:
            keys = _keys(tar, file.url, path.stat().st_size)
    index.parent.mkdir(parents=True, exist_ok=True)
    new = index.with_name(f"{index.name}.{os.getpid()}")
    new.write_text(json.dumps({"mark": mark, "keys": [astuple(key) for key in keys]}), encoding="utf-8")
    new.replace(index)
    return keys


def _kept(index: Path, mark: list[object]) -> list[Key] | None:
    """The keys in an index, or None where it is of another version of the file, or damaged."""
    try:
        data = json.loads(index.read_text(encoding="utf-8"))
        return [Key(*row) for row in data["keys"]] if data["mark"] == mark else None
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _keys(tar: tarfile.TarFile, shard: str, length: int) -> list[Key]:
    keys: dict[str, Key] = {}
    for member, name, suffix in labelled(tar):
        if member.offset_data + member.size > length:
            raise DataError(f"shard '{shard}' is truncated inside '{member.name}'", hint="copy it again")
        key = keys.setdefault(name, Key(name))
        if suffix in SUFFIXES:
            if not key.suffix:
                key.suffix, key.offset, key.size = suffix, member.offset_data, member.size
        elif member.size <= _LABEL_BYTES:
            file = tar.extractfile(member)
            key.note_label(suffix, file.read() if file else b"")
    return list(keys.values())


def labelled(tar: tarfile.TarFile) -> Iterator[tuple[tarfile.TarInfo, str, str]]:
    """The members that are images or name classes, each with its key and suffix."""
    for member in tar:
        name, suffix = split_name(member)
        if suffix in SUFFIXES or suffix in LABEL_SUFFIXES:
            yield member, name, suffix
