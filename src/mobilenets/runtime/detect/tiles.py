"""Detection of small objects in large images: the detector sees each tile, then detections of one object are merged.

Merging links boxes that a tile's border cuts to the boxes of neighboring tiles that show the same object. Linked parts are
joined, or replaced by an uncut box if there is one. Non-maximum suppression removes the remaining duplicates.

The image is decoded once, at 4 bytes per pixel in Pillow. Beyond that, only the tiles in progress are in memory.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mobilenets.errors import UsageError
from mobilenets.runtime.detect.decode import Detections
from mobilenets.runtime.detect.nms import areas, intersections, nms
from mobilenets.runtime.images import large
from mobilenets.runtime.ordered import in_order
from mobilenets.runtime.predictor import Predictor
from mobilenets.runtime.sources import Source, decoded
from mobilenets.specs.ssd import SsdHead

OVERLAP = 0.2

_TOUCH = 0.01  # of a tile's side: a box that ends this close to an inner border may continue beyond it
_LEAST = 1.0  # lower limit of the same distance, in px of the tile's side
_SAME = 0.5  # IoU within the area that two tiles share, above which both show the same object
_INSIDE = 0.7  # share of a cut box inside an uncut box, above which it is a part of that box

Tile = tuple[int, int, int, int]
"""x0 y0 x1 y1, px of the image."""


def predict_tiles(
    predictor: Predictor,
    source: Source,
    *,
    tile: int,
    overlap: float = OVERLAP,
    whole: bool = False,
    progress: Callable[[int, int], object] | None = None,
) -> Detections:
    """Detections on an image of up to two gigapixels, tile by tile.

    Args:
        predictor: the detector.
        source: the image. If it fits into one tile, the result is that of `Predictor.predict`.
        tile: side of the tiles, px of the image; each is resized to the network's input.
        overlap: share of a tile that it shares with the next, 0 to 0.9; best slightly more than the objects' size.
        whole: whether to run on the whole image too, for objects larger than a tile.
        progress: called after each tile with the number of tiles done and the total number.

    Raises:
        ImageError: the image cannot be decoded.
        OSError: the file cannot be read.
        UsageError: the model is no detector, or a value is out of range.
    """
    image = decoded(source, channels=predictor.manifest.input.channels, decode=large.decode)
    return predict_tiles_decoded(predictor, image, tile=tile, overlap=overlap, whole=whole, progress=progress)


def predict_tiles_decoded(
    predictor: Predictor,
    image: Image.Image,
    *,
    tile: int,
    overlap: float = OVERLAP,
    whole: bool = False,
    progress: Callable[[int, int], object] | None = None,
) -> Detections:
    """As `predict_tiles`, for a decoded, upright image."""
    head = predictor.manifest.head
    if not isinstance(head, SsdHead):
        raise UsageError(f"these tiles are for detectors; this model's task is '{predictor.manifest.task}'")
    if tile < 1:
        raise UsageError(f"a tile of {tile} px is too small; at least 1 px is needed")
    regions = tiles(*image.size, tile=tile, overlap=overlap)
    if len(regions) > 1 and whole:
        regions.append((0, 0, *image.size))
    least = tile if len(regions) > 1 else 0
    threads = predictor.threads
    looks = in_order(partial(_look, predictor, image, least), regions, threads=threads, ahead=2 * threads, name="tiles")
    found_by_tile = []
    for done, detections in enumerate(looks, start=1):
        found_by_tile.append(detections)
        if progress is not None:
            progress(done, len(regions))
    if len(regions) == 1:
        return replace(found_by_tile[0], width=image.width, height=image.height)
    return merged(found_by_tile, regions, image.size, iou=head.iou)


def tiles(width: int, height: int, *, tile: int, overlap: float = OVERLAP) -> list[Tile]:
    """The tiles of an image, row by row and evenly spread; all have the same size if the image is at least that large.

    >>> tiles(1000, 500, tile=640)
    [(0, 0, 640, 500), (360, 0, 1000, 500)]

    Raises:
        UsageError: the overlap is out of range.
    """
    if not 0 <= overlap <= 0.9:
        raise UsageError(f"overlap {overlap} is not between 0 and 0.9")
    return [(x0, y0, x1, y1) for y0, y1 in _spans(height, tile, overlap) for x0, x1 in _spans(width, tile, overlap)]


def merged(of_tiles: Sequence[Detections], regions: Sequence[Tile], size: tuple[int, int], *, iou: float) -> Detections:
    """The detections of all tiles, merged into detections of the image.

    A box that a tile's border cuts shows the same object as another tile's box if both agree within the area that both tiles
    see, or if it lies inside an uncut box. It is replaced by the uncut box. If there is none, the object is larger than the
    overlap, and its parts are joined. Non-maximum suppression then removes duplicates.

    Args:
        of_tiles: the detections of each tile, in px of the image.
        regions: the tiles, in the same order.
        size: width and height of the image, px.
        iou: overlap above which a box suppresses others of its label.
    """
    labels = of_tiles[0].labels
    boxes = np.concatenate([of_tile.boxes for of_tile in of_tiles])  # N 4
    scores = np.concatenate([of_tile.scores for of_tile in of_tiles])  # N
    classes = np.concatenate([of_tile.classes for of_tile in of_tiles])  # N
    seen_by = np.repeat(np.arange(len(of_tiles)), [len(of_tile) for of_tile in of_tiles])  # N: the tile of each box
    windows = np.asarray(regions, np.float32)  # T 4
    cut = _cut(boxes, windows[seen_by], size)
    links = _links(boxes, classes, cut, seen_by, regions)
    boxes, scores, stay = _joined(boxes, scores, cut, links)
    fine = (areas(windows) == areas(windows).min())[seen_by]
    kept = stay[nms(boxes[stay], (scores + fine)[stay], classes[stay], iou)]  # detections at full detail come first
    kept = kept[np.argsort(-scores[kept], kind="stable")]
    return Detections(labels, boxes[kept], scores[kept], classes[kept], *size)


def _spans(length: int, tile: int, overlap: float) -> list[tuple[int, int]]:
    last = length - tile
    if last <= 0:
        return [(0, length)]
    count = math.ceil(last / max(1, math.floor(tile * (1 - overlap)))) + 1
    starts = (round(i * last / (count - 1)) for i in range(count))
    return [(start, start + tile) for start in starts]


def _look(predictor: Predictor, image: Image.Image, least: int, region: Tile) -> Detections:
    """The detections of one tile, in px of the image.

    If the image is narrower than a tile, the rest is filled with the network's mean, so that objects keep their size and shape.
    """
    x0, y0, x1, y1 = region
    width, height = x1 - x0, y1 - y0
    if (width, height) == image.size:
        part = image
    else:
        part = image.crop(region)
    if width < least or height < least:
        mean = np.broadcast_to(np.asarray(predictor.manifest.input.mean), len(part.getbands()))
        ground = Image.new(part.mode, (max(width, least), max(height, least)), tuple(round(255 * value) for value in mean))
        ground.paste(part)
        part = ground
    (detections,) = predictor.predict_decoded([part])
    assert isinstance(detections, Detections)
    inside = np.clip(detections.boxes, 0, np.array([width, height] * 2, np.float32))
    moved = inside + np.array([x0, y0] * 2, np.float32)
    return replace(detections, boxes=moved).take(areas(inside) > 0)


def _cut(boxes: NDArray[np.float32], regions: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Whether each box ends at a border of its tile that is not also a border of the image, N."""
    sides = np.tile(regions[:, 2:] - regions[:, :2], 2)
    near = np.abs(boxes - regions) <= np.maximum(_TOUCH * sides, _LEAST)
    inner = regions != np.array([0, 0, *size], np.float32)  # N 4
    cut: NDArray[np.bool_] = (near & inner).any(axis=1)
    return cut


