"""Public weights on this machine: taken from the usual caches, otherwise downloaded into them and verified."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mobilenets import files
from mobilenets.data import remote
from mobilenets.errors import WeightsError
from mobilenets.weights.catalog import HUB, PublicWeights

HUB_FILE = "model.safetensors"
_MOST_BYTES = 4 << 30
log = logging.getLogger("mobilenets.weights")


def cached(entry: PublicWeights) -> Path | None:
    """The file of public weights in a cache of this machine: torch.hub's, Keras's or Hugging Face's; None if it is in none."""
    return next((path for path in _places(entry) if path.is_file()), None)


def fetch(entry: PublicWeights, *, timeout_s: float = 15.0) -> Path:
    """The file of public weights, from a cache or downloaded into one.

    Args:
        entry: the weights' entry in the catalog.
        timeout_s: maximum time for the server to respond.

    Raises:
        WeightsError: it is in no cache and cannot be downloaded, or arrived damaged; the message says where to put it by hand.
    """
    present = cached(entry)
    if present is not None:
        return present
    try:
        return _download(entry, timeout_s)
    except OSError as error:
        raise _missing(entry, error) from error


def check(entry: PublicWeights, path: Path) -> None:
    """Compare a file with its library's published checksum, if there is one.

    Raises:
        WeightsError: they differ.
    """
    if path.name == entry.file:
        _compare(entry, path)


def _compare(entry: PublicWeights, path: Path) -> None:
    kind, _, expected = entry.checksum.partition(":")
    if kind not in ("sha256", "md5"):
        return
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, kind).hexdigest()
    if not digest.startswith(expected):
        raise WeightsError(
            f"'{path.with_name(entry.file)}' is damaged: its {kind} starts with {digest[: len(expected)]}, not {expected}",
            hint=f"delete it and run the command again, or download it from {_url(entry)}",
        )


def _places(entry: PublicWeights) -> list[Path]:
    paths = [_folder() / entry.file]
    if entry.origin == "keras":
        home = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"))
        paths.append(home / "models" / entry.file)
    if entry.url.startswith(HUB):
        paths += _in_hub_cache(entry)
    return paths


def _in_hub_cache(entry: PublicWeights) -> list[Path]:
    """Where the Hugging Face Hub's own client caches the file, newest revision first."""
    home = Path(os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "huggingface")
    folder = Path(os.environ.get("HF_HUB_CACHE") or home / "hub").expanduser()
    snapshots = folder / ("models--" + entry.url.removeprefix(HUB).replace("/", "--")) / "snapshots"
    try:
        revisions = sorted(snapshots.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    except OSError:
        return []
    return [revision / HUB_FILE for revision in revisions]


def _download(entry: PublicWeights, timeout_s: float) -> Path:
    path = _folder() / entry.file
    file = remote.ask(_url(entry), timeout_s=timeout_s)
    log.info("downloading %s, %s", _url(entry), f"{file.length / 1e6:.1f} MB" if file.length >= 0 else "of unknown size")
    with files.drafted(path) as draft, _progress(entry.file, file.length) as advance:
        remote.save(file, draft, most=_MOST_BYTES, advance=advance)
        _compare(entry, draft)
    return path


@contextmanager
def _progress(name: str, length: int) -> Iterator[Callable[[int], object]]:
    """A progress bar on stderr, if that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(name, total=length if length >= 0 else None)
        yield lambda count: bar.advance(task, count)


def _folder() -> Path:
    """Where torch.hub stores weights; the same rule, without importing torch."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("TORCH_HOME") or Path(cache) / "torch").expanduser() / "hub" / "checkpoints"


def _url(entry: PublicWeights) -> str:
    if entry.url.startswith(HUB):
        host = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
        return f"{host.rstrip('/')}/{entry.url.removeprefix(HUB)}/resolve/main/{HUB_FILE}"
    return entry.url


def _missing(entry: PublicWeights, error: Exception) -> WeightsError:
    return WeightsError(
        f"'{entry.name}' is not cached on this machine and cannot be downloaded: {error}",
        hint=f"download {_url(entry)} where there is a network, put it at {_folder() / entry.file} "
        f"and run the same command again, for example: mobilenets convert {entry.name}",
    )
