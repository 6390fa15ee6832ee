"""`Format`: a kind of exported file, with the functions that write and open it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from mobilenets.deploy.cpp.write import Written
from mobilenets.deploy.graph import Graph
from mobilenets.deploy.tails import Tail
from mobilenets.runtime.engines.base import Engine, FastPath
from mobilenets.runtime.manifest import Precision

HALF_PRECISIONS: tuple[Precision, ...] = ("float16", "bfloat16")
"""The precisions of formats with 16-bit weights."""

HALF_TOLERANCE = 0.05
"""Largest allowed difference of an output, relative to its largest value, if weights or all numbers are rounded to 16 bits."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts that the writer of a file knows about it.

    Args:
        fast_path: how many operators run on fast kernels; None if the engine reports that.
        memory: the memory that it needs on a device; None if a runtime decides that.
    """

    fast_path: FastPath | None = None
    memory: Written | None = None


class Write(Protocol):
    """Writes a graph to a file, and any files that it needs beside it."""

    def __call__(self, graph: Graph, path: Path, batch: int | None) -> Facts | None:
        """Write the file; returns facts about it, or None.

        Args:
            graph: the network.
            path: the file.
            batch: a fixed batch size; None for any.
        """
        ...


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of exported file.

    Args:
        title: the name of its runtime, for users.
        write: writes a file.
        open: opens a file to compare it with the model; gets the graph too, which only Core ML uses.
        version: returns the version of the runtime; raises MissingExtraError if the runtime is required but not installed.
        batch: the default batch size of a file; None for any.
        any_batch: whether a file can take any batch size.
        precision: the precision of the network's computation.
        tolerance: the smallest sensible tolerance for this precision.
        refused: tails that the runtime cannot run, each with the reason.
        raw_too: whether a network with a tail is also written and compared without it; false if that takes a minute.
        note: a note for readers of the comparison.
        unchecked: returns why files cannot be compared with the model here; empty if they can.
    """

    title: str
    write: Write
    open: Callable[[Path, Graph], Engine]
    version: Callable[[], str]
    batch: int | None = None
    any_batch: bool = True
    precision: Precision = "float32"
    tolerance: float = 0.0
    refused: Mapping[Tail, str] = field(default_factory=dict)
    raw_too: bool = True
    note: str = ""
    unchecked: Callable[[], str] = lambda: ""
