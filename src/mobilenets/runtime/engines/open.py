"""From a path to a running network: which file it means, which runtime opens it, and whether file and manifest agree."""

from __future__ import annotations

import importlib
import shlex
from collections.abc import Mapping
from pathlib import Path

from mobilenets.errors import CheckpointError
from mobilenets.runtime.engines.base import Engine
from mobilenets.runtime.engines.table import ENGINES, Runtime, known_endings
from mobilenets.runtime.manifest import Manifest

_DESCRIPTION, _WEIGHTS = "model.json", "model.safetensors"  # of a checkpoint folder


def opened(path: Path, engines: Mapping[str, Runtime] = ENGINES) -> tuple[Engine, Manifest]:
    """The engine for what `path` means, computing each batch with one thread, and its manifest.

    Args:
        path: an exported file, a folder with one, or a run or checkpoint folder.
        engines: the runtimes by kind of file.

    Raises:
        CheckpointError: there is no exported model, it cannot be run, or it does not fit its manifest.
    """
    checkpoint = checkpoint_in(path)
    file = _exported_in(path, engines) or (checkpoint and _file_in(checkpoint, engines))
    if file is None and checkpoint is not None:
        engine = _engine_of(checkpoint)
    else:
        file = file or exported(path, engines)
        engine = engines[file.suffix.lower()].open(file, threads=1)  # batches run side by side: nobody waits
    manifest = engine.manifest()
    _check(engine, manifest)
    return engine, manifest


def exported(path: Path, engines: Mapping[str, Runtime] = ENGINES) -> Path:
    """The exported file that `path` means: itself, or the one in an export or run folder.

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
    trained = any((path / name).exists() for name in ("best", "last", _WEIGHTS))
    raise CheckpointError(
        f"'{path}' holds no exported model: neither model.onnx nor export/model.onnx",
        hint=f"mobilenets export {shlex.quote(str(path))} --to onnx"
        if trained
        else "give a run folder, an export folder or an .onnx file",
    )


def checkpoint_in(path: Path) -> Path | None:
    """The checkpoint folder that `path` means: itself, or a run's best one, or its last one before there is a best."""
    folders = (path, path / "best", path / "last")
    return next((folder for folder in folders if all((folder / name).is_file() for name in (_DESCRIPTION, _WEIGHTS))), None)


def _exported_in(path: Path, engines: Mapping[str, Runtime]) -> Path | None:
    """The file itself if some runtime opens it, or the one in an export or run folder."""
    if path.is_file() or path.suffix.lower() in engines:  # Core ML's files are folders
        return path if path.suffix.lower() in engines else None
    return _file_in(path, engines) or _file_in(path / "export", engines)


def _file_in(folder: Path, engines: Mapping[str, Runtime]) -> Path | None:
    return next((file for ending in engines if (file := folder / f"model{ending}").exists()), None)


def _engine_of(checkpoint: Path) -> Engine:
    """The engine for a checkpoint, exported on the way: once, for the export is kept in its folder.

    What exports stands above the torch line, so it is named here, not imported.
    """
    try:
        ready = importlib.import_module("mobilenets.exporters.ready")
    except ImportError as error:
        raise CheckpointError(
            f"'{checkpoint}' is a checkpoint that is not exported yet, and exporting it needs '{error.name}', "
            "which is not installed",
            hint="pip install 'mobilenets[train]', or export it where that is installed: "
            f"mobilenets export {shlex.quote(str(checkpoint))}",
        ) from error
    engine: Engine = ready.engine_of(checkpoint)
    return engine


def _check(engine: Engine, manifest: Manifest) -> None:
    if engine.input_shape not in (None, manifest.input.shape):
        sizes = (" x ".join(str(side) for side in shape or ()) for shape in (engine.input_shape, manifest.input.shape))
        raise CheckpointError(
            "'{}' takes inputs of {} px, but its manifest says {} px".format(engine.source, *sizes), hint="export it again"
        )
