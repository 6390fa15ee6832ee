"""`mobilenets serve` beside the bare engine: throughput, latency under load, and whether anything is lost or kept.

    python benchmarks/serve.py runs/photos photos/ --seconds 20 --rounds 5
    python benchmarks/serve.py runs/photos photos/ --open-seconds 600

The server and the bare engine have one thread and one core each, the same one, and what asks has the others (where there are
several cores). They take turns, and a round's ratio is that of neighbors: of answers per second, and, where other programs
want the cores too, of answers per second of processor time. "images" are files posted to `/predict` beside a loop that
decodes, prepares, runs and writes the same JSON; "tensors" are FP32 tensors of the protocol's binary extension beside a loop
that runs the engine alone.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import cycle
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from serve_load import Load, closed_loop, open_loop, request

from mobilenets.runtime.cores import cores
from mobilenets.runtime.machine import load, machine
from mobilenets.runtime.predictor import Predictor
from mobilenets.runtime.rows import json_line
from mobilenets.runtime.sources import load as prepared

CLIENTS = (1, 8, 64)
SHARES = (0.5, 0.9, 4.0)
"""Of the capacity, in the open loop."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One way of asking.

    Args:
        name: of it.
        requests: over the wire.
        bare: makes what the bare engine does with one image, from a predictor.
    """

    name: str
    requests: Sequence[bytes]
    bare: Callable[[Predictor, Sequence[bytes]], Callable[[], object]]


@dataclass(frozen=True, slots=True)
class Turn:
    """What was done in a turn.

    Args:
        count: images that were answered.
        seconds: of the clock.
        cpu_seconds: of the processor, by the server or the bare engine.
    """

    count: int
    seconds: float
    cpu_seconds: float

    @property
    def per_second(self) -> float:
        """Images per second."""
        return self.count / self.seconds

    @property
    def per_cpu_second(self) -> float:
        """Images per second of processor time."""
        return self.count / self.cpu_seconds


def main() -> None:
    """Measure, and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("images", type=Path, help="a folder of images")
    parser.add_argument("--engine")
    parser.add_argument("--max-images", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5.0, help="of a turn in the closed loop")
    parser.add_argument("--rounds", type=int, default=3, help="in which the bare engine and the server take turns")
    parser.add_argument("--open-seconds", type=float, default=20.0, help="of each rate in the open loop")
    given = parser.parse_args()
    files = sorted(file for file in given.images.rglob("*") if file.suffix.lower() in (".jpg", ".jpeg", ".png", ".bmp"))
    images = [file.read_bytes() for file in files[: given.max_images]]
    ours, theirs = split_cores()
    facts: dict[str, object] = {
        "machine": asdict(machine()),
        "server_cores": sorted(ours),
        "client_cores": sorted(theirs),
        "load_before": load(),
    }
    with server(given.model, given.engine, ours) as (port, process), bare(given.model, given.engine, images, ours) as run_bare:
        if theirs != ours:
            os.sched_setaffinity(0, theirs)
        lines = [
            closed(asked, port, process.pid, run_bare, given.rounds, given.seconds)
            for asked in (by_image(images), by_tensor(given, images))
        ]
        capacity = float(str(lines[0]["server_per_second"]))
        overload = [opened(by_image(images), port, process.pid, share * capacity, given.open_seconds) for share in SHARES]
        facts |= {"model": str(given.model), "engine": given.engine, "images": len(images)}
        print(
            json.dumps(
                {
                    **facts,
                    "closed": lines,
                    "open": [{"share": share, **line} for share, line in zip(SHARES, overload, strict=True)],
                },
                indent=1,
            )
        )


def by_image(images: Sequence[bytes]) -> Asked:
    """Encoded images, to `/predict`."""
    return Asked("images", [request("/predict", image) for image in images], _whole)


def by_tensor(given: argparse.Namespace, images: Sequence[bytes]) -> Asked:
    """Prepared tensors, by the protocol's binary extension."""
    predictor = Predictor.open(given.model, threads=1, engine=given.engine)
    requests = []
    for image in images:
        tensor = prepared(image, predictor.manifest.input)[0][np.newaxis]
        one = {"name": "image", "shape": tensor.shape, "datatype": "FP32", "parameters": {"binary_data_size": tensor.nbytes}}
        head = json.dumps({"inputs": [one], "parameters": {"binary_data_output": True}}).encode()
        requests.append(
            request("/v2/models/measured/infer", head + tensor.tobytes(), Inference_Header_Content_Length=str(len(head)))
        )
    predictor.close()
    return Asked("tensors", requests, _engine)


