"""`mobilenets quantize` killed at random moments: nothing half-written is taken for a model, and the next run ends well.

For each task a tiny network is trained, and quantized undisturbed. Then, for every kill, the same command is sent SIGKILL:
every other time at a random moment of its time, else at a random moment after its folder's draft has appeared, because writing
takes only a small part of the time. Every other pair of kills, an older int8 model is there to be replaced. After the kill
there must be no folder, the older one with every byte, or the new one with every file; and the same command must then end with
the undisturbed model, with nothing left beside it.

    python benchmarks/quantize_kills.py --kills 40
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from kills import SHORT, TASKS, TINY, drawn, forked, outcomes_of, run

from mobilenets.files import settled

SETTINGS = ("--count", "6", "--max-drop", "100")
EXACT = ("graph.safetensors", "export")
"""Files of the folder that are the same each time; the others tell times."""

WRITING = 0.3
"""The share of its time within which a command that has begun to write is killed."""

Contents = dict[str, str]
"""Of a folder: the checksum of each file, by its path."""


def main() -> int:
    """Print a line for each task; 1 if half a model was found, or the next run did not end well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    return outcomes_of(killed, parser)


def killed(task: str, folder: Path, generator: random.Random, options: argparse.Namespace) -> Counter[str]:
    """How often each outcome occurred; those in capitals must not occur."""
    data, log = drawn(task, folder / "data"), folder / "log"
    floats, model = folder / "floats", folder / "run" / "int8"
    assert run(("train", data, *TINY, *SHORT, *TASKS[task], "--out", str(floats)), log, ranks=1) == 0, log.read_text()
    command = ("quantize", str(floats), *SETTINGS, "--out", str(model))
    assert run((*command, "--seed", "1"), log, ranks=1) == 0, log.read_text()
    older = contents(model)
    model.rename(folder / "older")
    start = time.monotonic()
    assert run(command, log, ranks=1) == 0, log.read_text()
    seconds = time.monotonic() - start
    new = contents(model)
    assert exact(new) != exact(older)
    outcomes: Counter[str] = Counter()
    for i in range(options.kills):
        shutil.rmtree(model.parent)
        if i % 4 > 1:
            shutil.copytree(folder / "older", model)
        kill(command, log, None if i % 2 else model.with_name(".int8.new"), generator, seconds)
        left = contents(settled(model))
        if not left:
            outcomes["no model"] += 1
        elif left == older:
            outcomes["the older model"] += 1
        else:
            outcomes["the new model" if complete(left, new) else "HALF A MODEL"] += 1
        if run(command, log, ranks=1):
            outcomes["FAILED AGAIN"] += 1
        elif not complete(contents(model), new):
            outcomes["OTHER MODEL AGAIN"] += 1
        elif [path.name for path in model.parent.iterdir()] != [model.name]:
            outcomes["LEFT SOMETHING"] += 1
        else:
            outcomes["the undisturbed model again"] += 1
    return outcomes


def kill(command: Sequence[str], log: Path, draft: Path | None, generator: random.Random, seconds: float) -> None:
    """Start the command line in a process of its own and kill it.

    Args:
        command: arguments of `mobilenets`.
        log: a file for what it prints.
        draft: a folder whose appearance is waited for; None for none.
        generator: draws the moment.
        seconds: that the command takes undisturbed.
    """
    log.write_bytes(b"")
    process = forked(command, log, rank=0, ranks=1, port=0)
    end = time.monotonic() + 2 * seconds
    while draft is not None and not draft.exists() and time.monotonic() < end:
        time.sleep(0.001)
    time.sleep(generator.uniform(0, seconds if draft is None else WRITING * seconds))
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)


def contents(folder: Path) -> Contents:
    """What is in a folder; nothing if it does not exist."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256(path.read_bytes()).hexdigest() for path in files}


def exact(files: Contents) -> Contents:
    """The files that are the same each time."""
    return {name: checksum for name, checksum in files.items() if name.partition("/")[0] in EXACT}


def complete(files: Contents, expected: Contents) -> bool:
    """Whether a folder has every file of another, and the same model."""
    return files.keys() == expected.keys() and exact(files) == exact(expected)


if __name__ == "__main__":
    sys.exit(main())
