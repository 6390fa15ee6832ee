"""Training runs that are killed at random moments: each must resume or start anew, and end with the undisturbed weights.

A tiny network learns a synthetic dataset through the command line, for each of the three tasks. First it runs undisturbed.
Then, for every kill, a run with the same seed is sent SIGKILL at a random moment of that time, so that loading, training,
saving, export and report are all hit. `--resume` must then finish the run; if the kill came before anything was saved, a
fresh start with the same `--out` must. The weights are compared with those of the undisturbed run, byte by byte.
With two ranks one of the two processes is killed. The other gets SIGTERM, as `torchrun` sends it, and must end within the 30
seconds after which `torchrun` would kill it.

    python benchmarks/kills.py --kills 75
    python benchmarks/kills.py --kills 25 --ranks 2
    python benchmarks/kills.py --kills 25 --int8          # training in integers, from a float network
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from mobilenets.cli.app import main as command_line

PATIENCE = 30.0
Killed = Callable[[str, Path, random.Random, argparse.Namespace], Counter[str]]
ENDED = os.WEXITED | os.WNOHANG | os.WNOWAIT
SHORT = ("--epochs", "3", "--set", "batch=8", "--set", "workers=0")
TINY = ("--weights", "none", "--width", "0.1", "--size", "64")
TASKS = {
    "classify": ("--recipe", "scratch-small", "--set", "time_budget_minutes=0", "--folds", "0"),
    "detect": ("--set", "evaluate_every_epochs=1", "--folds", "0"),
    "segment": ("--set", "evaluate_every_epochs=1", "--folds", "0"),
}


def main() -> int:
    """Print a line for each task; 1 if a run was lost or ended with other weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", type=int, default=1, help="processes that learn together")
    parser.add_argument("--int8", action="store_true", help="kill training in integers")
    return outcomes_of(killed, parser)


def outcomes_of(killed: Killed, parser: argparse.ArgumentParser) -> int:
    """Print how often each outcome occurred, a line for each task; 1 if one occurred that must not.

    Args:
        killed: kills the command of a task and counts outcomes; those that must not occur have capitals.
        parser: gets the options that all such benchmarks have.
    """
    parser.add_argument("--kills", type=int, default=20, help="of each task")
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)  # a forked process has no more
    settings = {name: value for name, value in vars(options).items() if name != "tasks"}
    wrong = 0
    for task in options.tasks:
        with tempfile.TemporaryDirectory() as name:
            outcomes = killed(task, Path(name), random.Random(f"{options.seed} {task}"), options)
        wrong += sum(count for outcome, count in outcomes.items() if outcome != outcome.lower())
        print(json.dumps({"task": task, **settings, **outcomes}), flush=True)
    return int(wrong > 0)


def killed(task: str, folder: Path, generator: random.Random, options: argparse.Namespace) -> Counter[str]:
    """How often each outcome occurred."""
    data, log, ranks = drawn(task, folder / "data"), folder / "log", options.ranks
    train = ("train", data, *TINY, *SHORT, *TASKS[task], "--out")
    if options.int8:
        floats = str(folder / "floats")
        assert run((*train, floats), log, ranks) == 0, log.read_text()
        train = ("train", data, "--weights", floats, "--set", "quantize=int8", *SHORT, "--folds", "0", "--out")
    start = time.monotonic()
    assert run((*train, str(folder / "undisturbed")), log, ranks) == 0, log.read_text()
    seconds = time.monotonic() - start
    expected = weights(folder / "undisturbed")
    outcomes: Counter[str] = Counter()
    for i in range(options.kills):
        out = folder / f"run-{i}"
        kill = Kill(generator.uniform(0, seconds), generator.randrange(ranks))
        try:
            run((*train, str(out)), log, ranks, kill)
        except TimeoutError:
            outcomes["hung"] += 1
        if run(("train", data, "--out", str(out), "--resume"), log, ranks) == 0:
            outcome = "resumed"
        elif run((*train, str(out)), log, ranks) == 0:
            outcome = "started anew"
        else:
            outcomes["LOST"] += 1
            continue
        outcomes[f"{outcome}, {'same' if weights(out) == expected else 'OTHER'} weights"] += 1
        shutil.rmtree(out)
    return outcomes


