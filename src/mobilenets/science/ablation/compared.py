"""The result of an ablation: the accuracy of each variant, and a test of the paper's ranking on the same images."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mobilenets.evaluation.intervals import Interval, bootstrap, wilson
from mobilenets.reports import words
from mobilenets.reports.plots import ACCENT, INK, figure_of
from mobilenets.science.ablation import networks
from mobilenets.science.ablation.networks import Ablation, Order
from mobilenets.science.entry import Asked, Cell, Comparison, Result
from mobilenets.science.networks import classifier

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mobilenets.science.ablation.training import Trained


VERDICTS = {  # by what the paper says, and whether the interval is above 0, below it, or contains it
    "better than": {
        1: "the order holds.",
        -1: "the order does not reproduce at this scale; it is reversed.",
        0: "these test images do not tell which is better.",
    },
    "as good as": {
        1: "it is even better here.",
        -1: "something is lost at this scale.",
        0: "no loss beyond the interval.",
    },
}


def table_4(asked: Asked) -> Result:
    """Full against separable convolutions, trained."""
    return _result(networks.table_4, asked)


def table_5(asked: Asked) -> Result:
    """Narrow against shallow, trained."""
    return _result(networks.table_5, asked)


def figure_6a(asked: Asked) -> Result:
    """Linear against ReLU6 bottlenecks, trained."""
    return _result(networks.figure_6a, asked)


def figure_6b(asked: Asked) -> Result:
    """Shortcuts, trained."""
    return _result(networks.figure_6b, asked)


def expansion(asked: Asked) -> Result:
    """Expansion ratios, trained."""
    return _result(networks.expansion, asked)


def hard_swish(asked: Asked) -> Result:
    """Hard swish in several places, trained."""
    return _result(networks.hard_swish, asked)


def last_stage(asked: Asked) -> Result:
    """The efficient last stage, trained."""
    return _result(networks.last_stage, asked)


def difference(better: NDArray[np.bool_], worse: NDArray[np.bool_]) -> tuple[float, Interval]:
    """The accuracy difference as a share, with its confidence interval from a paired bootstrap over the images.

    Args:
        better, worse: which images each variant classifies correctly, seeds N.
    """
    each = better.mean(axis=0) - worse.mean(axis=0)  # N, the mean over the seeds
    interval = bootstrap(lambda counts: float(counts @ each / len(each)), len(each))
    return float(each.mean()), interval


def verdict(order: Order, gap: float, interval: Interval, seeds: NDArray[np.float64], where: str) -> str:
    """A sentence on whether what a paper says of two variants holds here.

    Args:
        order: the paper's claim.
        gap, interval: the accuracy difference here, as shares.
        seeds: the difference for each seed.
        where: the place in the paper.
    """
    low, high = words.difference(100 * interval.low, 2), words.difference(100 * interval.high, 2)
    reach = f" ({low} to {high})" if interval.known else ""  # no image tells them apart
    here = f"{words.difference(100 * gap, 2)} points{reach}, by seed " + ", ".join(words.difference(100 * n, 2) for n in seeds)
    said = f"{where}: '{order.better}' is {order.relation} '{order.worse}'. Here the difference is {here}: "
    side = (interval.low > 0) - (interval.high < 0)
    return said + VERDICTS[order.relation][side]


def _result(build: Callable[[], Ablation], asked: Asked) -> Result:
    from mobilenets.science.ablation.training import recipe_of, trained

    ablation = build()
    found = trained(ablation.variants, asked)
    where = f"{ablation.paper}, {ablation.place}"
    rows: list[tuple[Cell, ...]] = []
    for name, spec in ablation.variants.items():
        graph = classifier(name, spec, size=networks.SIZE).graph()
        for seed, right in enumerate(found.right[name]):
            interval = wilson(int(right.sum()), len(right))
            rows.append((name, seed, graph.params, graph.macs, len(right), float(right.mean()), interval.low, interval.high))
    comparisons, findings = [], []
    for order in ablation.orders:
        better, worse = found.right[order.better], found.right[order.worse]
        gap, interval = difference(better, worse)
        if order.points is not None:
            what = f"accuracy of '{order.better}' minus that of '{order.worse}'"
            remark = "ImageNet in the paper, small images and short training runs here"
            comparisons.append(Comparison(what, order.points, 100 * gap, "points", where, remark))
        findings.append(verdict(order, gap, interval, better.mean(axis=1) - worse.mean(axis=1), where))
    recipe = recipe_of(asked, 0)
    caption = (
        f"Accuracy on {len(found.names):,} test images after {recipe.epochs} epochs at {recipe.size} px. Each dot is a seed "
        "with its 95% confidence interval; the blue line is their mean. All variants share the recipe, seeds and images."
    )
    columns = ("variant", "seed", "params", "macs", "test_images", "accuracy", "low", "high")
    return Result(columns, rows, _drawn(found), caption, tuple(comparisons), tuple(findings))


def _drawn(found: Trained) -> Figure:
    names = list(found.right)
    figure, axes = figure_of(1.6 + 1.5 * len(names), 3.8)
    for i, right in enumerate(found.right.values()):
        axes.plot([i - 0.25, i + 0.25], [100 * right.mean()] * 2, "-", color=ACCENT, linewidth=3)
        for j, one in enumerate(right):
            interval = wilson(int(one.sum()), len(one))
            x = i + 0.12 * (j - (len(right) - 1) / 2)
            axes.plot([x, x], [100 * interval.low, 100 * interval.high], "-", color=INK, linewidth=1)
            axes.plot(x, 100 * one.mean(), "o", color=INK, markersize=4)
    axes.set_xticks(range(len(names)), names)
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.set_ylabel("accuracy, %")
    axes.grid(axis="x", visible=False)
    return figure
