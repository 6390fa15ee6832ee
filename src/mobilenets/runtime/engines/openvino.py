"""OpenVINO: `.xml` files with their weights in a `.bin` file beside them, and ONNX files; the manifest is in their metadata."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mobilenets.errors import CheckpointError, MissingExtraError
from mobilenets.runtime.cores import cores
from mobilenets.runtime.engines.base import Engine, FastPath, Outputs, check_file, file_manifest, first_line
from mobilenets.runtime.engines.chatter import without_chatter
from mobilenets.runtime.machine import sums_overflow
from mobilenets.runtime.manifest import METADATA_KEY, WEIGHT_BITS_KEY, Manifest

if TYPE_CHECKING:
    from types import ModuleType

    from numpy.typing import NDArray

_IN_ONNX = ("framework",)  # prefix of the metadata of an ONNX file in OpenVINO
_NOTHING_TO_RUN = {"Input", "Output", "Const"}
_PLACES = ("Exception from src/", "Check '")  # how the lines of an error message begin that name a place in OpenVINO's source
_SLOW = ("ref", "unknown", "undef")  # name prefixes of implementations that are not optimized


class OpenVinoEngine(Engine):
    """OpenVINO on the CPU, in float32 or int8. Pickling stores the file's path; unpickling opens it again.

    If int8 products would overflow, because the processor has no VNNI and the weights use 8 bits, OpenVINO simulates int8 in
    floats with the same rounding. This takes longer than a float network.

    Each thread that calls `run` gets its own inference request; the requests share the weights.

    Args:
        path: the `.xml` file, with its `.bin` file beside it, or an `.onnx` file.
        threads: number of threads per batch; all cores by default.

    Raises:
        CheckpointError: a file is missing or is not a network that OpenVINO can run.
        MissingExtraError: openvino is not installed.
    """

    concurrent = True

    def __init__(self, path: Path, threads: int | None = None) -> None:
        runtime = openvino()
        check_file(path, to="openvino")
        weights = path.with_suffix(".bin")
        if path.suffix.lower() == ".xml" and not weights.is_file():
            raise CheckpointError(
                f"'{path}' has no '{weights.name}' beside it, which holds its weights",
                hint="copy both files that 'mobilenets export' wrote",
            )
        self.path = path
        self.source = str(path)
        self.threads = threads
        self._requests = threading.local()
        try:
            with without_chatter():
                model = runtime.Core().read_model(path)
            (image, *more), shape = model.inputs, model.inputs[0].partial_shape
            self.outputs = tuple(_name(port, f"output {i}") for i, port in enumerate(model.outputs))
            takes_images = not more and len(shape) == 4 and image.element_type == runtime.Type.f32
            self._manifest = _metadata(model, METADATA_KEY)
            settings = _settings(threads)
            if _metadata(model, WEIGHT_BITS_KEY) == "8" and sums_overflow():
                settings |= _EXACT
            self._compiled = runtime.Core().compile_model(model, "CPU", settings)
        except (RuntimeError, IndexError, TypeError) as error:  # OpenVINO's errors have no common base class
            raise CheckpointError(
                f"'{path}' is not a network that OpenVINO {runtime.__version__.partition('-')[0]} can run: {_reason(error)}",
                hint="export it again, or update openvino if the file is newer",
            ) from error
        if not takes_images:
            raise CheckpointError(
                f"'{path}' does not take images: its input must be one float tensor N C H W", hint="export the model again"
            )
        n, _, *sides = (side.get_length() if side.is_static else None for side in shape)
        self.batch = n
        self.input_shape = (sides[0], sides[1]) if sides[0] is not None and sides[1] is not None else None

    def run(self, batch: NDArray[np.float32]) -> Outputs:
        """The outputs by name, for preprocessed images `N C H W`.

        Raises:
            CheckpointError: the network does not take such an input.
        """
        if not hasattr(self._requests, "request"):
            self._requests.request = self._compiled.create_infer_request()
        request = self._requests.request
        try:
            request.infer({0: np.ascontiguousarray(batch)}, share_inputs=True)
        except RuntimeError as error:
            size = " x ".join(str(side) for side in batch.shape)
            raise CheckpointError(f"'{self.path}' cannot run on an input of {size}: {_reason(error)}") from error
        return {name: request.get_output_tensor(i).data.copy() for i, name in enumerate(self.outputs)}

    def manifest(self) -> Manifest:
        """The manifest in the file's metadata, or in the `.json` file beside it.

        Raises:
            CheckpointError: there is none, or it is damaged.
        """
        return file_manifest(self._manifest, self.path, hint="use a file written by 'mobilenets export'")

    def fast_path(self) -> FastPath:
        """How many operators OpenVINO runs with optimized kernels, according to the executed graph. This runs one image.

        In an int8 network, only kernels that compute in int8 count.

        Raises:
            CheckpointError: the manifest, which gives the image's size and channels, is missing.
        """
        contract = self.manifest().input
        self.run(np.zeros((self.batch or 1, contract.channels, *contract.shape), np.float32))  # chooses some kernels
        integers = self.precision == "int8"
        kinds: Counter[str] = Counter()
        total = 0
        for operator in self._compiled.get_runtime_model().get_ordered_ops():
            facts = operator.get_rt_info()
            kind, implementation, computed = (
                str(facts[key].astype(str)) for key in ("layerType", "primitiveType", "runtimePrecision")
            )
            if kind in _NOTHING_TO_RUN:
                continue
            total += 1
            if kind not in _IN_PLACE and (implementation.startswith(_SLOW) or (integers and computed in _FLOATS)):
                kinds[kind] += 1
        return FastPath("OpenVINO's fast path", total - kinds.total(), total, slow=dict(kinds))

    def close(self) -> None:
        """Release the network and its requests."""
        self._requests = threading.local()
        del self._compiled

    def __reduce__(self) -> tuple[type[OpenVinoEngine], tuple[Path, int | None]]:
        return OpenVinoEngine, (self.path.absolute(), self.threads)


_EXACT = {"LP_TRANSFORMS_MODE": "NO", "NUM_STREAMS": 1}  # with several streams OpenVINO 2026.4 then gives wrong results
_IN_PLACE = {"Reshape", "Reorder"}  # only change the shape or layout, without computing
_FLOATS = {"f32", "bf16", "f16"}


def openvino() -> ModuleType:
    """OpenVINO.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import openvino as runtime
    except ImportError as error:
        raise MissingExtraError("openvino", "openvino") from error
    with _FIRST:  # its NumPy type tables are created on first use, which deadlocks if two threads do it at once
        runtime.Type.f32.to_dtype()
        runtime.Tensor(np.zeros(1, np.float32))
    module: ModuleType = runtime
    return module


