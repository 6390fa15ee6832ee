"""Batches form where they pay, and only of what waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mobilenets.runtime.engines.base import Outputs
from mobilenets.serve.batching import Batcher, Stage
from mobilenets.serve.curve import Curve, measured
from mobilenets.serve.refusal import RefusedError
from mobilenets.serve.work import Answer, Prepared, Work

Array = np.ndarray[Any, np.dtype[np.float32]]

FLAT = Curve({1: 0.01, 2: 0.02, 4: 0.04, 8: 0.08})
STEEP = Curve({1: 0.010, 2: 0.011, 4: 0.012, 8: 0.013})
ODD = Curve({1: 0.010, 2: 0.019, 4: 0.020, 8: 0.080})  # two save 5%, which is too little


@pytest.mark.parametrize(
    ("curve", "sizes"),
    [
        (FLAT, {1: 1, 2: 1, 8: 1, 100: 1}),
        (STEEP, {1: 1, 2: 2, 3: 2, 4: 4, 7: 4, 8: 8, 100: 8}),
        (ODD, {1: 1, 2: 1, 3: 1, 4: 4, 100: 4}),
    ],
)
def test_the_next_batch_is_the_smallest_that_makes_the_best_of_the_time(curve: Curve, sizes: dict[int, int]) -> None:
    assert {waiting: curve.size(waiting) for waiting in sizes} == sizes
    assert curve.most == max(sizes.values())


class Clocked:
    """A network that takes a time, by a clock that only it moves."""

    def __init__(self, seconds: Callable[[int], float]) -> None:
        self._seconds, self.now = seconds, 0.0

    def run(self, batch: Array) -> Outputs:
        self.now += self._seconds(len(batch))
        return {"logits": batch}

    def curve(self) -> Curve:
        return measured(self.run, np.zeros((1, 3, 2, 2), np.float32), batch=None, clock=lambda: self.now)


def test_an_engine_that_takes_as_long_for_eight_as_for_one_is_given_eight() -> None:
    curve = Clocked(lambda n: 0.002 if n <= 8 else 0.004).curve()
    assert curve.seconds == pytest.approx({1: 0.002, 2: 0.002, 4: 0.002, 8: 0.002, 16: 0.004})
    assert (curve.size(8), curve.size(3), curve.most) == (8, 2, 8)


def test_an_engine_that_takes_twice_as_long_for_two_is_given_one() -> None:
    assert Clocked(lambda n: 0.004 * n).curve().most == 1


def test_a_slow_engine_is_not_measured_for_long() -> None:
    slow = Clocked(lambda n: 3.0 * n)
    assert slow.curve().seconds == {1: 3.0}
    assert slow.now == 12.0  # four runs: two to see how slow it is, one that is not counted, and one that is


def test_an_engine_of_a_fixed_batch_is_given_no_more_and_measured_with_one() -> None:
    seen = []

    def run(batch: Array) -> Outputs:
        seen.append(len(batch))
        return {"logits": batch}

    assert measured(run, np.zeros((1, 3, 2, 2), np.float32), batch=4).most == 4
    assert set(seen) == {1}


class Told:
    """What a batcher says of itself."""

    def __init__(self) -> None:
        self.stages: list[Stage] = []
        self.batches: list[int] = []

    def stage(self, stage: Stage, seconds: float) -> None:
        assert seconds >= 0
        self.stages.append(stage)

    def batch(self, images: int) -> None:
        self.batches.append(images)


class Bench:
    """A batcher of one thread, whose network waits for `go`."""

    def __init__(self, curve: Curve, **settings: Any) -> None:  # Any: of the batcher
        self.go, self.told = threading.Event(), Told()
        self.entered = threading.Semaphore(0)
        options = {"threads": 1, "queue": 100, "patience_s": 60.0} | settings
        self.batcher = Batcher(self._run, curve, watch=self.told, **options)

    def submit(self, *works: Work, within_s: float = 60.0) -> list[Any]:  # Any: futures
        return self.batcher.submit(works, deadline=time.monotonic() + within_s)

    def occupied(self) -> None:
        """Occupy the thread."""
        self.submit(image(0))
        self.entered.acquire()

    def _run(self, batch: Array) -> Outputs:
        self.entered.release()
        assert self.go.wait(20)
        if (batch < 0).any():
            raise ValueError("a network that fails")
        return {"logits": batch[:, 0, 0, :1]}


@pytest.fixture
def bench() -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(curve: Curve = STEEP, **settings: Any) -> Bench:
        made.append(Bench(curve, **settings))
        return made[-1]

    yield make
    for one in made:
        one.go.set()
        one.batcher.close()


def image(*values: float) -> Work:
    """The work of a request with images of these values; the answer is what the network says of them."""
    batch = np.asarray(values, np.float32).reshape(-1, 1, 1, 1)
    return lambda: Prepared(batch, lambda outputs: Answer(repr(outputs["logits"].ravel().tolist()).encode()))


def broken(stage: str) -> Work:
    def fail(*_: object) -> Any:  # Any: never returns
        raise RefusedError("image", f"broken in {stage}")

    return fail if stage == "prepare" else lambda: Prepared(np.ones((1, 1, 1, 1), np.float32), fail)


def test_what_waits_goes_through_the_network_together_and_each_gets_its_own(bench: Callable[..., Bench]) -> None:
    one = bench()
    one.occupied()
    futures = one.submit(image(1), image(2, 3), image(4), image(5))
    one.go.set()
    assert [future.result(20).body for future in futures] == [b"[1.0]", b"[2.0, 3.0]", b"[4.0]", b"[5.0]"]
    assert one.told.batches == [1, 4, 1]  # five images of four requests, four at once


def test_nothing_is_held_together_where_it_does_not_pay(bench: Callable[..., Bench]) -> None:
    one = bench(FLAT)
    one.occupied()
    futures = one.submit(*(image(i) for i in range(5)))
    one.go.set()
    assert [future.result(20).body for future in futures] == [f"[{i}.0]".encode() for i in range(5)]
    assert one.told.batches == [1] * 6


@pytest.mark.parametrize("stage", ["prepare", "finish"])
def test_a_request_that_fails_leaves_its_neighbors_alone(stage: str, bench: Callable[..., Bench]) -> None:
    one = bench()
    one.occupied()
    futures = one.submit(image(1), broken(stage), image(3), image(4))
    one.go.set()
    with pytest.raises(RefusedError, match=f"broken in {stage}"):
        futures[1].result(20)
    assert [futures[i].result(20).body for i in (0, 2, 3)] == [b"[1.0]", b"[3.0]", b"[4.0]"]


def test_a_network_that_fails_answers_all_and_the_thread_goes_on(bench: Callable[..., Bench]) -> None:
    one = bench()
    one.go.set()
    (failed,) = one.submit(image(-1))
    with pytest.raises(ValueError, match="a network that fails"):
        failed.result(20)
    (later,) = one.submit(image(7))
    assert later.result(20).body == b"[7.0]"


def test_a_request_that_was_given_up_does_not_run(bench: Callable[..., Bench]) -> None:
    one = bench(FLAT)
    one.occupied()
    given_up, kept = one.submit(image(1), image(2))
    assert given_up.cancel()
    one.go.set()
    assert kept.result(20).body == b"[2.0]"
    assert one.told.batches == [1, 1]


def test_a_request_whose_time_is_over_is_refused_without_running(bench: Callable[..., Bench]) -> None:
    one = bench(FLAT)
    one.occupied()
    (late,) = one.submit(image(1), within_s=-1)
    one.go.set()
    with pytest.raises(RefusedError, match="longer than its time limit"):
        late.result(20)
    assert one.told.batches == [1]


def test_all_or_none_of_a_request_is_accepted(bench: Callable[..., Bench]) -> None:
    one = bench(queue=3)
    one.occupied()
    one.submit(image(1), image(2))
    with pytest.raises(RefusedError, match="2 requests are already waiting"):
        one.submit(image(3), image(4))
    assert one.batcher.waiting == 2
    one.submit(image(3))


def test_a_request_that_would_wait_too_long_is_refused_and_told_for_how_long(bench: Callable[..., Bench]) -> None:
    one = bench(Curve({1: 2.0}), patience_s=5.0)
    one.occupied()
    one.submit(image(1), image(2), image(3))  # 6 s
    with pytest.raises(RefusedError) as refused:
        one.submit(image(4))
    assert refused.value.headers == {"Retry-After": "6"}


def test_closing_answers_what_was_accepted(bench: Callable[..., Bench]) -> None:
    one = bench()
    one.occupied()
    futures = one.submit(*(image(i) for i in range(10)))
    closing = threading.Thread(target=one.batcher.close)
    closing.start()
    one.go.set()
    closing.join(20)
    assert all(future.done() and future.exception() is None for future in futures)


@pytest.mark.parametrize(
    ("run_s", "deadline_s", "few"),
    [(0.01, 1000.0, 28), (0.01, 0.305, 22), (1.0, 1000.0, 64)],
    ids=["fast", "with a deadline", "slow"],
)
def test_a_busy_thread_hands_over_several_answers_at_once_if_that_makes_none_much_later(
    run_s: float, deadline_s: float, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr("mobilenets.serve.batching.time", SimpleNamespace(monotonic=lambda: clock.now))

    go = threading.Event()

    def run(batch: Array) -> Outputs:
        assert go.wait(20)
        clock.now += run_s
        return {"logits": batch}

    batcher = Batcher(run, Curve({1: run_s}), threads=1, queue=64, patience_s=1000.0, watch=Told())
    handed_over: dict[int, float] = {}
    futures = batcher.submit([image(i) for i in range(64)], deadline=deadline_s)
    for i, future in enumerate(futures):
        future.add_done_callback(lambda done, i=i: handed_over.setdefault(i, clock.now) if not done.exception() else None)  # type: ignore[misc]  # i is bound
    go.set()
    batcher.close()
    answered = [i for i, future in enumerate(futures) if future.exception() is None]
    assert len(answered) == min(64, int(deadline_s / run_s) + 1)
    for i in answered:
        ready = (i + 1) * run_s
        assert ready <= handed_over[i] + 1e-9 <= max(ready, min(1.1 * ready, ready + 0.1, deadline_s)) + 2e-9
    moments = len(set(handed_over.values()))
    assert moments <= few
    assert (moments == len(answered)) == (run_s == 1.0)  # a tenth of a second is nothing to wait for then
