"""ONNX Runtime: `.onnx` files, with the manifest in their metadata."""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mobilenets.errors import CheckpointError
from mobilenets.runtime.engines.base import Engine, FastPath, OperatorTime, Outputs, check_file, file_manifest, first_line
from mobilenets.runtime.machine import sums_overflow
from mobilenets.runtime.manifest import METADATA_KEY, WEIGHT_BITS_KEY, Manifest

if TYPE_CHECKING:
    from numpy.typing import NDArray


class OnnxEngine(Engine):
    """ONNX Runtime on the CPU. Pickling stores the file's path; unpickling opens it again.

    Int8 files are computed exactly on every processor. If the fast kernels would overflow, because the processor has no VNNI
    and the weights use 8 bits, ONNX Runtime is told to use slower kernels, which take about as long as float32.

    Args:
        path: the `.onnx` file.
        threads: number of threads per batch; all cores by default.

    Raises:
        CheckpointError: the file is missing or is not an ONNX model that ONNX Runtime can run.
    """

    concurrent = True

    def __init__(self, path: Path, threads: int | None = None) -> None:
        onnxruntime = _runtime()
        check_file(path, to="onnx")
        self.path = path
        self.source = str(path)
        self.threads = threads
        self._exact = False
        try:
            self._session = self._opened()
            if _may_overflow(self._session.get_modelmeta().custom_metadata_map):
                self._exact = True
                self._session = self._opened()
            (image, *more), outputs = self._session.get_inputs(), self._session.get_outputs()
            self._input, shape = image.name, image.shape
            self.outputs = tuple(output.name for output in outputs)
        except Exception as error:  # ONNX Runtime's errors have no common base class
            raise CheckpointError(
                f"'{path}' is not an ONNX model that ONNX Runtime {onnxruntime.__version__} can run: {first_line(error)}",
                hint="export it again, or update onnxruntime if the file is newer",
            ) from error
        if more or len(shape) != 4 or image.type != "tensor(float)":
            raise CheckpointError(
                f"'{path}' does not take images: its input must be one float tensor N C H W", hint="export the model again"
            )
        n, _, *sides = (side if isinstance(side, int) else None for side in shape)
        self.batch = n
        self.input_shape = (sides[0], sides[1]) if sides[0] is not None and sides[1] is not None else None

    def run(self, batch: NDArray[np.float32]) -> Outputs:
        """The outputs by name, for preprocessed images `N C H W`.

        Raises:
            CheckpointError: the network does not take such an input.
        """
        try:
            arrays = self._session.run(self.outputs, {self._input: batch})
        except Exception as error:  # as above
            size = " x ".join(str(side) for side in batch.shape)
            raise CheckpointError(f"'{self.path}' cannot run on an input of {size}: {first_line(error)}") from error
        return {name: np.asarray(array) for name, array in zip(self.outputs, arrays, strict=True)}

    def manifest(self) -> Manifest:
        """The manifest in the file's metadata, or in the `.json` file beside it.

        Raises:
            CheckpointError: there is none, or it is damaged.
        """
        try:
            text = self._session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
        except ValueError as error:  # not UTF-8
            raise CheckpointError(f"'{self.path}' has damaged metadata: {error}", hint="export the model again") from error
        return file_manifest(text, self.path, hint="use a file written by 'mobilenets export'")

    def fast_path(self) -> FastPath:
        """How many operators ONNX Runtime's CPU provider runs, from the profile of one run; in an int8 network, those in int8.

        Raises:
            CheckpointError: the network cannot be run again.
        """
        nodes = [event["args"] for event in self._profiled(seconds=0.0)]
        if self.precision == "int8":
            slow = _in_floats(nodes, outputs=len(self.outputs))
            return FastPath("integer arithmetic", len(nodes) - slow.total(), len(nodes), slow=dict(slow))
        slow = Counter(node["op_name"] for node in nodes if node["provider"] != _PROVIDER)
        return FastPath(_PROVIDER, len(nodes) - slow.total(), len(nodes), slow=dict(slow))

    def operator_times(self) -> dict[str, OperatorTime]:
        """The time of each kind of operator: the sum over operators of their median time in the profile.

        Raises:
            CheckpointError: the network cannot be run again.
        """
        runs: dict[tuple[str, str], list[float]] = {}
        for event in self._profiled(seconds=_PROFILED_S):
            node = (event["args"]["op_name"], f"{event['name']} {event['args'].get('node_index')}")
            runs.setdefault(node, []).append(event["dur"] / 1000)
        medians: dict[str, list[float]] = {}
        for (kind, _), times_ms in runs.items():
            medians.setdefault(kind, []).append(statistics.median(times_ms))
        return {kind: OperatorTime(len(each), sum(each)) for kind, each in medians.items()}

    def _profiled(self, *, seconds: float) -> list[dict[str, Any]]:  # Any: JSON
        """The profile's entries for each operator and run. There is at least one run, and more until `seconds` have passed."""
        height, width = self.input_shape or self.manifest().input.shape
        image = np.zeros((self.batch or 1, self.manifest().input.channels, height, width), np.float32)
        with tempfile.TemporaryDirectory() as folder:
            session = self._opened(profile=str(Path(folder) / "profile"))
            end = time.monotonic() + seconds
            session.run(self.outputs, {self._input: image})
            while time.monotonic() < end:
                session.run(self.outputs, {self._input: image})
            events = json.loads(Path(session.end_profiling()).read_text("utf-8"))
        return [event for event in events if event.get("cat") == "Node" and "provider" in event.get("args", {})]

    def close(self) -> None:
        """Release the session."""
        del self._session

    def _opened(self, *, profile: str = "") -> Any:  # Any: ONNX Runtime has no types
        """A session for the file. If `profile`, a file name prefix, is given, it writes a profile."""
        onnxruntime = _runtime()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _FATAL  # failures are raised; other log messages do not help a user
        options.intra_op_num_threads = self.threads or 0
        # Threads that spin while waiting occupy the cores that decode the next images.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if self._exact:
            options.add_session_config_entry("session.x64quantprecision", "1")
        if profile:
            options.enable_profiling, options.profile_file_prefix = True, profile
        # The only fallback would be the same provider again, with a message on standard output.
        return onnxruntime.InferenceSession(str(self.path), options, providers=[_PROVIDER], enable_fallback=0)

    def __reduce__(self) -> tuple[type[OnnxEngine], tuple[Path, int | None]]:
        return OnnxEngine, (self.path.absolute(), self.threads)


