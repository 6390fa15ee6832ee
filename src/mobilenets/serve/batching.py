"""`Batcher`: the threads of one model. Each takes the waiting requests, as many at once as is efficient, and runs them.

A thread never waits for a batch to fill: when it is free, it takes what is there. So a single request is answered at once, and
batches form when requests arrive faster than they are answered. Each thread decodes its own images, runs the network on one
thread and encodes the answers, as in `Predictor.stream`, so all cores work without passing images to each other.

A busy thread collects several answers and hands them over together, holding them for at most a tenth of the time that they
took. The thread that sends them has to be woken, and finds the CPU caches filled by the network. If nothing waits, an answer
is handed over at once.
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
"""The stages of a request, in order."""

HELD, HELD_S = 0.1, 0.1
"""How long an answer may be held back: a share of its request's time, and a maximum in seconds."""


class Watch(Protocol):
    """Receives times and sizes of requests; several threads call it."""

    def stage(self, stage: Stage, seconds: float) -> None:
        """A request spent this time in a stage."""
        ...

    def batch(self, images: int) -> None:
        """A batch of this many images went through the network."""
        ...


@dataclass(slots=True, eq=False)
class _Ticket:
    """A request that was accepted."""

    work: Work
    deadline: float  # in the time of `time.monotonic`
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
        """Add an answer."""
        now = time.monotonic()
        self._until = min(self._until, now + min(HELD * (now - ticket.arrived), HELD_S), ticket.deadline)
        self._answers.append((ticket, answer))

    def can_wait(self, seconds: float) -> bool:
        """Whether the answers may be held back for this much longer."""
        return time.monotonic() + seconds < self._until

    def hand_over(self) -> None:
        """Hand all answers over."""
        answers, self._answers, self._until = self._answers, [], math.inf
        for ticket, answer in answers:
            ticket.future.set_result(answer)


class Batcher:
    """The threads of a model, and their queue.

    Args:
        run: runs the network on a batch N C H W; called by many threads.
        curve: the cost of batches.
        threads: number of requests or batches in progress at the same time.
        queue: maximum number of waiting requests.
        patience_s: maximum expected wait in seconds; a request that would wait longer is refused.
        watch: receives times and sizes.
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
        self._request_s = curve.seconds[1]  # a thread's time per request; a moving average
        self._threads = [threading.Thread(target=self._work, name=f"serve-{i}", daemon=True) for i in range(threads)]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """Number of requests that wait for a thread."""
        return len(self._waiting)

    @property
    def wait_s(self) -> float:
        """Expected wait of a new request in seconds, from the times of recent ones."""
        return len(self._waiting) * self._request_s / len(self._threads)

    def check(self, requests: int = 1) -> None:
        """Check that a request would be accepted now, before its body is read.

        Raises:
            RefusedError: too many requests wait.
        """
        if len(self._waiting) + requests > self._limit or self.wait_s > self._patience_s:
            retry_s = max(1, math.ceil(self.wait_s))
            raise RefusedError("busy", f"{len(self._waiting)} requests are already waiting; try again", retry_s=retry_s)

    def submit(self, works: Sequence[Work], *, deadline: float) -> list[Future[Answer]]:
        """The future answers to several requests; either all of them are accepted, or none.

        Args:
            works: the work of each request.
            deadline: in the time of `time.monotonic`; work that has not begun by then is refused.

        Raises:
            RefusedError: too many requests wait.
        """
        now = time.monotonic()
        tickets = [_Ticket(work, deadline, now) for work in works]
        with self._changed:
            self.check(len(tickets))
            self._waiting.extend(tickets)
            self._changed.notify(len(tickets))
        return [ticket.future for ticket in tickets]

    def close(self) -> None:
        """Finish the accepted requests, and end the threads. Nothing may be submitted afterwards."""
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
        except Exception as error:  # whatever it is, the waiting requests must be answered
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
        """The input of the network; None if the request was refused."""
        start = time.monotonic()
        self._watch.stage("queue", start - ticket.arrived)
        try:
            if start > ticket.deadline:
                raise RefusedError("late", f"the request waited {start - ticket.arrived:.1f} s, longer than its time limit")
            prepared = ticket.work()
        except Exception as error:  # as above
            ticket.future.set_exception(error)
            return None
        self._watch.stage("prepare", time.monotonic() - start)
        return prepared

    def _outputs(self, batches: Sequence[NDArray[np.float32]]) -> Outputs:
        """The outputs for all batches, run in batches of the most efficient size."""
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


_NEWEST = 0.1  # weight of the newest request in the moving average
