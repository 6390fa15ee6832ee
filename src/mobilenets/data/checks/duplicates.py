"""Finds near duplicates: a perceptual hash finds candidates among up to a million images, and thumbnails confirm them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 32
"""Height and width, px, of the gray image that is hashed."""

MOST_BITS = 7
"""The hashes of two candidates differ in at most this many of their 64 bits."""

LEAST_CORRELATION = 0.98
"""The thumbnails of near duplicates correlate at least this much. An image that was re-encoded, resized or changed in contrast
still does; two different photos do not."""

DARK = 15
"""An image without a brighter gray level is almost black, for instance because 12-bit values were stored in 16-bit color."""

_THUMB = 16
_BANDS = 4  # of 16 bits: hashes that differ in at most 7 bits have a band that differs in at most 1
_MOST_PER_BUCKET = 64
_FREQUENCIES = 8
_COSINES = np.cos(np.pi * np.outer(np.arange(_FREQUENCIES), np.arange(SIDE) + 0.5) / SIDE)
_FLAT = 1.0  # standard deviation of gray levels; an image below it shows nothing to compare


def small(image: Image.Image) -> NDArray[np.float32]:
    """An image as 32 x 32 gray levels, 0 to 255, stretched."""
    return np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0), dtype=np.float32)


def is_flat(grey: NDArray[np.float32]) -> bool:
    """Whether a 32 x 32 gray image is uniform."""
    return float(grey.std()) < _FLAT


def is_dark(grey: NDArray[np.float32]) -> bool:
    """Whether no pixel of a gray image, 0 to 255, is brighter than `DARK`, though it is not all black."""
    return 0 < float(grey.max()) <= DARK


def perceptual_hash(grey: NDArray[np.float32]) -> int:
    """64 bits: which of the lowest 8 x 8 cosine coefficients of a 32 x 32 image exceed their median (Zauner 2010, pHash)."""
    coefficients = (_COSINES @ grey @ _COSINES.T).ravel()
    bits = coefficients > np.median(coefficients[1:])
    bits[0] = False  # the mean brightness carries no information
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def thumbnail(grey: NDArray[np.float32]) -> NDArray[np.float16]:
    """256 values with mean 0 and norm 1, so that the product of two is their correlation."""
    step = SIDE // _THUMB
    values = grey.reshape(_THUMB, step, _THUMB, step).mean(axis=(1, 3)).ravel()
    values = values - values.mean()
    return np.asarray(values / max(float(np.linalg.norm(values)), 1e-6), dtype=np.float16)


def near_duplicates(hashes: NDArray[np.uint64], thumbnails: NDArray[np.float16]) -> list[list[int]]:
    """Sets of images that look the same, as sorted indices; an image belongs to at most one set.

    Args:
        hashes: the result of `perceptual_hash` for each image, n.
        thumbnails: the result of `thumbnail` for each image, n 256.
    """
    distinct, first, which = np.unique(hashes, return_index=True, return_inverse=True)
    equal = np.stack([first[which], np.arange(len(hashes))], axis=1)
    parent = np.arange(len(hashes))  # of each image: the first of its set
    for pairs in (equal, *(first[part] for part in near_pairs(distinct))):
        apart = pairs[parent[pairs[:, 0]] != parent[pairs[:, 1]]]
        parent = _joined(parent, _alike(apart, thumbnails))
    sets: dict[int, list[int]] = {}
    for i, first_of_set in enumerate(parent.tolist()):
        sets.setdefault(first_of_set, []).append(i)
    return [members for members in sets.values() if len(members) > 1]


def near_pairs(hashes: NDArray[np.uint64], *, most: int = MOST_BITS) -> Iterator[NDArray[np.int64]]:
    """Pairs of distinct indices whose hashes differ in at most `most` <= 7 bits, in parts, n 2; some come twice.

    The hash is cut into 4 bands of 16 bits. Two hashes that differ in at most 7 bits have a band that differs in at most one,
    so it is enough to look each band up as it is and with each of its bits flipped. Every pair is found, unless more than 64
    hashes share a band; then each is still compared with 64 of them.
    """
    for band in range(_BANDS):
        values = (hashes >> np.uint64(16 * band)) & np.uint64(0xFFFF)
        order = np.argsort(values, kind="stable")
        in_order = values[order]
        for flip in (0, *(1 << bit for bit in range(16))):
            wanted = values ^ np.uint64(flip)
            first = np.searchsorted(in_order, wanted, "left")
            if not flip:  # only later ones in its own bucket
                first = np.empty_like(first)
                first[order] = np.arange(1, len(order) + 1)
            counts = np.minimum(np.searchsorted(in_order, wanted, "right") - first, _MOST_PER_BUCKET)
            for rows in _runs(counts, 1 << 20):
                first_index = np.repeat(rows, counts[rows])
                steps = np.arange(len(first_index)) - np.repeat(np.cumsum(counts[rows]) - counts[rows], counts[rows])
                second_index = order[np.repeat(first[rows], counts[rows]) + steps]
                near = _bit_count(hashes[first_index] ^ hashes[second_index]) <= most
                yield np.stack([first_index[near], second_index[near]], axis=1)


def _alike(pairs: NDArray[np.int64], thumbnails: NDArray[np.float16]) -> NDArray[np.int64]:
    """The pairs whose thumbnails correlate."""
    kept = [pairs[:0]]
    for start in range(0, len(pairs), 1 << 16):
        part = pairs[start : start + (1 << 16)]
        left, right = (thumbnails[part[:, side]].astype(np.float32) for side in (0, 1))
        kept.append(part[(left * right).sum(axis=1) >= LEAST_CORRELATION])
    return np.concatenate(kept)


def _joined(parent: NDArray[np.int64], pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Merge the sets of each pair. Every image points to the first image of its set."""
    if not len(pairs):
        return parent
    tree = parent.tolist()

    def root(i: int) -> int:
        while tree[i] != i:
            tree[i] = tree[tree[i]]
            i = tree[i]
        return i

    for i, k in pairs.tolist():
        low, high = sorted((root(i), root(k)))
        tree[high] = low
    return np.array([root(i) for i in range(len(tree))], dtype=np.int64)


def _bit_count(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Number of set bits of each value (Warren, Hacker's Delight, figure 5-2); `np.bitwise_count` needs NumPy 2."""
    u = np.uint64
    values = values - ((values >> u(1)) & u(0x5555555555555555))
    values = (values & u(0x3333333333333333)) + ((values >> u(2)) & u(0x3333333333333333))
    values = (values + (values >> u(4))) & u(0x0F0F0F0F0F0F0F0F)
    return (values * u(0x0101010101010101)) >> u(56)


def _runs(counts: NDArray[np.int64], most: int) -> list[NDArray[np.int64]]:
    """The indices with a count above 0, in runs whose counts add up to about `most`."""
    rows = np.flatnonzero(counts > 0)
    if not len(rows):
        return []
    ends = np.cumsum(counts[rows])
    return np.split(rows, np.flatnonzero(np.diff(ends // most)) + 1)
