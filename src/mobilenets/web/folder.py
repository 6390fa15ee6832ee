"""The browser page as a folder of static files: as built, and with a network added."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mobilenets.errors import ExportError
from mobilenets.runtime.manifest import Manifest

FORMAT = 1
"""Of `model/model.json`, which the page reads."""

NETWORK = "model.onnx"
"""Name of the network that every such folder has."""

# fmt: off
_FILES = {  # runtime in the browser: name of the network's file for it, and of the file that has its weights if that is another
    "native": ("model.operators", NETWORK),
    "onnx":   (NETWORK,           None),
    "tflite": ("model.tflite",    None),
}
# fmt: on
_ENGINES = "engines"  # folder of the runtimes' own files
_PAGE = Path(__file__).parent / "page"  # `make web` fills it


@dataclass(frozen=True, slots=True)
class Weight:
    """The size of a folder with the page, in bytes on disk.

    Args:
        page: our own files: HTML, styles, scripts, icons.
        runtimes: libraries that run networks.
        model: files of the network.
    """

    page: int
    runtimes: int
    model: int


def page_folder() -> Path:
    """The folder of the built page: `index.html` and everything that it loads, except a network and the list of files.

    Raises:
        ExportError: the page is not built, as in a fresh checkout; the wheel contains it.
    """
    if not (_PAGE / "index.html").is_file():
        copied = not (_PAGE.parents[3] / "pyproject.toml").is_file()  # installed as a copy, not in place from the clone
        raise ExportError(
            f"the page for the browser is not built: '{_PAGE}' has no index.html",
            hint="run 'make web' in your clone of mobilenets; it needs Node.js 20 or newer"
            + ("; then 'pip install .' there once more, which copies the page" if copied else ""),
        )
    return _PAGE


def write_page(folder: Path, manifest: Manifest, networks: Mapping[str, Path]) -> None:
    """Write the page with a network: a folder for any static file server. It includes only the runtimes that it needs.

    Args:
        folder: the folder to write; it is created if missing, and must be empty.
        manifest: the manifest of the network.
        networks: the exported file for each runtime in the browser, "onnx" at least.

    Raises:
        ExportError: the page is not built.
        OSError: a file cannot be read or written.
    """
    page = page_folder()
    used = {runtime: network for runtime, network in networks.items() if (page / _ENGINES / runtime).is_dir()}
    unused = {f"{_ENGINES}/{runtime}" for runtime in _FILES.keys() - used.keys()}

    def skipped(inside: str, names: list[str]) -> set[str]:
        return {name for name in names if Path(inside, name).relative_to(page).as_posix() in unused}

    shutil.copytree(page, folder, ignore=skipped, dirs_exist_ok=True)
    (folder / "model").mkdir()
    listed = []
    for runtime, network in used.items():
        name, weights = _FILES[runtime]
        copied = folder / "model" / name
        shutil.copyfile(network, copied)
        about = {"runtime": runtime, "file": name, "size_bytes": copied.stat().st_size, "sha256": _digest(copied)}
        listed.append(about if weights is None else {**about, "weights": weights})
    model = {"format": FORMAT, "manifest": json.loads(manifest.to_json()), "networks": listed}
    (folder / "model" / "model.json").write_text(json.dumps(model, ensure_ascii=False), encoding="utf-8")
    _write_list(folder)


def weigh(folder: Path) -> Weight:
    """The sizes of the page, the runtimes and the model in a folder."""
    sizes = {"page": 0, _ENGINES: 0, "model": 0}
    for file in _files(folder):
        part = file.relative_to(folder).parts[0]
        sizes[part if part in sizes else "page"] += file.stat().st_size
    return Weight(sizes["page"], sizes[_ENGINES], sizes["model"])


def _write_list(folder: Path) -> None:
    """Write `files.json`, for the service worker: the list of all other files, and a hash of their content as the version."""
    files = _files(folder)
    content = hashlib.sha256()
    for file in files:
        content.update(f"{file.relative_to(folder).as_posix()} {_digest(file)}\n".encode())
    names = [file.relative_to(folder).as_posix() for file in files]
    (folder / "files.json").write_text(json.dumps({"version": content.hexdigest()[:16], "files": names}), encoding="utf-8")


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file())


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
