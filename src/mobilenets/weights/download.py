"""Public weights on this machine: found in the usual caches, else downloaded into them and checked."""

from __future__ import annotations

import hashlib
import os
import socket
import sys
import urllib.parse
from pathlib import Path

import torch.hub

from mobilenets.errors import MissingExtraError, WeightsError
from mobilenets.weights.catalogue import HUB, PublicWeights

HUB_FILE = "model.safetensors"


def cached(entry: PublicWeights) -> Path | None:
    """The file of public weights in a cache of this machine: torch.hub's, Keras's, the Hugging Face Hub's. None without one."""
    return next((path for path in _places(entry) if path.is_file()), None)


def fetch(entry: PublicWeights, *, timeout_s: float = 15.0) -> Path:
    """The file of public weights, from a cache or downloaded into one.

    Args:
        entry: which.
        timeout_s: how long the server may take to answer.

    Raises:
        WeightsError: it is in no cache and cannot be downloaded, or arrived damaged; says where to put it by hand.
    """
    found = cached(entry)
    if found is not None:
        return found
    url = _url(entry)
    try:
        host = urllib.parse.urlsplit(url).hostname or ""
        socket.create_connection((host, 443), timeout=timeout_s).close()
        path = _from_hub(entry) if entry.url.startswith(HUB) else _from_url(entry)
    except (OSError, RuntimeError) as error:
        raise _missing(entry, error) from error
    check(entry, path)
    return path


def check(entry: PublicWeights, path: Path) -> None:
    """Compare a file with the checksum that its library gives, if it gives one.

    Raises:
        WeightsError: they differ.
    """
    kind, _, expected = entry.checksum.partition(":")
    if kind not in ("sha256", "md5") or path.name != entry.file:
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, kind).hexdigest()
    if not found.startswith(expected):
        raise WeightsError(
            f"'{path}' is damaged: its {kind} starts with {found[: len(expected)]}, not {expected}",
            hint=f"delete it and run the command again, or download it from {_url(entry)}",
        )


def _places(entry: PublicWeights) -> list[Path]:
    places = [_folder() / entry.file]
    if entry.origin == "keras":
        home = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"))
        places.append(home / "models" / entry.file)
    if entry.url.startswith(HUB):
        places += _in_hub_cache(entry)
    return places


def _in_hub_cache(entry: PublicWeights) -> list[Path]:
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return []
    found = try_to_load_from_cache(entry.url.removeprefix(HUB), HUB_FILE)
    return [Path(found)] if isinstance(found, str) else []


def _from_hub(entry: PublicWeights) -> Path:
    try:
        from huggingface_hub import hf_hub_download
    except ImportError as error:
        raise MissingExtraError("huggingface_hub", "train") from error
    return Path(hf_hub_download(entry.url.removeprefix(HUB), HUB_FILE))


def _from_url(entry: PublicWeights) -> Path:
    path = _folder() / entry.file
    path.parent.mkdir(parents=True, exist_ok=True)
    kind, _, digest = entry.checksum.partition(":")
    prefix = digest if kind == "sha256" else None
    torch.hub.download_url_to_file(entry.url, str(path), prefix, progress=sys.stderr.isatty())
    try:
        check(entry, path)
    except WeightsError:
        path.unlink()
        raise
    return path


def _folder() -> Path:
    """Where torch.hub keeps weights."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def _url(entry: PublicWeights) -> str:
    if entry.url.startswith(HUB):
        return f"https://huggingface.co/{entry.url.removeprefix(HUB)}/resolve/main/{HUB_FILE}"
    return entry.url


def _missing(entry: PublicWeights, error: Exception) -> WeightsError:
    return WeightsError(
        f"'{entry.name}' is in no cache of this machine and cannot be downloaded: {error}",
        hint=f"download {_url(entry)} where there is a network, put it at {_folder() / entry.file} "
        f"and run the same command again, for example: mobilenets convert {entry.name}",
    )
