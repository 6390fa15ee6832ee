"""`Engine`: the interface that every runtime implements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from mobilenets.errors import CheckpointError
from mobilenets.runtime.manifest import METADATA_KEY, Manifest, Precision, beside, read_beside

if TYPE_CHECKING:
    from numpy.typing import NDArray

Outputs = dict[str, "NDArray[np.float32]"]
"""A network's outputs by name; the first axis of each is the batch."""


class Runs(Protocol):
    """Anything that runs a network: an engine, or the gate in front of it."""

    def run(self, batch: NDArray[np.float32]) -> Outputs:
        """The outputs by name, for preprocessed images `N C H W`."""
        ...


@dataclass(frozen=True, slots=True)
class FastPath:
    """How many operators of a network run on the runtime's fast kernels, as the runtime itself reports.

    Args:
        name: what the fast kernels are called, such as "XNNPACK".
        fast: how many operators run on them.
        total: how many operators there are.
        pieces: how many contiguous groups the fast operators form; each switch between fast and slow costs time. None if
            unknown.
        slow: how many operators of each kind run outside the fast kernels.
    """

    name: str
    fast: int
    total: int
    pieces: int | None = None
    slow: Mapping[str, int] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """The share of operators on the fast kernels, 0 to 1."""
        return self.fast / max(self.total, 1)

    def to_data(self) -> dict[str, object]:
        """The facts, for JSON."""
        return {
            "name": self.name,
            "share": self.share,
            "fast": self.fast,
            "total": self.total,
            "pieces": self.pieces,
            "slow": dict(self.slow),
        }


@dataclass(frozen=True, slots=True)
class OperatorTime:
    """A runtime's profile of one kind of operator.

    Args:
        count: number of operators of this kind.
        ms: time that all of them take together in one run.
    """

    count: int
    ms: float


class Engine(Protocol):
    """Runs one network. A runtime is a class that inherits from this and overrides the defaults that do not fit.

    The manifest is in the file's own metadata, or beside the file if the format has no room for it: `manifest.read_beside`.

    Only `Predictor` calls an engine. It never enters an engine twice at once unless the engine is `concurrent`, and it splits
    and pads batches to the size that the engine takes.

    Args:
        source: the network's name in messages, such as the path of its file.
        outputs: names of the network's outputs.
        input_shape: the only height and width that the network takes, px; None if it also takes others.
        batch: the only number of images that the network takes at once; None for any number.
        concurrent: whether several threads may be inside `run` at the same time.
    """

    source: str = "the network"
    outputs: tuple[str, ...]
    input_shape: tuple[int, int] | None = None
    batch: int | None = None
    concurrent: bool = False

    def run(self, batch: NDArray[np.float32]) -> Outputs:
        """The outputs by name, for preprocessed images `N C H W`; a classifier returns `{"logits": N classes}`.

        Raises:
            CheckpointError: the runtime cannot run the network on this input.
        """
        ...

    def manifest(self) -> Manifest:
        """The labels, head and input contract of the network.

        Raises:
            CheckpointError: they are missing, as in this default, or damaged.
        """
        raise CheckpointError(f"'{self.source}' has no manifest", hint="give Predictor the manifest")

    @property
    def precision(self) -> Precision:
        """The precision that the network computes in, according to its manifest."""
        return self.manifest().precision

    def fast_path(self) -> FastPath | None:
        """How many operators run on the runtime's fast kernels, as the runtime reports; None, the default, if it does not."""
        return None

    def operator_times(self) -> Mapping[str, OperatorTime]:
        """The time of each kind of operator, from the runtime's own profile; empty, the default, if it has none."""
        return {}

    def close(self) -> None:
        """Release what the runtime holds, by default nothing. The engine cannot run afterwards."""
        return  # not abstract: most runtimes have nothing to release


def file_manifest(text: str | None, path: Path, *, hint: str) -> Manifest:
    """The manifest of an exported file, from its metadata or from the `.json` file beside it.

    Args:
        text: the manifest in the file's metadata; None if there is none.
        path: the exported file.
        hint: what to do if there is no manifest at all.

    Raises:
        CheckpointError: there is no manifest, or it is damaged; the message names the file.
    """
    if text is None and beside(path).is_file():
        return read_beside(path)
    if text is None:
        raise CheckpointError(
            f"'{path}' has no '{METADATA_KEY}' metadata, which names its labels and says how images are preprocessed", hint=hint
        )
    try:
        return Manifest.from_json(text)
    except CheckpointError as error:
        raise CheckpointError(f"'{path}': {error}", hint=error.hint) from error


def check_file(path: Path, *, to: str) -> None:
    """Check that the file exists and is not empty, before a runtime opens it.

    Args:
        path: the exported file.
        to: the export format that writes such files, for the message.

    Raises:
        CheckpointError: there is no file, or it is empty.
    """
    if not path.is_file():
        raise CheckpointError(f"no model at '{path}'", hint=f"mobilenets export RUN --to {to} writes one")
    if path.stat().st_size == 0:
        raise CheckpointError(f"'{path}' is empty", hint="copy or export it again; was the disk full?")


def first_line(error: BaseException) -> str:
    """The first line of a runtime's error message; the error's type if the message is empty."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