def _runtime() -> Any:  # Any: ONNX Runtime has no types
    """The package, with telemetry turned off: since 1.29 it otherwise reports its use to its makers."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError as error:
        raise CheckpointError(f"ONNX Runtime cannot be imported: {error}", hint="pip install onnxruntime") from error
    return onnxruntime


def _may_overflow(known: Mapping[str, str]) -> bool:
    """Whether a file's integer products may overflow on this processor, so that slower kernels are needed."""
    return known.get(WEIGHT_BITS_KEY) == "8" and sums_overflow()


def _in_floats(nodes: Sequence[Mapping[str, Any]], *, outputs: int) -> Counter[str]:  # Any: JSON
    """How many operators of each kind compute in floats, or convert to or from floats in the middle of a network.

    Args:
        nodes: the nodes of a profile.
        outputs: number of the network's outputs; each may be converted to floats.
    """
    slow = Counter(node["op_name"] for node in nodes if "float" in next(iter(node.get("input_type_shape", [])), {}))
    slow["DequantizeLinear"] = sum(node["op_name"] == "DequantizeLinear" for node in nodes)
    return slow - Counter({"QuantizeLinear": 1, "DequantizeLinear": outputs})


_FATAL = 4
_PROFILED_S = 0.1  # enough for some hundred runs of a tiny network, and one of a large one
_PROVIDER = "CPUExecutionProvider"
