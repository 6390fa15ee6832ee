"""Segmentation of large images in tiles: the network sees each tile at full detail, and overlapping logits are blended.

The tiles' logits are averaged into one coarse map of the whole image, with less weight near each tile's edges. That map is
upsampled once. Besides the image and the mask, only the map is in memory: about `4 * classes / stride ** 2` bytes per pixel.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from mobilenets.errors import UsageError
from mobilenets.runtime.images import large
from mobilenets.runtime.images.placement import placement
from mobilenets.runtime.images.prepare import RESAMPLING, normalize, prepare
from mobilenets.runtime.ordered import in_order
from mobilenets.runtime.predictor import Predictor
from mobilenets.runtime.segment import decode as segment
from mobilenets.runtime.segment.decode import Segmentation
from mobilenets.runtime.segment.upsample import axis
from mobilenets.runtime.sources import Source, decoded

if TYPE_CHECKING:
    from numpy.typing import NDArray

OVERLAP = 0.25


@dataclass(frozen=True, slots=True)
class Side:
    """How tiles lie along one side of an image.

    Args:
        length: length of a tile, px of the network's input.
        cells: number of logits along a tile.
        pitch: distance between neighboring logits, px of the input.
        total: number of logits along the whole image.
        starts: index of the first logit of each tile.
        fade: number of logits over which a tile fades in and out.
    """

    length: int
    cells: int
    pitch: float
    total: int
    starts: tuple[int, ...]
    fade: int

    @property
    def weights(self) -> NDArray[np.float32]:
        """The weight of each logit of a tile: it falls towards the ends but is never zero."""
        position = np.arange(self.cells) + 0.5
        from_end = np.minimum(position, self.cells - position)
        weights: NDArray[np.float32] = np.minimum(from_end / (self.fade + 0.5), 1).astype(np.float32)
        return weights


def side(pixels: float, length: int, cells: int, *, overlap: float, align_corners: bool) -> Side:
    """Tiles along one side of an image. The last one ends where the image ends, to within one logit.

    Args:
        pixels: length of the image's side, px of the input.
        length: length of a tile, px of the input.
        cells: number of logits along a tile.
        overlap: share of a tile that it shares with the next, 0 to below 1.
        align_corners: whether the first and last logits are aligned with the tile's first and last pixels.
    """
    pitch = (length - 1) / max(cells - 1, 1) if align_corners else length / cells
    total = math.ceil((pixels - 1) / pitch - 1e-6) + 1 if align_corners else math.ceil(pixels / pitch - 1e-6)
    total = max(total, cells)
    fade = min(round(cells * overlap), cells - 1)
    last = total - cells
    count = math.ceil(last / (cells - fade)) + 1
    starts = tuple(round(i * last / (count - 1)) if count > 1 else 0 for i in range(count))
    return Side(length, cells, pitch, total, starts, fade)


def predict_tiles(
    predictor: Predictor,
    source: Source,
    *,
    overlap: float = OVERLAP,
    scale: float = 1.0,
    progress: Callable[[int, int], object] | None = None,
) -> Segmentation:
    """The segmentation of an image of any size, tile by tile.

    Args:
        predictor: the segmenter.
        source: the image. If it fits into one tile, it is stretched to it, as by `Predictor.predict`.
        overlap: share of a tile that it shares with the next, 0 to 0.9.
        scale: px of the image per px of the network's input: 2 uses tiles of twice the side, at half the detail.
        progress: called after each tile with the number of tiles done and the total number.

    Raises:
        ImageError: the image cannot be decoded.
        OSError: the file cannot be read.
        UsageError: the model is not a segmenter, its export gives no logits, or a value is out of range.
    """
    _check(predictor, overlap=overlap, scale=scale)  # check before decoding a large image
    image = decoded(source, channels=predictor.manifest.input.channels, decode=large.decode)
    return _predicted(predictor, image, overlap=overlap, scale=scale, progress=progress)


def predict_tiles_decoded(
    predictor: Predictor,
    image: Image.Image,
    *,
    overlap: float = OVERLAP,
    scale: float = 1.0,
    progress: Callable[[int, int], object] | None = None,
) -> Segmentation:
    """As `predict_tiles`, for a decoded, upright image."""
    _check(predictor, overlap=overlap, scale=scale)
    return _predicted(predictor, image, overlap=overlap, scale=scale, progress=progress)


def _check(predictor: Predictor, *, overlap: float, scale: float) -> None:
    task = predictor.manifest.task
    if task != "segment":
        raise UsageError(f"tiles are for segmenters; this model's task is '{task}'")
    segment.require_logits(predictor.engine, "tiles")
    if not 0 <= overlap <= 0.9:
        raise UsageError(f"overlap {overlap} is not between 0 and 0.9")
    if not scale > 0:
        raise UsageError(f"scale {scale} is not positive")


def _predicted(
    predictor: Predictor,
    image: Image.Image,
    *,
    overlap: float,
    scale: float,
    progress: Callable[[int, int], object] | None,
) -> Segmentation:
    manifest = predictor.manifest
    height, width = manifest.input.shape
    tall, wide = image.height / scale, image.width / scale
    if tall <= height and wide <= width:
        fitted = placement(image.width, image.height, manifest.input)
        outputs = predictor.run(prepare(image, manifest.input)[np.newaxis])
        return segment.decode_segmentations(outputs, manifest, [fitted])[0]
    corners = segment.align_corners(manifest)
    tiles = _Tiles(predictor, image, scale)
    first = tiles.logits(0.0, 0.0)
    h, w = first.shape[1:]
    down = side(tall, height, h, overlap=overlap, align_corners=corners)
    across = side(wide, width, w, overlap=overlap, align_corners=corners)
    logits = _joined(tiles, first, down, across, predictor.threads, progress)
    sizes = [(tiling.total - 1) * tiling.pitch + 1 if corners else tiling.total * tiling.pitch for tiling in (down, across)]
    rows = axis(image.height, down.total, size=sizes[0], scale=scale, align_corners=corners)
    columns = axis(image.width, across.total, size=sizes[1], scale=scale, align_corners=corners)
    return segment.segmentation(logits, manifest, rows, columns)


@dataclass(frozen=True, slots=True)
class _Tiles:
    """The tiles of one image.

    Args:
        predictor: the segmenter that runs on them.
        image: upright.
        scale: px of the image per px of the input.
    """

    predictor: Predictor
    image: Image.Image
    scale: float

    def logits(self, top: float, left: float) -> NDArray[np.float32]:
        """The logits, C h w, of the tile with this upper left corner, px of the input."""
        outputs = self.predictor.run(self._prepared(top, left)[np.newaxis])
        logits: NDArray[np.float32] = segment.checked(outputs, self.predictor.manifest)[0]
        return logits

    def _prepared(self, top: float, left: float) -> NDArray[np.float32]:
        """The network's input for a tile; beyond the image, its last pixels are repeated."""
        contract = self.predictor.manifest.input
        height, width = contract.shape
        x0, y0 = left * self.scale, top * self.scale
        inner_width = max(1, min(width, round((self.image.width - x0) / self.scale)))
        inner_height = max(1, min(height, round((self.image.height - y0) / self.scale)))
        x1 = min(x0 + inner_width * self.scale, self.image.width)
        y1 = min(y0 + inner_height * self.scale, self.image.height)
        if self.scale == 1 and x0 == int(x0) and y0 == int(y0):
            tile = self.image.crop((int(x0), int(y0), round(x1), round(y1)))
        else:
            method = RESAMPLING[contract.interpolation]
            tile = self.image.resize((inner_width, inner_height), method, box=(x0, y0, x1, y1))
        array = normalize(tile, contract)
        beyond = ((0, 0), (0, height - array.shape[1]), (0, width - array.shape[2]))
        return np.pad(array, beyond, mode="edge") if any(end for _, end in beyond) else array


def _joined(
    tiles: _Tiles,
    first: NDArray[np.float32],
    down: Side,
    across: Side,
    threads: int,
    progress: Callable[[int, int], object] | None,
) -> NDArray[np.float32]:
    """The logits of the whole image, C h w: at each place the weighted mean of the tiles that cover it. `first` is given."""
    total = np.zeros((len(first), down.total, across.total), np.float32)  # C h w
    weight = np.zeros((down.total, across.total), np.float32)  # h w
    window = down.weights[:, np.newaxis] * across.weights  # of one tile
    corners = [(y, x) for y in down.starts for x in across.starts]

    def logits_at(corner: tuple[int, int]) -> NDArray[np.float32]:
        return first if corner == (0, 0) else tiles.logits(corner[0] * down.pitch, corner[1] * across.pitch)

    of_tiles = in_order(logits_at, corners, threads=threads, ahead=2 * threads, name="tiles")
    for done, ((y, x), logits) in enumerate(zip(corners, of_tiles, strict=True), start=1):
        covered = (slice(y, y + down.cells), slice(x, x + across.cells))
        total[:, *covered] += logits * window
        weight[covered] += window
        if progress is not None:
            progress(done, len(corners))
    np.divide(total, weight, out=total)
    return total
