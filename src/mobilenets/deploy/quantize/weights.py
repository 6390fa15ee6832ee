"""Quantization of weights to 8-bit integers: a scale per output channel, and rounding that compensates earlier rounding errors.

Rounding each weight to the nearest integer does not minimize the error of the weighted sum: later weights can compensate the
rounding error of earlier ones as far as their inputs are correlated (GPTQ, Frantar et al. 2023). Here the target is the sum in
the float network, and the inputs are those of the quantized network, so that the errors of earlier layers are corrected too.
Everything is linear algebra on second moments.
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
_BIAS_BITS = 30  # a bias must stay below 2**30 steps, so that the bias plus the sum fits 32 bits
_DAMPING = 0.01  # this share of the mean variance is added to each variance
_TRUSTS = (1.0, 10.0, 100.0, np.inf)  # ridge penalties that pull toward the float weights, in units of the mean variance
_ROUNDINGS = (0.01, 0.1, np.inf)  # damping of the correlations used for compensation; infinite means plain rounding


@dataclass
class Moments:
    """Means and second moments of the inputs that weights are multiplied with; `add` all images before reading a property.

    Each group has weights of its own: the channels of a depthwise convolution, or the parts of a sum that is too long to be
    fitted whole. Other operators have one group.

    Args:
        groups: the number of groups, G.
        length: the number of inputs in the weighted sum of one output, or of one part of it, K.
    """

    groups: int
    length: int

    def __post_init__(self) -> None:
        shape = (self.groups, self.length)
        self.count = 0.0
        self._read, self._meant = np.zeros(shape), np.zeros(shape)
        self._square, self._cross = (np.zeros((*shape, self.length)) for _ in range(2))

    def add(self, read: NDArray[np.float32], meant: NDArray[np.float32], *, share: float = 1.0) -> None:
        """Add the inputs at n output positions, in the quantized network (`read`) and in the float network (`meant`).

        Args:
            read, meant: G K n each.
            share: the weight of each position.
        """
        x, y = read.astype(np.float64), meant.astype(np.float64)  # variances may be small compared to squared means
        counted = share * x.swapaxes(1, 2)
        self.count += share * x.shape[2]
        self._read += counted.sum(1)
        self._meant += share * y.sum(2)
        self._square += np.matmul(x, counted)
        self._cross += np.matmul(y, counted)

    def __add__(self, other: Moments) -> Moments:
        """The moments over the positions of both."""
        both = Moments(self.groups, self.length)
        both.count = self.count + other.count
        both._read, both._meant = self._read + other._read, self._meant + other._meant
        both._square, both._cross = self._square + other._square, self._cross + other._cross
        return both

    @cached_property
    def read(self) -> Matrix:
        """Means of the inputs in the quantized network, G K."""
        return self._read / self.count

    @cached_property
    def meant(self) -> Matrix:
        """Means of the inputs in the float network, G K."""
        return self._meant / self.count

    @property
    def covariance(self) -> Matrix:
        """Covariance of the inputs in the quantized network, G K K."""
        return self._square / self.count - self.read[:, :, None] * self.read[:, None, :]

    @property
    def cross(self) -> Matrix:
        """Covariance of the inputs in the float network with those in the quantized network, G K K."""
        return self._cross / self.count - self.meant[:, :, None] * self.read[:, None, :]

    def damping(self, share: float) -> Matrix:
        """A diagonal matrix to add to the covariance, G K K: a share of the mean variance, more if positions are few."""
        mean = np.trace(self.covariance, axis1=1, axis2=2) / self.length
        damping: Matrix = ((share + self.length / self.count) * mean + 1e-12)[:, None, None] * np.eye(self.length)
        return damping


@dataclass(frozen=True, slots=True)
class Quantized:
    """The quantized weights of a layer.

    Args:
        integers: -127 to 127, in the shape of the weights.
        quantization: their scales.
        bias: in reals, O; corrected for the shift of the mean that rounding and earlier layers caused.
    """

    integers: NDArray[np.int8]
    quantization: Quantization
    bias: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Grid:
    """The integers that weights may take: q times the factor of a block, where q has `bits` bits and the product fits 8.

    4-bit weights are an experiment: every runtime can compute with them, but files store each in 8 bits.

    Args:
        bits: bits of q, 8 or 4.
        block: how many consecutive weights of an output share a factor from 1 to 18; 0 for no factors. With 8 bits there is
            no room for factors.
    """

    bits: Literal[4, 8] = 8
    block: int = 0

    @property
    def most(self) -> int:
        """The largest q."""
        return int(2 ** (self.bits - 1) - 1)

    def factors(self, target: Matrix, scales: Matrix) -> Matrix:
        """The factor of each weight, G O K, given the weights, G O K, and the scales of their integers, G O."""
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
        """The largest integer."""
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
    """The quantized weights of a layer.

    Two-fold cross-validation over the images selects two settings: how far the weights may move away from the float weights,
    and how much rounding may compensate earlier rounding. The weights are then fitted on all images with these settings.

    Args:
        weight: O C, O C kh kw or, for a depthwise convolution, C 1 kh kw. The rows of group g of G start at g O/G.
        bias: O.
        halves: moments of the layer's inputs on two halves of the images, split into the `Parts` of the weights' shape.
        read: quantization of the value that the layer reads.
        grid: the integers that the weights may take.
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
    """One fold: moments of the half to fit on and of the half to judge on, and float weights times `other.cross`, G O/G K."""

    known: Moments
    other: Moments
    crossed: Matrix


