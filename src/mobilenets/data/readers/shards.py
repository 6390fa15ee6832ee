"""Reads tar shards in WebDataset's convention: `key.jpg` beside `key.cls`, `key.txt`, `key.json` or `key.mask.png`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePath
from urllib.parse import urljoin, urlsplit

from mobilenets.data.addresses import file_name, is_remote
from mobilenets.data.entries import Listing
from mobilenets.data.readers.format import NOTHING, Asked
from mobilenets.data.readers.members import SHARD_HINT, keys_of
from mobilenets.data.readers.packed import ANNOTATED, LABELS_FILE, Packed, packed, shard_name, task_of
from mobilenets.errors import DataError

AT_ONCE = 8
"""Number of shards that are indexed at the same time."""

MOST_SHARDS = 100_000
"""Most names that a pattern may stand for."""

_BRACE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_LABELS_BYTES = 1 << 20


def expand(pattern: str) -> list[str]:
    """The names that a brace pattern stands for.

    >>> expand("part-{08..10}.tar")
    ['part-08.tar', 'part-09.tar', 'part-10.tar']

    Raises:
        DataError: it stands for more than `MOST_SHARDS` names.
    """
    total = 1
    for first, last in _BRACE.findall(pattern):
        digits = max(len(first.lstrip("0")), len(last.lstrip("0")))
        total *= max(0, int(last) - int(first) + 1) if digits < 10 else MOST_SHARDS + 1
        if total > MOST_SHARDS:
            count = f"{total:,}" if digits < 10 else "far too many"
            hint = f"a pattern may stand for {MOST_SHARDS:,}; give the number of the last shard"
            raise DataError(f"'{pattern}' stands for {count} shards", hint=hint)
    return _expanded(pattern)


def _expanded(pattern: str) -> list[str]:
    brace = _BRACE.search(pattern)
    if brace is None:
        return [pattern]
    first, last = brace.groups()
    numbers = (str(i).zfill(len(first)) for i in range(int(first), int(last) + 1))
    return [name for number in numbers for name in _expanded(pattern[: brace.start()] + number + pattern[brace.end() :])]


def shard_files(source: str) -> list[str]:
    """The tar files that a folder, a file, a glob, a brace pattern, an address or a list of those stands for.

    Args:
        source: as for `read_shards`. Files and addresses that are named one by one need not exist.
    """
    if source.endswith(".txt") and Path(source).is_file():
        return [shard for line in _lines_of(Path(source)) for shard in _named(_beside(Path(source), line))]
    return _named(source)


def _named(source: str) -> list[str]:
    """The shards that one name stands for, if it is not a list."""
    shards: set[str] = set()
    for name in expand(source):
        path = Path(name)
        if is_remote(name):
            shards.add(name)
        elif path.is_dir():
            shards.update(str(file) for file in path.glob("*.tar"))
        elif any(character in name for character in "*?[") and not path.is_file():
            matching = Path(path.anchor).glob(str(path.relative_to(path.anchor)) if path.anchor else name)
            shards.update(str(file) for file in matching)
        else:
            shards.add(name)
    return sorted(shards)


def _lines_of(path: Path) -> list[str]:
    """The lines of a list of shards, without comments."""
    try:
        text = path.read_bytes().decode("utf-8-sig", "surrogateescape")
    except OSError as error:
        raise DataError(f"'{path}' cannot be read: {error.strerror or error}") from error
    return [line.strip() for line in text.split("\n") if line.strip() and line.strip()[0] != "#"]


def read_shards(source: str, asked: Asked = NOTHING) -> Listing:
    """The images in shards; each is later read by its offset in the tar file. `packed` describes their annotations.

    A shard whose name begins with a split (`train-0003.tar`) is in that split; `"split"` in a key's JSON overrides it.
    A shard on a web server is read once to index its images; each image is then fetched when it is needed.

    Args:
        source: a folder, a tar file, a glob, a pattern like `train-{000..007}.tar`, an http or https address of one or with
            such a pattern, or a `.txt` file that lists any of these.
        asked: the task, which the content decides by default; the key in the samples' JSON that names groups, "group" by
            default; for masks the classes, which `labels.txt` names by default, and those to ignore.

    Raises:
        DataError: no shard is found, one is damaged, or an image has no annotation; the message names it.
    """
    shards = shard_files(source)
    missing = [shard for shard in shards if not is_remote(shard) and not Path(shard).is_file()]
    if missing or not shards:
        raise DataError(f"there is no shard '{missing[0] if missing else source}'", hint=SHARD_HINT)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        keys = list(pool.map(keys_of, shards))
    shown = [shard_name(shard) for shard in shards]
    leads = [""] if len(shards) == 1 else shown if len(set(shown)) == len(shown) else shards
    places = zip(shards, leads, keys, strict=True)
    images = [packed(key, shard, lead) for shard, lead, of_shard in places for key in of_shard if key.suffix]
    if not images:
        raise DataError(f"'{source}' holds no image", hint=SHARD_HINT)
    task = asked.task or task_of(images)
    found = ANNOTATED[task](images, _label_names(shards[0]), asked)
    named = sum(entry.split is not None for entry in found.entries)
    if 0 < named < len(found.entries):
        raise DataError(
            f"{named} of {len(found.entries)} images have a split and the others have none",
            hint="let every shard's name begin with train, val or test, or none",
        )
    notes = (*found.notes, *_doubled(images))
    return Listing(found.entries, found.labels, _name(shards), notes, task=task, colors=found.colors, faults=found.faults)


def _doubled(images: Sequence[Packed]) -> Iterator[str]:
    """A note, if there are keys with several images."""
    doubled = [image for image in images if image.key.others]
    if doubled:
        verb = "key holds" if len(doubled) == 1 else "keys hold"
        first = f"'{doubled[0].key.name}{doubled[0].key.suffix}' of {shard_name(doubled[0].shard)}"
        yield f"{len(doubled):,} {verb} more than one image, of which the first is read, such as {first}"


def _label_names(shard: str) -> tuple[str, ...]:
    """The names in `labels.txt` beside a shard; none if there is no such file."""
    try:
        if is_remote(shard):
            from mobilenets.data.remote import read

            text = read(urljoin(shard, LABELS_FILE), most=_LABELS_BYTES).decode("utf-8-sig", "replace")
            text = "" if text.lstrip().startswith("<") else text  # a web page saying that there is none
        else:
            text = Path(shard).with_name(LABELS_FILE).read_bytes().decode("utf-8-sig", "replace")
    except ConnectionError as error:
        raise DataError(f"'{urljoin(shard, LABELS_FILE)}' cannot be fetched: {error}") from error
    except OSError:
        return ()
    return tuple(line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")) if text.strip() else ()


def _name(shards: Sequence[str]) -> str:
    """The name of a dataset of these shards: that of the only shard, or that of the folder."""
    first = shards[0]
    if len(shards) == 1:
        return PurePath(shard_name(first)).stem
    if is_remote(first):
        return file_name(urljoin(first, ".").rstrip("/")) or urlsplit(first).netloc
    return Path(first).resolve().parent.name


def _beside(file: Path, written: str) -> str:
    """A path or address from a list; a path is relative to the list."""
    return written if is_remote(written) else str(file.parent / written)
