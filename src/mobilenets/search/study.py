"""The search over shapes with Optuna: networks drawn by a sampler that learns, judged in parts, the bad ones dropped early.

The study lies in a database, SQLite in the search's folder or one that several machines reach, so that a search goes on after a
kill, and several workers share one.
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
_FINALISTS = "finalists"  # of the trial that stands for the end of a study
_ABOUT = "about"  # of a study
_NOTHING = -1e3  # value of what was not judged
_IMPOSSIBLE = 10.0  # how far above the budget a shape counts that cannot be built
_REDRAWN = 20  # times in a row that a shape which was judged already is drawn again


class ElsewhereError(Exception):
    """Another worker of the study trains the finalists.

    Args:
        place: where, for people.
        sampled: the networks that were judged.
    """

    def __init__(self, place: str, sampled: Sequence[Sampled]) -> None:
        super().__init__(place)
        self.place, self.sampled = place, tuple(sampled)


@dataclass(frozen=True, slots=True)
class Shapes:
    """A search over shapes.

    Args:
        start: a trained network, whose weights are inherited.
        budget: that networks must keep to.
        costs: of networks.
        judges: of the parts of a short training, one after the other.
        turns: the trials of the study.
        folder: of the search.
        reward: w of the reward value x (cost / budget)^w, a single aim (MnasNet, eq. 2); 0 for the front of value and cost.
        seed: of the sampler and of short trainings.
        telling: how progress is shown.
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
        """Networks that were judged before, then those that this worker judges, until the study has `count`.

        The first are the start's own shape, and those at other widths and sizes alone. A shape that was judged already, or is
        in the hands of another worker, is drawn again.

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
        """The numbers of the finalists, which one worker chooses once, and trains until the block ends.

        Args:
            count: of the networks that they are chosen from.
            choose: is called if nobody has chosen yet.

        Raises:
            ElsewhereError: another worker has chosen, and trains them.
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
        """The networks that were judged, by all workers, in order."""
        with in_words(self.turns.storage):
            return [_sampled(trial) for trial in self.turns.trials("COMPLETE") if _COST in trial.user_attrs]

    def model(self, sampled: Sampled) -> Model:
        """The network of a trial: with the weights that it was judged by if it was on the front here, else inherited ones."""
        if checkpoint.settled(self._home(sampled)).is_dir():
            return checkpoint.load(checkpoint.settled(self._home(sampled)))
        spec, rows = Space(self.start.spec).made(sampled.choice)
        return inherited(self.start, spec, rows, seed=self.seed)

    def _home(self, sampled: Sampled) -> Path:
        return self.folder / TRIALS / f"{sampled.number:04d}"

    def _begin(self, space: Space) -> None:
        """Give the study its sampler and its first networks."""
        from optuna.samplers import TPESampler

        study, storage = self.turns.study, self.turns.storage
        seed = seed_of(self.seed, len(study.trials), storage.worker) % 2**31  # after a kill it does not draw the same again
        study.sampler = TPESampler(seed=seed, multivariate=True)
        for first in space.ladder():
            study.enqueue_trial(dict(first), skip_if_exists=True)

    def _known(self, trial: Trial, choice: Choice) -> bool:
        """Whether a shape was judged already, or another worker has begun with it.

        Of two workers that draw the same shape at once, at least one sees the other's when its own is stored, and gives it up.
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
        if over > 0:  # nothing is trained that cannot be used
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
        """The values of the study."""
        value = judged.parts[-1] if judged.parts else _NOTHING
        driver = next(iter(self.budget))
        if not self.reward:
            return [value, judged.cost[driver]]
        share = judged.cost[driver] / self.budget[driver]
        return [rewarded(value, share, self.reward) if judged.parts else _NOTHING]

    def _say(self, sampled: Sampled, front: Sequence[Sampled], space: Space) -> None:
        """A line for the network, and the front where it has become part of it."""
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
    """A network that was judged, and its weights unless it was dropped."""

    cost: Budget
    over: float
    parts: tuple[float, ...] = ()
    model: Model | None = None

    @property
    def attributes(self) -> dict[str, Any]:  # Any: JSON
        """What its trial keeps."""
        dropped = self.model is None
        return {_OVER: self.over, _PARTS: list(self.parts), _COST: dict(self.cost), _DROPPED: dropped}


def agree(turns: Turns, about: Mapping[str, str]) -> None:
    """Refuse to work on a study that belongs to another search.

    Args:
        turns: the trials of the study.
        about: what all of its workers must have in common, by name.

    Raises:
        StorageError: it belongs to another; the message says what differs.
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
            f"{turns.storage.title} is of another search: {' and '.join(differ)} differ",
            hint="give all workers the same command and data; or begin another study with --study NAME",
        )


def opened(storage: Storage, folder: Path, reward: float, telling: Telling) -> Turns:
    """The trials of a search over shapes, for `Shapes`; the arguments are those of `Turns.opened` and of `Shapes`."""
    return Turns.opened(storage, folder, telling, ["maximize"] if reward else ["maximize", "minimize"])


def _sampled(trial: FrozenTrial) -> Sampled:
    known = trial.user_attrs
    parts = tuple(known[_PARTS])
    value = parts[-1] if parts else _NOTHING
    return Sampled(trial.number, trial.params, known[_COST], value, parts, known[_DROPPED], known[_OVER])