@dataclass(frozen=True, slots=True)
class _Layer:
    """A layer in floats.

    Args:
        weight: G O/G K; consecutive groups may be the parts of one sum.
        bias: the bias of each sum.
        read: the scale of the layer's input.
        grid: the integers that the weights may take.
        parts: the number of groups that make up one sum.
    """

    weight: Matrix
    bias: Matrix
    read: float
    grid: Grid
    parts: int

    def joined(self, numbers: Matrix) -> Matrix:
        """Put the parts of each sum, G O/G K, side by side."""
        apart = numbers.reshape(-1, self.parts, *numbers.shape[1:]).swapaxes(1, 2)
        return apart.reshape(-1, numbers.shape[1], self.parts * numbers.shape[2])

    def moved(self, known: Moments, trust: float) -> Matrix:
        """Weights that reproduce the float network's sums from quantized inputs, by ridge regression to the float weights."""
        if trust == np.inf:
            return self.weight
        variance = np.trace(known.covariance, axis1=1, axis2=2) / known.length
        ridge = known.damping(_DAMPING) + (trust * variance)[:, None, None] * np.eye(known.length)
        wanted = np.matmul(self.weight, known.cross + ridge)
        weights: Matrix = np.linalg.solve(known.covariance + ridge, wanted.swapaxes(1, 2)).swapaxes(1, 2)
        return weights

    def shifted(self, weight: Matrix, known: Moments) -> Matrix:
        """The biases with which these weights keep the means of the float network's sums."""
        meant = np.matmul(self.weight, known.meant[:, :, None])[:, :, 0]
        made = np.matmul(weight, known.read[:, :, None])[:, :, 0]
        meant, made = (each.reshape(-1, self.parts, each.shape[1]).sum(1) for each in (meant, made))
        bias: Matrix = self.bias + meant - made
        return bias

    def error(self, weight: Matrix, turn: _Turn) -> float:
        """Mean squared error of these weights on the other half of the images, up to a constant that no weights change."""
        off = self.shifted(weight, turn.known) - self.shifted(weight, turn.other)
        spread = (np.matmul(weight, turn.other.covariance) - 2 * turn.crossed) * weight
        return float(spread.sum() + np.square(off).sum())

    def rounded(self, weight: Matrix, known: Moments, damping: float) -> _Steps:
        """The weights as integers; with a finite damping, each rounding compensates the errors of the previous ones."""
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
    """The scale of each row, G O/G, with the least weighted error; candidates map a share of its largest weight to the top."""
    largest = np.abs(target).max(2)
    best, best_error = np.maximum(largest / grid.highest, floor), np.full(largest.shape, np.inf)
    for shrink in _SHRINKS:
        scales = np.maximum(shrink * largest / grid.highest, floor)
        steps = scales[:, :, None]
        off = target - nearest(target, steps, grid.factors(target, scales), grid.most) * steps
        error = (np.square(off) * importance).sum(2)
        best = np.where(error < best_error, scales, best)
        best_error = np.minimum(error, best_error)
    stored: Matrix = best.astype(np.float32).astype(np.float64)  # files store scales in 32 bits
    return stored
