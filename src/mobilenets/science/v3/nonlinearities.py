"""Sigmoid, swish and their hard versions (V3, section 5.2)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mobilenets.reports.plots import color_cycle, figure_of, legend_above
from mobilenets.science.entry import Asked, Comparison, Result

Floats = NDArray[np.float64]

X = np.linspace(-8, 8, 321)


def figure_6(_: Asked) -> Result:
    """The four functions, and the difference between each and its hard version."""
    curves = {
        "sigmoid": sigmoid(X),
        "hard sigmoid": hard_sigmoid(X),
        "swish": X * sigmoid(X),
        "hard swish": X * hard_sigmoid(X),
    }
    figure, _axes = figure_of(10, 3.6, columns=3)
    panels = (("sigmoid", "hard sigmoid"), ("swish", "hard swish"))
    blue, teal = color_cycle(2)
    for axes, (soft, hard) in zip(figure.axes, panels, strict=False):
        axes.plot(X, curves[soft], "-", color=blue, label=soft)
        axes.plot(X, curves[hard], "--", color=teal, label=hard)
        legend_above(axes, 2)
    errors = {soft: curves[hard] - curves[soft] for soft, hard in panels}
    for (soft, error), color in zip(errors.items(), (blue, teal), strict=True):
        figure.axes[2].plot(X, error, "-", color=color, label=f"hard {soft} - {soft}")
    legend_above(figure.axes[2], 1)
    worst = {soft: float(np.abs(error).max()) for soft, error in errors.items()}
    where = {soft: float(abs(X[np.abs(error).argmax()])) for soft, error in errors.items()}
    comparisons = tuple(
        Comparison(
            f"hard swish at {x:g}", x * min(max(x + 3, 0), 6) / 6, _module_at(x), source="V3, section 5.2: x ReLU6(x + 3) / 6"
        )
        for x in (-2.0, -1.5, 1.0, 4.0)
    )
    return Result(
        ("x", *(name.replace(" ", "_") for name in curves)),
        [(float(x), *(float(curve[i]) for curve in curves.values())) for i, x in enumerate(X)],
        figure,
        "Left and middle: the functions. Right: the hard version minus the smooth one.",
        comparisons,
        (
            f"The hard sigmoid differs from the sigmoid by at most {worst['sigmoid']:.3f} (at ±{where['sigmoid']:.2f}), "
            f"hard swish from swish by at most {worst['swish']:.3f} (at {where['swish']:.2f}).",
        ),
    )


def sigmoid(x: Floats) -> Floats:
    """1 / (1 + exp(-x))."""
    return np.asarray(1 / (1 + np.exp(-x)))


def hard_sigmoid(x: Floats) -> Floats:
    """ReLU6(x + 3) / 6."""
    return np.asarray(np.clip(x + 3, 0, 6) / 6)


def _module_at(x: float) -> float:
    """The output for `x` of the module that our networks use."""
    import torch

    from mobilenets.net.blocks import ACTIVATIONS

    return float(ACTIVATIONS["hard_swish"]()(torch.tensor(x)))
