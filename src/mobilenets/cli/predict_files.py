"""`mobilenets predict --out FOLDER`: drawn images, masks, and detections in the formats of datasets."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from mobilenets.cli.naming import Names
from mobilenets.data.writers.detections import RESULTS, ImageDetections, begin
from mobilenets.errors import DataError, UsageError
from mobilenets.files import drafted_quickly
from mobilenets.runtime.classify import Classification
from mobilenets.runtime.detect.decode import Detections
from mobilenets.runtime.images import large
from mobilenets.runtime.images.decode import decode_image
from mobilenets.runtime.segment.decode import Segmentation
from mobilenets.runtime.segment.draw import indexed
from mobilenets.runtime.sources import decoded

if TYPE_CHECKING:
    from mobilenets.cli.predicting import Asked
    from mobilenets.runtime.decoders import Prediction
    from mobilenets.runtime.predictor import Predictor
    from mobilenets.runtime.sources import Source
    from mobilenets.specs.model import Task

# fmt: off
KINDS: dict[Task, tuple[str, ...]] = {  # what can be written; the first is written if nobody says
    "detect":  ("drawn", *RESULTS),
    "segment": ("masks", "drawn"),
}
# fmt: on
IMAGES = ("masks", "drawn")
"""Kinds that are a file for each image."""

PEOPLE = {"detect": "detector", "segment": "segmenter"}
WIDEST = 65_500  # px of a side that JPEG can hold
QUALITY = 90
COMPRESSION = 3  # of masks; 6, which is usual, takes thrice the time


class Files:
    """What is written into the folder, under names that no two images share: `drawn/NAME.jpg`, `masks/NAME.png` and so on.

    Images are drawn and saved by threads, as many as predict. Each file appears when it is complete, one about all images when
    `close` is called.

    Args:
        asked: the options; `out` is the folder and `write` the kinds.
        predictor: whose predictions are written.

    Raises:
        UsageError: there is no such kind of file.
        DataError: nothing can be written there.
    """

    def __init__(self, asked: Asked, predictor: Predictor) -> None:
        assert asked.out is not None
        task = predictor.manifest.task
        known = KINDS[task]
        kinds = dict.fromkeys(asked.write or known[:1])
        unknown = [kind for kind in kinds if kind not in known]
        if unknown:
            raise UsageError(f"a {PEOPLE[task]} cannot write '{unknown[0]}'; known: {', '.join(known)}")
        self._folder = asked.out
        self._names = Names(asked.sources)
        self._kinds = kinds
        self._alone = asked.tile is not None  # large images: one at a time in memory
        self._writings = [begin(kind, asked.out, predictor.manifest.labels) for kind in kinds if kind in RESULTS]
        self._most = 2 * predictor.threads
        self._pending: deque[Future[None]] = deque()
        self._pool = ThreadPoolExecutor(predictor.threads, thread_name_prefix="draw")

    def write(self, source: Source, name: str, prediction: Prediction) -> dict[str, str]:
        """Write what is wanted of one image; returns the files that are its own, by kind.

        Raises:
            DataError: a file cannot be written.
        """
        assert not isinstance(prediction, Classification)  # there is no --out for classifiers
        own = self._names.of(name)
        written: dict[str, str] = {}
        try:
            for writing in self._writings:
                assert isinstance(prediction, Detections)
                path = str(Path(name).absolute()) if isinstance(source, str | Path) else name
                writing.add(ImageDetections(path, own, prediction.width, prediction.height, prediction))
            for kind in self._kinds:
                if kind in IMAGES:
                    ending = ".png" if kind == "masks" or max(prediction.width, prediction.height) > WIDEST else ".jpg"
                    target = self._folder / kind / own.with_suffix(ending)
                    self._pending.append(self._pool.submit(self._save, kind, source, prediction, target))
                    self._wait(0 if self._alone else self._most)
                    written[kind] = str(target)
        except OSError as error:
            raise _unwritable(self._folder, error) from error
        return written

    def close(self) -> None:
        """Wait for the images, and finish the files.

        Raises:
            DataError: a file cannot be written.
        """
        try:
            self._wait(0)
            for writing in self._writings:
                writing.close()
        except OSError as error:
            raise _unwritable(self._folder, error) from error
        finally:
            self._pool.shutdown(cancel_futures=True)

    def _save(self, kind: str, source: Source, prediction: Detections | Segmentation, target: Path) -> None:
        if kind == "masks":
            assert isinstance(prediction, Segmentation)
            image = indexed(prediction.classes, prediction.colors)
        else:
            image = prediction.draw(decoded(source, channels=3, decode=large.decode if self._alone else decode_image))
        with drafted_quickly(target) as draft:
            if target.suffix == ".png":
                image.save(draft, "PNG", compress_level=COMPRESSION)
            else:
                image.save(draft, "JPEG", quality=QUALITY)

    def _wait(self, most: int) -> None:
        while len(self._pending) > most:
            self._pending.popleft().result()


def _unwritable(folder: Path, error: OSError) -> DataError:
    return DataError(f"'{folder}' cannot be written: {error.strerror or error}", hint="--out FOLDER")
