"""Damaged weights files: how many end in an answer or a plain error, and how many in a traceback, a crash or no end.

    python benchmarks/fuzz_weights.py --mutants 10000 --kind tflite h5 keras pth safetensors

Every mutant is a small valid file with bytes changed, cut, doubled or zeroed; of archives also the members inside. A child
process reads them one after another under a limit of memory and time; one that dies is named and another goes on behind it.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

MEMORY = 3 << 30
SECONDS = 20
KINDS = ("tflite", "h5", "keras", "weights.h5", "pth", "safetensors")
_EXTREMES = (0, 1, 127, 128, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1)


def main(arguments: Sequence[str]) -> None:
    """Fuzz each kind and print a line for it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutants", type=int, default=10_000)
    parser.add_argument("--kind", nargs="+", default=list(KINDS), choices=KINDS)
    parser.add_argument("--minutes", type=float, default=600.0, help="stop a kind after that time, with as many as were read")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sources", type=Path, required=True, help="folder of valid files, small.KIND each")
    given = parser.parse_args(arguments)
    for kind in given.kind:
        print(json.dumps(fuzz(given.sources / f"small.{kind}", kind, given.mutants, given.seed, given.minutes)), flush=True)


def fuzz(source: Path, kind: str, mutants: int, seed: int, minutes: float) -> dict[str, object]:
    """Outcomes of reading so many mutants of a file."""
    begun = time.monotonic()
    outcomes: Counter[str] = Counter()
    examples: dict[str, str] = {}
    next_one, slowest, most_memory = 0, 0.0, 0
    while next_one < mutants and time.monotonic() - begun < 60 * minutes:
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            os.close(reader)
            _read_mutants(source, kind, range(next_one, mutants), seed, writer)
        os.close(writer)
        with os.fdopen(reader) as lines:
            for line in lines:
                number, outcome, seconds, said = json.loads(line)
                outcomes[outcome] += 1
                slowest = max(slowest, seconds)
                next_one = number + 1
                if outcome not in ("read", "refused"):
                    examples.setdefault(f"{outcome}: {said}", f"mutant {number}")
                if time.monotonic() - begun > 60 * minutes:
                    os.kill(child, signal.SIGKILL)
                    break
        _, status, used = os.wait4(child, 0)
        most_memory = max(most_memory, used.ru_maxrss)
        if next_one < mutants and time.monotonic() - begun < 60 * minutes:
            outcomes["crash" if os.WIFSIGNALED(status) else "exit"] += 1
            examples[f"process died with status {status}"] = f"mutant {next_one}"
            next_one += 1
    return {
        "kind": kind,
        "mutants": next_one,
        **outcomes,
        "slowest_s": round(slowest, 2),
        "most_memory_mb": most_memory // 1024,
        "minutes": round((time.monotonic() - begun) / 60, 1),
        "examples": examples,
    }


def _read_mutants(source: Path, kind: str, numbers: range, seed: int, writer: int) -> None:
    """In the child: read each mutant and write a line about it; never returns."""
    from mobilenets.errors import MobileNetsError
    from mobilenets.weights.load import read

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY + _mapped(), MEMORY + _mapped()))
    signal.signal(signal.SIGALRM, _too_slow)
    path = Path(tempfile.mkdtemp()) / source.name
    data = source.read_bytes()
    for number in numbers:
        path.write_bytes(mutant(data, kind, random.Random(f"{seed} {kind} {number}")))
        begun = time.monotonic()
        outcome, said = "read", ""
        signal.alarm(SECONDS)
        try:
            read(path)
        except MobileNetsError:
            outcome = "refused"
        except TimeoutError:
            outcome = "slow"
        except BaseException as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            outcome, said = "traceback", f"{type(error).__name__} in {Path(place.filename).name}:{place.lineno}"
        signal.alarm(0)
        os.write(writer, (json.dumps([number, outcome, time.monotonic() - begun, said]) + "\n").encode())
    os._exit(0)


def mutant(data: bytes, kind: str, chance: random.Random) -> bytes:
    """The data with one to eight changes; half of the archives are changed in a member and packed again."""
    if zipfile.is_zipfile(io.BytesIO(data)) and chance.random() < 0.8:
        return _repacked(data, chance)
    return _changed(data, chance)


def _repacked(data: bytes, chance: random.Random) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    likely = [name for name in members if name.endswith((".json", ".pkl", ".h5"))] or list(members)
    chosen = chance.choice(likely)
    members[chosen] = _changed(members[chosen], chance)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return packed.getvalue()


def _changed(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4, 8))):
        if not changed:
            break
        near = min(len(changed), chance.choice((64, 4096, 1 << 30)))  # headers matter most
        place = chance.randrange(near) if chance.random() < 0.7 else len(changed) - 1 - chance.randrange(near)
        chance.choice(_CHANGES)(changed, place, chance)
    return bytes(changed)


def _flip(data: bytearray, place: int, chance: random.Random) -> None:
    data[place] ^= 1 << chance.randrange(8)


def _set(data: bytearray, place: int, chance: random.Random) -> None:
    data[place] = chance.randrange(256)


def _word(data: bytearray, place: int, chance: random.Random) -> None:
    data[place : place + 4] = chance.choice(_EXTREMES).to_bytes(4, "little")


def _digit(data: bytearray, place: int, chance: random.Random) -> None:
    """Another digit or bracket where there is text."""
    data[place : place + 1] = chance.choice((b"9", b"-", b"null", b"1e999", b'"', b"[", b"}", b"99999999", b"NaN"))


def _cut(data: bytearray, place: int, chance: random.Random) -> None:
    del data[place : place + chance.choice((1, 8, 200, 1 << 30))]


def _double(data: bytearray, place: int, chance: random.Random) -> None:
    data[place:place] = data[place : place + chance.choice((1, 8, 200))]


def _zero(data: bytearray, place: int, chance: random.Random) -> None:
    length = min(chance.choice((4, 64, 1024)), len(data) - place)
    data[place : place + length] = bytes(length)


def _mapped() -> int:
    """Bytes of address space that the libraries take up already."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _too_slow(*_: object) -> None:
    raise TimeoutError


_CHANGES: Sequence[Callable[[bytearray, int, random.Random], None]] = (_flip, _flip, _set, _word, _digit, _cut, _double, _zero)

if __name__ == "__main__":
    main(sys.argv[1:])
