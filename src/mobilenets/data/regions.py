"""`Region`: a part of an image as polygons or run lengths, as in COCO, and its pixels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mobilenets.errors import ImageError

_FINE = 5  # cocoapi draws polygons on a grid this many times finer (maskApi.c, rleFrPoly)


@dataclass(frozen=True, slots=True)
class Region:
    """Pixels of one class.

    Args:
        label: index of the class, or `masks.IGNORE`.
        polygons: x0 y0 x1 y1 ... of each polygon in px, as bytes of float64.
        runs: lengths of runs down the columns, as bytes of uint32; the first run is outside the region.
    """

    label: int
    polygons: tuple[bytes, ...] = ()
    runs: bytes = b""


def from_polygons(label: int, polygons: Iterable[Sequence[float]]) -> Region:
    """The region inside any of the polygons, each x0 y0 x1 y1 ... in px."""
    return Region(label, tuple(np.asarray(polygon, np.float64).tobytes() for polygon in polygons))


def from_runs(label: int, counts: Sequence[int] | str) -> Region:
    """The region from COCO's `counts`: run lengths as numbers, or compressed to text.

    Raises:
        ImageError: the text is not such run lengths.
    """
    lengths = decompressed(counts) if isinstance(counts, str) else np.asarray(counts, np.int64)
    if lengths.size and int(lengths.min()) < 0:
        raise ImageError("a run length is negative")
    return Region(label, runs=lengths.astype(np.uint32).tobytes())


def from_pixels(label: int, within: NDArray[np.bool_]) -> Region:
    """The region that consists of these pixels, H W."""
    flat = within.T.ravel()
    turns = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    lengths = np.diff(np.concatenate([[0], turns, [flat.size]]))
    lengths = np.concatenate([[0], lengths]) if flat.size and flat[0] else lengths
    return Region(label, runs=lengths.astype(np.uint32).tobytes())


def paint(regions: Iterable[Region], width: int, height: int) -> NDArray[np.uint8]:
    """The classes of an image's pixels, H W: 0 outside all regions; later regions cover earlier ones.

    Raises:
        ImageError: runs do not fill the image.
    """
    painted = np.zeros((height, width), np.uint8)
    for region in regions:
        painted[inside(region, width, height)] = region.label
    return painted


def inside(region: Region, width: int, height: int) -> NDArray[np.bool_]:
    """Which pixels are in the region, H W.

    Raises:
        ImageError: its runs do not fill the image.
    """
    within = np.zeros((height, width), np.bool_)
    for polygon in region.polygons:
        within |= _polygon(np.frombuffer(polygon, np.float64), width, height)
    if region.runs:
        lengths = np.frombuffer(region.runs, np.uint32)
        if int(lengths.sum(dtype=np.int64)) != width * height:
            raise ImageError(f"run lengths cover {lengths.sum(dtype=np.int64):,} pixels of {width} x {height}")
        turns = np.arange(len(lengths)) % 2 == 1
        within |= np.repeat(turns, lengths).reshape(width, height).T
    return within


def decompressed(text: str) -> NDArray[np.int64]:
    """COCO's compressed run lengths as numbers.

    Each character holds five bits. From the fourth number on, they are differences to the number two places before.
    This follows rleFrString in cocoapi's maskApi.c.

    Raises:
        ImageError: the text is not such run lengths.
    """
    try:
        codes = np.frombuffer(text.encode("ascii"), np.uint8).astype(np.int64) - 48
    except UnicodeEncodeError as error:
        raise ImageError("compressed run lengths have a character that is not allowed in them") from error
    if not codes.size:
        return codes
    if codes.min() < 0 or codes.max() > 63 or codes[-1] & 0x20:
        raise ImageError("compressed run lengths are damaged")
    ends = np.flatnonzero((codes & 0x20) == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    places = np.arange(len(codes)) - np.repeat(starts, ends - starts + 1)
    if int(places.max()) > 11:
        raise ImageError("compressed run lengths are damaged")
    values: NDArray[np.int64] = np.add.reduceat((codes & 0x1F) << (5 * places), starts)
    negative = (codes[ends] & 0x10) != 0
    values[negative] -= 1 << 5 * (ends - starts + 1)[negative]
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


def _polygon(corners: NDArray[np.float64], width: int, height: int) -> NDArray[np.bool_]:
    """Pixels inside a polygon, H W, exactly as in cocoapi: its outline is drawn finely, then filled column by column."""
    x, y = (np.trunc(_FINE * corners.reshape(-1, 2).T + 0.5)).astype(np.int64)
    if len(x) < 2:
        return np.zeros((height, width), np.bool_)
    u, v = _outline(x, y)
    moves = np.flatnonzero(np.diff(u))
    u0, u1, v0, v1 = u[moves], u[moves + 1], v[moves], v[moves + 1]
    column = (np.where(u1 < u0, u1, u1 - 1) + 0.5) / _FINE - 0.5
    row = np.ceil(np.clip((np.minimum(v0, v1) + 0.5) / _FINE - 0.5, 0, height)).astype(np.int64)
    kept = (column == np.floor(column)) & (column >= 0) & (column <= width - 1)
    crossings = column[kept].astype(np.int64) * height + row[kept]
    flips = np.bincount(crossings, minlength=width * height + 1)[: width * height]
    odd: NDArray[np.bool_] = np.cumsum(flips) % 2 == 1
    return odd.reshape(width, height).T


def _outline(x: NDArray[np.int64], y: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Points of a closed polygon's sides, one per step along the longer axis, both ends of each side included."""
    x1, y1 = np.roll(x, -1), np.roll(y, -1)
    dx, dy = np.abs(x1 - x), np.abs(y1 - y)
    steps = np.maximum(dx, dy)
    flat = dx >= dy
    turned = np.where(flat, x > x1, y > y1)
    from_x, from_y = np.where(turned, x1, x), np.where(turned, y1, y)
    to_x, to_y = np.where(turned, x, x1), np.where(turned, y, y1)
    slope = np.where(flat, to_y - from_y, to_x - from_x) / np.maximum(steps, 1)
    side = np.repeat(np.arange(len(x)), steps + 1)
    done = np.arange(len(side)) - np.repeat(np.cumsum(steps + 1) - (steps + 1), steps + 1)
    t = np.where(turned[side], steps[side] - done, done)
    along = slope[side] * t + 0.5
    u = np.where(flat[side], from_x[side] + t, np.trunc(from_x[side] + along))
    v = np.where(flat[side], np.trunc(from_y[side] + along), from_y[side] + t)
    return u.astype(np.int64), v.astype(np.int64)