def closed(
    asked: Asked, port: int, process: int, run_bare: Callable[[str, float], Turn], rounds: int, seconds: float
) -> dict[str, object]:
    """The closed loop with several numbers of clients, and the bare engine before and after, all in turn."""
    bare_turns: list[tuple[Turn, Turn]] = []
    turns: dict[int, list[Turn]] = {clients: [] for clients in CLIENTS}
    loads: dict[int, list[Load]] = {clients: [] for clients in CLIENTS}
    closed_loop(port, asked.requests, clients=2, seconds=0.5)
    for i in range(rounds):
        first = run_bare(asked.name, seconds)
        for clients in CLIENTS:
            before = cpu_seconds(process)
            found = closed_loop(port, asked.requests, clients=clients, seconds=seconds)
            loads[clients].append(found)
            turns[clients].append(Turn(found.statuses[200], found.seconds, cpu_seconds(process) - before))
        bare_turns.append((first, run_bare(asked.name, seconds)))
        said = ", ".join(f"{clients} clients {found[-1].per_second:.1f}" for clients, found in turns.items())
        print(f"{asked.name}, round {i + 1} of {rounds}, per second: bare {first.per_second:.1f}, {said}", file=sys.stderr)
    return {
        "asked": asked.name,
        "bare_per_second": round(statistics.median(turn.per_second for pair in bare_turns for turn in pair), 1),
        "server_per_second": round(statistics.median(turn.per_second for turn in turns[CLIENTS[-1]]), 1),
        "ratio": {str(clients): ratios(found, bare_turns, "per_second") for clients, found in turns.items()},
        "ratio_of_processor_time": {
            str(clients): ratios(found, bare_turns, "per_cpu_second") for clients, found in turns.items()
        },
        "loads": {str(clients): [one.to_data() for one in found] for clients, found in loads.items()},
    }


def ratios(turns: Sequence[Turn], bare_turns: Sequence[tuple[Turn, Turn]], figure: str) -> dict[str, object]:
    """The server's figure by that of the bare engine in the same round: the median and the spread over the rounds."""
    found = [
        getattr(turn, figure) / statistics.mean(getattr(one, figure) for one in pair)
        for turn, pair in zip(turns, bare_turns, strict=True)
    ]
    return {"median": round(statistics.median(found), 3), "spread": [round(min(found), 3), round(max(found), 3)]}


def opened(asked: Asked, port: int, process: int, rate: float, seconds: float) -> dict[str, object]:
    """The open loop at a rate, and the server's memory before and after."""
    before = memory_mb(process)
    found = open_loop(port, asked.requests, rate=rate, seconds=seconds)
    print(f"open loop at {rate:.1f} per second: {found.to_data()}", file=sys.stderr)
    return {"rate": round(rate, 1), **found.to_data(), "memory_mb": [before, memory_mb(process)]}


@contextmanager
def server(
    model: Path, engine: str | None, own: set[int] | None, log: Path | None = None
) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """A server: its port and its process.

    Args:
        model: that it serves, as "measured".
        engine: name of the runtime; None for the fastest.
        own: its cores, with a thread for each; None for all.
        log: where its log goes; None for nowhere, unless the server does not begin.
    """
    options = [*(["--engine", engine] if engine else []), *(["--threads", str(len(own))] if own else [])]
    command = [sys.executable, "-m", "mobilenets", "serve", f"measured={model}", "--port", "0", "--json", *options]
    pinned = (lambda: os.sched_setaffinity(0, own)) if own else None
    with tempfile.TemporaryDirectory() as folder:
        log = log or Path(folder) / "log"
        with log.open("w") as written:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=written, text=True, preexec_fn=pinned)
            try:
                assert process.stdout is not None
                address = process.stdout.readline()
                if not address:
                    sys.exit(f"the server does not begin; it says:\n{log.read_text()}")
                yield int(address.rpartition(":")[2]), process
            finally:
                process.terminate()
                process.wait()


@contextmanager
def bare(model: Path, engine: str | None, images: Sequence[bytes], own: set[int]) -> Iterator[Callable[[str, float], Turn]]:
    """The bare engine in a process on cores of its own: a function from a way and seconds to a turn."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_bare, args=(there, model, engine, images, own), daemon=True)
    process.start()
    here.recv()  # it is open

    def run(name: str, seconds: float) -> Turn:
        here.send((name, seconds))
        return Turn(*here.recv())

    try:
        yield run
    finally:
        here.send(None)
        process.join()


def split_cores() -> tuple[set[int], set[int]]:
    """The cores of the server, and those of what asks it; the same one where there is one."""
    found = sorted(os.sched_getaffinity(0))
    return {found[0]}, set(found[1:]) or {found[0]}


def cpu_seconds(process: int) -> float:
    """The processor time that a process has had."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mb(process: int) -> float:
    """What a process has in memory, MB."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return round(int(line.split()[1]) / 1000, 1)
    return float("nan")


def _bare(link: Connection, model: Path, engine: str | None, images: Sequence[bytes], own: set[int]) -> None:
    os.sched_setaffinity(0, own)
    predictor = Predictor.open(model, threads=1, engine=engine)
    ways = {"images": _whole(predictor, images), "tensors": _engine(predictor, images)}
    for way in ways.values():
        way()
    link.send(cores())
    while (asked := link.recv()) is not None:
        name, seconds = asked
        start, cpu, count = time.perf_counter(), time.process_time(), 0
        while time.perf_counter() - start < seconds:
            ways[name]()
            count += 1
        link.send((count, time.perf_counter() - start, time.process_time() - cpu))


def _whole(predictor: Predictor, images: Sequence[bytes]) -> Callable[[], object]:
    """Decode, prepare, run, and write JSON, of one image after the other."""
    turns = cycle(images)
    return lambda: json_line({"file": "-", **predictor.predict(next(turns)).record()}).encode()


def _engine(predictor: Predictor, images: Sequence[bytes]) -> Callable[[], object]:
    """Run the engine alone, on one image after the other."""
    turns = cycle([prepared(image, predictor.manifest.input)[0][np.newaxis] for image in images])
    return lambda: predictor.run(next(turns))


if __name__ == "__main__":
    main()
