"""Reads and writes tar shards in WebDataset's convention: `key.jpg` beside `key.cls`, `key.txt` or `key.json`."""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import urljoin, urlsplit

from mobilenets import documents, files
from mobilenets.data.addresses import file_name, is_remote
from mobilenets.data.entries import SPLIT_WORDS, Entry, Listing, in_order
from mobilenets.data.readers.members import SHARD_HINT, Key, keys_of
from mobilenets.data.samples import SPLITS, Dataset, Sample, Split
from mobilenets.data.splits import digest
from mobilenets.data.walk import SUFFIXES
from mobilenets.errors import DataError, DocumentError, UsageError

LABELS_FILE = "labels.txt"
"""The file beside the shards with the class names, one per line; line i names the class that `.cls` files call i."""

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


def read_shards(source: str, *, group: str | None = None) -> Listing:
    """The images in shards; each is later read by its offset in the tar file.

    A shard whose name begins with a split (`train-0003.tar`) is in that split; `"split"` in a key's JSON overrides it.
    A shard on a web server is read once to index its images; each image is then fetched when it is needed.

    Args:
        source: a folder, a tar file, a glob, a pattern like `train-{000..007}.tar`, an http or https address of one or with
            such a pattern, or a `.txt` file that lists any of these.
        group: the key in the samples' JSON that names groups; "group" by default.

    Raises:
        DataError: no shard is found, one is damaged, or an image has no label; the message names it.
    """
    shards = shard_files(source)
    missing = [shard for shard in shards if not is_remote(shard) and not Path(shard).is_file()]
    if missing or not shards:
        raise DataError(f"there is no shard '{missing[0] if missing else source}'", hint=SHARD_HINT)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        keys = list(pool.map(keys_of, shards))
    names = _label_names(shards[0])
    shown = [_file_name(shard) for shard in shards]
    leads = [""] if len(shards) == 1 else shown if len(set(shown)) == len(shown) else shards
    entries = tuple(
        entry
        for shard, lead, shard_keys in zip(shards, leads, keys, strict=True)
        for entry in _entries(shard, lead, shard_keys, names, group or "group")
    )
    if not entries:
        raise DataError(f"'{source}' holds no image", hint=SHARD_HINT)
    named = sum(entry.split is not None for entry in entries)
    if 0 < named < len(entries):
        raise DataError(
            f"{named} of {len(entries)} images have a split and the others have none",
            hint="let every shard's name begin with train, val or test, or none",
        )
    labels = in_order(entry.label for entry in entries)
    if names and set(labels) <= set(names):
        labels = names
    doubled = [(shard, key) for shard, shard_keys in zip(shown, keys, strict=True) for key in shard_keys if key.others]
    notes: tuple[str, ...] = ()
    if doubled:
        shard, key = doubled[0]
        verb = "key holds" if len(doubled) == 1 else "keys hold"
        first = f"'{key.name}{key.suffix}' of {shard}"
        notes = (f"{len(doubled):,} {verb} more than one image, of which the first is read, such as {first}",)
    return Listing(entries, labels, _name(shards), notes)


def write_shards(dataset: Dataset, folder: Path, *, per_shard: int = 1000, seed: int = 0) -> list[Path]:
    """Write a dataset as shards `train-000000.tar` ... with `labels.txt`, shuffled by seed so that streams are mixed.

    Args:
        dataset: the dataset to write; images are copied byte by byte.
        folder: the folder to write, which must not contain shards yet.
        per_shard: number of images per file.
        seed: seed of the order within a split.

    Raises:
        DataError: the folder already contains shards, an image cannot be read, or a shard cannot be written.
        UsageError: `per_shard` is not positive.
    """
    if per_shard < 1:
        raise UsageError(f"{per_shard} images per shard; at least 1 is needed")
    if folder.is_dir() and any(folder.glob("*.tar")):
        raise DataError(f"'{folder}' already contains shards", hint="choose an empty folder")
    try:
        files.write_text(folder / LABELS_FILE, "".join(f"{label}\n" for label in dataset.labels))
        written = []
        for split in SPLITS:
            samples = sorted(dataset.split(split), key=lambda sample: digest(sample.name, seed))
            for start in range(0, len(samples), per_shard):
                path = folder / f"{split}-{start // per_shard:06d}.tar"
                with files.drafted(path) as draft, tarfile.open(draft, "w", format=tarfile.PAX_FORMAT) as tar:
                    for i, sample in enumerate(samples[start : start + per_shard], start):
                        _add_sample(tar, f"{i:08d}", sample, dataset.labels[sample.label])
                written.append(path)
    except OSError as error:
        raise DataError(f"'{folder}' cannot be written: {error.strerror or error}") from error
    return written


