"""`Batcher`: the threads of one model. They take what waits, as many at once as pays, and run it.

A thread never waits for a batch to fill: it takes what is there when it is free. So a lone request is answered at once, and
batches form when requests come faster than they are answered. Each thread decodes its images, runs the network on one
thread and encodes the answers, as in `Predictor.stream`, so that all cores work without handing images to each other.

A thread that has more to do hands over several answers at once, for a tenth of the time that they took: who sends them has to
be woken, and finds that the network has taken its place in the caches. Where nothing waits, an answer is handed over at once.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from mobilenets.serve.refusal import RefusedError
from mobilenets.serve.work import Answer, Prepared, Work

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mobilenets.runtime.engines.base import Outputs
    from mobilenets.serve.curve import Curve

Stage = Literal["receive", "queue", "prepare", "network", "answer"]
"""What a request goes through, in this order."""

HELD, HELD_S = 0.1, 0.1
"""How long an answer may wait for others: a share of the time that its request took, and at most so many seconds."""


class Watch(Protocol):
    """Is told what becomes of requests; several threads call it."""

    def stage(self, stage: Stage, seconds: float) -> None:
        """A request went through a stage in this time."""
        ...

    def batch(self, images: int) -> None:
        """So many images went through the network at once."""
        ...


@dataclass(slots=True, eq=False)
class _Ticket:
    """A request that was accepted."""

    work: Work
    deadline: float  # of `time.monotonic`
    arrived: float
    future: Future[Answer] = field(default_factory=Future)


class _Ready:
    """Answers that a thread has not handed over yet."""

    def __init__(self) -> None:
        self._answers: list[tuple[_Ticket, Answer]] = []
        self._until = math.inf

    def __bool__(self) -> bool:
        return bool(self._answers)

    def add(self, ticket: _Ticket, answer: Answer) -> None:
        """One more."""
        now = time.monotonic()
        self._until = min(self._until, now + min(HELD * (now - ticket.arrived), HELD_S), ticket.deadline)
        self._answers.append((ticket, answer))

    def can_wait(self, seconds: float) -> bool:
        """Whether they need not be handed over for so long."""
        return time.monotonic() + seconds < self._until

    def hand_over(self) -> None:
        """Hand all of them over."""
        answers, self._answers, self._until = self._answers, [], math.inf
        for ticket, answer in answers:
            ticket.future.set_result(answer)


class Batcher:
    """Holds the threads of a model.

    Args:
        run: runs the network on a batch N C H W; may be called by many threads.
        curve: what batches cost.
        threads: how many requests or batches are worked on at the same time.
        queue: how many requests may wait.
        patience_s: a request that would wait longer is refused.
        watch: is told times and sizes.
    """

    def __init__(
        self,
        run: Callable[[NDArray[np.float32]], Outputs],
        curve: Curve,
        *,
        threads: int,
        queue: int,
        patience_s: float,
        watch: Watch,
    ) -> None:
        self.curve = curve
        self._run = run
        self._limit = queue
        self._patience_s = patience_s
        self._watch = watch
        self._waiting: deque[_Ticket] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._request_s = curve.seconds[1]  # of a thread, for a request; a moving mean
        self._threads = [threading.Thread(target=self._work, name=f"serve-{i}", daemon=True) for i in range(threads)]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """Requests that wait for a thread."""
        return len(self._waiting)

    @property
    def wait_s(self) -> float:
        """How long a request that comes now will wait, by what the last ones took."""
        return len(self._waiting) * self._request_s / len(self._threads)

    def check(self, requests: int = 1) -> None:
        """Refuse what would not be accepted now, before its body is read.

        Raises:
            RefusedError: too many wait.
        """
        if len(self._waiting) + requests > self._limit or self.wait_s > self._patience_s:
            retry_s = max(1, math.ceil(self.wait_s))
            raise RefusedError("busy", f"{len(self._waiting)} requests wait already; try again", retry_s=retry_s)

    def submit(self, works: Sequence[Work], *, deadline: float) -> list[Future[Answer]]:
        """The answers to be, of all or none.

        Args:
            works: what is to be done; each is a request.
            deadline: of `time.monotonic`; what has not begun then is refused.

        Raises:
            RefusedError: too many wait.
        """
        now = time.monotonic()
        tickets = [_Ticket(work, deadline, now) for work in works]
        with self._changed:
            self.check(len(tickets))
            self._waiting.extend(tickets)
            self._changed.notify(len(tickets))
        return [ticket.future for ticket in tickets]

    def close(self) -> None:
        """Finish what was accepted, and end the threads. Nothing may be submitted any more."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        ready = _Ready()
        while True:
            with self._changed:
                while not self._waiting and not ready:
                    if self._closing:
                        return
                    self._changed.wait()
                tickets = [self._waiting.popleft() for _ in range(self.curve.size(len(self._waiting)))] if self._waiting else []
            if tickets:
                start = time.monotonic()
                self._answer(tickets, ready)
                taken = (time.monotonic() - start) / len(tickets)
                self._request_s += _NEWEST * (taken - self._request_s)
            if not self._waiting or not ready.can_wait(self._request_s):
                ready.hand_over()

    def _answer(self, tickets: Sequence[_Ticket], answers: _Ready) -> None:
        ready: list[tuple[_Ticket, Prepared]] = []
        for ticket in tickets:
            if ticket.future.set_running_or_notify_cancel():
                prepared = self._prepared(ticket)
                if prepared is not None:
                    ready.append((ticket, prepared))
        if not ready:
            return
        try:
            outputs = self._outputs([prepared.batch for _, prepared in ready])
        except Exception as error:  # whatever it is, those who wait must be told
            for ticket, _ in ready:
                ticket.future.set_exception(error)
            return
        first = 0
        for ticket, prepared in ready:
            last = first + len(prepared.batch)
            start = time.monotonic()
            try:
                answer = prepared.finish({name: values[first:last] for name, values in outputs.items()})
            except Exception as error:  # as above
                ticket.future.set_exception(error)
            else:
                self._watch.stage("answer", time.monotonic() - start)
                answers.add(ticket, answer)
            first = last

    def _prepared(self, ticket: _Ticket) -> Prepared | None:
        """What the network runs on; None if the request has its refusal."""
        start = time.monotonic()
        self._watch.stage("queue", start - ticket.arrived)
        try:
            if start > ticket.deadline:
                raise RefusedError("late", f"the request waited {start - ticket.arrived:.1f} s, longer than its time")
            prepared = ticket.work()
        except Exception as error:  # as above
            ticket.future.set_exception(error)
            return None
        self._watch.stage("prepare", time.monotonic() - start)
        return prepared

    def _outputs(self, batches: Sequence[NDArray[np.float32]]) -> Outputs:
        """The outputs for all batches, in runs of the size that pays."""
        batch = batches[0] if len(batches) == 1 else np.concatenate(batches)
        start = time.monotonic()
        size = self.curve.size(len(batch))
        parts = []
        for i in range(0, len(batch), size):
            part = batch[i : i + size]
            self._watch.batch(len(part))
            parts.append(self._run(part))
        outputs = parts[0] if len(parts) == 1 else {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        seconds = time.monotonic() - start
        for _ in batches:
            self._watch.stage("network", seconds)
        return outputs


_NEWEST = 0.1  # weight of the newest request in the moving mean
