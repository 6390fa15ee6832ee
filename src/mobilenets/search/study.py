"""The search over shapes with Optuna: networks drawn by a sampler that learns, judged in parts, the bad ones dropped early.

The study lies in a database, SQLite in the search's folder or any that Optuna takes, so that a search goes on after a kill, and
several machines can work on one.
"""

from __future__ import annotations

import logging
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mobilenets import checkpoint
from mobilenets.errors import MissingExtraError, SpecError
from mobilenets.feeding.augment import seed_of
from mobilenets.model import Model
from mobilenets.search.costs import Budget, Costs, spent, worst
from mobilenets.search.inherit import inherited
from mobilenets.search.judge import Judge
from mobilenets.search.space import Choice, Space, Value
from mobilenets.search.telling import Telling, measure, priced, valued

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial, Trial

DATABASE, TRIALS = "study.db", "trials"
NAME = "mobilenets"
FIRST = 8
"""Networks that are judged in full before any is dropped early."""

_OVER, _PARTS, _COST, _DROPPED = "over", "parts", "cost", "dropped"  # attributes of a trial
_NOTHING = -1e3  # value of what was not judged
_IMPOSSIBLE = 10.0  # how far above the budget a shape counts that cannot be built


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


@dataclass(frozen=True, slots=True)
class Shapes:
    """A search over shapes.

    Args:
        start: a trained network, whose weights are inherited.
        budget: that networks must keep to.
        costs: of networks.
        judges: of the parts of a short training, one after the other.
        storage: of Optuna; "" for a file in the folder.
        folder: of the search.
        reward: w of the reward value x (cost / budget)^w, a single aim (MnasNet, eq. 2); 0 for the front of value and cost.
        seed: of the sampler and of short trainings.
        telling: how progress is shown.
    """

    start: Model
    budget: Budget
    costs: Costs
    judges: tuple[Judge, ...]
    storage: str
    folder: Path
    reward: float
    seed: int
    telling: Telling

    def trials(self, count: int) -> Iterator[Sampled]:
        """Networks until `count` of them are judged, those of earlier starts and other machines included.

        The first are the start's own shape, and those at other widths and sizes alone.

        Raises:
            LatencyError: a latency is missing and cannot be measured.
            MissingExtraError: Optuna, or the database's driver, is not installed.
        """
        study = self._study()
        space = Space(self.start.spec)
        if not study.trials:
            for first in space.ladder():
                study.enqueue_trial(dict(first))
        elif not self.storage:
            _give_up_running(study)
        yield from self.judged(study)
        while len(self.judged(study)) < count:
            self.telling.may_stop()
            trial = study.ask()
            choice: dict[str, Value] = {}
            for name, values in space.choices.items():
                chosen: Any = trial.suggest_categorical(name, values)  # Any: one of the values
                choice[name] = chosen
            try:
                aims, model = self._run(trial, choice, space, study)
            except BaseException:  # also a stop: another trial takes its place
                from optuna.trial import TrialState

                study.tell(trial, state=TrialState.FAIL)
                raise
            study.tell(trial, aims)
            every = self.judged(study)
            sampled = next(one for one in every if one.number == trial.number)
            front = pareto(every, next(iter(self.budget)))
            if sampled in front and model is not None:
                checkpoint.save(model, self._home(sampled))
            self._say(sampled, front, space)
            yield sampled

    def _home(self, sampled: Sampled) -> Path:
        return self.folder / TRIALS / f"{sampled.number:04d}"

    def _say(self, sampled: Sampled, front: Sequence[Sampled], space: Space) -> None:
        """A line for the network, and the front where it has become part of it."""
        name, judged_by = next(iter(self.budget)), self.judges[0].title
        value = valued(sampled.value, judged_by) if sampled.parts else "not trained, as it is above the budget"
        early = ", dropped early" if sampled.parts and sampled.dropped else ""
        cost = priced(sampled.cost)
        self.telling.said(f"trial {sampled.number}: {cost}, {value}{early}: {space.told(sampled.choice)}")
        if sampled in front:
            told = "; ".join(f"{priced({name: one.cost[name]})} {valued(one.value, judged_by)}" for one in front)
            self.telling.said(f"front so far: {told}")

    def judged(self, study: Study | None = None) -> list[Sampled]:
        """The networks that were judged, in order."""
        from optuna.trial import TrialState

        study = study or self._study()
        done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return [_sampled(trial) for trial in done if _COST in trial.user_attrs]

    def model(self, sampled: Sampled) -> Model:
        """The network of a trial: with the weights that it was judged by if it was on the front here, else inherited ones."""
        if checkpoint.settled(self._home(sampled)).is_dir():
            return checkpoint.load(checkpoint.settled(self._home(sampled)))
        spec, rows = Space(self.start.spec).made(sampled.choice)
        return inherited(self.start, spec, rows, seed=self.seed)

    def _study(self) -> Study:
        try:
            import optuna
            from optuna.samplers import TPESampler
            from optuna.storages import RDBStorage
        except ImportError as error:
            raise MissingExtraError("optuna", "search") from error
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        self.folder.mkdir(parents=True, exist_ok=True)
        url = self.storage or f"sqlite:///{(self.folder / DATABASE).absolute()}"
        try:
            storage = RDBStorage(url)
        except ImportError as error:
            raise MissingExtraError(str(error.name or "the database's driver"), "search") from error
        directions: list[Literal["minimize", "maximize"]] = ["maximize"] if self.reward else ["maximize", "minimize"]
        study = optuna.create_study(storage=storage, study_name=NAME, directions=directions, load_if_exists=True)
        seed = seed_of(self.seed, len(study.trials)) % 2**31  # after a kill it does not draw the same again
        study.sampler = TPESampler(seed=seed, multivariate=True)
        return study

    def _run(self, trial: Trial, choice: Choice, space: Space, study: Study) -> tuple[Sequence[float], Model | None]:
        """Judge a network, and keep in the trial what is known of it; the study's values, and the network if it was judged."""
        try:
            spec, rows = space.made(choice)
        except SpecError:  # two channel counts that must differ are the same
            return self._kept(trial, dict.fromkeys(self.budget, 0.0), [], over=_IMPOSSIBLE, dropped=True), None
        if "ms" in self.budget:
            measure(self.costs, [spec], self.telling)
        cost = spent(self.costs, spec, self.budget)
        name = worst(cost, self.budget)
        over = cost[name] / self.budget[name] - 1
        if over > 0:  # nothing is trained that cannot be used
            return self._kept(trial, cost, [], over=over, dropped=True), None
        model = inherited(self.start, spec, rows, seed=self.seed)
        parts: list[float] = []
        earlier = self.judged(study)
        for part, judge in enumerate(self.judges):
            self.telling.may_stop()
            judged = judge(model, seed_of(self.seed, trial.number, part) % 2**31)
            model = judged.model
            parts.append(judged.value)
            if part + 1 < len(self.judges) and behind(parts, cost[name], name, earlier):
                return self._kept(trial, cost, parts, over=over, dropped=True), None
        return self._kept(trial, cost, parts, over=over, dropped=False), model

    def _kept(self, trial: Trial, cost: Budget, parts: Sequence[float], *, over: float, dropped: bool) -> Sequence[float]:
        trial.set_constraint("budget", over)
        trial.set_user_attr(_OVER, over)
        trial.set_user_attr(_PARTS, list(parts))
        trial.set_user_attr(_COST, dict(cost))
        trial.set_user_attr(_DROPPED, dropped)
        value = parts[-1] if parts else _NOTHING
        driver = next(iter(self.budget))
        if not self.reward:
            return [value, cost[driver]]
        return [rewarded(value, cost[driver] / self.budget[driver], self.reward) if parts else _NOTHING]


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


def _sampled(trial: FrozenTrial) -> Sampled:
    known = trial.user_attrs
    parts = tuple(known[_PARTS])
    value = parts[-1] if parts else _NOTHING
    return Sampled(trial.number, trial.params, known[_COST], value, parts, known[_DROPPED], known[_OVER])


def _give_up_running(study: Study) -> None:
    """Trials that a kill cut off; only where no other machine can be at work on them."""
    from optuna.trial import TrialState

    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