def _links(
    boxes: NDArray[np.float32],
    classes: NDArray[np.int64],
    cut: NDArray[np.bool_],
    seen_by: NDArray[np.int64],
    regions: Sequence[Tile],
) -> dict[int, list[int]]:
    """For each box, the boxes of other tiles that show the same object. At least one box of each pair is cut."""
    of_tile = {int(i): np.flatnonzero(seen_by == i) for i in np.unique(seen_by)}
    links: dict[int, list[int]] = defaultdict(list)
    for tile, neighbor in _neighbors(regions):
        if tile not in of_tile or neighbor not in of_tile:
            continue
        first, second = of_tile[tile], of_tile[neighbor]
        low = np.maximum(regions[tile][:2], regions[neighbor][:2])
        high = np.minimum(regions[tile][2:], regions[neighbor][2:])
        shared = np.concatenate([low, high]).astype(np.float32)
        same = _agreement(boxes[first], boxes[second], shared) > _SAME
        same |= _inside(boxes[first], boxes[second]) & (cut[first][:, np.newaxis] & ~cut[second])
        same |= _inside(boxes[second], boxes[first]).T & (~cut[first][:, np.newaxis] & cut[second])
        same &= classes[first][:, np.newaxis] == classes[second]
        same &= cut[first][:, np.newaxis] | cut[second]
        for i, j in zip(*np.nonzero(same), strict=True):
            links[int(first[i])].append(int(second[j]))
            links[int(second[j])].append(int(first[i]))
    return links


