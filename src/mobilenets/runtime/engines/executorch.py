"""ExecuTorch: `.pte` files, with the manifest in a `.json` file beside them."""

from __future__ import annotations

import importlib
import struct
import warnings
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mobilenets.errors import CheckpointError, MissingExtraError
from mobilenets.runtime.cores import cores
from mobilenets.runtime.engines.base import Engine, FastPath, Outputs, check_file, first_line
from mobilenets.runtime.engines.chatter import without_chatter
from mobilenets.runtime.manifest import Manifest, beside, read_beside

if TYPE_CHECKING:
    from types import ModuleType

    from numpy.typing import NDArray

_METHOD = "forward"


class ExecuTorchEngine(Engine):
    """ExecuTorch on the CPU, with XNNPACK. Pickling stores the file's path; unpickling opens it again.

    Its Python runtime takes and returns torch tensors, so torch must be installed; programs on a phone need neither.

    Args:
        path: the `.pte` file; its manifest is beside it.
        threads: number of threads per batch; all cores by default. All files of a process share one thread pool, so the file
            opened last decides.

    Raises:
        CheckpointError: the file is missing or is not a network that ExecuTorch can run.
        MissingExtraError: executorch is not installed.
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        check_file(path, to="executorch")
        if beside(path).is_file():
            read_beside(path)  # a damaged file is refused before ExecuTorch and torch are loaded, which takes seconds
        with without_chatter():
            runtime, library = executorch()
        self._tensor = importlib.import_module("torch").from_numpy
        self.path = path
        self.source = str(path)
        self.threads = threads
        try:
            with without_chatter():
                library._unsafe_reset_threadpool(min(threads or cores(), cores()))
                self._program = runtime.Runtime.get().load_program(path)
                self._method = self._program.load_method(_METHOD)
            about = self._method.metadata
            image = about.input_tensor_meta(0)
            shape, takes_images = image.sizes(), about.num_inputs() == 1 and image.dtype() == _FLOAT
            returned = [about.output_tensor_meta(i) for i in range(about.num_outputs())]
        except (RuntimeError, ValueError, KeyError, IndexError) as error:
            raise CheckpointError(
                f"'{path}' is not a network that ExecuTorch can run: {first_line(error)}",
                hint="export it again, or update executorch if the file is newer",
            ) from error
        if not takes_images or len(shape) != 4:
            raise CheckpointError(
                f"'{path}' does not take images: its input must be one float tensor N C H W", hint="export the model again"
            )
        self.batch = shape[0]
        self.input_shape = (shape[2], shape[3])
        whole = len(returned) == 1 and returned[0].dtype() in _INTEGERS
        self.outputs = ("classes",) if whole else ("logits", "offsets")[: len(returned)]

    def run(self, batch: NDArray[np.float32]) -> Outputs:
        """The outputs by name, for preprocessed images `N C H W`, with N as the file requires.

        Raises:
            CheckpointError: the network does not take such an input.
        """
        try:
            outputs = self._method.execute([self._tensor(np.ascontiguousarray(batch))])
        except RuntimeError as error:
            size = " x ".join(str(side) for side in batch.shape)
            raise CheckpointError(f"'{self.path}' cannot run on an input of {size}: {first_line(error)}") from error
        return {name: output.numpy() for name, output in zip(self.outputs, outputs, strict=True)}

    def manifest(self) -> Manifest:
        """The manifest in the `.json` file beside the file.

        Raises:
            CheckpointError: there is none, or it is damaged.
        """
        return read_beside(self.path)

    def fast_path(self) -> FastPath:
        """How many operators the file delegates to XNNPACK, according to its instructions."""
        return instructions(self.path.read_bytes())

    def close(self) -> None:
        """Release the program."""
        del self._method, self._program

    def __reduce__(self) -> tuple[type[ExecuTorchEngine], tuple[Path, int | None]]:
        return ExecuTorchEngine, (self.path.absolute(), self.threads)


def executorch() -> tuple[ModuleType, ModuleType]:
    """ExecuTorch's Python runtime, and the compiled library beneath it.

    Raises:
        MissingExtraError: executorch or torch, whose tensors it takes and returns, is not installed.
    """
    try:
        importlib.import_module("torch")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the vendor's warnings about its own interfaces
            from executorch import runtime
            from executorch.extension.pybindings import portable_lib
    except ImportError as error:
        raise MissingExtraError("executorch", "executorch") from error
    module: ModuleType = runtime
    return module, portable_lib


def instructions(data: bytes) -> FastPath:
    """How many operators of a `.pte` file XNNPACK runs. Each instruction calls a kernel, or a delegate: a part run by XNNPACK.

    Args:
        data: the file's bytes.
    """
    from executorch.exir._serialize._program import deserialize_pte_binary
    from executorch.exir.schema import DelegateCall, KernelCall

    program: Any = deserialize_pte_binary(data)  # Any: the vendor's; older versions return the program itself
    program = getattr(program, "program", program)
    fast = pieces = 0
    slow: Counter[str] = Counter()
    for plan in program.execution_plan:
        for instruction in (step.instr_args for chain in plan.chains for step in chain.instructions):
            if isinstance(instruction, KernelCall):
                slow[plan.operators[instruction.op_index].name] += 1
            elif isinstance(instruction, DelegateCall):
                payload = program.backend_delegate_data[plan.delegates[instruction.delegate_index].processed.index].data
                fast, pieces = fast + _nodes(bytes(payload)), pieces + 1
    return FastPath("XNNPACK", fast, fast + slow.total(), pieces, dict(slow))


def _nodes(payload: bytes) -> int:
    """The number of nodes in a part delegated to XNNPACK: the length of the vector in the second field of its flatbuffer."""
    start = struct.unpack_from("<I", payload, 10)[0] if payload[4:8] == b"XH00" else 0
    table = start + struct.unpack_from("<I", payload, start)[0]
    layout = table - struct.unpack_from("<i", payload, table)[0]
    field = struct.unpack_from("<H", payload, layout + 4 + 2)[0]
    vector = table + field + struct.unpack_from("<I", payload, table + field)[0]
    return int(struct.unpack_from("<I", payload, vector)[0])


_FLOAT, _INTEGERS = 6, (0, 1, 2, 3, 4)  # torch's type numbers: float32; uint8, int8, int16, int32, int64
