"""`Sampled`: a network that the search over shapes judged; which are dropped, lie on the front, and are the best."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from mobilenets.search.costs import Budget
from mobilenets.search.space import Choice

FIRST = 8
"""Networks that are judged in full before any is dropped early."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """A network that was judged.

    Args:
        number: of the trial.
        choice: its shape.
        cost: by resource.
        value: what it is worth; higher is better.
        parts: its value after each part of the short training; fewer than all where it was dropped.
        dropped: whether it was.
        over: how far its cost is above the budget, relative; 0 or less where it fits.
    """

    number: int
    choice: Choice
    cost: Budget
    value: float
    parts: tuple[float, ...]
    dropped: bool
    over: float


def rewarded(value: float, share: float, w: float) -> float:
    """The reward of MnasNet (arXiv:1807.11626, eq. 2): ACC x (LAT / target)^w. A loss, which is below 0, is divided instead.

    Args:
        value: what a network is worth.
        share: its cost, relative to the budget.
        w: exponent, below 0.

    >>> round(rewarded(0.5, 2.0, -0.07), 4), round(rewarded(-0.5, 2.0, -0.07), 4)
    (0.4763, -0.5249)
    """
    factor: float = max(share, 1e-9) ** w
    return value * factor if value >= 0 else value / factor


def behind(parts: Sequence[float], cost: float, name: str, earlier: Sequence[Sampled]) -> bool:
    """Whether a network is dropped: after as much training, half of those that cost no more were better.

    Optuna's own pruners know one aim only; this rule serves one and two.

    Args:
        parts: its values so far.
        cost: of the network.
        name: of the resource.
        earlier: networks that were judged.
    """
    rivals = [one.parts[len(parts) - 1] for one in earlier if len(one.parts) >= len(parts) and one.cost[name] <= cost]
    return len(rivals) >= FIRST and parts[-1] < statistics.median(rivals)


def pareto(sampled: Sequence[Sampled], name: str) -> list[Sampled]:
    """The networks within the budget that no other beats in value and cost, the cheapest first."""
    front: list[Sampled] = []
    fitting = [one for one in sampled if one.over <= 0 and not one.dropped]
    for one in sorted(fitting, key=lambda one: (one.cost[name], -one.value)):
        if not front or one.value > front[-1].value:
            front.append(one)
    return front


def best(sampled: Sequence[Sampled], budget: Budget, reward: float) -> list[Sampled]:
    """The networks within the budget that were judged in full, the best first: by their reward, if there is one, else value."""
    name = next(iter(budget))

    def worth(one: Sampled) -> float:
        return rewarded(one.value, one.cost[name] / budget[name], reward) if reward else one.value

    fitting = [one for one in sampled if one.over <= 0 and not one.dropped]
    return sorted(fitting, key=lambda one: (-worth(one), one.cost[name]))
