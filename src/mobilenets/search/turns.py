"""`Turns`: distributes the trials of a study among workers: each trial is judged once, or again if its worker is lost.

Workers send heartbeats. The trial of a worker whose heartbeats stop is marked as failed, and another worker repeats it.
"""

from __future__ import annotations

import logging
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mobilenets.search.storage import Storage, database, in_words, place_of
from mobilenets.search.telling import StoppedError, Telling

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial, Trial

State = Literal["RUNNING", "COMPLETE", "WAITING", "FAIL"]
Direction = Literal["minimize", "maximize"]

LOOK_S = 1.0
"""The interval at which a waiting worker polls the study, in seconds."""

WORKER, PLACE = "worker", "place"
"""Attributes of a trial: the worker that judges it, and its location for users."""

_AGAIN = "again"  # how often a trial was repeated
_MOST_AGAIN = 2  # a limit, since the network itself may be what kills its workers


class LostTurnError(Exception):
    """A trial that other workers marked as lost, because its worker's heartbeats stopped."""


@dataclass(frozen=True, slots=True)
class Turns:
    """The trials of a study.

    Args:
        study: the study.
        database: its database.
        storage: contains the identity of this worker.
        place: location of this worker, for users.
        telling: reports waiting, and tells when to stop.
    """

    study: Study
    database: RDBStorage
    storage: Storage
    place: str
    telling: Telling
    _unnamed: dict[int, float] = field(default_factory=dict)  # running trials without a worker: when they were first seen

    @staticmethod
    def opened(storage: Storage, folder: Path, telling: Telling, directions: Sequence[Direction], *, suffix: str = "") -> Turns:
        """Open a study, creating it if missing; trials that this search had started when it was killed are enqueued again.

        Args:
            storage: the storage of the study.
            folder: folder of the search.
            telling: reports waiting, and tells when to stop.
            directions: optimization directions of the values.
            suffix: appended to the study's name.

        Raises:
            MissingExtraError: Optuna, or the database's driver, is not installed.
            StorageError: the database cannot be used.
        """
        folder.mkdir(parents=True, exist_ok=True)
        lies = database(storage, folder, _put_back)
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        name = storage.study + suffix
        with in_words(storage):
            study = optuna.create_study(storage=lies, study_name=name, directions=directions, load_if_exists=True)
            turns = Turns(study, lies, storage, place_of(folder), telling)
            for trial in turns.trials("RUNNING"):
                if storage.mine(trial.user_attrs.get(WORKER)) and turns._ended(trial.number):
                    _put_back(study, trial)
        return turns

    def trials(self, *states: State) -> list[FrozenTrial]:
        """The trials in some states, in order."""
        from optuna.trial import TrialState

        return self.study.get_trials(deepcopy=False, states=[TrialState[state] for state in states])

    def next(self, count: int) -> Trial | None:
        """A trial for this worker; None once `count` are complete. Waits while other workers run the last ones.

        Raises:
            StoppedError: the search was asked to stop.
            StorageError: the database cannot be used.
        """
        said = False
        while True:
            self.telling.may_stop()
            with in_words(self.storage):
                trial = self.taken(count)
                missing = count - len(self.trials("COMPLETE"))
            if trial is not None:
                return trial
            if missing <= 0:
                return None
            if not said:
                self.telling.said(f"waiting for other workers to judge {missing} more")
                said = True
            time.sleep(LOOK_S)

    def taken(self, count: int) -> Trial | None:
        """A trial for this worker, unless `count` are already complete or running elsewhere."""
        self._give_up_lost()
        if len(self.trials("RUNNING", "COMPLETE")) >= count:
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Optuna sends heartbeats for `optimize` alone; `alive` sends them here
            trial = self._lost() or self.study.ask()
        if self.storage.url:
            self.database.record_heartbeat(self._id(trial))
        trial.set_user_attr(WORKER, self.storage.worker)
        trial.set_user_attr(PLACE, self.place)
        before = [other for other in self.trials("RUNNING", "COMPLETE") if other.number < trial.number]
        if len(before) < count:
            return trial
        self.give_back(trial)  # another worker was faster
        return None

    def only(self) -> tuple[Trial | None, str]:
        """In a study with a single trial: that trial, or None and the location of the worker that has it.

        Raises:
            StoppedError: the search was asked to stop.
            StorageError: the database cannot be used.
        """
        while True:
            trial = self.taken(1)
            if trial is not None:
                return trial, self.place
            others = self.trials("RUNNING", "COMPLETE")
            places = [str(other.user_attrs[PLACE]) for other in others if PLACE in other.user_attrs]
            if places:
                return None, places[0]
            self.telling.may_stop()
            time.sleep(LOOK_S)  # its worker records itself in a moment, or has just lost it

    @contextmanager
    def alive(self, trial: Trial) -> Iterator[None]:
        """Send heartbeats for a trial until the block ends. If it raises, the trial fails; on a stop it is enqueued again.

        Raises:
            LostTurnError: other workers marked the trial as lost.
            StorageError: the database cannot be used.
        """
        ended = threading.Event()
        thread = threading.Thread(target=self._beat, args=(self._id(trial), ended), name="heartbeat", daemon=True)
        if self.storage.url:
            thread.start()
        try:
            with in_words(self.storage):
                yield
        except BaseException as error:
            with suppress(Exception):  # the original error is reported; other workers mark this trial as lost later
                if self._ended(trial.number) and isinstance(error, StoppedError):
                    self.study.enqueue_trial(trial.params)
            raise
        finally:
            ended.set()
            if thread.is_alive():
                thread.join()

    def give_back(self, trial: Trial) -> None:
        """Mark a trial that is not needed as failed."""
        self._ended(trial.number)

    def tell(self, trial: Trial, values: Sequence[float], attributes: Mapping[str, Any], over: float | None = None) -> None:
        """Complete a trial.

        Args:
            trial: a trial of this worker.
            values: its objective values.
            attributes: attributes to store, as JSON.
            over: how far it exceeds the budget; None if there is no budget.

        Raises:
            LostTurnError: other workers marked the trial as lost.
        """
        from optuna.exceptions import UpdateFinishedTrialError

        try:
            if over is not None:
                trial.set_constraint("budget", over)
            for name, value in attributes.items():
                trial.set_user_attr(name, value)
            self.study.tell(trial, values)
        except (UpdateFinishedTrialError, ValueError) as error:
            if any(running.number == trial.number for running in self.trials("RUNNING")):
                raise
            raise LostTurnError from error

    def _lost(self) -> Trial | None:
        """The first enqueued trial of a lost worker; Optuna itself would take all other waiting trials first."""
        from optuna import Trial
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        for waiting in self.trials("WAITING"):
            if _AGAIN in waiting.user_attrs:
                id_ = self._id(waiting)
                with suppress(UpdateFinishedTrialError):  # another worker took it and has finished
                    if self.database.set_trial_state_values(id_, TrialState.RUNNING):
                        return Trial(self.study, id_)
        return None

    def _give_up_lost(self) -> None:
        """Mark the trials of lost workers as failed, and enqueue them again."""
        if not self.storage.url:
            return
        from optuna.storages import fail_stale_trials

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the function is experimental
            fail_stale_trials(self.study)
        unnamed = [trial.number for trial in self.trials("RUNNING") if WORKER not in trial.user_attrs]
        now = time.monotonic()
        for number in unnamed:  # its worker was killed before the first heartbeat, which Optuna does not notice
            if now - self._unnamed.setdefault(number, now) > self.storage.lost_after_s:
                self._ended(number)

    def _ended(self, number: int) -> bool:
        """Mark a trial as failed; returns whether it was running until now."""
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        try:
            self.study.tell(number, state=TrialState.FAIL)
        except (UpdateFinishedTrialError, ValueError):  # another worker already did
            return False
        return True

    def _id(self, trial: Trial | FrozenTrial) -> int:
        study = self.database.get_study_id_from_name(self.study.study_name)
        return self.database.get_trial_id_from_study_id_trial_number(study, trial.number)

    def _beat(self, trial_id: int, ended: threading.Event) -> None:
        from optuna.exceptions import StorageInternalError
        from sqlalchemy.exc import SQLAlchemyError

        while not ended.wait(self.storage.beat_s):
            with suppress(SQLAlchemyError, StorageInternalError):  # the database may come back in time
                self.database.record_heartbeat(trial_id)


def _put_back(study: Study, trial: FrozenTrial) -> None:
    """Enqueue a trial again whose worker was lost."""
    times = trial.user_attrs.get(_AGAIN, 0)
    if times < _MOST_AGAIN:
        study.enqueue_trial(trial.params, user_attrs={_AGAIN: times + 1})