def _add_sample(tar: tarfile.TarFile, key: str, sample: Sample, label: str) -> None:
    suffix = Path(sample.name or sample.path.name).suffix.lower()
    about: dict[str, object] = {"label": label, "name": sample.name, "split": sample.split}
    if sample.weight != 1:
        about["weight"] = sample.weight
    if sample.group:
        about["group"] = sample.group
    try:
        data = sample.read()
    except OSError as error:
        raise DataError(f"'{sample.name}' cannot be read: {error.strerror or error}") from error
    _add(tar, f"{key}{suffix if suffix in SUFFIXES else '.jpg'}", data)
    _add(tar, f"{key}.cls", str(sample.label).encode())
    _add(tar, f"{key}.json", json.dumps(about).encode())


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def _entries(shard: str, lead: str, keys: Iterable[Key], names: tuple[str, ...], group: str) -> Iterator[Entry]:
    """The images in one shard; `lead` is put before their names if there are several shards."""
    file = _file_name(shard)
    word = re.split(r"[^a-zA-Z]", file, maxsplit=1)[0].lower()
    for key in keys:
        if not key.suffix:
            continue
        where = f"{file}/{key.name}{key.suffix}"
        label, about = _label(key, where, names)
        yield Entry(
            Path(file if is_remote(shard) else shard),
            label,
            f"{lead}/{key.name}{key.suffix}" if lead else f"{key.name}{key.suffix}",
            split=_split(str(about.get("split", word)), where if "split" in about else ""),
            weight=_weight(about.get("weight", 1.0), where),
            group=str(about.get(group, "")),
            member=(key.offset, key.size),
            url=shard if is_remote(shard) else "",
            checksum=key.checksum,
        )


def _label(key: Key, where: str, names: tuple[str, ...]) -> tuple[str, Mapping[str, Any]]:  # Any: JSON
    """The class name, and what else the key's JSON contains."""
    text = key.label
    about: Mapping[str, Any] = {}
    if key.label_suffix == ".json":
        try:
            about = documents.parse_with_file_names(text)
        except DocumentError as error:
            raise DataError(f"the JSON of '{where}' cannot be read: {error}") from error
        if not isinstance(about, Mapping):
            raise DataError(f"the JSON of '{where}' is not an object")
        text = str(next((about[name] for name in ("label", "class", "cls") if name in about), ""))
    if not text:
        raise DataError(f"'{where}' has no label", hint=SHARD_HINT)
    if text.isdecimal() and names and text not in names:
        if int(text) >= len(names):
            raise DataError(f"'{where}' has the class {text}, but {LABELS_FILE} names {len(names)} classes, from 0 on")
        text = names[int(text)]
    return text, about


def _split(word: str, where: str) -> Split | None:
    if where and word.lower() not in SPLIT_WORDS:
        raise DataError(f"'{where}' has the split '{word}'", hint="splits are train, val and test")
    return SPLIT_WORDS.get(word.lower())


def _weight(value: Any, where: str) -> float:  # Any: JSON
    if not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise DataError(f"'{where}' has the weight {value!r}, which is not zero or more")
    return float(value)


def _label_names(shard: str) -> tuple[str, ...]:
    """The names in `labels.txt` beside a shard; none if there is no such file."""
    try:
        if is_remote(shard):
            from mobilenets.data.remote import read

            text = read(urljoin(shard, LABELS_FILE), most=_LABELS_BYTES).decode("utf-8-sig", "replace")
            text = "" if text.lstrip().startswith("<") else text  # a page that says there is none
        else:
            text = Path(shard).with_name(LABELS_FILE).read_bytes().decode("utf-8-sig", "replace")
    except ConnectionError as error:
        raise DataError(f"'{urljoin(shard, LABELS_FILE)}' cannot be fetched: {error}") from error
    except OSError:
        return ()
    return tuple(line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")) if text.strip() else ()


def _file_name(shard: str) -> str:
    return file_name(shard) if is_remote(shard) else Path(shard).name


def _name(shards: Sequence[str]) -> str:
    """The name of a dataset of these shards: that of the only shard, or that of the folder."""
    first = shards[0]
    if len(shards) == 1:
        return PurePath(_file_name(first)).stem
    if is_remote(first):
        return file_name(urljoin(first, ".").rstrip("/")) or urlsplit(first).netloc
    return Path(first).resolve().parent.name


def _beside(file: Path, written: str) -> str:
    """A path or address from a list; a path is relative to the list."""
    return written if is_remote(written) else str(file.parent / written)
