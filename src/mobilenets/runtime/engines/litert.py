"""LiteRT: `.tflite` files, with the manifest in their metadata."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mobilenets.errors import CheckpointError, MissingExtraError
from mobilenets.runtime.engines.base import Engine, FastPath, Outputs, check_file, file_manifest, first_line
from mobilenets.runtime.engines.chatter import without_chatter
from mobilenets.runtime.manifest import METADATA_KEY, Manifest

if TYPE_CHECKING:
    from types import ModuleType

    from numpy.typing import NDArray


class LiteRtEngine(Engine):
    """LiteRT on the CPU. It takes as many images at once as the file requires, usually one.

    Pickling stores the file's path; unpickling opens it again.

    A LiteRT interpreter serves only one thread, so each calling thread gets its own.

    Args:
        path: the `.tflite` file.
        threads: number of threads per image; one by default.

    Raises:
        CheckpointError: the file is missing or is not a network that LiteRT can run.
        MissingExtraError: ai-edge-litert is not installed.
    """

    concurrent = True

    def __init__(self, path: Path, threads: int | None = None) -> None:
        check_file(path, to="tflite")
        self.path = path
        self.source = str(path)
        self.threads = threads
        self._data = path.read_bytes()
        self._interpreters = threading.local()
        with without_chatter():
            runner = self._runner()
        inputs = list(runner.get_input_details().values())
        if len(inputs) != 1 or len(inputs[0]["shape"]) != 4 or inputs[0]["dtype"] not in _TAKEN:
            raise CheckpointError(
                f"'{path}' does not take images: its input must be one tensor N H W C of floats or 8-bit integers",
                hint="export the model again",
            )
        self._taken = inputs[0]
        [self._input] = runner.get_input_details()
        self.outputs = tuple(sorted(runner.get_output_details()))
        n, height, width, _ = (int(side) for side in inputs[0]["shape"])
        self.batch, self.input_shape = n, (height, width)

    def run(self, batch: NDArray[np.float32]) -> Outputs:
        """The outputs by name, for preprocessed images `N C H W`, with N as the file requires.

        Raises:
            CheckpointError: the network does not take such an input.
        """
        image = _stored(np.ascontiguousarray(batch.transpose(0, 2, 3, 1)), self._taken)  # N H W C
        try:
            outputs = self._runner()(**{self._input: image})
        except (ValueError, RuntimeError) as error:
            size = " x ".join(str(side) for side in batch.shape)
            raise CheckpointError(f"'{self.path}' cannot run on an input of {size}: {error}") from error
        details = self._runner().get_output_details()
        return {name: _channels_first(_real(output, details[name])) for name, output in outputs.items()}

    def manifest(self) -> Manifest:
        """The manifest in the file's metadata, or in the `.json` file beside it.

        Raises:
            CheckpointError: there is none, or it is damaged.
        """
        hint = "'mobilenets convert' makes a checkpoint of TFLite files from elsewhere"
        return file_manifest(_metadata(self._data, METADATA_KEY), self.path, hint=hint)

    def fast_path(self) -> FastPath:
        """How many operators LiteRT has delegated to XNNPACK, according to the interpreter."""
        interpreter = litert().Interpreter(model_content=self._data, num_threads=self.threads or 1)
        interpreter.allocate_tensors()
        return delegated(interpreter._get_ops_details())  # no public function lists them

    def close(self) -> None:
        """Release the interpreters."""
        self._interpreters = threading.local()

    def __reduce__(self) -> tuple[type[LiteRtEngine], tuple[Path, int | None]]:
        return LiteRtEngine, (self.path.absolute(), self.threads)

    def _runner(self) -> Any:  # Any: LiteRT has no types
        """This thread's interpreter, as a runner that takes inputs and returns outputs by name."""
        if not hasattr(self._interpreters, "runner"):
            runtime = litert()
            try:
                interpreter = runtime.Interpreter(model_content=self._data, num_threads=self.threads or 1)
                interpreter.allocate_tensors()  # otherwise the first run does it, and prints a message
                self._interpreters.runner = interpreter.get_signature_runner()
            except (ValueError, RuntimeError) as error:
                raise CheckpointError(
                    f"'{self.path}' is not a network that LiteRT can run: {first_line(error)}",
                    hint="export it again, or update ai-edge-litert if the file is newer",
                ) from error
        return self._interpreters.runner


