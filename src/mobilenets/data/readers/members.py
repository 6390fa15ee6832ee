"""Indexes the members of a tar shard: the images and labels of each key, with their offsets in the file."""

from __future__ import annotations

import json
import logging
import posixpath
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import IO, Any, cast

from mobilenets import documents, files
from mobilenets.data.addresses import is_remote
from mobilenets.data.checksums import checksum_of
from mobilenets.data.walk import SUFFIXES
from mobilenets.errors import DataError, DocumentError
from mobilenets.files import stand_in

LABEL_SUFFIXES = (".json", ".txt", ".cls")
"""Endings of members that name a class; if a key has several, the first in this order counts."""

MASK_WORDS = ("mask", "masks", "seg", "segmentation")
"""The part between key and extension in the name of a member that is a mask."""

SHARD_HINT = "a shard is an uncompressed tar file that holds key.jpg beside key.cls, key.txt, key.json or key.mask.png"
_LABEL_BYTES = 1 << 20
_UNPACK = "unpack it first; " + SHARD_HINT
_PACKED = {  # how a file begins: what it is, and what to do
    b"\x1f\x8b": ("compressed with gzip", _UNPACK),
    b"BZh": ("compressed with bzip2", _UNPACK),
    b"\xfd7zXZ": ("compressed with xz", _UNPACK),
    b"\x28\xb5\x2f\xfd": ("compressed with Zstandard", _UNPACK),
    b"PK\x03\x04": ("a zip archive", _UNPACK),
    b"7z\xbc\xaf": ("a 7z archive", _UNPACK),
}
_FORMAT = 3  # version of cached indices
log = logging.getLogger("mobilenets.data")


@dataclass(frozen=True, slots=True)
class Part:
    """A member that is the mask of a key.

    Args:
        name: the member's name.
        offset, size: position in the shard, in bytes.
        checksum: as for an image.
    """

    name: str
    offset: int
    size: int
    checksum: str = ""


@dataclass
class Key:
    """One key, and what its members contain.

    Args:
        name: the key: the members' path up to the first dot of the file name.
        suffix, offset, size: ending, offset and size of its image; an empty ending if it has none.
        label: the content of the member that names its class.
        label_suffix: the ending of that member; empty if there is none.
        checksum: checksum of the image, for a shard on a web server; see `checksums.checksum_of`.
        others: the number of further images with this key.
        mask: the image `key.mask.png`, if there is one.
    """

    name: str
    suffix: str = ""
    offset: int = 0
    size: int = 0
    label: str = ""
    label_suffix: str = ""
    checksum: str = ""
    others: int = 0
    mask: Part | None = None

    def note_label(self, suffix: str, text: bytes) -> None:
        """Take the label from a member that names the class, unless one that takes precedence was already read."""
        ranks = LABEL_SUFFIXES
        if text and (not self.label_suffix or ranks.index(suffix) < ranks.index(self.label_suffix)):
            self.label, self.label_suffix = text.decode("utf-8", "replace").strip(), suffix


def split_name(member: tarfile.TarInfo) -> tuple[str, str]:
    """Key and suffix of a member: its path up to the first dot of its file name, and what follows the last one."""
    folder, _, file = member.name.removeprefix("./").rpartition("/")
    stem, dot, _ = file.partition(".")
    if not (member.isfile() or member.islnk() or member.issym()) or not stem or not dot or folder.startswith("__MACOSX"):
        return "", ""
    return (f"{folder}/{stem}" if folder else stem), "." + file.rsplit(".", 1)[1].lower()


def is_mask(name: str) -> bool:
    """Whether a member is called like the mask of its key.

    >>> is_mask("cells/0001.mask.png"), is_mask("0001.seg.PNG"), is_mask("0001.png"), is_mask("mask.png")
    (True, True, False, False)
    """
    _, _, rest = name.rpartition("/")[2].partition(".")
    return rest.lower().rpartition(".")[0] in MASK_WORDS


def keys_of(shard: str) -> list[Key]:
    """The keys of a shard, in its order.

    A shard on a web server is read once from front to back; its index is kept in the cache folder until the file changes.

    Raises:
        DataError: the shard cannot be read, is truncated, or has two members with one name; the message names it.
    """
    try:
        if is_remote(shard):
            return _remote_keys(shard)
        return _local_keys(Path(shard), shard)
    except (OSError, tarfile.TarError, EOFError, ValueError, OverflowError, RecursionError, MemoryError) as error:
        hint = "is the address right, and is there a network?" if isinstance(error, ConnectionError) else SHARD_HINT
        raise DataError(f"shard '{shard}' cannot be read: {error}", hint=hint) from error


def _local_keys(path: Path, shard: str, *, checksums: bool = False) -> list[Key]:
    length = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(64)
    packed = next((words for sign, words in _PACKED.items() if head.startswith(sign)), None) or stand_in(head)
    if packed is not None:
        raise DataError(f"shard '{shard}' is {packed[0]}, not a tar file", hint=packed[1])
    with tarfile.open(path, "r:") as tar:
        keys = _keys(tar, shard, length, checksums=checksums)
        end = tar.offset
    with path.open("rb") as file:
        file.seek(end)
        _check_end(shard, end, file.read(tarfile.BLOCKSIZE))
    return keys


