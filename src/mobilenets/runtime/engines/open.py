"""From a path to a running network: find the file, choose the runtime, and check that file and manifest agree."""

from __future__ import annotations

import importlib
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

from mobilenets.errors import CheckpointError
from mobilenets.runtime.engines.base import Engine
from mobilenets.runtime.engines.fastest import Candidate, Choice, fastest, fitting_manifest
from mobilenets.runtime.engines.table import ENGINES, Runtime, known_endings, named
from mobilenets.runtime.manifest import Manifest

_DESCRIPTION, _WEIGHTS = "model.json", "model.safetensors"  # of a checkpoint folder
_GRAPH = "graph.safetensors"  # of a quantized network


@dataclass(frozen=True, slots=True)
class Opened:
    """A running network.

    Args:
        engine: runs the network, each batch on one thread.
        manifest: the network's manifest.
        choice: which runtime was chosen and why; None if a checkpoint had to be exported first.
        candidates: the runtimes to choose from; empty if a checkpoint had to be exported first.
    """

    engine: Engine
    manifest: Manifest
    choice: Choice | None = None
    candidates: Sequence[Candidate] = ()

    def on(self, threads: int) -> list[Candidate]:
        """Candidates for running one image at a time: the engine's own, and each candidate on several threads."""
        chosen = [candidate for candidate in self.candidates if self.choice is not None and candidate.name == self.choice.name]
        return chosen + [replace(candidate, threads=threads) for candidate in self.candidates if threads > 1]


def opened(
    path: Path, engines: Mapping[str, Runtime] = ENGINES, *, engine: str | None = None, cache: Path | None = None
) -> Opened:
    """The model at `path`, opened by the fastest runtime that can on this machine, or by the requested one.

    A checkpoint or quantized network that is not yet exported, or not for the requested runtime, is exported once.

    Args:
        path: an exported file, a folder with exported files, or a run or checkpoint folder.
        engines: the runtimes, by kind of file.
        engine: name of the requested runtime, such as "onnx".
        cache: folder where choices are remembered; the user's cache folder by default.

    Raises:
        CheckpointError: there is no exported model, it cannot be run, or it does not fit its manifest.
        MissingExtraError: the runtime is not installed.
        UnknownNameError: there is no such runtime.
    """
    if engine is not None:
        named(engines)[engine]  # raises for a wrong name, and suggests similar ones
    checkpoint = checkpoint_in(path)
    candidates = candidates_in(path, engines) or (candidates_in(checkpoint, engines) if checkpoint is not None else [])
    if engine is None and holds_graph(path) and not any(candidate.runtime.runs_here for candidate in candidates):
        candidates = []  # it was exported on another machine; this machine uses a runtime of its own
    choice = None
    usable: list[Candidate] = []
    if not candidates and checkpoint is not None:
        running = _engine_of(checkpoint)
        if engine is not None:
            running.close()  # it is exported now
            candidates = candidates_in(checkpoint, engines)
    elif not candidates and holds_graph(path):
        running = _engine_of_graph(path)
        if engine is None:
            return Opened(running, fitting_manifest(running))
        running.close()  # it is exported now
        candidates = candidates_in(path, engines)
    source = path if holds_graph(path) else checkpoint
    if engine is not None and source is not None and engine not in {candidate.name for candidate in candidates}:
        candidates = _exported_for(source, engine, engines) or candidates
    if candidates or checkpoint is None:
        candidates = candidates or candidates_in(exported(path, engines), engines)
        usable = _usable(path, candidates, engine, engines)
        running, choice = fastest(usable, cache=cache)
    return Opened(running, fitting_manifest(running), choice, usable)


def candidates_in(path: Path, engines: Mapping[str, Runtime] = ENGINES) -> list[Candidate]:
    """Each runtime that can open the exported file, or one of the files in the folder, in the order of the table.

    Args:
        path: an exported file, a folder with exported files, or a run folder. Nothing needs to exist.
        engines: the runtimes by kind of file.
    """
    first = _exported_in(path, engines)
    if first is None:
        return []
    files = [first] if path == first else [file for ending in engines if (file := first.with_suffix(ending)).exists()]
    candidates = []
    for name, (ending, runtime) in named(engines).items():
        readable = [file for kind in (ending, *runtime.also) for file in files if file.suffix.lower() == kind]
        if readable:
            candidates.append(Candidate(name, runtime, readable[0]))
    native = first.suffix.lower()
    return sorted(candidates, key=lambda candidate: named(engines)[candidate.name][0] != native)


def _exported_for(source: Path, engine: str, engines: Mapping[str, Runtime]) -> list[Candidate]:
    """The candidate of a named runtime for a checkpoint or quantized network, which is exported first if necessary.

    Empty for a runtime from outside, since this package cannot export for it.
    """
    ending, runtime = named(engines)[engine]
    found = candidates_in(source, engines)
    if engine not in {candidate.name for candidate in found} and ENGINES.get(ending) is runtime:
        _ready(source).export_for(source, engine)
        found = candidates_in(source, engines)
    return [candidate for candidate in found if candidate.name == engine]


