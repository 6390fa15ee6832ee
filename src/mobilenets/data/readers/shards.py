"""Tar shards in WebDataset's convention, `key.jpg` beside `key.cls`, `key.txt` or `key.json`: read, streamed and written."""

from __future__ import annotations

import io
import json
import re
import subprocess
import tarfile
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import IO, Any
from urllib.parse import urljoin, urlsplit

from mobilenets.data.entries import SPLIT_WORDS, SUFFIXES, Entry, Listing, in_order
from mobilenets.data.readers.members import SHARD_HINT, Key, keys_of, labelled
from mobilenets.data.remote import file_name, is_remote, read
from mobilenets.data.samples import SPLITS, Dataset, Split
from mobilenets.data.splits import digest
from mobilenets.errors import DataError, UsageError

LABELS_FILE = "labels.txt"
"""Class names beside the shards, one a line; line i names the class that `.cls` files call i."""

AT_ONCE = 8
"""Shards that are looked through at the same time."""

_BRACE = re.compile(r"\{(\d+)\.\.(\d+)\}")


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


def shard_files(source: str) -> list[str]:
    """The tar files that a folder, a file, a glob, a brace pattern, an address or a list of those stands for.

    Args:
        source: as `read_shards` takes it; files and addresses that are named one by one need not be there.
    """
    if source.endswith(".txt") and Path(source).is_file():
        lines = [line.strip() for line in Path(source).read_text(encoding="utf-8").splitlines()]
        return [shard for line in lines if line and line[0] != "#" for shard in shard_files(_beside(Path(source), line))]
    found: set[str] = set()
    for name in expand(source):
        path = Path(name)
        if is_remote(name):
            found.add(name)
        elif path.is_dir():
            found.update(str(file) for file in path.glob("*.tar"))
        elif any(character in name for character in "*?[") and not path.is_file():
            matching = Path(path.anchor).glob(str(path.relative_to(path.anchor)) if path.anchor else name)
            found.update(str(file) for file in matching)
        else:
            found.add(name)
    return sorted(found)


def read_shards(source: str, *, group: str | None = None) -> Listing:
    """The images of shards, each found again by its place in the tar file.

    A shard whose name begins with a split's (`train-0003.tar`) is of that split; `"split"` in a key's JSON goes first.
    A shard on a web server is read once to learn where its images lie; then each is asked for when it is needed.

    Args:
        source: a folder, a tar file, a glob, a pattern like `train-{000..007}.tar`, an http or https address of one or with
            such a pattern, or a `.txt` file that lists any of these.
        group: the key of the samples' JSON that names groups; by default "group".

    Raises:
        DataError: no shard is found, one is damaged, or an image has no label; says which.
    """
    shards = shard_files(source)
    missing = [shard for shard in shards if not is_remote(shard) and not Path(shard).is_file()]
    if missing or not shards:
        raise DataError(f"there is no shard '{missing[0] if missing else source}'", hint=SHARD_HINT)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        keys = list(pool.map(keys_of, shards))
    names = _label_names(shards[0])
    files = [_file_name(shard) for shard in shards]
    leads = [""] if len(shards) == 1 else files if len(set(files)) == len(files) else shards
    entries = tuple(
        entry
        for shard, lead, found in zip(shards, leads, keys, strict=True)
        for entry in _entries(shard, lead, found, names, group or "group")
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
    return Listing(entries, labels, _name(shards))


def stream_shards(urls: Iterable[str]) -> Iterator[tuple[bytes, str, str]]:
    """Encoded image, label and name of one sample after the other, read once from front to back.

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
                raise DataError(f"shard '{url}' breaks off or cannot be read: {error}", hint=SHARD_HINT) from error


def write_shards(dataset: Dataset, folder: Path, *, per_shard: int = 1000, seed: int = 0) -> list[Path]:
    """Write a dataset as shards `train-000000.tar` ... with `labels.txt`, shuffled by seed so that streams are mixed.

    Args:
        dataset: what to write; images are copied byte by byte.
        folder: made if it is missing; must hold no shards yet.
        per_shard: images per file.
        seed: of the order inside a split.

    Raises:
        DataError: the folder holds shards already, or an image cannot be read.
        UsageError: `per_shard` is not positive.
    """
    if per_shard < 1:
        raise UsageError(f"{per_shard} images per shard are not positive")
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
                        raise DataError(f"'{sample.name}' cannot be read: {error.strerror or error}") from error
                    _add(tar, f"{i:08d}.cls", str(sample.label).encode())
                    _add(tar, f"{i:08d}.json", json.dumps(about).encode())
            written.append(path)
    return written


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def _entries(shard: str, lead: str, keys: Iterable[Key], names: tuple[str, ...], group: str) -> Iterator[Entry]:
    """The images of one shard; `lead` goes before their names where there are several shards."""
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
        )


def _label(key: Key, where: str, names: tuple[str, ...]) -> tuple[str, Mapping[str, Any]]:  # Any: JSON
    """The name of the class, and what else the key's JSON says."""
    text = key.label
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
    """The names in `labels.txt` beside a shard; none where there is no such file."""
    try:
        if is_remote(shard):
            text = read(urljoin(shard, LABELS_FILE)).decode("utf-8", "replace")
            text = "" if text.lstrip().startswith("<") else text  # a page that says there is none
        else:
            text = Path(shard).with_name(LABELS_FILE).read_text(encoding="utf-8")
    except ConnectionError as error:
        raise DataError(f"'{urljoin(shard, LABELS_FILE)}' cannot be asked for: {error}") from error
    except OSError:
        return ()
    return tuple(text.split("\n"))[:-1]


def _file_name(shard: str) -> str:
    return file_name(shard) if is_remote(shard) else Path(shard).name


def _name(shards: Sequence[str]) -> str:
    """What a dataset of these shards is called: as the one shard, or as the folder of several."""
    first = shards[0]
    if len(shards) == 1:
        return PurePath(_file_name(first)).stem
    if is_remote(first):
        return file_name(urljoin(first, ".").rstrip("/")) or urlsplit(first).netloc
    return Path(first).resolve().parent.name


def _beside(file: Path, place: str) -> str:
    """A place that a list names, which stands relative to the list."""
    return place if is_remote(place) else str(file.parent / place)


@contextmanager
def _opened(url: str) -> Iterator[IO[bytes]]:
    if url.startswith("pipe:"):
        with subprocess.Popen(url.removeprefix("pipe:"), shell=True, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            yield process.stdout
        if process.returncode:
            raise OSError(f"the command ended with {process.returncode}")
    elif is_remote(url):
        with urllib.request.urlopen(url, timeout=60) as response:
            yield response
    else:
        with Path(url.removeprefix("file:")).open("rb") as file:
            yield file


def _samples(tar: tarfile.TarFile, url: str) -> Iterator[tuple[bytes, str, str]]:
    """Members of one key follow each other in a stream."""
    key, image = Key(""), b""
    for member, name, suffix in labelled(tar):
        if name != key.name:
            if image:
                yield image, _label(key, f"{url}: {key.name}", ())[0], key.name + key.suffix
            key, image = Key(name), b""
        file = tar.extractfile(member)
        data = file.read() if file else b""
        if suffix not in SUFFIXES:
            key.note_label(suffix, data)
        elif not image:
            image, key.suffix = data, suffix
    if image:
        yield image, _label(key, f"{url}: {key.name}", ())[0], key.name + key.suffix
