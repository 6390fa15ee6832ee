"""The search over shapes with Optuna: a sampler proposes networks; they are judged in parts, and bad ones are dropped early.

The study is stored in a database, either SQLite in the search's folder or a server, so that a killed search can resume and
several workers can share a study.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mobilenets import checkpoint
from mobilenets.errors import SpecError
from mobilenets.feeding.augment import seed_of
from mobilenets.model import Model
from mobilenets.search.costs import Budget, Costs, spent, worst
from mobilenets.search.inherit import inherited
from mobilenets.search.judge import Judge
from mobilenets.search.ranking import Sampled, behind, pareto, rewarded
from mobilenets.search.space import Choice, Space, Value
from mobilenets.search.storage import Storage, StorageError, in_words
from mobilenets.search.telling import Telling, measure, priced, valued
from mobilenets.search.turns import WORKER, LostTurnError, Turns

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial, Trial

TRIALS = "trials"

_OVER, _PARTS, _COST, _DROPPED = "over", "parts", "cost", "dropped"  # attributes of a trial
_FINALISTS = "finalists"  # of the trial that marks the end of a study
_ABOUT = "about"  # of a study
_NOTHING = -1e3  # value of a network that was not judged
_IMPOSSIBLE = 10.0  # excess over the budget that is recorded for a shape that cannot be built
_REDRAWN = 20  # most redraws in a row of shapes that were already judged


class ElsewhereError(Exception):
    """Another worker of the study trains the finalists.

    Args:
        place: its location, for users.
        sampled: the judged networks.
    """

    def __init__(self, place: str, sampled: Sequence[Sampled]) -> None:
        super().__init__(place)
        self.place, self.sampled = place, tuple(sampled)


@dataclass(frozen=True, slots=True)
class Shapes:
    """A search over shapes.

    Args:
        start: a trained network, whose weights are inherited.
        budget: the budget.
        costs: computes the costs of networks.
        judges: a judge for each part of a short training, in order.
        turns: the trials of the study.
        folder: folder of the search.
        reward: w in the reward value x (cost / budget)^w, a single objective (MnasNet, eq. 2); 0 for the Pareto front of value
            and cost.
        seed: seed of the sampler and of short trainings.
        telling: shows progress.
    """

    start: Model
    budget: Budget
    costs: Costs
    judges: tuple[Judge, ...]
    turns: Turns
    folder: Path
    reward: float
    seed: int
    telling: Telling

    def trials(self, count: int) -> Iterator[Sampled]:
        """The networks already judged, then those that this worker judges, until the study has `count`.

        The first are the start's own shape, then shapes that differ only in width or input size. A shape that was already
        judged, or that another worker is judging, is redrawn.

        Raises:
            LatencyError: a latency is missing and cannot be measured.
            StorageError: the database cannot be used.
        """
        space = Space(self.start.spec)
        with in_words(self.turns.storage):
            self._begin(space)
        yield from self.judged()
        redrawn = 0
        while (trial := self.turns.next(count)) is not None:
            number, judged = trial.number, None
            with suppress(LostTurnError), self.turns.alive(trial):
                choice: dict[str, Value] = {}
                for name, values in space.choices.items():
                    chosen: Any = trial.suggest_categorical(name, values)  # Any: one of the values
                    choice[name] = chosen
                if redrawn < _REDRAWN and self._known(trial, choice):
                    redrawn += 1
                    self.turns.give_back(trial)
                    continue
                redrawn = 0
                judged = self._run(number, choice, space)
                self.turns.tell(trial, self._aims(judged), judged.attributes, judged.over)
            every = self.judged()
            sampled = next((one for one in every if one.number == number), None)
            if judged is None or sampled is None:
                self.telling.said(f"trial {number}: this worker was silent for too long, and others have given the trial up")
                continue
            front = pareto(every, next(iter(self.budget)))
            if sampled in front and judged.model is not None:
                checkpoint.save(judged.model, self._home(sampled))
            self._say(sampled, front, space)
            yield sampled

    @contextmanager
    def finishing(self, count: int, choose: Callable[[], Sequence[int]]) -> Iterator[Sequence[int]]:
        """The trial numbers of the finalists, which one worker chooses once and trains inside the block.

        Args:
            count: number of networks that they are chosen from.
            choose: called if no worker has chosen yet.

        Raises:
            ElsewhereError: another worker has chosen them and trains them.
            StorageError: the database cannot be used.
        """
        turns = Turns.opened(self.turns.storage, self.folder, self.telling, ["maximize"], suffix=f", finalists of {count}")
        with in_words(turns.storage):
            every = turns.trials("RUNNING", "COMPLETE", "FAIL")
            chosen = next((trial.user_attrs[_FINALISTS] for trial in every if _FINALISTS in trial.user_attrs), None)
            done = [trial for trial in every if trial.state.name == "COMPLETE"]
            trial, place = turns.only()
        if done and chosen is not None and turns.storage.mine(done[0].user_attrs.get(WORKER)):
            yield chosen
        elif trial is None:
            raise ElsewhereError(place, self.judged())
        else:
            with suppress(LostTurnError), turns.alive(trial):
                if chosen is None:
                    chosen = choose()
                    trial.set_user_attr(_FINALISTS, list(chosen))
                yield chosen
                turns.tell(trial, [1.0], {})

    def judged(self) -> list[Sampled]:
        """The networks judged by all workers, in order."""
        with in_words(self.turns.storage):
            return [_sampled(trial) for trial in self.turns.trials("COMPLETE") if _COST in trial.user_attrs]

    def model(self, sampled: Sampled) -> Model:
        """The network of a trial, with the weights it was judged with if this worker stored them, else with inherited ones."""
        if checkpoint.settled(self._home(sampled)).is_dir():
            return checkpoint.load(checkpoint.settled(self._home(sampled)))
        spec, rows = Space(self.start.spec).made(sampled.choice)
        return inherited(self.start, spec, rows, seed=self.seed)

    def _home(self, sampled: Sampled) -> Path:
        return self.folder / TRIALS / f"{sampled.number:04d}"

    def _begin(self, space: Space) -> None:
        """Set the sampler of the study and enqueue its first networks."""
        from optuna.samplers import TPESampler

        study, storage = self.turns.study, self.turns.storage
        seed = seed_of(self.seed, len(study.trials), storage.worker) % 2**31  # draw other networks when resumed
        study.sampler = TPESampler(seed=seed, multivariate=True)
        for first in space.ladder():
            study.enqueue_trial(dict(first), skip_if_exists=True)

    def _known(self, trial: Trial, choice: Choice) -> bool:
        """Whether a shape was already judged, or another worker has started to judge it.

        If two workers draw the same shape at once, at least one of them sees the other's trial after storing its own, and drops
        it.
        """
        return any(other.params == choice for other in self.turns.trials("RUNNING", "COMPLETE") if other.number != trial.number)

    def _run(self, number: int, choice: Choice, space: Space) -> Judgment:
        """Judge a network."""
        try:
            spec, rows = space.made(choice)
        except SpecError:  # two channel counts that must differ are the same
            return Judgment(dict.fromkeys(self.budget, 0.0), _IMPOSSIBLE)
        if "ms" in self.budget:
            measure(self.costs, [spec], self.telling)
        cost = spent(self.costs, spec, self.budget)
        name = worst(cost, self.budget)
        over = cost[name] / self.budget[name] - 1
        if over > 0:  # do not train networks that exceed the budget
            return Judgment(cost, over)
        model = inherited(self.start, spec, rows, seed=self.seed)
        parts: list[float] = []
        earlier = self.judged()
        for part, judge in enumerate(self.judges):
            self.telling.may_stop()
            judged = judge(model, seed_of(self.seed, number, part) % 2**31)
            model = judged.model
            parts.append(judged.value if math.isfinite(judged.value) else _NOTHING)
            if part + 1 < len(self.judges) and behind(parts, cost[name], name, earlier):
                return Judgment(cost, over, tuple(parts))
        return Judgment(cost, over, tuple(parts), model)

    def _aims(self, judged: Judgment) -> Sequence[float]:
        """The objective values for the study."""
        value = judged.parts[-1] if judged.parts else _NOTHING
        driver = next(iter(self.budget))
        if not self.reward:
            return [value, judged.cost[driver]]
        share = judged.cost[driver] / self.budget[driver]
        return [rewarded(value, share, self.reward) if judged.parts else _NOTHING]

    def _say(self, sampled: Sampled, front: Sequence[Sampled], space: Space) -> None:
        """Print a line about the network, and the front if it is now part of it."""
        name, judged_by = next(iter(self.budget)), self.judges[0].title
        value = valued(sampled.value, judged_by) if sampled.parts else "not trained, as it is above the budget"
        early = ", dropped early" if sampled.parts and sampled.dropped else ""
        told = f"{priced(sampled.cost)}, {value}{early}"
        if sampled.over == _IMPOSSIBLE:
            told = "cannot be built, as two widths that must differ would be the same"
        self.telling.said(f"trial {sampled.number}: {told}: {space.told(sampled.choice)}")
        if sampled in front:
            told = "; ".join(f"{priced({name: one.cost[name]})} {valued(one.value, judged_by)}" for one in front)
            self.telling.said(f"front so far: {told}")


@dataclass(frozen=True, slots=True)
class Judgment:
    """A judged network, with its weights unless it was dropped."""

    cost: Budget
    over: float
    parts: tuple[float, ...] = ()
    model: Model | None = None

    @property
    def attributes(self) -> dict[str, Any]:  # Any: JSON
        """The attributes that its trial stores."""
        dropped = self.model is None
        return {_OVER: self.over, _PARTS: list(self.parts), _COST: dict(self.cost), _DROPPED: dropped}


def agree(turns: Turns, about: Mapping[str, str]) -> None:
    """Check that a study does not belong to another search.

    Args:
        turns: the trials of the study.
        about: the settings that all of its workers must share, by name.

    Raises:
        StorageError: it belongs to another search; the message says what differs.
    """
    if not turns.storage.url:
        return
    with in_words(turns.storage):
        if _ABOUT not in turns.study.user_attrs:
            turns.study.set_user_attr(_ABOUT, dict(about))
        known = turns.study.user_attrs[_ABOUT]
    differ = [name for name, value in about.items() if known.get(name) != value]
    if differ:
        raise StorageError(
            f"{turns.storage.title} belongs to another search: {' and '.join(differ)} differ",
            hint="give all workers the same command and data; or start another study with --study NAME",
        )


def opened(storage: Storage, folder: Path, reward: float, telling: Telling) -> Turns:
    """The trials of a search over shapes, for `Shapes`; the arguments are those of `Turns.opened` and of `Shapes`."""
    return Turns.opened(storage, folder, telling, ["maximize"] if reward else ["maximize", "minimize"])


def _sampled(trial: FrozenTrial) -> Sampled:
    known = trial.user_attrs
    parts = tuple(known[_PARTS])
    value = parts[-1] if parts else _NOTHING
    return Sampled(trial.number, trial.params, known[_COST], value, parts, known[_DROPPED], known[_OVER])
