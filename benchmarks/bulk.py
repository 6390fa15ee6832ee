"""What a billion images take on many machines: one worker measured here, the rest simulated from it, with the model stated.

    python benchmarks/bulk.py runs/photos photos/ --images 1e9 --workers 1000

Measured: images a second of one worker, by its processor time, its start, and the bytes of an image. Assumed, and to be set:
what the store needs to begin to send a file, how much it sends to a worker, how many listings it answers, how often a worker
is lost, and prices.

The simulation hands out parts to workers as Ray Data does. A worker fetches ahead with 8 connections, so a part takes the
longest of computing, transfer and waiting; a lost worker's part begins again after the restart. Loose images are listed one
after another before anything begins; tar files are listed too, but hold 10,000 images each.
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from mobilenets.bulk import stores
from mobilenets.bulk.work import FETCHERS, predict_part
from mobilenets.runtime.predictor import Predictor

LISTED = 1000  # names of a listing, as S3 answers them
FORMS = {"loose images": (1000, 1), "tar files": (10_000, 10_000)}
"""Images of a part, and of a file."""


@dataclass(frozen=True, slots=True)
class Worker:
    """Measured here.

    Args:
        per_second: images that one core predicts, with files that the machine has in memory.
        start_s: until a worker has opened the model.
        image_bytes: of a file, the mean.
    """

    per_second: float
    start_s: float
    image_bytes: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of a simulation.

    Args:
        hours: from the first listing to the last part.
        listing_hours: of them, before the first part.
        core_hours: of all workers.
        wasted: share of the parts that were begun and lost.
        requests: of the store.
        bound: what a part waits for: "computing", "transfer" or "requests".
    """

    hours: float
    listing_hours: float
    core_hours: float
    wasted: float
    requests: float
    bound: str


def measured(model: Path, source: str) -> Worker:
    """One worker on this machine, on the images of a folder."""
    start = time.perf_counter()
    predictor = Predictor.open(model, threads=1)
    start_s = time.perf_counter() - start
    images = [name for name in stores.found(source) if not name.endswith(stores.TAR)]
    size = sum(Path(name).stat().st_size for name in images) / len(images)
    with tempfile.TemporaryDirectory() as out:
        predict_part(predictor, 0, images[:20], out, top=5)
        times = []
        for number in range(3):
            start = time.process_time()
            predict_part(predictor, number, images, out, top=5)
            times.append(time.process_time() - start)
    return Worker(len(images) / sorted(times)[1], start_s, size)


def simulated(worker: Worker, form: str, given: argparse.Namespace) -> Outcome:
    """The prediction of all images."""
    per_part, per_file = FORMS[form]
    parts = round(given.images / per_part)
    files = per_part / per_file
    sides = {
        "computing": per_part / worker.per_second,
        "transfer": per_part * worker.image_bytes / (given.mb_per_second * 1e6),
        "requests": files * given.first_byte_ms / 1000 / min(FETCHERS, files),
    }
    bound = max(sides, key=lambda side: sides[side])
    part_s = sides[bound] + given.first_byte_ms / 1000  # and the upload of its file
    listing_s = given.images / per_file / LISTED * given.listing_ms / 1000
    generator = random.Random(0)
    lost_per_s = given.losses_per_hour / 3600
    free = [(listing_s + worker.start_s * generator.uniform(1, 3), number) for number in range(given.workers)]
    heapq.heapify(free)
    end, lost, left = listing_s, 0, parts
    while left:
        now, number = heapq.heappop(free)
        fails = generator.expovariate(lost_per_s) if lost_per_s else float("inf")
        if fails < part_s:
            lost += 1
            heapq.heappush(free, (now + fails + given.restart_s + worker.start_s, number))
            continue
        left -= 1
        end = max(end, now + part_s)
        heapq.heappush(free, (now + part_s, number))
    requests = given.images / per_file * (1 + 1 / LISTED) + 2 * parts
    return Outcome(
        end / 3600, listing_s / 3600, given.workers * (end - listing_s) / 3600, lost / (parts + lost), requests, bound
    )


def main(arguments: list[str]) -> None:
    """Print what was measured and what follows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("folder")
    parser.add_argument("--images", type=float, default=1e9)
    parser.add_argument("--workers", type=int, default=1000, help="cores")
    parser.add_argument("--mb-per-second", type=float, default=50, help="that the store sends to a worker")
    parser.add_argument("--first-byte-ms", type=float, default=40)
    parser.add_argument("--listing-ms", type=float, default=150, help="of a listing of 1,000 names")
    parser.add_argument(
        "--losses-per-hour", type=float, default=0.05, help="of a worker, as of machines that may be taken away"
    )
    parser.add_argument("--restart-s", type=float, default=120)
    parser.add_argument("--core-hour", type=float, default=0.04, help="price")
    parser.add_argument("--thousand-requests", type=float, default=0.0004, help="price")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    worker = measured(given.model, given.folder)
    if not given.json:
        size = f"{worker.image_bytes / 1e3:.0f} kB an image"
        print(f"one worker: {worker.per_second:.1f} images/s, opens in {worker.start_s:.1f} s; {size}")
        print(f"{given.images:,.0f} images, {given.workers:,} workers")
    for form in FORMS:
        found = simulated(worker, form, given)
        price = found.core_hours * given.core_hour + found.requests / 1000 * given.thousand_requests
        if given.json:
            print(json.dumps({"form": form, **{name: getattr(found, name) for name in found.__slots__}, "price": price}))
        else:
            hours = f"{found.hours:6.2f} h, of which listing {found.listing_hours:5.2f} h; {found.core_hours:,.0f} core hours"
            rest = f"{found.wasted:.2%} of the parts lost; {found.requests:,.0f} requests; bound by {found.bound}"
            print(f"{form:<13} {hours}; {rest}; price {price:,.0f}")


if __name__ == "__main__":
    main(sys.argv[1:])
