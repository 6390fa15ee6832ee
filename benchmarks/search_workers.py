"""What it costs to share a search over shapes: measured on a PostgreSQL server, extrapolated with the model stated.

    python benchmarks/search_workers.py --storage postgresql://me@host/search --trials 400 --trial-s 60 --workers 1,8,64

Measured: processor and clock seconds that a trial takes beside its judgment (drawing, asking, telling, looking at what
others did), and its round trips to the database, by the number of trials that the study has. Networks are drawn from the
space of MobileNetV3 Large and judged in no time.

The model: a trial takes its judgment, the overhead that was measured in the second quarter of the study, and its round trips
times the time of one. Workers begin together, share the trials evenly, and wait at the end for the last one, half a trial on
average. Workers are lost at a given rate; a trial that is lost costs its half and the time until that is seen.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mobilenets.model import Model, create
from mobilenets.search.costs import Costs
from mobilenets.search.judge import Judged
from mobilenets.search.space import Choice, Space
from mobilenets.search.storage import Storage
from mobilenets.search.study import Judgment, Shapes, opened
from mobilenets.search.telling import Telling
from mobilenets.specs.families import backbone
from mobilenets.specs.model import InputContract, ModelSpec


class Never:
    """A judge that is never asked."""

    title = "nothing"

    def __call__(self, model: Model, seed: int) -> Judged:
        """See `Judge`."""
        raise NotImplementedError

    def measured(self, model: Model) -> Judged:
        """See `Judge`."""
        raise NotImplementedError


class Drawn(Shapes):
    """A search whose networks are only drawn."""

    __slots__ = ()

    def _run(self, number: int, choice: Choice, space: Space) -> Judgment:
        value = float(np.random.default_rng(number).random())
        return Judgment({"macs": value}, value - 2.0, (value,) * 3)


@dataclass(frozen=True, slots=True)
class Overhead:
    """Of trials beside their judgments.

    Args:
        trials: that the study has, the mean over those that were measured.
        clock_s, processor_s: of a trial, the median.
        trips: to the database, the median.
    """

    trials: int
    clock_s: float
    processor_s: float
    trips: int


def measured(url: str, trials: int) -> list[Overhead]:
    """The overhead of trials, by quarters of the study."""
    import sqlalchemy

    spec = ModelSpec(backbone("mobilenet_v3_large"), tuple("abcdefghij"), InputContract(size=224))
    start = create(spec)
    trips = 0

    def count(*_: Any) -> None:  # Any: of SQLAlchemy
        nonlocal trips
        trips += 1

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        turns = opened(Storage(url, f"measured {time.time():.0f}", "one", 600), folder, 0.0, Telling())
        sqlalchemy.event.listen(turns.database.engine, "before_cursor_execute", count)
        shapes = Drawn(start, {"macs": 1.0}, Costs(), (Never(),) * 3, turns, folder, 0.0, 0, Telling())
        found: list[tuple[float, float, int]] = []
        clock, processor, before = time.perf_counter(), time.process_time(), 0
        for _ in shapes.trials(trials):
            found.append((time.perf_counter() - clock, time.process_time() - processor, trips - before))
            clock, processor, before = time.perf_counter(), time.process_time(), trips
    quarter = max(1, trials // 4)
    return [_median(found[first : first + quarter], first + quarter // 2) for first in range(0, quarter * 4, quarter)]


def _median(found: Sequence[tuple[float, float, int]], trials: int) -> Overhead:
    clock, processor, trips = (statistics.median(column) for column in zip(*found, strict=True))
    return Overhead(trials, clock, processor, round(trips))


def trip_s(url: str) -> float:
    """A round trip to the database, the median."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as link:
        times = []
        for _ in range(200):
            begun = time.perf_counter()
            link.execute("select 1")
            times.append(time.perf_counter() - begun)
    return statistics.median(times)


def hours(asked: argparse.Namespace, workers: int, overhead: Overhead, trip: float) -> tuple[float, float]:
    """How long a search takes on so many workers, and the share of their time that goes into judging."""
    each = asked.trial_s + overhead.processor_s + overhead.trips * trip
    lost = asked.trials * each / 3600 * asked.lost_per_hour * (each / 2 + asked.lost_after_s)
    total = (asked.trials * each + lost) / workers + each / 2
    return total / 3600, asked.trials * asked.trial_s / (total * workers)


def main() -> None:
    """Measure, extrapolate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--storage", required=True, metavar="URL")
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--trial-s", type=float, default=60.0, help="of a judgment, as measured on one worker")
    parser.add_argument(
        "--trip-ms", type=float, nargs="*", default=[1.0, 50.0], help="round trips to assume, beside the measured one"
    )
    parser.add_argument("--workers", default="1,8,64")
    parser.add_argument("--lost-per-hour", type=float, default=0.05, help="of a worker")
    parser.add_argument("--lost-after-s", type=float, default=120)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    overheads, trip = measured(asked.storage, asked.trials), trip_s(asked.storage)
    middle = overheads[1]
    table = {
        f"{ms:g} ms": {w: hours(asked, w, middle, ms / 1e3) for w in map(int, asked.workers.split(","))}
        for ms in (1e3 * trip, *asked.trip_ms)
    }
    if asked.json:
        print(json.dumps({"trip_ms": 1e3 * trip, "overheads": [asdict(one) for one in overheads], "hours": table}))
        return
    print(f"a round trip here takes {1e3 * trip:.2f} ms")
    for one in overheads:
        print(
            f"at {one.trials} trials: {1e3 * one.clock_s:.0f} ms a trial beside its judgment, of which processor "
            f"{1e3 * one.processor_s:.0f} ms; {one.trips} round trips"
        )
    for name, by_workers in table.items():
        for workers, (time_h, share) in by_workers.items():
            print(f"round trip {name}, {workers} workers: {time_h:.2f} hours, {share:.1%} of the time judging")


if __name__ == "__main__":
    main()
