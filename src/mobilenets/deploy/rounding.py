"""Rounding of weights to integers: to the nearest, or with later weights compensating the rounding errors of earlier ones.

Compensation reduces the error of the weighted sum: the rounding error of one weight is passed on to the weights whose inputs
are correlated with its own (GPTQ, Frantar et al. 2023).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

_AT_ONCE = 32  # columns whose rounding errors are passed on to later columns in one matrix product


def nearest(target: Matrix, scales: Matrix, factors: Matrix, most: int) -> Matrix:
    """The nearest integers of the grid, whose members are a factor times an integer from -most to most.

    Args:
        target: real weights.
        scales: the real size of one step; broadcast with the weights, as are the factors.
        factors: the factor of each weight.
        most: the largest multiple of a factor.
    """
    integers: Matrix = np.clip(np.rint(target / (scales * factors)), -most, most) * factors
    return integers


def compensated(target: Matrix, scales: Matrix, factors: Matrix, covariance: Matrix, most: int) -> Matrix:
    """The integers, G O/G K, rounded column by column; later columns compensate the rounding errors of earlier ones.

    Columns are rounded in the order of their inputs' variance, the largest first.

    Args:
        target: real weights, G O/G K: G groups with O/G rows each, and K inputs in a sum.
        scales: of each row, G O/G.
        factors: as in `nearest`, G O/G K.
        covariance: covariance of the inputs, positive definite, G K K.
        most: as in `nearest`.
    """
    order = np.argsort(-np.diagonal(covariance, axis1=1, axis2=2), axis=1)  # G K
    left, factors = (np.take_along_axis(numbers, order[:, None, :], 2) for numbers in (target, factors))
    by_loudness = np.take_along_axis(np.take_along_axis(covariance, order[:, :, None], 1), order[:, None, :], 2)
    root = np.linalg.cholesky(by_loudness[:, ::-1, ::-1])[:, ::-1, ::-1]  # upper: the covariance is root @ root.T
    upper = np.linalg.inv(root)  # and its inverse upper.T @ upper, G K K
    result = np.empty_like(left)
    for first in range(0, left.shape[2], _AT_ONCE):  # later columns are updated once per block
        some = slice(first, first + _AT_ONCE)
        block, within = left[:, :, some].copy(), upper[:, some, some]
        lost = np.empty_like(block)
        for k in range(block.shape[2]):
            rounded = nearest(block[:, :, k], scales, factors[:, :, first + k], most)
            result[:, :, first + k] = rounded
            lost[:, :, k] = (block[:, :, k] - rounded * scales) / within[:, None, k, k]
            block[:, :, k + 1 :] -= lost[:, :, k, None] * within[:, None, k, k + 1 :]
        left[:, :, some.stop :] -= np.matmul(lost, upper[:, some, some.stop :])
    return np.take_along_axis(result, np.argsort(order, axis=1)[:, None, :], 2)
