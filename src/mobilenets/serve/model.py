"""`ServedModel`: an open model with its threads, and its description in the protocol."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mobilenets.errors import CheckpointError, UsageError
from mobilenets.runtime.decoders import shown
from mobilenets.runtime.engines.open import candidates_in, checkpoint_in
from mobilenets.runtime.engines.table import ENGINES, Runtime
from mobilenets.runtime.predictor import Predictor
from mobilenets.serve.batching import Batcher, Watch
from mobilenets.serve.curve import measured
from mobilenets.serve.protocol import Signature
from mobilenets.serve.tensors import DATATYPES, FLOATS

if TYPE_CHECKING:
    from mobilenets.serve.limits import Limits

INPUT = "image"
"""Name of every network's input, as in the files that `export` writes."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a model comes from.

    Args:
        name: its name for clients.
        path: path for `Predictor.open`.
        engine: name of the runtime; None for the fastest.
        threads: number of threads; None for the number of cores.
        engines: the runtimes, by kind of file.
    """

    name: str
    path: Path
    engine: str | None = None
    threads: int | None = None
    engines: Mapping[str, Runtime] = field(default_factory=lambda: ENGINES, repr=False)


def source_of(text: str, *, engine: str | None = None, threads: int | None = None) -> Source:
    """The source from a command-line argument: a path, or `NAME=PATH`.

    >>> source_of("cats=runs/photos").name, source_of("runs/photos").name
    ('cats', 'photos')

    Raises:
        UsageError: nothing follows `NAME=`.
    """
    name, equals, path = text.partition("=")
    if equals and not path:
        raise UsageError(f"'{text}' does not name a model", hint="NAME=MODEL, as photos=runs/photos")
    if not equals or Path(text).exists():
        return Source(name_of(Path(text)), Path(text), engine, threads)
    return Source(name, Path(path), engine, threads)


def name_of(path: Path) -> str:
    """A model's default name: that of its run folder, or of its file if that has a name of its own.

    >>> name_of(Path("runs/photos/export/model.onnx")), name_of(Path("cells.tflite"))
    ('photos', 'cells')
    """
    usual = ("model", "export", "best", "last", "")
    for part in (path.stem if path.suffix else path.name, *(folder.name for folder in path.absolute().parents)):
        if part not in usual:
            return part
    return "model"


@dataclass(frozen=True, slots=True, eq=False)
class ServedModel:
    """A model that answers requests.

    Args:
        source: where it comes from.
        predictor: decodes, with the display thresholds.
        batcher: runs the network.
        input, outputs: the network's tensors, as described in metadata.
        fingerprint: fingerprint of its files, taken before they were opened.
        opened_s: time it took to open, in seconds.
    """

    source: Source
    predictor: Predictor
    batcher: Batcher
    input: Signature
    outputs: Sequence[Signature]
    fingerprint: object
    opened_s: float

    @property
    def name(self) -> str:
        """Its name for clients."""
        return self.source.name

    @property
    def platform(self) -> str:
        """Its runtime, as metadata names it: "mobilenets_onnx"."""
        return f"mobilenets_{type(self.predictor.engine).__name__.removesuffix('Engine').lower()}"

    def close(self) -> None:
        """Answer the accepted requests, then release the network. This may take as long as the longest request."""
        self.batcher.close()
        self.predictor.close()


def opened(source: Source, limits: Limits, watch: Watch) -> ServedModel:
    """The opened model, after a test run and measurement.

    Raises:
        MobileNetsError: it cannot be opened, or cannot run.
    """
    start = time.perf_counter()
    files = fingerprint(source)
    predictor = Predictor.open(source.path, threads=source.threads, engine=source.engine, engines=source.engines)
    predictor = predictor.with_head(shown(predictor.manifest.head))
    contract = predictor.manifest.input
    image = np.zeros((1, contract.channels, *contract.shape), np.float32)
    outputs = predictor.run(image)
    strange = [f"'{name}' {array.dtype}" for name, array in outputs.items() if array.dtype.name not in DATATYPES]
    if strange:
        raise CheckpointError(f"'{source.path}' gives values that the protocol cannot name: {', '.join(strange)}")
    batcher = Batcher(
        predictor.run,
        measured(predictor.run, image, batch=predictor.engine.batch),
        threads=predictor.threads,
        queue=limits.queue,
        patience_s=limits.seconds,
        watch=watch,
    )
    return ServedModel(
        source,
        predictor,
        batcher,
        Signature(INPUT, FLOATS, (-1, *image.shape[1:])),
        [Signature(name, DATATYPES[array.dtype.name], (-1, *array.shape[1:])) for name, array in outputs.items()],
        files,
        time.perf_counter() - start,
    )


def fingerprint(source: Source) -> object:
    """A value that changes when a model's files change. Files that are being replaced may be missing for a moment."""
    files = {candidate.file for candidate in candidates_in(source.path, source.engines)}
    checkpoint = checkpoint_in(source.path)
    if checkpoint is not None and not files:
        with contextlib.suppress(OSError):
            files |= set(checkpoint.iterdir())
    return sorted((str(file), *_state(file)) for file in files)


def _state(file: Path) -> tuple[int, int]:
    try:
        state = file.stat()
    except OSError:
        return (0, 0)
    return (state.st_mtime_ns, state.st_size)
