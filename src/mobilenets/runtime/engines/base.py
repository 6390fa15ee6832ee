"""Engines run a network on a batch of prepared images: one class per runtime, one protocol."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from mobilenets.errors import CheckpointError
from mobilenets.runtime.manifest import METADATA_KEY, Manifest

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Engine(Protocol):
    """Runs a network."""

    def run(self, batch: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """The outputs by name, for a batch `N C H W`; a classifier gives `{"logits": N classes}`."""
        ...


class OnnxEngine:
    """ONNX Runtime on the CPU. May run several batches at once, from several threads.

    Args:
        path: the `.onnx` file.
        threads: that compute one batch; all cores by default.

    Raises:
        CheckpointError: the file is missing or is not an ONNX model that ONNX Runtime can run.
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        try:
            import onnxruntime
            from onnxruntime.capi import onnxruntime_pybind11_state as failures
        except ImportError as error:
            raise CheckpointError(f"ONNX Runtime cannot be imported: {error}", hint="pip install onnxruntime") from error
        if not path.is_file():
            raise CheckpointError(f"no model at '{path}'", hint="mobilenets export RUN --to onnx writes one")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors only: warnings about the graph say nothing to a user
        options.intra_op_num_threads = threads or 0
        # Threads that spin while they wait take the cores that decode the next images.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except tuple(getattr(failures, name) for name in _LOAD_FAILURES) as error:
            raise CheckpointError(
                f"'{path}' is not an ONNX model that ONNX Runtime {onnxruntime.__version__} can run: {_first_line(error)}",
                hint="export it again, or update onnxruntime if the file is newer",
            ) from error
        self.path = path
        self._input = self._session.get_inputs()[0].name
        self._outputs = [output.name for output in self._session.get_outputs()]

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what the network gives."""
        return tuple(self._outputs)

    @property
    def shape(self) -> tuple[int, int] | None:
        """Height and width of the only inputs that the network takes, px; None where it takes others too."""
        sides = self._session.get_inputs()[0].shape[2:]
        return (sides[0], sides[1]) if len(sides) == 2 and all(isinstance(side, int) for side in sides) else None

    def run(self, batch: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """The outputs by name, for a batch `N C H W`."""
        arrays = self._session.run(self._outputs, {self._input: batch})
        return {name: np.asarray(array) for name, array in zip(self._outputs, arrays, strict=True)}

    def manifest(self) -> Manifest:
        """The manifest in the file's metadata.

        Raises:
            CheckpointError: the file has none, or a damaged one.
        """
        text = self._session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
        if text is None:
            raise CheckpointError(
                f"'{self.path}' has no '{METADATA_KEY}' metadata, which names its labels and says how images are prepared",
                hint="use a file written by 'mobilenets export'",
            )
        return Manifest.from_json(text)


_LOAD_FAILURES = (
    "Fail",
    "InvalidArgument",
    "InvalidGraph",
    "InvalidProtobuf",
    "NoModel",
    "NoSuchFile",
    "NotImplemented",
    "RuntimeException",
)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
