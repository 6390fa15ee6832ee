"""Appendix A of V2, checked numerically: when ReLU of a linear map can be undone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mobilenets.reports.plots import ACCENT, INK, figure_of, legend_above
from mobilenets.science.entry import Asked, Comparison, Result

Floats = NDArray[np.float64]

INPUT = 4
"""n: dimensions of the input."""
OUTPUTS = (4, 6, 8, 12, 16, 24)
"""m: dimensions of the output, n times the expansion ratio of 1 to 6."""
STEP = 1e-6
"""The step size in the search for a second solution; it is so small that rows that are 0 or less stay so."""


def lemma_2(asked: Asked) -> Result:
    """y = ReLU(Bx) has a unique solution exactly if at least n independent rows of B are positive at x."""
    rows = []
    agreed = total = 0
    with asked.telling.progress("drawing", len(OUTPUTS) * asked.repeats) as advance:
        for m in OUTPUTS:
            by_lemma, unique = [], []
            for seed in range(asked.repeats):
                generator = np.random.default_rng((m, seed))
                b, x = generator.normal(size=(m, INPUT)), generator.normal(size=INPUT)
                by_lemma.append(invertible(b, x))
                unique.append(not has_second_solution(b, x))
                advance(1)
            agreed += sum(a == u for a, u in zip(by_lemma, unique, strict=True))
            total += asked.repeats
            rows.append(
                (m, m // INPUT if m % INPUT == 0 else m / INPUT, chance(m, INPUT), float(np.mean(unique)), asked.repeats)
            )
    comparisons = tuple(
        Comparison(f"one solution, m = {m}", 100 * expected, 100 * found, "%", "V2, Lemma 2, for random rows")
        for m, _, expected, found, _ in rows
    )
    figure, axes = figure_of(6.0, 3.8)
    fine = np.arange(INPUT, OUTPUTS[-1] + 1)
    axes.plot(fine / INPUT, [100 * chance(int(m), INPUT) for m in fine], "-", color=INK, label="Lemma 2, for random rows")
    axes.plot([m / INPUT for m in OUTPUTS], [100 * row[3] for row in rows], "o", color=ACCENT, label="solved here")
    axes.set_xlabel("expansion ratio m / n")
    axes.set_ylabel("inputs with one solution, %")
    legend_above(axes, 2)
    findings = (
        f"In {agreed} of {total} draws, the lemma's condition agrees with the search for a second solution.",
        f"With an expansion ratio of 1, ReLU can be inverted for {rows[0][3]:.1%} of random inputs; with 6, for "
        f"{rows[-1][3]:.1%}.",
    )
    caption = (
        f"Random matrices B with n = {INPUT} columns and m rows. Line: the chance that at least n of m rows are positive. "
        "Dots: the share of inputs for which no second solution of ReLU(Bx) = y exists."
    )
    return Result(("outputs", "expansion", "chance", "unique", "repeats"), rows, figure, caption, comparisons, findings)


def invertible(b: Floats, x: Floats) -> bool:
    """The condition of the lemma: the rows of B that are positive at x have full rank."""
    positive = b[b @ x > 0]
    return len(positive) >= b.shape[1] and bool(np.linalg.matrix_rank(positive) == b.shape[1])


def has_second_solution(b: Floats, x: Floats) -> bool:
    """Whether another input near x gives the same ReLU(Bx).

    It must not change the positive rows, so it differs from x by a vector in their null space; negative rows stay negative if
    the step is small.
    """
    y = np.maximum(b @ x, 0)
    positive = b[b @ x > 0]
    _, values, directions = np.linalg.svd(positive) if len(positive) else (None, np.zeros(0), np.eye(b.shape[1]))
    free = directions[int((values > 1e-9).sum()) :]
    return any(np.allclose(np.maximum(b @ (x + STEP * d), 0), y, rtol=0, atol=1e-12) for d in free)


def chance(m: int, n: int) -> float:
    """The chance that at least n of m random rows are positive at a random input."""
    from math import comb

    return sum(comb(m, k) for k in range(n, m + 1)) / 2.0**m
