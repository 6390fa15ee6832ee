"""What `mobilenets predict` shares between images and videos: the options, and how predictors are called."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import typer

from mobilenets.cli.images import images
from mobilenets.cli.output import note, progress
from mobilenets.errors import ImageError

if TYPE_CHECKING:
    from PIL import Image

    from mobilenets.runtime.decoders import Prediction
    from mobilenets.runtime.predictor import Predictor
    from mobilenets.runtime.result import Result
    from mobilenets.runtime.sources import Source

    Seen = tuple[Source, Result]


@dataclass(frozen=True, slots=True)
class Asked:
    """The options of `mobilenets predict`. An option that was not given is None or empty.

    Args:
        sources: images, folders, globs, "-", or a video.
        json, csv: the format in which results are printed.
        batch: images per batch; the default is the predictor's own.
        top: number of labels per image.
        out: where images, result files or a video are written.
        write: what to write there.
        threshold: only scores above it are shown.
        tile: side of the tiles of a large image, px of the image.
        overlap: the share of a tile that overlaps the next tile.
        whole: whether to predict the whole image in addition to its tiles.
    """

    sources: tuple[str, ...]
    json: bool = False
    csv: bool = False
    batch: int | None = None
    top: int | None = None
    out: Path | None = None
    write: tuple[str, ...] = ()
    threshold: float | None = None
    tile: int | None = None
    overlap: float | None = None
    whole: bool = False

    @property
    def single(self) -> bool:
        """Whether there is only a single image."""
        return len(self.sources) == 1 and Path(self.sources[0]).is_file()


def shown_by(predictor: Predictor, asked: Asked) -> Predictor:
    """The predictor with the display thresholds: the user's, otherwise those fitted in training, otherwise 0.5.

    Only detectors have thresholds; other predictors are returned unchanged.
    """
    from mobilenets.runtime.decoders import shown

    return predictor.with_head(shown(predictor.manifest.head, asked.threshold))


def predicted(predictor: Predictor, asked: Asked) -> Iterator[Seen]:
    """Each image with its prediction or error, in input order. Only a few batches are in memory at a time."""
    taken: deque[Source] = deque()

    def remembered() -> Iterator[Source]:
        for source in images(asked.sources, skipped=note):
            taken.append(source)
            yield source

    for result in predictor.stream(remembered(), batch=asked.batch):
        yield taken.popleft(), result


def tiling(predictor: Predictor, asked: Asked) -> tuple[Tiling, Callable[[Image.Image], Prediction]]:
    """The functions that predict an image tile by tile for the model's task: one takes sources, the other decoded images,
    such as video frames.
    """
    from mobilenets.runtime.detect import tiles as detect_tiles
    from mobilenets.runtime.segment import tiles as segment_tiles

    assert asked.tile is not None
    if predictor.manifest.task == "detect":
        overlap = detect_tiles.OVERLAP if asked.overlap is None else asked.overlap
        boxes: dict[str, Any] = {"tile": asked.tile, "overlap": overlap, "whole": asked.whole}  # Any: keyword arguments
        return (
            partial(detect_tiles.predict_tiles, predictor, **boxes),
            partial(detect_tiles.predict_tiles_decoded, predictor, **boxes),
        )
    overlap = segment_tiles.OVERLAP if asked.overlap is None else asked.overlap
    areas: dict[str, Any] = {"overlap": overlap, "scale": asked.tile / max(predictor.manifest.input.shape)}
    return (
        partial(segment_tiles.predict_tiles, predictor, **areas),
        partial(segment_tiles.predict_tiles_decoded, predictor, **areas),
    )


class Tiling(Protocol):
    """Predicts an image tile by tile."""

    def __call__(self, source: Source, *, progress: Callable[[int, int], object] | None = None) -> Prediction:
        """The prediction for an image. `progress` is called with the number of finished tiles and the total."""
        ...


def predicted_alone(look: Tiling, asked: Asked) -> Iterator[Seen]:
    """Like `predicted`, but for large images in tiles, one at a time: each fills the memory and keeps all threads busy."""
    from mobilenets.runtime.result import Result
    from mobilenets.runtime.sources import name_of, reason

    watched = asked.single and sys.stderr.isatty()
    for source in images(asked.sources, skipped=note):
        try:
            with progress("tiles", None) if watched else nullcontext(lambda amount: None) as advance:
                result = Result(name_of(source), look(source, progress=_by_one(advance)))
        except (ImageError, OSError) as error:
            result = Result(name_of(source), None, reason(error))
        yield source, result


def report(asked: Asked, seen: Iterable[Seen], write: Callable[[Source, str, Prediction], None]) -> None:
    """Write the predictions for all images. Unreadable images are named on stderr and skipped.

    Args:
        asked: the options.
        seen: the results; see `predicted`.
        write: called with an image, its name and its prediction.

    Raises:
        typer.Exit: none of the images could be read.
    """
    read = failed = 0
    # On a terminal the rows themselves show the progress, and a bar would interfere with them.
    several = len(asked.sources) > 1 or Path(asked.sources[0]).is_dir()
    watched = several and sys.stderr.isatty() and not sys.stdout.isatty() and "-" not in asked.sources
    bar = progress("predicting", sum(1 for _ in images(asked.sources))) if watched else nullcontext(lambda amount: None)
    with bar as advance:
        for source, result in seen:
            if result.prediction is None:
                failed += 1
                note(f"{result.name}: {result.error}")
            else:
                read += 1
                write(source, result.name, result.prediction)
            advance(1)
    if failed:
        note(f"{failed:,} of {failed + read:,} images could not be read")
    if not read:
        raise typer.Exit(1)


def _by_one(advance: Callable[[int], object]) -> Callable[[int, int], object]:
    def progressed(done: int, total: int) -> None:
        advance(1)

    return progressed
