"""Tar shards in WebDataset's convention, `key.jpg` beside `key.cls`, `key.txt` or `key.json`: read, streamed and written."""

from __future__ import annotations

import io
import json
import re
import subprocess
import tarfile
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from mobilenets.data.entries import SPLIT_WORDS, SUFFIXES, Entry, Listing, in_order
from mobilenets.data.samples import SPLITS, Dataset, Split
from mobilenets.data.splits import digest
from mobilenets.errors import DataError, UsageError

LABELS_FILE = "labels.txt"
"""Class names beside the shards, one a line; line i names the class that `.cls` files call i."""

_LABEL_SUFFIXES = (".json", ".txt", ".cls")  # the first that a key has counts
_LABEL_BYTES = 1 << 20
_BRACE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_HINT = "a shard is an uncompressed tar file that holds key.jpg beside key.cls, key.txt or key.json"


@dataclass
class _Key:
    """What the members of one key say."""

    name: str
    picture: tuple[str, int, int] | None = None  # suffix, offset, size
    label: bytes = b""
    label_suffix: str = ""


def expand(pattern: str) -> list[str]:
    """The names a brace pattern stands for.

    >>> expand("part-{08..10}.tar")
    ['part-08.tar', 'part-09.tar', 'part-10.tar']
    """
    brace = _BRACE.search(pattern)
    if brace is None:
        return [pattern]
    first, last = brace.groups()
    numbers = (str(i).zfill(len(first)) for i in range(int(first), int(last) + 1))
    return [name for number in numbers for name in expand(pattern[: brace.start()] + number + pattern[brace.end() :])]


def shard_files(source: str) -> list[Path]:
    """The tar files that a folder, a file, a glob or a brace pattern stands for, sorted."""
    found: set[Path] = set()
    for name in expand(source):
        path = Path(name)
        if path.is_dir():
            found.update(path.glob("*.tar"))
        elif path.is_file():
            found.add(path)
        elif any(character in name for character in "*?["):
            found.update(Path(path.anchor).glob(str(path.relative_to(path.anchor)) if path.anchor else name))
    return sorted(found)


def read_shards(source: str, *, group: str | None = None) -> Listing:
    """The pictures of local shards, each found again by its place in the tar file.

    A shard whose name begins with a split's (`train-0003.tar`) is of that split; `"split"` in a key's JSON goes first.

    Args:
        source: a folder, a tar file, a glob or a pattern like `train-{000..007}.tar`.
        group: the key of the samples' JSON that names groups; by default "group".

    Raises:
        DataError: no shard is found, one is damaged, or a picture has no label; says which.
    """
    missing = [name for name in expand(source) if _BRACE.search(source) and not Path(name).is_file()]
    files = shard_files(source)
    if missing or not files:
        raise DataError(f"there is no shard '{missing[0] if missing else source}'", hint=_HINT)
    names = _label_names(files[0].parent)
    entries = tuple(entry for file in files for entry in _entries(file, names, group or "group", prefix=len(files) > 1))
    if not entries:
        raise DataError(f"'{source}' holds no picture", hint=_HINT)
    named = sum(entry.split is not None for entry in entries)
    if 0 < named < len(entries):
        raise DataError(
            f"{named} of {len(entries)} pictures have a split and the others have none",
            hint="let every shard's name begin with train, val or test, or none",
        )
    labels = in_order(entry.label for entry in entries)
    if names and set(labels) <= set(names):
        labels = names
    return Listing(entries, labels, files[0].stem if len(files) == 1 else files[0].resolve().parent.name)


def stream_shards(urls: Iterable[str]) -> Iterator[tuple[bytes, str, str]]:
    """Encoded picture, label and name of one sample after the other, read once from front to back.

    Args:
        urls: local files, http(s) addresses, or `pipe:` and a shell command that writes a tar file; braces are expanded.

    Raises:
        DataError: a shard cannot be opened or breaks off; names it. What came before was whole.
    """
    for pattern in urls:
        for url in expand(pattern):
            try:
                with _opened(url) as stream, tarfile.open(fileobj=stream, mode="r|*") as tar:
                    yield from _samples(tar, url)
            except (OSError, EOFError, tarfile.TarError, urllib.error.URLError) as error:
                raise DataError(f"shard '{url}' breaks off or cannot be read: {error}", hint=_HINT) from error


