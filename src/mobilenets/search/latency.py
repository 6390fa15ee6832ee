"""`LatencyTable`: latencies of pieces on one device, kept in a file, and what they predict of whole networks.

The file holds one JSON record a line: the device first, then pieces, and whole networks that were measured. A whole network is
not quite the sum of its pieces: each alone pays for a call of the runtime, for handing its maps over, and finds its weights
in the caches. How much that matters is fitted to the whole networks; the first guess is the latency of two empty pieces.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mobilenets.documents import decode, encode, parse
from mobilenets.errors import DocumentError, MobileNetsError

FORMAT = 1
NOTHING, MUCH = "nothing", "nothing, with a large map"
"""Keys of two empty pieces."""
MUCH_CHANNELS, MUCH_SIZE = 32, 64
"""The shape of the large map."""

TOLERANCE = 0.1
"""Relative error of a prediction from which on it is said."""

_LEAST_SHARE = 0.05  # of the sum of its pieces, that a network takes
_PRIOR = 0.005
"""How much the first guess counts against one whole network."""


class LatencyError(MobileNetsError):
    """A latency table that cannot be read or that lacks what is asked for, or a device that cannot measure."""


@dataclass(frozen=True, slots=True)
class Device:
    """Where latencies are measured.

    Args:
        machine: its name, such as the processor's.
        runtime: such as "onnx".
        version: of the runtime; "" if unknown.
        threads: that compute one image.
    """

    machine: str
    runtime: str
    version: str = ""
    threads: int = 1

    def __str__(self) -> str:
        threads = "" if self.threads == 1 else f", {self.threads} threads"
        return f"{self.runtime} {self.version} on {self.machine}{threads}".replace("  ", " ")

    @property
    def file_name(self) -> str:
        """Of the device's table in the user's cache."""
        digest = hashlib.sha256(repr(self).encode()).hexdigest()[:12]
        return f"{self.runtime}-{digest}.jsonl"


@dataclass(frozen=True, slots=True)
class Whole:
    """A network that was measured as a whole.

    Args:
        key: of the network: tells networks apart.
        sum_ms: of its pieces alone.
        pieces: how many they are.
        moved: millions of numbers that its pieces hand to each other.
        weights: millions of them.
        ms: measured.
    """

    key: str
    sum_ms: float
    pieces: int
    moved: float
    weights: float
    ms: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """How the latency of a network follows from those of its pieces.

    Args:
        factor: on their sum.
        call_ms: that each piece but the first costs less inside a network.
        move_ms: that each million numbers between pieces cost less inside a network.
        load_ms: that each million weights costs more, as a network does not find all of them in the caches.
    """

    factor: float
    call_ms: float
    move_ms: float
    load_ms: float

    def predicted_ms(self, sum_ms: float, pieces: int, moved: float, weights: float) -> float:
        """The latency of a network; the arguments are those of `Whole`."""
        saved = self.call_ms * (pieces - 1) + self.move_ms * moved
        return max(self.factor * sum_ms - saved + self.load_ms * weights, _LEAST_SHARE * sum_ms)


@dataclass(frozen=True, slots=True)
class _Header:
    format: int
    device: Device


@dataclass(frozen=True, slots=True)
class _Measured:
    piece: str
    ms: float


class LatencyTable:
    """The latencies of one device.

    Args:
        device: that they are of.
        path: the file; None to keep them in memory alone.
    """

    def __init__(self, device: Device, path: Path | None = None) -> None:
        self.device, self.path = device, path
        self.ms: dict[str, float] = {}
        self.wholes: dict[str, Whole] = {}

    @staticmethod
    def read(path: Path) -> LatencyTable:
        """The table in a file. A line that a kill cut off is skipped.

        Raises:
            LatencyError: there is no such file, or it is none of a table.
        """
        try:
            first, *lines = path.read_text(encoding="utf-8", errors="replace").splitlines() or [""]
            header = decode(parse(first), _Header)
        except OSError as error:
            raise LatencyError(f"'{path}' cannot be read: {error.strerror or error}") from error
        except DocumentError as error:
            raise LatencyError(
                f"'{path}' is not a latency table: {error}", hint="a search writes one, latency.jsonl, into its folder"
            ) from error
        if header.format != FORMAT:
            raise LatencyError(f"'{path}' has format {header.format}, but this version reads format {FORMAT}")
        table = LatencyTable(header.device, path)
        for line in lines:
            table._take(line)
        return table

    def predicted_ms(self, keys: Sequence[str], moved: float, weights: float) -> float:
        """The latency of a network of these pieces.

        Args:
            keys: of the pieces.
            moved, weights: as in `Whole`.

        Raises:
            LatencyError: the table lacks one of them.
        """
        return self.calibration().predicted_ms(self.sum_ms(keys), len(keys), moved, weights)

    def sum_ms(self, keys: Iterable[str]) -> float:
        """The sum of the latencies of pieces; raises LatencyError if the table lacks one."""
        keys = list(keys)
        missing = [key for key in dict.fromkeys(keys) if key not in self.ms]
        if missing:
            raise LatencyError(
                f"{'the table' if self.path is None else repr(str(self.path))} has no latency for {len(missing)} of "
                f"{len(keys)} pieces of the network, such as {missing[0][:100]}",
                hint="measure on the device itself: on this machine without --table, or with --ssh or --adb",
            )
        return sum(self.ms[key] for key in keys)

    def calibration(self) -> Calibration:
        """Fitted to the whole networks by least relative squares, beginning from the latencies of the empty pieces."""
        call_ms = self.ms.get(NOTHING, 0.0)
        numbers = MUCH_CHANNELS * MUCH_SIZE**2 / 1e6
        move_ms = max(self.ms.get(MUCH, 0.0) - call_ms, 0.0) / numbers
        guess = np.array([1.0, call_ms, move_ms, 0.0])
        wholes = [whole for whole in self.wholes.values() if whole.ms > 0]
        if not wholes:
            return Calibration(*guess.tolist())
        scale = np.where(guess > 0, guess, (1.0, 0.01, 0.05, 0.05))  # so that all unknowns are near 1
        known = [(whole.sum_ms, 1 - whole.pieces, -whole.moved, whole.weights) for whole in wholes]
        rows = [np.array(row) * scale / whole.ms for row, whole in zip(known, wholes, strict=True)]
        prior = np.sqrt(_PRIOR) * np.eye(4)
        aims = np.concatenate([np.ones(len(rows)), prior @ (guess / scale)])
        fitted = np.linalg.lstsq(np.vstack([*rows, prior]), aims, rcond=None)[0] * scale
        return Calibration(*np.maximum(fitted, 0.0).tolist())

    def errors(self) -> dict[str, float]:
        """By whole network: how far its prediction is from what was measured, relative; above 0 where it is too high."""
        calibration = self.calibration()
        return {
            whole.key: calibration.predicted_ms(whole.sum_ms, whole.pieces, whole.moved, whole.weights) / whole.ms - 1
            for whole in self.wholes.values()
            if whole.ms > 0
        }

    def add(self, measured: Mapping[str, float]) -> None:
        """Keep latencies of pieces, in the file too; raises OSError if it cannot be written."""
        self.ms |= measured
        self._append([encode(_Measured(key, ms)) for key, ms in measured.items()])

    def add_whole(self, whole: Whole) -> None:
        """Keep a whole network, in the place of an earlier measurement of it; raises OSError as above."""
        self.wholes[whole.key] = whole
        self._append([encode(whole)])

    def saved_as(self, path: Path) -> None:
        """Write a copy; raises OSError if it cannot be written."""
        from mobilenets.files import write_text

        records = [encode(_Header(FORMAT, self.device)), *(encode(_Measured(key, ms)) for key, ms in self.ms.items())]
        records += [encode(whole) for whole in self.wholes.values()]
        write_text(path, "".join(json.dumps(record) + "\n" for record in records))

    def _take(self, line: str) -> None:
        try:
            data = parse(line)
            if isinstance(data, dict) and "piece" in data:
                measured = decode(data, _Measured)
                self.ms[measured.piece] = measured.ms
            else:
                whole = decode(data, Whole)
                self.wholes[whole.key] = whole
        except DocumentError:
            return  # cut off: it is measured again

    def _append(self, records: Sequence[object]) -> None:
        if self.path is None or not records:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as file:
            if not file.tell():
                file.write(json.dumps(encode(_Header(FORMAT, self.device))).encode() + b"\n")
            text = "".join(json.dumps(record) + "\n" for record in records)
            file.write(b"\n" * (not self._ends_a_line()) + text.encode())
            file.flush()
            os.fsync(file.fileno())

    def _ends_a_line(self) -> bool:
        assert self.path is not None
        with self.path.open("rb") as file:
            if not file.seek(0, os.SEEK_END):
                return True
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"


def key_of(keys: Sequence[str]) -> str:
    """What tells networks of different pieces apart."""
    return hashlib.sha256("\n".join(keys).encode()).hexdigest()[:16]
