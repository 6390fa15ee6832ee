"""Damaged files by the thousand: every reader must either accept one or refuse it with a message. Anything else is a fault.

A fault is an exception that is not a `MobileNetsError` (a traceback for the user), a crash of the process, more than 20 s, or
more than 4 GiB of memory beyond what the process starts with. Mutants are drawn from a seed, and `--keep DIR` saves those that
are faults.

    python benchmarks/mutants.py                                  # every kind, 1,000 mutants each
    python benchmarks/mutants.py --kinds model.json coco --count 10000
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path

from damage import mutant
from valid_files import KINDS

from mobilenets.errors import MobileNetsError

SECONDS, BYTES = 20, 4 << 30  # of processor time, and of memory


def main() -> int:
    """Print a line for each kind; 1 if there was a fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--count", type=int, default=1000, help="mutants of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for the mutants that are faults")
    options = parser.parse_args()
    faults = 0
    for kind in options.kinds:
        start = time.monotonic()
        outcomes = attacked(kind, options.count, options.seed, options.keep)
        bad = {name: count for name, count in outcomes.items() if name not in ("accepted", "refused")}
        faults += sum(bad.values())
        counts = {"mutants": options.count, "accepted": outcomes["accepted"], "refused": outcomes["refused"]}
        print(json.dumps({"kind": kind, **counts, "faults": bad, "seconds": round(time.monotonic() - start)}), flush=True)
    return int(faults > 0)


def attacked(kind: str, count: int, seed: int, keep: Path | None) -> Counter[str]:
    """How often each outcome occurred: "accepted", "refused", or the name of a fault."""
    outcomes: Counter[str] = Counter()
    context, first = multiprocessing.get_context("spawn"), 0
    while first < count:
        ours, theirs = context.Pipe()
        process = context.Process(target=worker, args=(kind, first, count, seed, keep, theirs))
        process.start()
        theirs.close()
        started = False
        try:
            while True:
                outcomes[ours.recv()] += 1
                started, first = True, first + 1
        except EOFError:
            process.join()
        if first < count and not started and process.exitcode == 1:
            sys.exit(f"{kind}: the undamaged file cannot be read")
        if first < count:  # the process died on this mutant
            outcomes[f"process ended with {process.exitcode}"] += 1
            first += 1
    return outcomes


def worker(kind: str, first: int, count: int, seed: int, keep: Path | None, pipe: Connection) -> None:
    """Read the mutants from `first` on, and send the outcome of each."""
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as name:
        path = KINDS[kind].make(Path(name))
        original = path.read_bytes()
        KINDS[kind].read(path)  # imports everything, and must work
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + BYTES, used + BYTES))
        signal.signal(signal.SIGPROF, late)
        damage = KINDS[kind].damage or mutant
        for i in range(first, count):
            path.write_bytes(damage(original, random.Random(f"{seed} {kind} {i}")))
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            outcome = outcome_of(kind, path)
            signal.setitimer(signal.ITIMER_PROF, 0)
            if keep is not None and outcome not in ("accepted", "refused"):
                keep.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, keep / f"{kind}-{i}{path.suffix}")
            pipe.send(outcome)
    pipe.close()


def late(*_: object) -> None:
    """Interrupt a reader that takes too long."""
    raise TimeoutError


def outcome_of(kind: str, path: Path) -> str:
    """What the reader makes of the file."""
    try:
        KINDS[kind].read(path)
    except MobileNetsError:
        return "refused"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:60]}"
    return "accepted"


if __name__ == "__main__":
    sys.exit(main())
