"""`Format`: a kind of exported file, what writes it and what runs it."""

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
"""Of formats whose weights have 16 bits."""

HALF_TOLERANCE = 0.05
"""Largest difference of an output, relative to its largest value, when weights or all numbers are rounded to 16 bits."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a writer knows of its file.

    Args:
        fast_path: how much runs on fast kernels; None where the engine says that.
        memory: what the file takes of a device; None where a runtime decides that.
    """

    fast_path: FastPath | None = None
    memory: Written | None = None


class Write(Protocol):
    """Writes a graph to a file, and what that needs beside it."""

    def __call__(self, graph: Graph, path: Path, batch: int | None) -> Facts | None:
        """What is known of the file; None for nothing.

        Args:
            graph: what to write.
            path: the file.
            batch: the only number of images that it takes at once; None for any number.
        """
        ...


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of exported file.

    Args:
        title: the name of the runtime that runs it, for people.
        write: writes it.
        open: opens the file to compare it with the model. Of the graph it was written from, only Core ML needs anything.
        version: of the runtime; raises MissingExtraError if that is not installed and has to be.
        batch: how many images a file takes at once unless the caller says otherwise; None for any number.
        any_batch: whether a file can take any number.
        precision: what the network computes in.
        tolerance: the least tolerance that makes sense for this precision.
        refused: tails that the runtime cannot run, each with the reason.
        raw_too: whether a network with a tail is also written and compared without it; not where that takes a minute.
        note: what a reader of the comparison has to know.
        unchecked: why files cannot be compared with the model here; empty if they can.
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