@dataclass(frozen=True, slots=True)
class Kill:
    """When a process is killed, in seconds after the start, and which rank it is."""

    after: float
    rank: int


def run(arguments: Sequence[str], log: Path, ranks: int, kill: Kill | None = None) -> int:
    """The exit code of the command line in processes of its own: the first that is not 0; negative where a signal ended it.

    The processes are forked, so that they need not import torch again.

    Args:
        arguments: of `mobilenets`.
        log: a file for what they print.
        ranks: how many processes learn together.
        kill: which of them is sent SIGKILL, and when.

    Raises:
        TimeoutError: the others still ran `PATIENCE` seconds after they got SIGTERM; they are killed, too.
    """
    log.write_bytes(b"")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    processes = [forked(arguments, log, rank, ranks, port) for rank in range(ranks)]
    if kill is not None:
        time.sleep(kill.after)
        for rank, process in enumerate(processes):  # a process that has ended waits to be asked for its code
            os.kill(process, signal.SIGKILL if rank == kill.rank else signal.SIGTERM)
        wait_for_all(processes, PATIENCE)
    codes = [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in processes]
    return next((code for code in codes if code), 0)


def forked(arguments: Sequence[str], log: Path, rank: int, ranks: int, port: int) -> int:
    """The number of a new process that runs the command line."""
    process = os.fork()
    if process:
        return process
    if ranks > 1:
        group = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": ranks, "LOCAL_WORLD_SIZE": ranks, "MASTER_PORT": port}
        os.environ.update({"MASTER_ADDR": "127.0.0.1", **{name: str(value) for name, value in group.items()}})
    file = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.argv = ["mobilenets", *arguments]
    code = 1
    try:
        command_line()
    except SystemExit as stop:
        code = int(stop.code or 0)
    else:
        code = 0
    finally:
        os._exit(code)


def wait_for_all(processes: Sequence[int], seconds: float) -> None:
    """Until all processes have ended; those that have not within the time are killed, with a TimeoutError."""
    until = time.monotonic() + seconds
    running = list(processes)
    while running and time.monotonic() < until:
        time.sleep(0.05)
        running = [process for process in running if os.waitid(os.P_PID, process, ENDED) is None]
    for process in running:
        os.kill(process, signal.SIGKILL)
    if running:
        for process in processes:
            os.waitpid(process, 0)
        raise TimeoutError


def weights(folder: Path) -> tuple[bytes, bytes]:
    """The best and the last weights of a run."""
    best, last = ((folder / part / "model.safetensors").read_bytes() for part in ("best", "last"))
    return best, last


def drawn(task: str, folder: Path) -> str:
    """What `train` is given: a dataset of 24 small images, bright or dark ones, or bright squares with boxes or masks."""
    generator = np.random.default_rng(0)
    for name in ("images", "masks") if task == "segment" else ("cat", "dog") if task == "classify" else ("images",):
        (folder / name).mkdir(parents=True)
    rows = ["path,x0,y0,x1,y1,label"]
    for i in range(24):
        pixels = generator.integers(0, 128, (64, 64, 3), np.uint8)
        x, y = (int(place) for place in generator.integers(0, 32, 2))
        if task == "classify":
            Image.fromarray(pixels + np.uint8(i % 2 * 120)).save(folder / ("cat", "dog")[i % 2] / f"{i}.png")
            continue
        pixels[y : y + 32, x : x + 32] += 120
        Image.fromarray(pixels).save(folder / "images" / f"{i}.png")
        rows.append(f"images/{i}.png,{x},{y},{x + 32},{y + 32},square")
        if task == "segment":
            mask = np.zeros((64, 64), np.uint8)
            mask[y : y + 32, x : x + 32] = 1
            Image.fromarray(mask).save(folder / "masks" / f"{i}.png")
    if task == "detect":
        (folder / "boxes.csv").write_text("\n".join(rows) + "\n")
        return str(folder / "boxes.csv")
    if task == "segment":
        (folder / "classes.txt").write_text("ground\nsquare\n")
    return str(folder)


if __name__ == "__main__":
    sys.exit(main())