def _usable(path: Path, candidates: Sequence[Candidate], engine: str | None, engines: Mapping[str, Runtime]) -> list[Candidate]:
    """The candidates that are installed, or the requested one.

    If none is installed, all are returned: opening the first one gives an error that says what to install.

    Raises:
        CheckpointError: there is no file for the requested runtime.
    """
    if engine is None:
        return [candidate for candidate in candidates if candidate.runtime.runs_here] or list(candidates)
    chosen = [candidate for candidate in candidates if candidate.name == engine]
    if not chosen:
        ending, runtime = named(engines)[engine]
        files = ", ".join(dict.fromkeys(f"'{candidate.file.name}'" for candidate in candidates)) or "no exported file"
        raise CheckpointError(
            f"'{path}' has {files}, which {runtime.title} does not read",
            hint=f"export it: mobilenets export RUN --to {engine} writes a {ending} file",
        )
    return chosen


def exported(path: Path, engines: Mapping[str, Runtime] = ENGINES) -> Path:
    """The exported file at `path`: the file itself, or the one in an export or run folder.

    Raises:
        CheckpointError: there is none.
    """
    if not path.exists():
        raise CheckpointError(f"there is no file or folder '{path}'")
    if path.is_dir() and path.suffix.lower() in engines:
        return path
    if path.is_file():
        if path.suffix.lower() not in engines:
            raise CheckpointError(
                f"'{path}' is not an {known_endings(engines)} file",
                hint="give a file or folder that 'mobilenets export' or 'mobilenets train' wrote",
            )
        return path
    file = _exported_in(path, engines)
    if file is not None:
        return file
    raise CheckpointError(
        f"'{path}' holds no exported model: neither model.onnx nor export/model.onnx", hint=_instead(path, engines)
    )


def _instead(path: Path, engines: Mapping[str, Runtime]) -> str:
    """A hint for a folder that has no exported model of the usual name: what to pass instead."""
    if any((path / name).exists() for name in ("best", "last", _WEIGHTS)):
        return f"mobilenets export {shlex.quote(str(path))} --to onnx"
    if holds_cpp(path):
        return IS_CPP
    if (path / "cpp").is_dir():
        return "its folder 'cpp' is C++, which a compiler builds; give a run folder, or a model exported to another format"
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in engines)
    return f"give the file: {shlex.quote(str(files[0]))}" if files else "give a run folder, an export folder or an .onnx file"


def checkpoint_in(path: Path) -> Path | None:
    """The checkpoint folder for `path`: itself, or a run's best checkpoint, or its last one if there is no best yet."""
    folders = (path, path / "best", path / "last")
    return next((folder for folder in folders if all((folder / name).is_file() for name in (_DESCRIPTION, _WEIGHTS))), None)


IS_CPP = "it is C++, which a compiler builds, as its README.md says; give its run, or a model exported to another format"
"""The hint for a folder that `holds_cpp`."""


def holds_cpp(path: Path) -> bool:
    """Whether a path is a folder of exported C++."""
    return (path / "network.hpp").is_file()


def holds_graph(path: Path) -> bool:
    """Whether a path is the folder of a quantized network, which can still be exported if it is not."""
    return (path / _GRAPH).is_file()


def _exported_in(path: Path, engines: Mapping[str, Runtime]) -> Path | None:
    """The path itself if some runtime opens it, or the exported file in an export or run folder."""
    if path.is_file() or path.suffix.lower() in engines:  # Core ML's files are folders
        return path if path.suffix.lower() in engines else None
    return _file_in(path, engines) or _file_in(path / "export", engines)


def _file_in(folder: Path, engines: Mapping[str, Runtime]) -> Path | None:
    """The folder's first model in the order of the table, preferably one whose runtime is installed."""
    files = [(runtime.runs_here, file) for ending, runtime in engines.items() if (file := folder / f"model{ending}").exists()]
    return next((file for runs_here, file in files if runs_here), files[0][1] if files else None)


def _engine_of(checkpoint: Path) -> Engine:
    """The engine for a checkpoint, which is exported first. The export is kept in its folder, so this happens once."""
    engine: Engine = _ready(checkpoint).engine_of(checkpoint)
    return engine


def _ready(source: Path) -> ModuleType:
    """The module that exports checkpoints and quantized networks. It needs torch, so it is imported by name when needed."""
    try:
        return importlib.import_module("mobilenets.exporters.ready")
    except ImportError as error:
        raise CheckpointError(
            f"'{source}' is not exported yet, and exporting it needs '{error.name}', which is not installed",
            hint="pip install 'mobilenets[train]', or export it where that is installed: "
            f"mobilenets export {shlex.quote(str(source))}",
        ) from error


def _engine_of_graph(folder: Path) -> Engine:
    """The engine for a quantized network that is not exported yet. The exporter is in a higher layer, so it is named here."""
    engine: Engine = importlib.import_module("mobilenets.int8.folder").engine_of(folder)
    return engine
