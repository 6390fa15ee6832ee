"""The native engine: graph files, with the manifest in their header."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mobilenets.errors import CheckpointError, MissingExtraError
from mobilenets.runtime.checksum import check_whole
from mobilenets.runtime.engines.base import Engine, Outputs, check_file, file_manifest, first_line
from mobilenets.runtime.manifest import Manifest

if TYPE_CHECKING:
    from types import ModuleType

    from numpy.typing import NDArray

Plan = Literal["fastest", "fused", "layers"]
"""How the operators run: whichever way is fastest, each block row by row, or one operator after the other."""


class NativeEngine(Engine):
    """The native engine on the CPU, for any number of images at once. Pickling stores the path; unpickling opens it again.

    Args:
        path: the `.graph` file, which `mobilenets export RUN --to native` writes.
        threads: number of threads per image; one by default.
        plan: how the operators run.
        instructions: the instruction set, such as "avx512", "avx_vnni", "avx2", "neon" or "plain"; "" for the fastest that this
            processor has.

    Raises:
        CheckpointError: the file is missing, is no graph or is damaged, or this processor does not have the instructions.
        MissingExtraError: mobilenets-native is not installed.
    """

    concurrent = True

    def __init__(self, path: Path, threads: int | None = None, *, plan: Plan = "fastest", instructions: str = "") -> None:
        check_file(path, to="native")
        library = native()
        self.path = path
        self.source = str(path)
        self.threads = threads
        self.plan: Plan = plan
        self._instructions = instructions
        try:
            self._engine: Any = library.Engine(str(path), threads=threads or 1, plan=plan, instructions=instructions)
        except (ValueError, RuntimeError, MemoryError) as error:
            raise CheckpointError(
                f"'{path}' is not a network that the native engine can run: {first_line(error)}",
                hint="export it again, or update mobilenets-native if the file is newer",
            ) from error
        check_whole(path.read_bytes(), self.source)
        self.outputs = tuple(self._engine.outputs)
        _, height, width = self._engine.input_shape
        self.input_shape = (height, width)

    def run(self, batch: NDArray[np.float32]) -> Outputs:
        """The outputs by name, for preprocessed images `N C H W`.

        Raises:
            CheckpointError: the network does not take such an input.
        """
        try:
            outputs: Outputs = self._engine.run(np.ascontiguousarray(batch))
        except (ValueError, TypeError, MemoryError) as error:
            size = " x ".join(str(side) for side in batch.shape)
            raise CheckpointError(f"'{self.path}' cannot run on an input of {size}: {first_line(error)}") from error
        return outputs

    def manifest(self) -> Manifest:
        """The manifest in the file's header.

        Raises:
            CheckpointError: it is damaged.
        """
        return file_manifest(self._engine.manifest, self.path, hint="use a file written by 'mobilenets export'")

    @property
    def arena_bytes(self) -> int:
        """Memory of all activations of one image, as planned by `mobilenets info`; scratch memory is not included."""
        return int(self._engine.arena_bytes)

    @property
    def scratch_bytes(self) -> int:
        """Additional memory that operators need while they run, for all threads together."""
        return int(self._engine.scratch_bytes)

    @property
    def instructions(self) -> str:
        """The instruction set in use."""
        return str(self._engine.instructions)

    def close(self) -> None:
        """Release the network."""
        self._engine = None

    def __reduce__(self) -> tuple[Any, ...]:  # Any: what `copyreg` calls
        return _reopened, (self.path.absolute(), self.threads, self.plan, self._instructions)


def _reopened(path: Path, threads: int | None, plan: Plan, instructions: str) -> NativeEngine:
    return NativeEngine(path, threads, plan=plan, instructions=instructions)


def native() -> ModuleType:
    """The module of the native engine.

    Raises:
        MissingExtraError: mobilenets-native is not installed.
    """
    try:
        import mobilenets_native
    except ImportError as error:
        missing = MissingExtraError("mobilenets-native", "native")
        missing.hint = "pip install ./native in your clone of mobilenets; it needs a C++20 compiler"
        raise missing from error
    module: ModuleType = mobilenets_native
    return module
