"""Weights as 8-bit integers: a scale for each output channel, and a rounding that makes up for the rounding before it.

Rounding each weight to its nearest integer is not best for the sum: what one weight lost, the next ones can give back, as far
as what they are multiplied with is correlated (GPTQ, Frantar et al. 2023). Here the sums are those of the float network and the
inputs those that the quantized network really reads, so that the errors of earlier layers are corrected, too. All of it is
linear algebra on second moments.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mobilenets.deploy.quantization import HIGHEST, Quantization

Matrix = NDArray[np.float64]

_SHRINKS = np.linspace(1.0, 0.75, 11)
_BIAS_BITS = 30  # a bias must stay below 2**30 of its steps, so that it and the sums fit 32 bits
_DAMPING = 0.01  # of the mean variance, added to each: a rounding may lean on correlations only so far
_TRUST = 10.0  # mean variances of what the float network knows, against what some images show: how far weights may move


@dataclass
class Moments:
    """Means and second moments of what weights are multiplied with, gathered image by image.

    Groups have weights of their own: the channels of a depthwise convolution; other operators have one group.

    Args:
        groups: how many.
        length: numbers that one output is the weighted sum of.
    """

    groups: int
    length: int

    def __post_init__(self) -> None:
        shape = (self.groups, self.length)
        self.count = 0
        self._read, self._meant = np.zeros(shape), np.zeros(shape)
        self._square, self._cross = (np.zeros((*shape, self.length)) for _ in range(2))

    def add(self, read: NDArray[np.float32], meant: NDArray[np.float32]) -> None:
        """Take in what the quantized network reads in some places, and what the float network reads there: G K n each."""
        x, y = read.astype(np.float64), meant.astype(np.float64)  # variances may be small beside the squares of means
        self.count += x.shape[2]
        self._read += x.sum(2)
        self._meant += y.sum(2)
        self._square += np.matmul(x, x.swapaxes(1, 2))
        self._cross += np.matmul(y, x.swapaxes(1, 2))

    @property
    def read(self) -> Matrix:
        """Means of what the quantized network reads, G K."""
        return self._read / self.count

    @property
    def meant(self) -> Matrix:
        """Means of what the float network reads, G K."""
        return self._meant / self.count

    def covariance(self) -> Matrix:
        """Of what the quantized network reads, G K K, damped so that it can be inverted."""
        square = self._square / self.count - self.read[:, :, None] * self.read[:, None, :]
        return square + self._damping(square)

    def cross(self) -> Matrix:
        """Of what the float network reads with what the quantized one does, G K K, damped likewise."""
        cross = self._cross / self.count - self.meant[:, :, None] * self.read[:, None, :]
        square = self._square / self.count - self.read[:, :, None] * self.read[:, None, :]
        return cross + self._damping(square)

    def _damping(self, square: Matrix) -> Matrix:
        mean = np.trace(square, axis1=1, axis2=2) / self.length
        share = _DAMPING + self.length / self.count  # few places say little of many numbers
        damping: Matrix = (share * mean + 1e-12)[:, None, None] * np.eye(self.length)
        return damping


@dataclass(frozen=True, slots=True)
class Quantized:
    """Weights as integers.

    Args:
        integers: O K, -127 to 127.
        quantization: their scales.
        bias: in reals, O: corrected for what rounding and the layers before have moved the mean by.
    """

    integers: NDArray[np.int8]
    quantization: Quantization
    bias: NDArray[np.float64]


def quantized(weight: NDArray[np.float32], bias: NDArray[np.float32], moments: Moments, *, read: Quantization) -> Quantized:
    """The integers of a layer's weights.

    Args:
        weight: O K. Group g of G has the rows from g O/G on.
        bias: O.
        moments: of what the layer reads.
        read: of the value it reads.
    """
    groups = moments.groups
    rows = weight.astype(np.float64).reshape(groups, -1, moments.length)  # G O/G K
    covariance = moments.covariance()
    ridge = _TRUST * (np.trace(covariance, axis1=1, axis2=2) / moments.length)[:, None, None] * np.eye(moments.length)
    target = np.matmul(np.matmul(rows, moments.cross() + ridge), np.linalg.inv(covariance + ridge))
    diagonal = np.diagonal(covariance, axis1=1, axis2=2)[:, None, :]
    shift = np.matmul(rows, moments.meant[:, :, None])[:, :, 0] - np.matmul(target, moments.read[:, :, None])[:, :, 0]
    meant_bias = bias.reshape(groups, -1) + shift
    scales = _scales(target, diagonal, np.abs(meant_bias), read.scale)
    integers = _compensated(target, scales, covariance)
    moved = np.matmul(target - integers * scales[:, :, None], moments.read[:, :, None])[:, :, 0]
    return Quantized(
        integers.reshape(len(weight), -1).astype(np.int8),
        Quantization(tuple(scales.ravel().tolist())),
        (meant_bias + moved).ravel(),
    )


def _scales(target: Matrix, importance: Matrix, bias: Matrix, read: float) -> Matrix:
    """For each row the share of its largest weight with the least weighted error, G O/G."""
    largest = np.abs(target).max(2)
    floor = np.maximum(bias / (read * 2.0**_BIAS_BITS), 2.0**-40)
    best, best_error = np.maximum(largest / HIGHEST, floor), np.full(largest.shape, np.inf)
    for shrink in _SHRINKS:
        scales = np.maximum(shrink * largest / HIGHEST, floor)
        off = target - _rounded(target, scales[:, :, None]) * scales[:, :, None]
        error = (np.square(off) * importance).sum(2)
        best = np.where(error < best_error, scales, best)
        best_error = np.minimum(error, best_error)
    stored: Matrix = best.astype(np.float32).astype(np.float64)  # as a file keeps them
    return stored


def _compensated(target: Matrix, scales: Matrix, covariance: Matrix) -> Matrix:
    """The integers, G O/G K: one column after the other is rounded, and the columns after it take over what it lost."""
    order = np.argsort(-np.diagonal(covariance, axis1=1, axis2=2), axis=1)  # G K: the loudest first
    left = np.take_along_axis(target, order[:, None, :], 2)
    sorted_ = np.take_along_axis(np.take_along_axis(covariance, order[:, :, None], 1), order[:, None, :], 2)
    root = np.linalg.cholesky(sorted_[:, ::-1, ::-1])[:, ::-1, ::-1]  # upper: the covariance is root @ root.T
    upper = np.linalg.inv(root)  # and its inverse upper.T @ upper, G K K
    result = np.empty_like(left)
    for k in range(left.shape[2]):
        result[:, :, k] = _rounded(left[:, :, k], scales)
        lost = (left[:, :, k] - result[:, :, k] * scales) / upper[:, None, k, k]
        left[:, :, k:] -= lost[:, :, None] * upper[:, None, k, k:]
    back = np.argsort(order, axis=1)
    return np.take_along_axis(result, back[:, None, :], 2)


def _rounded(target: Matrix, scales: Matrix) -> Matrix:
    nearest: Matrix = np.clip(np.rint(target / scales), -HIGHEST, HIGHEST)
    return nearest