def _remote_keys(url: str) -> list[Key]:
    from mobilenets.data import remote
    from mobilenets.data.remote_cache import cache_file, kept

    file = remote.ask(url)
    index = cache_file(file.url, ".json")
    mark = [_FORMAT, file.url, file.length, file.version]
    known = _kept(index, mark)
    if known is not None:
        return known
    log.info("reading '%s' once to index its images", file.url)
    cache_file(file.url, ".tar").unlink(missing_ok=True)  # left by an earlier version
    if file.ranges:
        with remote.Stream(file) as stream:
            readable = cast("IO[bytes]", stream)  # "r|" calls `read` alone
            with tarfile.open(fileobj=readable, mode="r|", bufsize=1 << 18) as tar:
                keys = _keys(tar, file.url, file.length, checksums=True)
                end = tar.offset
        left = max(0, min(tarfile.BLOCKSIZE, file.length - end))
        _check_end(file.url, end, (remote.read_part(file.url, end, left) or b"") if left else b"")
    else:
        log.info("its server does not send parts of files, so the whole shard is kept in '%s'", index.parent)
        keys = _local_keys(kept(file), file.url, checksums=True)
    data = json.dumps({"mark": mark, "keys": [astuple(key) for key in keys]})
    files.write_text(index, data)
    return keys


def _kept(index: Path, mark: list[object]) -> list[Key] | None:
    """The keys in an index; None if the index is damaged or belongs to another version of the file."""
    try:
        data = documents.parse_with_file_names(index.read_bytes())
        return [_key(*row) for row in data["keys"]] if data["mark"] == mark else None
    except (OSError, DocumentError, LookupError, TypeError):
        return None


def _key(*row: Any) -> Key:  # Any: JSON
    key = Key(*row)
    return key if key.mask is None else replace(key, mask=Part(*row[-1]))


def _keys(tar: tarfile.TarFile, shard: str, length: int, *, checksums: bool) -> list[Key]:
    keys: dict[str, Key] = {}
    spans: dict[str, tuple[int, int, str]] = {}  # offset, size and checksum of the image, by the member's name
    for member, name, suffix in _labelled(tar):
        if member.name in spans:
            hint = "each image needs a key of its own, such as 0001.jpg beside 0001.cls"
            raise DataError(f"shard '{shard}' holds two members named '{member.name}'", hint=hint)
        if member.offset_data + member.size > length:
            raise DataError(f"shard '{shard}' is truncated inside '{member.name}'", hint="copy it again")
        key = keys.setdefault(name, Key(name))
        spans[member.name] = (member.offset_data, member.size, "")
        if not member.isfile():
            spans[member.name] = _linked(member, spans, shard, image=suffix in SUFFIXES)
        elif suffix in SUFFIXES and checksums:
            spans[member.name] = (member.offset_data, member.size, checksum_of(_chunks(tar, member)))
        if suffix in SUFFIXES:
            if is_mask(member.name):
                key.mask = key.mask or Part(member.name, *spans[member.name])
            elif not key.suffix:
                key.suffix = suffix
                key.offset, key.size, key.checksum = spans[member.name]
            else:
                key.others += 1
        elif member.size <= _LABEL_BYTES:
            file = tar.extractfile(member)
            key.note_label(suffix, file.read() if file else b"")
    return list(keys.values())


def _linked(
    member: tarfile.TarInfo, spans: Mapping[str, tuple[int, int, str]], shard: str, *, image: bool
) -> tuple[int, int, str]:
    """The offset, size and checksum of the image that a link stands for, which must be in the shard before the link."""
    target = member.linkname
    if member.issym():
        target = posixpath.normpath(posixpath.join(posixpath.dirname(member.name), target))
    if image and target in spans:
        return spans[target]
    raise DataError(
        f"shard '{shard}': '{member.name}' is a link to '{member.linkname}', whose content is not in the shard before it",
        hint="pack the files themselves: tar --dereference --hard-dereference",
    )


def _labelled(tar: tarfile.TarFile) -> Iterator[tuple[tarfile.TarInfo, str, str]]:
    """The members that are images or name classes, each with its key and suffix."""
    end = -1
    for member in tar:
        if member.size < 0 or member.offset < end:  # otherwise tarfile would loop forever
            raise tarfile.ReadError(f"the header at byte {member.offset:,} is damaged")
        end = member.offset_data
        name, suffix = split_name(member)
        if suffix in SUFFIXES or suffix in LABEL_SUFFIXES:
            yield member, name, suffix


def _chunks(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Iterator[bytes]:
    file = tar.extractfile(member)
    while file is not None and (chunk := file.read(1 << 20)):
        yield chunk


def _check_end(shard: str, at: int, block: bytes) -> None:
    """Raise if a shard does not end with a block of zeros, as tar files do; tarfile would not report it."""
    if len(block) < tarfile.BLOCKSIZE:
        raise DataError(f"shard '{shard}' is truncated: it breaks off after {at + len(block):,} bytes", hint="copy it again")
    if block.count(0) != len(block):
        raise DataError(f"shard '{shard}' is damaged: at byte {at:,} there is no member of a tar file", hint="copy it again")