_FIRST = threading.Lock()


def _settings(threads: int | None) -> dict[str, Any]:  # Any: values of settings
    """Settings for `threads` threads per batch, and as many concurrent batches as the cores allow.

    The precision is set explicitly, because processors with bfloat16 would otherwise use it. Threads are not pinned to cores,
    because other programs need the cores as well.
    """
    each = min(threads or cores(), cores())
    side_by_side = max(1, cores() // each)
    return {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": each * side_by_side,
        "NUM_STREAMS": side_by_side,
        "ENABLE_CPU_PINNING": False,
    }


def _reason(error: Exception) -> str:
    """OpenVINO's error message without the lines that name places in its own source."""
    lines = (line.strip() for line in str(error).splitlines())
    said = [line for line in lines if line and not line.startswith(_PLACES)]
    return said[0].partition(" Please check that model format")[0] if said else first_line(error)


def _name(port: Any, otherwise: str) -> str:  # Any: OpenVINO's types come from a compiled module
    names: set[str] = port.names
    return min(names) if names else otherwise


def _metadata(model: Any, key: str) -> str | None:  # Any: as above
    """The text of an entry in the metadata, such as the manifest; None if there is none."""
    for place in ((key,), (*_IN_ONNX, key)):
        if model.has_rt_info(list(place)):
            return str(model.get_rt_info(list(place)).astype(str))
    return None
