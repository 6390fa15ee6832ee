"""`fastest`: the fastest runtime for a model on this machine, measured once and remembered.

The runtimes take turns. The first one in the table's order that is within `TIE` of the best is chosen, so that noise does not
change the choice. A runtime whose outputs differ from the first one's is left out, because its file comes from another
training.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mobilenets.errors import CheckpointError, MobileNetsError
from mobilenets.files import alone, write_text
from mobilenets.runtime.cache import user_cache
from mobilenets.runtime.cores import cores
from mobilenets.runtime.engines.gate import Gate
from mobilenets.runtime.machine import load, machine

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mobilenets.runtime.engines.base import Engine, Outputs
    from mobilenets.runtime.engines.table import Runtime
    from mobilenets.runtime.manifest import Manifest

TIE = 1.01
"""The chosen runtime may be slower than the best by this factor."""

BUDGET_S = 1.2
"""Time for measuring all runtimes together, in seconds."""

QUICK_MS = 1.0
"""If a network takes less than this per image, the first runtime is chosen and the others are not even loaded."""

_FORMAT = 1
_SLICE_S = 0.03
_CLEAR, _CLEAR_RUNS = 1.5, 9  # if all others are slower by this factor after this many runs, measuring stops
_TOLERANCE = {"float32": 0.01}  # relative to the largest output; other precisions round more
_ROUNDED = 0.1


@dataclass(frozen=True, slots=True)
class Candidate:
    """A runtime and the file that it would open.

    Args:
        name: the runtime's name, as users type it.
        runtime: opens the file.
        file: the exported file.
        threads: number of threads that compute an image together.
    """

    name: str
    runtime: Runtime
    file: Path
    threads: int = 1

    @property
    def label(self) -> str:
        """The name, with the number of threads if there are several."""
        return self.name if self.threads == 1 else f"{self.name} on {self.threads} threads"

    def open(self) -> Engine:
        """The engine; raises MobileNetsError, also if the file does not fit its manifest."""
        engine = self.runtime.open(self.file, threads=self.threads)
        fitting_manifest(engine)
        return engine


@dataclass(frozen=True, slots=True)
class Choice:
    """Which runtime was chosen, and why.

    Args:
        name: the chosen candidate's label: the runtime, and its threads if there are several.
        times_ms: time per image of each candidate; empty if nothing was measured.
        left_out: runtimes that were not used, each with the reason.
    """

    name: str
    times_ms: Mapping[str, float] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        if not self.times_ms:
            return self.name
        times = ", ".join(f"{name} {ms:.2f} ms" for name, ms in self.times_ms.items())
        return f"{self.name} (measured once, one image: {times})"


def fitting_manifest(engine: Engine) -> Manifest:
    """An engine's manifest, checked against the input that the engine takes.

    Raises:
        CheckpointError: they disagree, or the manifest is missing or damaged.
    """
    manifest = engine.manifest()
    if engine.input_shape not in (None, manifest.input.shape):
        sizes = (" x ".join(str(side) for side in shape or ()) for shape in (engine.input_shape, manifest.input.shape))
        raise CheckpointError(
            "'{}' takes inputs of {} px, but its manifest says {} px".format(engine.source, *sizes), hint="export it again"
        )
    return manifest


def fastest(candidates: Sequence[Candidate], *, cache: Path | None = None, busy: bool | None = None) -> tuple[Engine, Choice]:
    """The engine of the fastest runtime, and the measurements behind the choice.

    Args:
        candidates: at least one; the outputs of the others must agree with those of the first.
        cache: folder where choices are remembered; the user's cache folder by default. If it is not writable, nothing is
            measured and the first runtime is chosen.
        busy: whether other programs need the processor; by default, whether the load exceeds the number of cores. If so,
            candidates with several threads are not measured: the first is chosen, and nothing is remembered.

    Raises:
        MobileNetsError: no runtime can open its file; the error is that of the first one.
    """
    folder = (cache or user_cache()) / "engines"
    place = folder / f"{_key(candidates)}.json"
    known = _remembered(place, candidates)
    if known is not None:
        return _labelled(candidates, known.name).open(), known
    first = candidates[0].open()
    busy = is_busy() if busy is None else busy
    several = any(candidate.threads > 1 for candidate in candidates)
    if len(candidates) == 1 or (busy and several) or _is_quick(first):
        return first, Choice(candidates[0].label)
    with contextlib.suppress(OSError), alone(_lock(place)):
        known = _remembered(place, candidates)
        if known is not None:  # another process has measured in the meantime
            if known.name == candidates[0].label:
                return first, known
            first.close()
            return _labelled(candidates, known.name).open(), known
        engine, choice = _measured(candidates, first, busy=busy)
        with contextlib.suppress(OSError):
            write_text(place, json.dumps(_to_data(choice)) + "\n")
        return engine, choice
    return first, Choice(candidates[0].label)


def is_busy() -> bool:
    """Whether more programs want to run than there are cores, averaged over the last minute."""
    return (load() or 0.0) > cores()


def _measured(candidates: Sequence[Candidate], first: Engine, *, busy: bool) -> tuple[Engine, Choice]:
    """The fastest engine; the other engines are closed."""
    manifest = first.manifest()
    image = _image(manifest)
    expected = Gate(first, 1).run(image)
    gates, left_out = {candidates[0].label: Gate(first, 1)}, {}
    for candidate in candidates[1:]:
        try:
            engine = candidate.open()
            reason = _difference(manifest, expected, engine, image)
        except MobileNetsError as error:
            left_out[candidate.label] = str(error)
            continue
        if reason:
            engine.close()
            left_out[candidate.label] = reason
        else:
            gates[candidate.label] = Gate(engine, 1)
    times_ms = _times_ms(gates, image, busy=busy)
    best = min(times_ms.values())
    name = next(name for name, ms in times_ms.items() if ms <= TIE * best)
    for other, gate in gates.items():
        if other != name:
            gate.engine.close()
    return gates[name].engine, Choice(name, times_ms, left_out)


def _times_ms(gates: Mapping[str, Gate], image: NDArray[np.float32], *, busy: bool) -> dict[str, float]:
    """Time per image of each runtime. They take turns, and measuring stops early if one is clearly the fastest.

    Args:
        gates: the engines, by runtime.
        image: the image to run on.
        busy: whether other programs need the processor. If so, CPU time is compared, which they hardly affect. Otherwise it is
            the lower quartile of wall-clock times, which also suits runtimes that wait for a device.
    """
    runs: dict[str, list[float]] = {name: [] for name in gates}
    computed = dict.fromkeys(gates, 0.0)
    for gate in gates.values():
        gate.run(image)
    end = time.perf_counter() + BUDGET_S
    while True:
        for name, gate in gates.items():
            gate.run(image)  # not timed: it refills the caches after the other runtimes' turns
            before = time.process_time()
            runs[name] += _slice_ms(gate, image)
            computed[name] += 1000 * (time.process_time() - before)
        quartiles = {name: sorted(times)[len(times) // 4] for name, times in runs.items()}
        times_ms = {name: computed[name] / len(times) for name, times in runs.items()} if busy else quartiles
        best, *others = sorted(times_ms.values())
        clear = min(map(len, runs.values())) >= _CLEAR_RUNS and all(ms > _CLEAR * best for ms in others)
        if clear or time.perf_counter() >= end:
            return times_ms


def _slice_ms(gate: Gate, image: NDArray[np.float32]) -> list[float]:
    times: list[float] = []
    before = start = time.perf_counter()
    while not times or before - start < _SLICE_S:
        gate.run(image)
        now = time.perf_counter()
        times.append(1000 * (now - before))
        before = now
    return times


def _is_quick(engine: Engine) -> bool:
    gate, image = Gate(engine, 1), _image(engine.manifest())
    gate.run(image)
    for _ in range(3):
        start = time.perf_counter()
        gate.run(image)
        if 1000 * (time.perf_counter() - start) < QUICK_MS:
            return True
    return False


def _image(manifest: Manifest) -> NDArray[np.float32]:
    """A photo-like image, `1 C H W`: large areas of random color."""
    height, width = manifest.input.shape
    areas = np.random.default_rng(0).normal(size=(manifest.input.channels, 8, 8)).astype(np.float32)
    rows, columns = (np.arange(side) * 8 // side for side in (height, width))
    return np.ascontiguousarray(areas[:, rows][:, :, columns][np.newaxis])


def _difference(manifest: Manifest, expected: Outputs, engine: Engine, image: NDArray[np.float32]) -> str:
    """How an engine's outputs differ from those of the first network; "" if they agree."""
    if engine.manifest() != manifest:
        return "its file has another manifest"
    outputs = Gate(engine, 1).run(image)
    tolerance = _TOLERANCE.get(manifest.precision, _ROUNDED)
    for name, values in expected.items():
        if name not in outputs or outputs[name].shape != values.shape:
            return f"its file has no such output '{name}'"
        largest = float(np.max(np.abs(values), initial=0.0))
        if not float(np.max(np.abs(outputs[name] - values), initial=0.0)) <= tolerance * max(largest, 1e-6):
            return "its file computes something else; was it exported before the last training?"
    return ""


def _key(candidates: Sequence[Candidate]) -> str:
    """A cache key that changes with the machine, the runtimes' versions and the files."""
    here = machine()
    facts: list[object] = [_FORMAT, here.cpu, here.cores, here.system]
    for candidate in candidates:
        state = candidate.file.stat()
        file = str(candidate.file.resolve())
        facts += [candidate.label, candidate.runtime.version, file, state.st_size, state.st_mtime_ns]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:32]


def _remembered(place: Path, candidates: Sequence[Candidate]) -> Choice | None:
    try:
        data = json.loads(place.read_text(encoding="utf-8"))
        choice = Choice(str(data["name"]), dict(data["times_ms"]), dict(data["left_out"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return choice if any(candidate.label == choice.name for candidate in candidates) else None


def _to_data(choice: Choice) -> dict[str, object]:
    return {"name": choice.name, "times_ms": dict(choice.times_ms), "left_out": dict(choice.left_out)}


def _labelled(candidates: Sequence[Candidate], label: str) -> Candidate:
    return next(candidate for candidate in candidates if candidate.label == label)


def _lock(place: Path) -> Path:
    """The lock file that a process holds while it measures; raises OSError if it cannot be written."""
    lock = place.with_suffix(".lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.touch()
    return lock
