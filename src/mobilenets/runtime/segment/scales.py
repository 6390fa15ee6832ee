"""Multi-scale and mirrored inference (the papers' MF): scores are averaged, at several times the cost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mobilenets.errors import ImageError, UsageError
from mobilenets.runtime.manifest import Manifest
from mobilenets.runtime.predictor import Predictor
from mobilenets.runtime.result import Result
from mobilenets.runtime.segment import decode as segment
from mobilenets.runtime.segment.decode import Segmentation
from mobilenets.runtime.segment.upsample import largest, upsampled
from mobilenets.runtime.sources import Source, load, name_of, reusable, several
from mobilenets.specs.model import InputContract

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
"""The scales of the V2 paper (Table 7, MF); with mirrored images, the cost is 17.375 times that of one image."""


class MultiScale:
    """A predictor that runs each image at several scales, and mirrored; the scores are averaged at its own size.

    Args:
        predictor: a segmenter's predictor; its engine must take inputs of any size.
        scales: factors of the input's size.
        flip: whether each scale is also run mirrored.

    Raises:
        UsageError: the engine takes only one input size or returns no logits, or the model is not a segmenter.
    """

    def __init__(self, predictor: Predictor, *, scales: Sequence[float] = SCALES, flip: bool = True) -> None:
        if predictor.manifest.task != "segment":
            raise UsageError(f"scales are averaged by a segmenter; this model's task is '{predictor.manifest.task}'")
        engine = predictor.engine
        segment.require_logits(engine, "several scales and mirror images")
        if engine.input_shape is not None and tuple(scales) != (1.0,):
            height, width = engine.input_shape
            raise UsageError(
                f"the exported network takes {height} x {width} px only, not several scales",
                hint="give the run folder, for torch: --engine torch",
            )
        self._predictor = predictor
        self._contracts = [scaled(predictor.manifest.input, scale, predictor.manifest) for scale in scales]
        self._flip = flip
        self.manifest: Manifest = predictor.manifest

    def predict(self, source: Source) -> Segmentation:
        """The segmentation of one image.

        Raises:
            ImageError: the image cannot be decoded.
            OSError: the file cannot be read.
        """
        image = reusable(source)
        total: NDArray[np.float32] | None = None
        for contract in self._contracts:
            array, place = load(image, contract)
            for mirrored in (False, True) if self._flip else (False,):
                logits = self._logits(array, mirrored=mirrored)
                rows, columns = segment.axes(logits, self.manifest, place, contract.shape)
                scores = _scores(upsampled(logits, rows, columns))
                total = scores if total is None else np.add(total, scores, out=total)
        assert total is not None
        kept = np.empty((0, 0, 0), np.float32)
        return Segmentation(self.manifest.labels, segment.colors(self.manifest), largest(total), kept)

    def stream(self, sources: Source | Iterable[Source], *, batch: int | None = None) -> Iterator[Result]:  # as Predictor's
        """One result per source, in order."""
        for source in several(sources):
            try:
                yield Result(name_of(source), self.predict(source))
            except (ImageError, OSError) as error:
                yield Result(name_of(source), None, str(error))

    def _logits(self, array: NDArray[np.float32], *, mirrored: bool) -> NDArray[np.float32]:
        """The logits of one input C H W, mirrored back if the input was mirrored."""
        seen = np.ascontiguousarray(array[:, :, ::-1]) if mirrored else array
        logits = segment.checked(self._predictor.run(seen[np.newaxis]), self.manifest)[0]
        unmirrored: NDArray[np.float32] = logits[:, :, ::-1] if mirrored else logits
        return unmirrored


def scaled(contract: InputContract, scale: float, manifest: Manifest) -> InputContract:
    """The contract with an input of `scale` times the size.

    If corners are aligned, a size that is a multiple of the stride plus one stays so: 513 at 0.5 becomes 257 (TensorFlow's
    `scale_dimension`).
    """
    extra = 1 if segment.align_corners(manifest) else 0
    height, width = (max(1, int((side - extra) * scale + extra)) for side in contract.shape)
    return contract.shaped(height, width)


def _scores(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Softmax over the first axis, in place."""
    values -= values.max(axis=0)
    np.exp(values, out=values)
    values /= values.sum(axis=0)
    return values
