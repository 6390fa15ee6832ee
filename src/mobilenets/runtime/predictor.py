"""`Predictor`: preprocess, run, decode. The one way from an image to a prediction, for all engines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from PIL import Image

from mobilenets.errors import ImageError
from mobilenets.runtime import sources as given
from mobilenets.runtime import views
from mobilenets.runtime.cores import cores
from mobilenets.runtime.decoders import Prediction, decode, thresholded
from mobilenets.runtime.engines.alone import Alone
from mobilenets.runtime.engines.base import Engine
from mobilenets.runtime.engines.fastest import Candidate, Choice
from mobilenets.runtime.engines.gate import Gate
from mobilenets.runtime.engines.open import opened
from mobilenets.runtime.engines.table import ENGINES, Runtime
from mobilenets.runtime.images.placement import Placement, placement
from mobilenets.runtime.images.prepare import prepare
from mobilenets.runtime.manifest import Manifest
from mobilenets.runtime.ordered import in_order
from mobilenets.runtime.page import predictor_html
from mobilenets.runtime.result import Result
from mobilenets.runtime.sources import Source
from mobilenets.specs.model import Head

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mobilenets.runtime.engines.base import Outputs, Runs

    Loaded = tuple[NDArray[np.float32], Placement]

BATCH = 8
"""Images that go through a network at once, by default."""

_SIDE_BY_SIDE = 2  # images of a batch per thread: a small network's activations then stay in a core's cache


class Predictor:
    """A network with its preprocessing and decoding. It can be pickled, and so sent to other processes, if its engine can.

    Args:
        manifest: labels, head and input contract of the network.
        engine: runs the network.
        threads: number of threads that work on a stream; the number of cores by default.
        runs: how many threads may be inside the engine at once, while the others decode; always one unless the engine is
            concurrent.
        batch: images of a stream that go through the network at once, unless the call to `stream` sets it.
        choice: which runtime was chosen for the engine and why, if there was a choice.
        alone: candidates for running a single image instead of the engine: see `engines.alone.Alone`.
    """

    def __init__(
        self,
        manifest: Manifest,
        engine: Engine,
        *,
        threads: int | None = None,
        runs: int = 1,
        batch: int = BATCH,
        choice: Choice | None = None,
        alone: Sequence[Candidate] = (),
    ) -> None:
        self.manifest = manifest
        self.engine = engine
        self.threads = threads or cores()
        self.runs = runs
        self.batch = batch
        self.choice = choice
        self.alone = alone
        self._gate = Gate(engine, runs)
        self._alone = Alone(self._gate, alone)

    @staticmethod
    def open(
        path: str | Path, *, threads: int | None = None, engine: str | None = None, engines: Mapping[str, Runtime] = ENGINES
    ) -> Predictor:
        """The predictor for an exported model. This needs neither torch nor the training extra.

        A run or checkpoint folder without an export is exported first, which needs the training extra; the export is kept.

        If several installed runtimes can open it, the fastest on this machine is used. They are compared once, in under two
        seconds. The choice is kept in the user's cache folder until the machine, a file or a runtime's version changes.

        In a stream, each thread computes its own images. A single image is computed by all threads together if that is faster;
        which runtime does that best is measured in the same way, at the first `predict` of a single image.

        Args:
            path: an exported file, the folder that holds it, or a run or checkpoint folder.
            threads: number of threads; the number of cores by default.
            engine: name of the runtime that opens it, such as "onnx" or "tflite"; nothing is measured then.
            engines: the runtimes, by kind of file; `{**ENGINES, ".toy": Runtime("Toy", ToyEngine)}` adds one.

        Raises:
            CheckpointError: there is no exported model, or it cannot be run.
            MissingExtraError: the runtime is not installed.
            UnknownNameError: there is no such runtime.
        """
        threads = threads or cores()
        network = opened(Path(path), engines, engine=engine)
        running = network.engine
        batch = running.batch or (_SIDE_BY_SIDE if running.concurrent else BATCH)
        return Predictor(
            network.manifest,
            running,
            threads=threads,
            runs=threads,
            batch=batch,
            choice=network.choice,
            alone=network.on(threads),
        )

    def with_head(self, head: Head) -> Predictor:
        """The same network on the same engine, with another head of its kind: other thresholds, or another temperature."""
        other = Predictor(
            replace(self.manifest, head=head),
            self.engine,
            threads=self.threads,
            runs=self.runs,
            batch=self.batch,
            choice=self.choice,
            alone=self.alone,
        )
        other._gate, other._alone = self._gate, self._alone  # one engine, hence one gate
        return other

    def with_threshold(self, threshold: float) -> Predictor:
        """The same detector with this display threshold for every class.

        Raises:
            UsageError: the model is not a detector, or the threshold is not between 0 and 1.
        """
        return self.with_head(thresholded(self.manifest.head, threshold))

    @overload
    def predict(self, source: list[Source] | tuple[Source, ...], *, threshold: float | None = None) -> list[Prediction]: ...

    @overload
    def predict(self, source: Source, *, threshold: float | None = None) -> Prediction: ...

    def predict(
        self, source: Source | list[Source] | tuple[Source, ...], *, threshold: float | None = None
    ) -> Prediction | list[Prediction]:
        """The prediction for one image, or a list of predictions for a list of images.

        Args:
            source: a path, encoded bytes, a file object or anything else with `read()`, a Pillow image, a NumPy array
                (`H W C`, uint8, RGB), or a list of those.
            threshold: for a detector, the score that boxes must exceed; the model's own thresholds by default.

        Raises:
            ImageError: a source is none of those, or cannot be decoded.
            OSError: a file cannot be read.
            UsageError: a threshold is given, but the model is not a detector.
        """
        if threshold is not None:
            return self.with_threshold(threshold).predict(source)
        if isinstance(source, list | tuple):
            return list(self._in_order(self._predict_all, source, self.batch))
        return self._decoded([given.load(source, self.manifest.input)], self._alone)[0]

    def predict_decoded(self, images: Sequence[Image.Image]) -> Sequence[Prediction]:
        """The predictions for decoded images, such as video frames or tiles. May be called by many threads.

        Args:
            images: upright images, as `decode_image` returns them; they go through the network at once.
        """
        contract = self.manifest.input
        return self._decoded([(prepare(image, contract), placement(*image.size, contract)) for image in images])

    def stream(
        self, sources: Source | Iterable[Source], *, batch: int | None = None, threshold: float | None = None
    ) -> Iterator[Result]:
        """One result per source, in order, as soon as it is ready. Only a few batches are in memory, however many sources.

        A source that cannot be read or decoded, or is not an image, gives a result with the reason. Each thread decodes a batch
        and then runs it, so that decoding and inference overlap.

        Args:
            sources: read one by one, only as fast as the results are consumed. A single image counts as one source.
            batch: images that go through the network at once; the predictor's own by default.
            threshold: for a detector, the score that boxes must exceed; the model's own thresholds by default.

        Raises:
            UsageError: a threshold is given, but the model is not a detector.
        """
        if threshold is not None:
            return self.with_threshold(threshold).stream(sources, batch=batch)
        return self._in_order(self._results, given.several(sources), batch or self.batch)

    def run(self, batch: NDArray[np.float32]) -> Outputs:
        """The network's outputs by name, for preprocessed images `N C H W`, averaged over the head's views.

        Tiles, scales and predictions all call this, and nothing else calls the engine, so the engine's limits are kept.

        Raises:
            CheckpointError: the engine cannot run on this input.
        """
        return views.run(self._gate, batch, self.manifest.head)

    def close(self) -> None:
        """Release what the engine holds; the predictor cannot predict afterwards."""
        self._alone.close()
        self.engine.close()

    def _in_order(
        self, work: Callable[[list[Source]], Sequence[Any]], sources: Iterable[Source], batch: int
    ) -> Iterator[Any]:  # Any: what work returns of each source
        """The results of `work` on the sources, batch by batch, computed in threads."""
        iterator = iter(sources)
        chunks = iter(lambda: list(islice(iterator, batch)), [])
        with closing(in_order(work, chunks, threads=self.threads, ahead=2 * self.threads, name="predict")) as done:
            for results in done:
                yield from results

    def _predict_all(self, sources: list[Source]) -> Sequence[Prediction]:
        return self._decoded([given.load(source, self.manifest.input) for source in sources])

    def _results(self, sources: list[Source]) -> list[Result]:
        loaded: list[Loaded] = []
        errors: list[str] = []
        for source in sources:
            try:
                loaded.append(given.load(given.contents(source), self.manifest.input))
                errors.append("")
            except (ImageError, OSError) as error:
                errors.append(given.reason(error))
        predictions = iter(self._decoded(loaded) if loaded else ())
        return [
            Result(given.name_of(source), None if error else next(predictions), error)
            for source, error in zip(sources, errors, strict=True)
        ]

    def _decoded(self, loaded: Sequence[Loaded], way: Runs | None = None) -> Sequence[Prediction]:
        batch = np.stack([array for array, _ in loaded])  # N C H W
        outputs = views.run(way or self._gate, batch, self.manifest.head)
        return decode(outputs, self.manifest, [place for _, place in loaded])

    def __copy__(self) -> Predictor:
        return self.with_head(self.manifest.head)

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in vars(self).items() if name not in ("_gate", "_alone")}

    def __setstate__(self, state: dict[str, object]) -> None:
        vars(self).update(state)
        self._gate = Gate(self.engine, self.runs)
        self._alone = Alone(self._gate, self.alone)

    def __repr__(self) -> str:
        height, width = self.manifest.input.shape
        labels = len(self.manifest.labels)
        choices = {"chosen": self.choice, "alone": self._alone.choice}
        chosen = "".join(
            f", {name}={str(choice)!r}" for name, choice in choices.items() if choice is not None and choice.times_ms
        )
        return (
            f"Predictor({self.manifest.model!r}, task={self.manifest.task!r}, {labels} label{'s' if labels != 1 else ''}, "
            f"input={width} x {height} px, engine={type(self.engine).__name__}({self.engine.source!r}){chosen})"
        )

    def _repr_html_(self) -> str:
        """For notebooks."""
        return predictor_html(self.manifest, self.engine)
