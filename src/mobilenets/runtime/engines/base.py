"""`Engine`: what every runtime is to the rest of the package, and the manifest of files that have no room for one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from mobilenets.errors import CheckpointError
from mobilenets.runtime.manifest import Manifest

if TYPE_CHECKING:
    from numpy.typing import NDArray

Outputs = dict[str, "NDArray[np.float32]"]
"""What a network returns, by name; the first axis of each is the batch."""

LARGEST_MANIFEST = 1 << 24
"""Bytes; 20,000 labels of 100 letters take an eighth of it."""


class Runs(Protocol):
    """Anything that runs a network: an engine, or the gate before one."""

    def run(self, batch: NDArray[np.float32]) -> Outputs:
        """The outputs by name, for preprocessed images `N C H W`."""
        ...


class Engine(Protocol):
    """Runs one network. A runtime is a class that inherits from this and sets what its defaults do not say.

    `Predictor` calls an engine, and it is the only one that does: it never enters an engine twice at once unless the engine is
    `concurrent`, and it cuts and fills batches to the size that the engine takes.

    Args:
        source: what messages call the network, such as the path of its file.
        outputs: names of what the network returns.
        input_shape: height and width of the only input that the network takes, px; None if it takes others too.
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
            CheckpointError: they are missing, as here, or damaged.
        """
        raise CheckpointError(f"'{self.source}' has no manifest", hint="give Predictor the manifest")

    def close(self) -> None:
        """Release what the runtime holds, which is nothing here; the engine cannot run afterwards."""
        return  # not abstract: most runtimes need no more


def parsed_manifest(text: str, path: Path) -> Manifest:
    """The manifest in a text that belongs to the exported file `path`.

    Raises:
        CheckpointError: it is damaged; the message names the file.
    """
    try:
        return Manifest.from_json(text)
    except CheckpointError as error:
        raise CheckpointError(f"'{path}': {error}", hint=error.hint) from error
    except RecursionError as error:
        raise CheckpointError(f"'{path}': not a manifest: it is nested too deep", hint="export the model again") from error


def manifest_beside(path: Path) -> Path:
    """Where the manifest of an exported file lies if the file's format has no room for one: `model.bin.json`."""
    return path.with_name(f"{path.name}.json")


def read_manifest_beside(path: Path) -> Manifest:
    """The manifest in the `.json` file beside an exported file.

    Raises:
        CheckpointError: there is no such file, or it is damaged.
    """
    beside = manifest_beside(path)
    try:
        with beside.open("rb") as file:
            data = file.read(LARGEST_MANIFEST + 1)
        if len(data) > LARGEST_MANIFEST:
            raise CheckpointError(f"'{beside}' is larger than any manifest, {LARGEST_MANIFEST // 2**20} MB")
        return parsed_manifest(data.decode("utf-8"), beside)
    except FileNotFoundError as error:
        raise CheckpointError(
            f"'{path}' has no manifest, which names its labels and says how images are preprocessed: "
            f"there is no '{beside.name}' beside it",
            hint="copy both files that 'mobilenets export' wrote",
        ) from error
    except OSError as error:
        raise CheckpointError(f"'{beside}' cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise CheckpointError(f"'{beside}' is damaged: it is not UTF-8 text", hint="export the model again") from error