def write_shards(dataset: Dataset, folder: Path, *, per_shard: int = 1000, seed: int = 0) -> list[Path]:
    """Write a data set as shards `train-000000.tar` ... with `labels.txt`, shuffled by seed so that streams are mixed.

    Args:
        dataset: what to write; pictures are copied byte by byte.
        folder: made if it is missing; must hold no shards yet.
        per_shard: pictures per file.
        seed: of the order inside a split.

    Raises:
        DataError: the folder holds shards already, or a picture cannot be read.
        UsageError: `per_shard` is not positive.
    """
    if per_shard < 1:
        raise UsageError(f"{per_shard} pictures per shard are not positive")
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.glob("*.tar")):
        raise DataError(f"'{folder}' holds shards already", hint="choose an empty folder")
    (folder / LABELS_FILE).write_text("".join(f"{label}\n" for label in dataset.labels), encoding="utf-8")
    written = []
    for split in SPLITS:
        samples = sorted(dataset.split(split), key=lambda sample: digest(sample.name, seed))
        for start in range(0, len(samples), per_shard):
            path = folder / f"{split}-{start // per_shard:06d}.tar"
            with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
                for i, sample in enumerate(samples[start : start + per_shard], start):
                    suffix = Path(sample.name or sample.path.name).suffix.lower()
                    about: dict[str, object] = {"label": dataset.labels[sample.label], "name": sample.name, "split": split}
                    if sample.weight != 1:
                        about["weight"] = sample.weight
                    if sample.group:
                        about["group"] = sample.group
                    try:
                        _add(tar, f"{i:08d}{suffix if suffix in SUFFIXES else '.jpg'}", sample.read())
                    except OSError as error:
                        raise DataError(f"'{sample.name}' cannot be read: {error.strerror}") from error
                    _add(tar, f"{i:08d}.cls", str(sample.label).encode())
                    _add(tar, f"{i:08d}.json", json.dumps(about).encode())
            written.append(path)
    return written


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def _entries(path: Path, names: tuple[str, ...], group: str, *, prefix: bool) -> list[Entry]:
    word = re.split(r"[^a-zA-Z]", path.name, maxsplit=1)[0].lower()
    entries = []
    for key in _keys(path):
        if key.picture is None:
            continue
        suffix, offset, size = key.picture
        where = f"{path.name}/{key.name}{suffix}"
        label, about = _label(key, where, names)
        entries.append(
            Entry(
                path,
                label,
                where if prefix else f"{key.name}{suffix}",
                split=_split(str(about.get("split", word)), where if "split" in about else ""),
                weight=_weight(about.get("weight", 1.0), where),
                group=str(about.get(group, "")),
                member=(offset, size),
            )
        )
    return entries


def _keys(path: Path) -> list[_Key]:
    """The keys of a tar file in its order."""
    keys: dict[str, _Key] = {}
    length = path.stat().st_size
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                key, suffix = _key(member)
                if suffix not in SUFFIXES and suffix not in _LABEL_SUFFIXES:
                    continue
                if member.offset_data + member.size > length:
                    raise DataError(f"shard '{path}' is truncated inside '{member.name}'", hint="copy it again")
                file = tar.extractfile(member) if suffix in _LABEL_SUFFIXES and member.size <= _LABEL_BYTES else None
                found = keys.setdefault(key, _Key(key))
                _note(found, suffix, member, file.read() if file else b"")
    except (OSError, tarfile.TarError, EOFError) as error:
        raise DataError(f"shard '{path}' cannot be read: {error}", hint=_HINT) from error
    return list(keys.values())


def _key(member: tarfile.TarInfo) -> tuple[str, str]:
    """Key and suffix of a member: its path up to the first dot of its file name, and what follows the last one."""
    folder, _, file = member.name.removeprefix("./").rpartition("/")
    stem, dot, _ = file.partition(".")
    if not member.isfile() or not stem or not dot or folder.startswith("__MACOSX"):
        return "", ""
    return (f"{folder}/{stem}" if folder else stem), "." + file.rsplit(".", 1)[1].lower()


def _note(key: _Key, suffix: str, member: tarfile.TarInfo, text: bytes) -> None:
    if suffix in SUFFIXES:
        key.picture = key.picture or (suffix, member.offset_data, member.size)
    elif text and (not key.label_suffix or _LABEL_SUFFIXES.index(suffix) < _LABEL_SUFFIXES.index(key.label_suffix)):
        key.label, key.label_suffix = text, suffix


def _label(key: _Key, where: str, names: tuple[str, ...]) -> tuple[str, Mapping[str, Any]]:  # Any: JSON
    """The name of the class, and what else the key's JSON says."""
    text = key.label.decode("utf-8", "replace").strip()
    about: Mapping[str, Any] = {}
    if key.label_suffix == ".json":
        try:
            about = json.loads(text)
        except ValueError as error:
            raise DataError(f"the JSON of '{where}' cannot be read: {error}") from error
        if not isinstance(about, Mapping):
            raise DataError(f"the JSON of '{where}' is not an object")
        text = str(next((about[name] for name in ("label", "class", "cls") if name in about), ""))
    if not text:
        raise DataError(f"'{where}' has no label", hint=_HINT)
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


def _label_names(folder: Path) -> tuple[str, ...]:
    file = folder / LABELS_FILE
    return tuple(file.read_text(encoding="utf-8").split("\n"))[:-1] if file.is_file() else ()


@contextmanager
def _opened(url: str) -> Iterator[IO[bytes]]:
    if url.startswith("pipe:"):
        with subprocess.Popen(url.removeprefix("pipe:"), shell=True, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            yield process.stdout
        if process.returncode:
            raise OSError(f"the command ended with {process.returncode}")
    elif url.startswith(("http://", "https://")):
        with urllib.request.urlopen(url, timeout=60) as response:
            yield response
    else:
        with Path(url.removeprefix("file:")).open("rb") as file:
            yield file


def _samples(tar: tarfile.TarFile, url: str) -> Iterator[tuple[bytes, str, str]]:
    """Members of one key follow each other in a stream."""
    key, picture, suffix_of = _Key(""), b"", ""
    for member in tar:
        name, suffix = _key(member)
        if suffix not in SUFFIXES and suffix not in _LABEL_SUFFIXES:
            continue
        if name != key.name:
            if picture:
                yield picture, _label(key, f"{url}: {key.name}", ())[0], key.name + suffix_of
            key, picture = _Key(name), b""
        file = tar.extractfile(member)
        data = file.read() if file else b""
        _note(key, suffix, member, data)
        if suffix in SUFFIXES and not picture:
            picture, suffix_of = data, suffix
    if picture:
        yield picture, _label(key, f"{url}: {key.name}", ())[0], key.name + suffix_of