def litert() -> ModuleType:
    """LiteRT's interpreters.

    Raises:
        MissingExtraError: ai-edge-litert is not installed.
    """
    try:
        from ai_edge_litert import interpreter
    except ImportError as error:
        raise MissingExtraError("ai-edge-litert", "tflite") from error
    module: ModuleType = interpreter
    return module


def delegated(operators: Sequence[dict[str, Any]]) -> FastPath:  # Any: indices and names
    """How many operators run in an interpreter's delegates.

    A delegate is listed as an additional operator. It replaces the operators that lead from its inputs to its outputs.

    Args:
        operators: the interpreter's operators, each with `op_name`, `inputs` and `outputs`; the delegates are last.
    """
    own = [operator for operator in operators if operator["op_name"] != _DELEGATE]
    maker = {int(tensor): i for i, operator in enumerate(own) for tensor in operator["outputs"]}
    fast: set[int] = set()
    pieces = [operator for operator in operators if operator["op_name"] == _DELEGATE]
    for piece in pieces:
        given = {int(tensor) for tensor in piece["inputs"]}
        wanted = [int(tensor) for tensor in piece["outputs"]]
        while wanted:
            tensor = wanted.pop()
            if tensor in given or tensor not in maker or maker[tensor] in fast:
                continue
            fast.add(maker[tensor])
            wanted += [int(source) for source in own[maker[tensor]]["inputs"]]
    slow = Counter(operator["op_name"] for i, operator in enumerate(own) if i not in fast)
    return FastPath("XNNPACK", len(fast), len(own), len(pieces), dict(slow))


_DELEGATE = "DELEGATE"
_TAKEN = (np.float32, np.int8, np.uint8)


def _stored(image: NDArray[np.float32], details: dict[str, Any]) -> NDArray[Any]:  # Any: LiteRT's own, floats or integers
    """An image in the file's input type: the floats themselves, or the nearest integers, with halves rounded away from zero."""
    if details["dtype"] == np.float32:
        return image
    scale, zero = details["quantization"]
    steps = image / np.float32(scale)
    limits = np.iinfo(details["dtype"])
    rounded = np.trunc(steps + np.copysign(np.float32(0.5), steps)) + zero
    integers: NDArray[Any] = np.clip(rounded, limits.min, limits.max).astype(details["dtype"])
    return integers


def _real(output: NDArray[Any], details: dict[str, Any]) -> NDArray[Any]:  # Any: as above
    """An output as real numbers: integers with a scale are dequantized."""
    scale, zero = details["quantization"]
    if not scale or output.dtype not in (np.int8, np.uint8):
        return output
    real: NDArray[np.float32] = (output.astype(np.float32) - np.float32(zero)) * np.float32(scale)
    return real


def _channels_first(output: NDArray[np.float32]) -> NDArray[np.float32]:
    """A feature map N H W C as N C H W; any other output unchanged."""
    return np.ascontiguousarray(output.transpose(0, 3, 1, 2)) if output.ndim == 4 else output


def _metadata(data: bytes, key: str) -> str | None:
    """The text of an entry in the file's metadata; None if there is none."""
    from ai_edge_litert.schema_py_generated import Model

    model = Model.GetRootAs(data)
    for i in range(model.MetadataLength()):
        entry = model.Metadata(i)
        if entry.Name() == key.encode():
            values = model.Buffers(entry.Buffer()).DataAsNumpy()
            return bytes(values).decode("utf-8", "replace")
    return None