def _agreement(first: NDArray[np.float32], second: NDArray[np.float32], shared: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intersection over union of every pair within the area that both tiles see, N M."""
    inside = [np.clip(boxes, np.tile(shared[:2], 2), np.tile(shared[2:], 2)) for boxes in (first, second)]
    common = intersections(inside[0][:, np.newaxis], inside[1][np.newaxis])
    union = areas(inside[0])[:, np.newaxis] + areas(inside[1]) - common
    overlaps: NDArray[np.float32] = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
    return overlaps


def _inside(parts: NDArray[np.float32], entire: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Whether most of each part lies inside each uncut box, N M."""
    common = intersections(parts[:, np.newaxis], entire[np.newaxis])
    inside: NDArray[np.bool_] = common > _INSIDE * areas(parts)[:, np.newaxis]
    return inside


def _neighbors(regions: Sequence[Tile]) -> Iterator[tuple[int, int]]:
    """The pairs of tiles that overlap."""
    corners = np.asarray(regions)
    order = np.argsort(corners[:, 1], kind="stable")
    tops = corners[order, 1]
    for place, i in enumerate(order):
        below = order[place + 1 : np.searchsorted(tops, corners[i, 3], "left")]
        beside = (corners[below, 0] < corners[i, 2]) & (corners[below, 2] > corners[i, 0])
        beside &= corners[below, 3] > corners[i, 1]
        yield from ((int(i), int(j)) for j in below[beside])


def _joined(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], cut: NDArray[np.bool_], links: dict[int, list[int]]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """Boxes and scores after the parts of each object are joined, and the indices of the boxes that remain."""
    boxes, scores = boxes.copy(), scores.copy()
    gone: set[int] = set()
    linked = np.array(sorted(links), np.int64)
    order = linked[np.lexsort((-scores[linked], cut[linked]))]  # uncut boxes first, then by score
    for i in order.tolist():
        if i in gone:
            continue
        parts = [j for j in links[i] if j not in gone and cut[j]]
        if cut[i]:
            parts = _reached(i, links, gone)
            boxes[i, :2] = boxes[[i, *parts], :2].min(axis=0)
            boxes[i, 2:] = boxes[[i, *parts], 2:].max(axis=0)
        scores[i] = scores[[i, *parts]].max()
        gone.update(parts)
    stay = np.setdiff1d(np.arange(len(boxes)), np.array(sorted(gone), np.int64))
    return boxes, scores, stay


def _reached(start: int, links: dict[int, list[int]], gone: set[int]) -> list[int]:
    """All parts linked to `start`, directly or through others, without `start`. Uncut boxes have already taken their parts."""
    reached, waiting = {start}, [start]
    while waiting:
        following = [j for j in links[waiting.pop()] if j not in gone and j not in reached]
        reached.update(following)
        waiting.extend(following)
    return sorted(reached - {start})
