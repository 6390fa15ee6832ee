"""Inference at several scales and mirrored (the papers' MF): the mean of the scores, several times the work."""

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
"""The V2 paper's (Table 7, MF); with the mirrored images 17.375 times the work of one."""


class MultiScale:
    """A predictor that looks at each image at several scales, and mirrored; the scores are averaged at its own size.

    Args:
        predictor: of a segmenter; its engine must take inputs of any size.
        scales: of the input.
        flip: whether each is seen mirrored too.

    Raises:
        UsageError: the engine takes inputs of one size only or gives no logits, or the model is no segmenter.
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
        """One result per source, in their order."""
        for source in several(sources):
            try:
                yield Result(name_of(source), self.predict(source))
            except (ImageError, OSError) as error:
                yield Result(name_of(source), None, str(error))

    def _logits(self, array: NDArray[np.float32], *, mirrored: bool) -> NDArray[np.float32]:
        """Of one input C H W, as it lies unmirrored."""
        seen = np.ascontiguousarray(array[:, :, ::-1]) if mirrored else array
        logits = segment.checked(self._predictor.run(seen[np.newaxis]), self.manifest)[0]
        unmirrored: NDArray[np.float32] = logits[:, :, ::-1] if mirrored else logits
        return unmirrored


def scaled(contract: InputContract, scale: float, manifest: Manifest) -> InputContract:
    """The contract with an input of `scale` times the size.

    Where corners are aligned, 513 at 0.5 is 257: what is one more than a multiple of the stride stays so (TensorFlow's
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
