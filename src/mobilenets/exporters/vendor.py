"""`Vendor`: a third-party converter that runs in a separate process and, if necessary, in an environment of its own.

A converter that is installed with mobilenets is used directly. If it is missing, or cannot be imported because other packages
conflict with it, it is installed once into an environment in the user's cache folder. That environment also sees the packages
of the current one, so that torch is not installed twice, but its own packages take precedence.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from mobilenets import files
from mobilenets.errors import ExportError

_ENDED = "ready"
"""Name of the file that marks an environment as complete."""

Say = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Vendor:
    """A converter.

    Args:
        title: its name, for users.
        module: the module that must be importable.
        packages: what pip installs if it is not.
        size_mb: their approximate size on disk, in megabytes.
        script: path of the program that converts; it imports nothing from mobilenets.
    """

    title: str
    module: str
    packages: tuple[str, ...]
    size_mb: int
    script: Path

    @property
    def version(self) -> str:
        """The version of its first package in this environment, or the one that would be installed."""
        name, _, wanted = self.packages[0].partition("==")
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            return wanted


def to_stderr(text: str) -> None:
    """Print a message to stderr."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def convert(vendor: Vendor, arguments: Sequence[Path], *, say: Say = to_stderr) -> dict[str, Any]:  # Any: JSON
    """Run a converter and return the facts that its program reports about the result.

    Args:
        vendor: the converter.
        arguments: of the program: the input, the output, the JSON file for facts, and further ones that it needs.
        say: called with a message before anything is installed.

    Raises:
        ExportError: the converter cannot be installed, or it fails; the message has its last line of output.
    """
    python = _python(vendor, say)
    say(f"{vendor.title} converts the network, which can take a minute")
    done = _run(python, vendor, arguments)
    if done.returncode and _is_import_error(done.stderr):
        say(f"{vendor.title} is installed but cannot be imported here: {_last_words(done.stderr)}")
        done = _run(_own_python(vendor, say), vendor, arguments)
    facts = arguments[2]
    if done.returncode or not facts.is_file():
        raise ExportError(
            f"{vendor.title} cannot convert this network: {_last_words(done.stderr)}",
            hint="'mobilenets export RUN --to onnx' or '--to tflite' does not need it",
        )
    known: dict[str, Any] = json.loads(facts.read_text("utf-8"))
    return known


def start(vendor: Vendor, script: Path, arguments: Sequence[Path], *, say: Say = to_stderr) -> subprocess.Popen[bytes]:
    """Start another program of a vendor, which talks over stdin and stdout, in the environment with the vendor's packages.

    Raises:
        ExportError: the vendor cannot be installed or started.
    """
    python = _python(vendor, say)
    if (environment(vendor) / _ENDED).is_file():
        python = _interpreter(environment(vendor))  # the package installed here could not be imported
    command = [str(python), "-I", str(script), *map(str, arguments)]
    try:
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except OSError as error:
        raise ExportError(f"{vendor.title} cannot be started with '{python}': {error.strerror or error}") from error


def environment(vendor: Vendor) -> Path:
    """The folder of a converter's own environment, in `mobilenets` in the user's cache folder."""
    root = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or Path.home() / ".cache"
    beneath = sha256("\n".join((sys.executable, sys.version, *vendor.packages)).encode()).hexdigest()[:12]
    return Path(root) / "mobilenets" / "environments" / f"{vendor.module.partition('.')[0]}-{beneath}"


def _python(vendor: Vendor, say: Say) -> Path:
    """A Python with the converter: the current one, or the one of the converter's own environment."""
    try:
        is_installed = importlib.util.find_spec(vendor.module.partition(".")[0]) is not None
    except (ImportError, ValueError):
        is_installed = False
    return Path(sys.executable) if is_installed else _own_python(vendor, say)


def _own_python(vendor: Vendor, say: Say) -> Path:
    """The Python of the converter's own environment, which is created if there is none."""
    folder = environment(vendor)
    if not (folder / _ENDED).is_file():
        packages = ", ".join(vendor.packages)
        say(f"{vendor.title} is not installed; installing {packages} (about {vendor.size_mb} MB) into {folder}")
        try:
            with files.replaced_folder(folder) as made:
                _install(vendor, made)
        except (OSError, subprocess.CalledProcessError) as error:
            words = _last_words(error.stderr) if isinstance(error, subprocess.CalledProcessError) else str(error)
            raise ExportError(
                f"{vendor.title} cannot be installed into '{folder}': {words}",
                hint=f"install it where there is a network: pip install {' '.join(vendor.packages)}",
            ) from error
        say(f"{vendor.title} is installed; 'rm -r {folder}' removes it")
    return _interpreter(folder)


def _install(vendor: Vendor, folder: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, capture_output=True, text=True)
    paths = sysconfig.get_paths(vars={"base": str(folder), "platbase": str(folder)})
    beneath = dict.fromkeys((sysconfig.get_path("purelib"), sysconfig.get_path("platlib")))
    Path(paths["purelib"], "beneath.pth").write_text("\n".join(beneath) + "\n")
    pip = [str(_interpreter(folder)), "-m", "pip", "install", "--disable-pip-version-check", "--quiet", *vendor.packages]
    subprocess.run(pip, check=True, capture_output=True, text=True)
    (folder / _ENDED).write_text("\n".join(vendor.packages) + "\n")


def _interpreter(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _run(python: Path, vendor: Vendor, arguments: Sequence[Path]) -> subprocess.CompletedProcess[str]:
    # Isolated mode: neither the script's folder, whose modules are named like packages, nor the working directory is searched.
    command = [str(python), "-I", str(vendor.script), *map(str, arguments)]
    try:
        return subprocess.run(command, check=False, capture_output=True, text=True, errors="replace")
    except OSError as error:
        raise ExportError(f"{vendor.title} cannot be started with '{python}': {error.strerror or error}") from error


def _is_import_error(words: str) -> bool:
    last = _last_words(words)
    return last.startswith(("ImportError", "ModuleNotFoundError", "AttributeError: module")) or "undefined symbol" in last


def _last_words(words: str) -> str:
    """The last line that is not blank or indented, which in a traceback is the error."""
    lines = [line for line in words.strip().splitlines() if line.strip() and not line.startswith(" ")]
    return lines[-1][:400] if lines else "it printed nothing"
