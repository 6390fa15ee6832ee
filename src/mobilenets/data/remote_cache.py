"""Caches shards that servers send only whole in the user's cache folder, up to a size limit, and defines where indices are."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
import threading
import time
from pathlib import Path

from mobilenets import files
from mobilenets.data import remote
from mobilenets.data.checksums import checksum_of
from mobilenets.data.remote import RemoteFile
from mobilenets.runtime.cache import user_cache

LIMIT_GB = 50.0
"""Disk space for cached shards, unless the environment variable `MOBILENETS_CACHE_GB` sets another limit."""

_SPARE = 256 << 20  # bytes that stay free on the disk
_ABANDONED_S = 86_400.0  # a partial download older than this belongs to no running program
log = logging.getLogger("mobilenets.data")
_downloading = threading.Lock()
_used: set[Path] = set()  # files used by this process, which are never deleted to make room


def cache_file(url: str, suffix: str) -> Path:
    """The path of a cached file for a URL, in the folder `mobilenets` of the user's cache folder."""
    return user_cache() / "shards" / (hashlib.sha256(url.encode()).hexdigest()[:32] + suffix)


def limit_bytes() -> int:
    """Most bytes that cached shards may take.

    Raises:
        OSError: `MOBILENETS_CACHE_GB` is not a number.
    """
    text = os.environ.get("MOBILENETS_CACHE_GB", "")
    try:
        return int(float(text or LIMIT_GB) * 1e9)
    except (ValueError, OverflowError) as error:
        raise OSError(f"MOBILENETS_CACHE_GB is '{text}', not a number of gigabytes") from error


def kept(file: RemoteFile) -> Path:
    """The file in the cache folder, downloaded if it is not there.

    The files that were used longest ago are deleted to make room. Partial downloads by programs that were killed are deleted.

    Raises:
        ConnectionError, OSError: as `remote.save`; also if the file does not fit the limit or the disk.
    """
    target = cache_file(file.url, ".tar")
    with _downloading:
        _used.add(target)
        if target.is_file():
            with contextlib.suppress(OSError):
                os.utime(target)  # marks it as used last
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target.parent)
        most = _make_room(target.parent, max(file.length, 0))
        with files.drafted(target) as draft:
            remote.save(file, draft, most=most)
    return target


def read_member(url: str, offset: int, size: int, checksum: str) -> bytes:
    """Part of a shard, verified with the checksum from the shard's index.

    From a server that sends no parts, the shard is downloaded once into the cache folder and read there.

    Args:
        url: the shard's address.
        offset, size: in bytes.
        checksum: as from `checksum_of`; "" if unknown.

    Raises:
        ConnectionError: the server cannot be reached, or the bytes differ from those that were indexed.
        OSError: there is no such file, or it cannot be cached.
    """
    copy = cache_file(url, ".tar")
    data = None if copy.is_file() or not size else remote.read_part(url, offset, size)
    if data is None:
        if not copy.is_file():
            copy = kept(remote.ask(url))
        with copy.open("rb") as file:
            file.seek(offset)
            data = file.read(size)
    if len(data) != size or (checksum and checksum_of([data]) != checksum):
        copy.unlink(missing_ok=True)
        cache_file(url, ".json").unlink(missing_ok=True)
        where = f"the bytes {offset}-{offset + size - 1} of '{url}'"
        raise ConnectionError(
            f"{where} are not those that were indexed: did the file change on its server? Open the data again"
        )
    return data


def _sweep(folder: Path) -> None:
    for part in folder.glob(".*.new"):
        with contextlib.suppress(OSError):
            if time.time() - part.stat().st_mtime > _ABANDONED_S:
                part.unlink()


def _make_room(folder: Path, needed: int) -> int:
    """Delete the files that were used longest ago to make room. Returns how many bytes may be downloaded."""
    limit = limit_bytes()
    sizes = {path: path.stat() for path in folder.glob("*.tar")}
    total = sum(status.st_size for status in sizes.values())
    oldest_first = sorted((path for path in sizes if path not in _used), key=lambda path: sizes[path].st_mtime)
    free = shutil.disk_usage(folder).free - _SPARE
    for path in oldest_first:
        if total + needed <= limit and needed <= free:
            break
        log.info("removing '%s' from the cache to make room", path)
        path.unlink(missing_ok=True)
        total, free = total - sizes[path].st_size, free + sizes[path].st_size
    if total + needed > limit:
        said = f"the shards in use take {total / 1e9:.1f} GB of the cache, and this one {needed / 1e9:.1f} GB more"
        raise OSError(f"{said}; the limit is {limit / 1e9:g} GB (set MOBILENETS_CACHE_GB to change it)")
    if needed > free:
        raise OSError(f"'{folder}' has {max(free, 0) / 1e9:.1f} GB left, and the file takes {needed / 1e9:.1f} GB")
    return min(limit - total, max(free, 0))
