"""`Predictor`: prepare, run, decode. The one way from an image to a prediction, with any engine."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from copy import copy
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from threading import Semaphore
from typing import TYPE_CHECKING, Protocol

import numpy as np
from PIL import Image

from mobilenets.errors import CheckpointError, ImageError
from mobilenets.runtime import views
from mobilenets.runtime.cores import cores
from mobilenets.runtime.decoders import Prediction, decode
from mobilenets.runtime.engines.base import Engine, OnnxEngine
from mobilenets.runtime.images.placement import Placement, placement
from mobilenets.runtime.images.prepare import load_placed, prepare
from mobilenets.runtime.manifest import Manifest
from mobilenets.runtime.ordered import in_order
from mobilenets.specs.model import Head

if TYPE_CHECKING:
    from numpy.typing import NDArray

BATCH = 8
"""Images that go through a network at once, unless said otherwise."""

_SIDE_BY_SIDE = 2  # of them for each of several threads: what a small network computes then stays in a core's cache


class EncodedImage(Protocol):
    """Something that gives an encoded image when asked: a `Sample`, a member of an archive."""

    @property
    def name(self) -> str:
        """What results call it."""
        ...

    def read(self) -> bytes:
        """The encoded image; may raise OSError or ImageError."""
        ...


Source = bytes | str | Path | EncodedImage


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one image of a stream: a prediction, or the reason why there is none.

    Args:
        name: of the image: its path, or its own name.
        prediction: None when the image cannot be read.
        error: why it cannot be read; "" when it can.
    """

    name: str
    prediction: Prediction | None
    error: str = ""


class Predictor:
    """A network with everything around it.

    Args:
        manifest: labels and input contract of the network.
        engine: runs the network.
        threads: that work on a stream; as many as there are cores by default.
        runs: how many of them may be inside the engine at once. With 1 the others decode meanwhile.
        batch: images of a stream that go through the network at once, unless a stream says otherwise.
    """

    def __init__(
        self, manifest: Manifest, engine: Engine, *, threads: int | None = None, runs: int = 1, batch: int = BATCH
    ) -> None:
        self.manifest = manifest
        self.engine = engine
        self.threads = threads or cores()
        self.batch = batch
        self._turns = Semaphore(runs)

    @staticmethod
    def open(path: str | Path, *, threads: int | None = None) -> Predictor:
        """The predictor for an exported model. Needs neither torch nor the training extra.

        Args:
            path: a `.onnx` file, the folder that holds `model.onnx`, or a run folder with an export in it.
            threads: to compute with; as many as there are cores by default.

        Raises:
            CheckpointError: there is no exported model, or it cannot be run.
        """
        threads = threads or cores()
        engine = OnnxEngine(exported(Path(path)), threads=1)  # batches run side by side, each on one thread: nobody waits
        return Predictor(engine.manifest(), engine, threads=threads, runs=threads, batch=_SIDE_BY_SIDE)

    def with_head(self, head: Head) -> Predictor:
        """The same network on the same engine, decoded with another head of its kind: other thresholds, another temperature."""
        other = copy(self)
        other.manifest = replace(self.manifest, head=head)
        return other

    def predict(self, source: Source) -> Prediction:
        """The prediction for one image: a path, encoded bytes, or anything with `read()`.

        Raises:
            ImageError: the image cannot be decoded.
            OSError: the file cannot be read.
        """
        return self._run([load_placed(given(source), self.manifest.input)])[0]

    def predict_decoded(self, images: Sequence[Image.Image]) -> Sequence[Prediction]:
        """The predictions for images that are decoded: frames of a video, tiles of an image. May be called by many threads.

        Args:
            images: upright, as `decode_image` gives them; they go through the network at once.
        """
        contract = self.manifest.input
        return self._run([(prepare(one, contract), placement(*one.size, contract)) for one in images])

    def stream(self, sources: Iterable[Source], *, batch: int | None = None) -> Iterator[Result]:
        """One result per source, in their order, as they are ready; holds a few batches in memory, however many sources.

        Each thread decodes a batch and then runs it, so that decoding and inference overlap.

        Args:
            sources: taken one by one, only as far as the results are consumed.
            batch: images that go through the network at once; the predictor's own by default.
        """
        iterator = iter(sources)
        chunks = iter(lambda: list(islice(iterator, batch or self.batch)), [])
        ahead = 2 * self.threads
        with closing(in_order(self._predict_batch, chunks, threads=self.threads, ahead=ahead, name="predict")) as done:
            for results in done:
                yield from results

    def _predict_batch(self, sources: list[Source]) -> list[Result]:
        loaded, errors = [], []
        for source in sources:
            try:
                loaded.append(load_placed(_read(source), self.manifest.input))
                errors.append("")
            except (ImageError, OSError) as error:
                errors.append(reason(error))
        predictions = iter(self._run(loaded) if loaded else ())
        return [
            Result(name_of(source), None, error) if error else Result(name_of(source), next(predictions))
            for source, error in zip(sources, errors, strict=True)
        ]

    def _run(self, loaded: list[tuple[NDArray[np.float32], Placement]]) -> Sequence[Prediction]:
        batch = np.stack([array for array, _ in loaded])  # N C H W
        with self._turns:
            outputs = views.run(self.engine, batch, self.manifest.head)
        return decode(outputs, self.manifest, [placement for _, placement in loaded])


def exported(path: Path) -> Path:
    """The `.onnx` file that `path` means: itself, or the one in an export or run folder.

    Raises:
        CheckpointError: there is none.
    """
    if not path.exists():
        raise CheckpointError(f"there is no file or folder '{path}'")
    if path.is_file():
        if path.suffix.lower() != ".onnx":
            raise CheckpointError(
                f"'{path}' is not an .onnx file",
                hint="give a file or folder that 'mobilenets export' or 'mobilenets train' wrote",
            )
        return path
    for candidate in (path / "model.onnx", path / "export" / "model.onnx"):
        if candidate.is_file():
            return candidate
    trained = any((path / name).exists() for name in ("best", "last", "model.safetensors"))
    raise CheckpointError(
        f"'{path}' holds no exported model: neither model.onnx nor export/model.onnx",
        hint=f"mobilenets export {shlex.quote(str(path))} --to onnx"
        if trained
        else "give a run folder, an export folder or an .onnx file",
    )


def name_of(source: Source) -> str:
    """What results call a source."""
    if isinstance(source, bytes):
        return "<bytes>"
    return str(source) if isinstance(source, str | Path) else source.name


def given(source: Source) -> bytes | Path:
    """The encoded image of a source, or the file that holds it."""
    if isinstance(source, bytes | Path):
        return source
    return Path(source) if isinstance(source, str) else source.read()


def _read(source: Source) -> bytes:
    data = given(source)
    return data.read_bytes() if isinstance(data, Path) else data


def reason(error: ImageError | OSError) -> str:
    """Why an image cannot be read, for its `Result`."""
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
