"""`LatencyTable`: measured latencies of pieces on one device, kept in a file, and predictions for whole networks.

The file has one JSON record per line: first the device, then pieces and measured whole networks. The latency of a network is
not quite the sum of its pieces: each piece on its own includes a call of the runtime and the transfer of its feature maps, and
finds its weights in the caches. These effects are fitted to the measured networks, starting from the latencies of two empty
pieces.
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
"""The keys of two empty pieces."""
MUCH_CHANNELS, MUCH_SIZE = 32, 64
"""The shape of the large map."""

TOLERANCE = 0.1
"""Predictions with at least this relative error are reported."""

_LEAST_SHARE = 0.05  # a prediction is at least this share of the sum over pieces
_PRIOR = 0.005
"""The weight of the initial guess in the fit, relative to one measured network."""


class LatencyError(MobileNetsError):
    """A latency table that cannot be read or lacks an entry, or a device that cannot measure."""


@dataclass(frozen=True, slots=True)
class Device:
    """Where latencies are measured.

    Args:
        machine: its name, such as the processor's.
        runtime: the runtime, such as "onnx".
        version: version of the runtime; "" if unknown.
        threads: number of threads per image.
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
        """The name of the device's table in the user's cache."""
        digest = hashlib.sha256(repr(self).encode()).hexdigest()[:12]
        return f"{self.runtime}-{digest}.jsonl"


@dataclass(frozen=True, slots=True)
class Whole:
    """A network that was measured as a whole.

    Args:
        key: identifies the network.
        sum_ms: sum of the latencies of its pieces.
        pieces: number of pieces.
        moved: millions of numbers that pass between its pieces.
        weights: millions of weights.
        ms: measured latency.
    """

    key: str
    sum_ms: float
    pieces: int
    moved: float
    weights: float
    ms: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """The model that predicts the latency of a network from those of its pieces.

    Args:
        factor: multiplies their sum.
        call_ms: saved for each piece but the first, because a network needs only one call.
        move_ms: saved for each million numbers between pieces, because they are not handed over.
        load_ms: added for each million weights, because a network does not find all of them in the caches.
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
        device: the device.
        path: the file; None to keep the table only in memory.
    """

    def __init__(self, device: Device, path: Path | None = None) -> None:
        self.device, self.path = device, path
        self.ms: dict[str, float] = {}
        self.wholes: dict[str, Whole] = {}

    @staticmethod
    def read(path: Path) -> LatencyTable:
        """Read a table from a file. An incomplete line after a kill is skipped.

        Raises:
            LatencyError: there is no such file, or it is not a latency table.
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
            keys: keys of the pieces.
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
        """The calibration, fitted to the measured networks by least relative squares, with the empty pieces as prior."""
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
        """The relative error of the prediction for each measured network, by key; positive if the prediction is too high."""
        calibration = self.calibration()
        return {
            whole.key: calibration.predicted_ms(whole.sum_ms, whole.pieces, whole.moved, whole.weights) / whole.ms - 1
            for whole in self.wholes.values()
            if whole.ms > 0
        }

    def add(self, measured: Mapping[str, float]) -> None:
        """Add latencies of pieces and write them to the file; raises OSError if it cannot be written."""
        self.ms |= measured
        self._append([encode(_Measured(key, ms)) for key, ms in measured.items()])

    def add_whole(self, whole: Whole) -> None:
        """Add a whole network, replacing an earlier measurement of it; raises OSError as above."""
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
            return  # incomplete: it is measured again

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
    """A key that identifies a network by its pieces."""
    return hashlib.sha256("\n".join(keys).encode()).hexdigest()[:16]
