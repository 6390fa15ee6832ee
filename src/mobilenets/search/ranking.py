"""`Sampled`: a network that the search over shapes judged; and which networks to drop, the Pareto front, and the best ones."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from mobilenets.search.costs import Budget
from mobilenets.search.space import Choice

FIRST = 8
"""Number of networks that are fully judged before any is dropped early."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """A judged network.

    Args:
        number: number of the trial.
        choice: its shape.
        cost: by resource.
        value: its value; higher is better.
        parts: its value after each part of the short training; not all parts if it was dropped.
        dropped: whether it was dropped early.
        over: how far its cost exceeds the budget, relative; 0 or less if it fits.
    """

    number: int
    choice: Choice
    cost: Budget
    value: float
    parts: tuple[float, ...]
    dropped: bool
    over: float


def rewarded(value: float, share: float, w: float) -> float:
    """The reward of MnasNet (arXiv:1807.11626, eq. 2): ACC x (LAT / target)^w. A negative value (a loss) is divided instead.

    Args:
        value: value of a network.
        share: its cost relative to the budget.
        w: exponent, negative.

    >>> round(rewarded(0.5, 2.0, -0.07), 4), round(rewarded(-0.5, 2.0, -0.07), 4)
    (0.4763, -0.5249)
    """
    factor: float = max(share, 1e-9) ** w
    return value * factor if value >= 0 else value / factor


def behind(parts: Sequence[float], cost: float, name: str, earlier: Sequence[Sampled]) -> bool:
    """Whether to drop a network: after the same amount of training, half of those that cost no more were better.

    Optuna's pruners support only a single objective; this rule supports one or two.

    Args:
        parts: its values so far.
        cost: cost of the network.
        name: name of the resource.
        earlier: networks judged before.
    """
    rivals = [one.parts[len(parts) - 1] for one in earlier if len(one.parts) >= len(parts) and one.cost[name] <= cost]
    return len(rivals) >= FIRST and parts[-1] < statistics.median(rivals)


def pareto(sampled: Sequence[Sampled], name: str) -> list[Sampled]:
    """The Pareto front: networks within the budget that no other beats in both value and cost, the cheapest first."""
    front: list[Sampled] = []
    fitting = [one for one in sampled if one.over <= 0 and not one.dropped]
    for one in sorted(fitting, key=lambda one: (one.cost[name], -one.value)):
        if not front or one.value > front[-1].value:
            front.append(one)
    return front


def best(sampled: Sequence[Sampled], budget: Budget, reward: float) -> list[Sampled]:
    """The fully judged networks within the budget, the best first: by reward if there is one, else by value."""
    name = next(iter(budget))

    def worth(one: Sampled) -> float:
        return rewarded(one.value, one.cost[name] / budget[name], reward) if reward else one.value

    fitting = [one for one in sampled if one.over <= 0 and not one.dropped]
    return sorted(fitting, key=lambda one: (-worth(one), one.cost[name]))
