"""Weights as 8-bit integers: a scale for each output channel, and a rounding that makes up for the rounding before it.

Rounding each weight to its nearest integer is not best for the sum: what one weight lost, the next ones can give back, as far
as what they are multiplied with is correlated (GPTQ, Frantar et al. 2023). Here the sums are those of the float network and the
inputs those that the quantized network really reads, so that the errors of earlier layers are corrected, too. All of it is
linear algebra on second moments.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mobilenets.deploy.quantization import HIGHEST, Quantization
from mobilenets.deploy.quantize.parts import Parts
from mobilenets.deploy.rounding import Matrix, compensated, nearest

_SHRINKS = np.linspace(1.0, 0.75, 11)
_BIAS_BITS = 30  # a bias must stay below 2**30 of its steps, so that it and the sums fit 32 bits
_DAMPING = 0.01  # of the mean variance, added to each
_TRUSTS = (1.0, 10.0, 100.0, np.inf)  # mean variances that say the float weights are right, against what some images show
_ROUNDINGS = (0.01, 0.1, np.inf)  # damping of the correlations that a rounding may lean on; the last leans on none


@dataclass
class Moments:
    """Means and second moments of what weights are multiplied with, gathered image by image before any of them is asked for.

    Groups have weights of their own: the channels of a depthwise convolution, or the parts of a sum that is too long to be
    fitted whole. Other operators have one group.

    Args:
        groups: how many.
        length: numbers that one output, or one part of it, is the weighted sum of.
    """

    groups: int
    length: int

    def __post_init__(self) -> None:
        shape = (self.groups, self.length)
        self.count = 0.0
        self._read, self._meant = np.zeros(shape), np.zeros(shape)
        self._square, self._cross = (np.zeros((*shape, self.length)) for _ in range(2))

    def add(self, read: NDArray[np.float32], meant: NDArray[np.float32], *, share: float = 1.0) -> None:
        """Take in what the quantized network reads in some places, and what the float network reads there.

        Args:
            read, meant: G K n each.
            share: how much each place counts.
        """
        x, y = read.astype(np.float64), meant.astype(np.float64)  # variances may be small beside the squares of means
        counted = share * x.swapaxes(1, 2)
        self.count += share * x.shape[2]
        self._read += counted.sum(1)
        self._meant += share * y.sum(2)
        self._square += np.matmul(x, counted)
        self._cross += np.matmul(y, counted)

    def __add__(self, other: Moments) -> Moments:
        """Of the places of both."""
        both = Moments(self.groups, self.length)
        both.count = self.count + other.count
        both._read, both._meant = self._read + other._read, self._meant + other._meant
        both._square, both._cross = self._square + other._square, self._cross + other._cross
        return both

    @cached_property
    def read(self) -> Matrix:
        """Means of what the quantized network reads, G K."""
        return self._read / self.count

    @cached_property
    def meant(self) -> Matrix:
        """Means of what the float network reads, G K."""
        return self._meant / self.count

    @property
    def covariance(self) -> Matrix:
        """Of what the quantized network reads, G K K."""
        return self._square / self.count - self.read[:, :, None] * self.read[:, None, :]

    @property
    def cross(self) -> Matrix:
        """Of what the float network reads with what the quantized one does, G K K."""
        return self._cross / self.count - self.meant[:, :, None] * self.read[:, None, :]

    def damping(self, share: float) -> Matrix:
        """A share of the mean variance, and more where few places say little of many numbers; on the diagonal, G K K."""
        mean = np.trace(self.covariance, axis1=1, axis2=2) / self.length
        damping: Matrix = ((share + self.length / self.count) * mean + 1e-12)[:, None, None] * np.eye(self.length)
        return damping


@dataclass(frozen=True, slots=True)
class Quantized:
    """Weights as integers.

    Args:
        integers: in the weights' shape, -127 to 127.
        quantization: their scales.
        bias: in reals, O: corrected for what rounding and the layers before have moved the mean by.
    """

    integers: NDArray[np.int8]
    quantization: Quantization
    bias: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Grid:
    """The integers that weights may be: multiples of q in 8 bits, where q has fewer bits and the factor is a block's own.

    Weights of 4 bits are an experiment: every runtime computes with them, but files store each in 8 bits.

    Args:
        bits: of each weight, 8 or 4.
        block: weights of an output, one after the other, that share a factor from 1 to 18; 0 for all of them. In 8 bits there
            is no room for factors.
    """

    bits: Literal[4, 8] = 8
    block: int = 0

    @property
    def most(self) -> int:
        """The greatest q."""
        return int(2 ** (self.bits - 1) - 1)

    def factors(self, target: Matrix, scales: Matrix) -> Matrix:
        """The factor of each weight, G O K, for weights G O K whose integers have these scales, G O."""
        if not self.block:
            return np.ones_like(target)
        factors = np.ones_like(target)
        for k in range(0, target.shape[2], self.block):
            largest = np.abs(target[:, :, k : k + self.block]).max(2)
            needed = np.ceil(largest / (self.most * scales) - 1e-9)
            factors[:, :, k : k + self.block] = np.clip(needed, 1, HIGHEST // self.most)[:, :, None]
        return factors

    @property
    def highest(self) -> int:
        """The greatest integer."""
        return self.most * (HIGHEST // self.most if self.block else 1)


EIGHT_BITS = Grid()


def quantized(
    weight: NDArray[np.float32],
    bias: NDArray[np.float32],
    halves: tuple[Moments, Moments],
    *,
    read: Quantization,
    grid: Grid = EIGHT_BITS,
) -> Quantized:
    """The integers of a layer's weights.

    How far weights may move, and whether roundings lean on each other, is what does best on one half of the images when the
    other half decided, both ways round. Then all images decide.

    Args:
        weight: O C, O C kh kw or, of a depthwise convolution, C 1 kh kw. Group g of G has the rows from g O/G on.
        bias: O.
        halves: what the layer reads on two halves of the images, each sum in the `Parts` of the weights' shape.
        read: of the value it reads.
        grid: what integers the weights may be.
    """
    parts = Parts.of(weight.shape)
    groups, length = halves[0].groups, halves[0].length
    sums = parts.apart(weight.astype(np.float64).reshape(len(weight), -1, 1)).reshape(
        groups // parts.count, -1, parts.count, length
    )
    rows = sums.swapaxes(1, 2).reshape(groups, -1, length)
    layer = _Layer(rows, bias.astype(np.float64).reshape(len(sums), -1), read.scale, grid, parts.count)
    turns = [_Turn(known, other, np.matmul(rows, other.cross)) for known, other in (halves, halves[::-1])]
    trust, moved, least = np.inf, [rows, rows], np.inf
    for candidate in _TRUSTS:
        weights = [layer.moved(turn.known, candidate) for turn in turns]
        error = sum(map(layer.error, weights, turns))
        if error < least:
            trust, moved, least = candidate, weights, error
    rounding = min(
        _ROUNDINGS,
        key=lambda damping: sum(
            layer.error(layer.rounded(weight, turn.known, damping).reals, turn)
            for weight, turn in zip(moved, turns, strict=True)
        ),
    )
    both = halves[0] + halves[1]
    steps = layer.rounded(layer.moved(both, trust), both, rounding)
    integers = parts.joined(layer.joined(steps.integers).reshape(len(weight), parts.count, -1))
    return Quantized(
        integers.reshape(weight.shape).astype(np.int8),
        Quantization(tuple(steps.scales[:: parts.count].ravel().tolist())),
        layer.shifted(steps.reals, both).ravel(),
    )


@dataclass(frozen=True, slots=True)
class _Steps:
    """Integers, G O/G K, and their scales, G O/G."""

    integers: Matrix
    scales: Matrix

    @property
    def reals(self) -> Matrix:
        return self.integers * self.scales[:, :, None]


@dataclass(frozen=True, slots=True)
class _Turn:
    """The half of the images that decides and the one that judges, and the float weights times `other.cross`, G O/G K."""

    known: Moments
    other: Moments
    crossed: Matrix


@dataclass(frozen=True, slots=True)
class _Layer:
    """A layer in floats.

    Args:
        weight: G O/G K, where groups one after the other may be the parts of one sum.
        bias: of each sum.
        read: the scale of what is read.
        grid: the integers that weights may be.
        parts: groups that make up one sum.
    """

    weight: Matrix
    bias: Matrix
    read: float
    grid: Grid
    parts: int

    def joined(self, numbers: Matrix) -> Matrix:
        """Numbers of each part, G O/G K, side by side."""
        apart = numbers.reshape(-1, self.parts, *numbers.shape[1:]).swapaxes(1, 2)
        return apart.reshape(-1, numbers.shape[1], self.parts * numbers.shape[2])

    def moved(self, known: Moments, trust: float) -> Matrix:
        """The weights that make the float network's sums from what the quantized one reads, not far from the float weights."""
        if trust == np.inf:
            return self.weight
        variance = np.trace(known.covariance, axis1=1, axis2=2) / known.length
        ridge = known.damping(_DAMPING) + (trust * variance)[:, None, None] * np.eye(known.length)
        wanted = np.matmul(self.weight, known.cross + ridge)
        weights: Matrix = np.linalg.solve(known.covariance + ridge, wanted.swapaxes(1, 2)).swapaxes(1, 2)
        return weights

    def shifted(self, weight: Matrix, known: Moments) -> Matrix:
        """The biases with which other weights keep the means of the float network's sums."""
        meant = np.matmul(self.weight, known.meant[:, :, None])[:, :, 0]
        made = np.matmul(weight, known.read[:, :, None])[:, :, 0]
        meant, made = (each.reshape(-1, self.parts, each.shape[1]).sum(1) for each in (meant, made))
        bias: Matrix = self.bias + meant - made
        return bias

    def error(self, weight: Matrix, turn: _Turn) -> float:
        """Mean square of what such weights make wrong on the other images, but for what no weights change."""
        off = self.shifted(weight, turn.known) - self.shifted(weight, turn.other)
        spread = (np.matmul(weight, turn.other.covariance) - 2 * turn.crossed) * weight
        return float(spread.sum() + np.square(off).sum())

    def rounded(self, weight: Matrix, known: Moments, damping: float) -> _Steps:
        """The weights as integers; with a finite damping, each rounding makes up for those before it."""
        covariance = known.covariance + known.damping(min(damping, 1.0))
        diagonal = np.diagonal(covariance, axis1=1, axis2=2)[:, None, :]
        floor = np.abs(self.shifted(weight, known)) / (self.read * 2.0**_BIAS_BITS)
        scales = _scales(self.joined(weight), self.joined(diagonal), np.maximum(floor, 2.0**-40), self.grid)
        scales = scales.repeat(self.parts, 0)
        factors = self.grid.factors(weight, scales)
        if damping == np.inf:
            return _Steps(nearest(weight, scales[:, :, None], factors, self.grid.most), scales)
        return _Steps(compensated(weight, scales, factors, covariance, self.grid.most), scales)


def _scales(target: Matrix, importance: Matrix, floor: Matrix, grid: Grid) -> Matrix:
    """For each row the share of its largest weight with the least weighted error, G O/G."""
    largest = np.abs(target).max(2)
    best, best_error = np.maximum(largest / grid.highest, floor), np.full(largest.shape, np.inf)
    for shrink in _SHRINKS:
        scales = np.maximum(shrink * largest / grid.highest, floor)
        steps = scales[:, :, None]
        off = target - nearest(target, steps, grid.factors(target, scales), grid.most) * steps
        error = (np.square(off) * importance).sum(2)
        best = np.where(error < best_error, scales, best)
        best_error = np.minimum(error, best_error)
    stored: Matrix = best.astype(np.float32).astype(np.float64)  # as a file keeps them
    return stored
