"""Core ML: `.mlpackage` folders, with the manifest in their metadata. They can be inspected anywhere but run only on macOS."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mobilenets.errors import CheckpointError, MissingExtraError
from mobilenets.runtime.engines.base import Engine, Outputs, file_manifest, first_line
from mobilenets.runtime.manifest import METADATA_KEY, Manifest

if TYPE_CHECKING:
    from types import ModuleType

    from numpy.typing import NDArray


class CoreMlEngine(Engine):
    """Core ML on macOS. Pickling stores the folder's path; unpickling opens it again.

    Args:
        path: the `.mlpackage` folder.
        threads: ignored; Core ML chooses them itself.

    Raises:
        CheckpointError: the folder is missing or is not a network that Core ML can run, or the system is not macOS.
        MissingExtraError: coremltools is not installed.
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        if not path.is_dir():
            raise CheckpointError(f"no model at '{path}'", hint="mobilenets export RUN --to coreml writes one")
        if platform.system() != "Darwin":
            raise CheckpointError(
                f"'{path}' runs on macOS and iOS only", hint="export it to onnx, openvino, tflite or executorch to predict here"
            )
        tools = coremltools()
        self.path = path
        self.source = str(path)
        self.threads = threads
        try:
            self._model = tools.models.MLModel(str(path), compute_units=tools.ComputeUnit.ALL)
            description = self._model.get_spec().description
            [image], returned = description.input, description.output
            shape = [int(side) for side in image.type.multiArrayType.shape]
        except Exception as error:  # coremltools' errors have no common base class
            raise CheckpointError(
                f"'{path}' is not a network that Core ML can run: {first_line(error)}", hint="export it again"
            ) from error
        if len(shape) != 4:
            raise CheckpointError(
                f"'{path}' does not take images: its input must be one array N C H W", hint="export the model again"
            )
        self._input = image.name
        self.outputs = tuple(output.name for output in returned)
        self.batch, _, *sides = shape
        self.input_shape = (sides[0], sides[1])

    def run(self, batch: NDArray[np.float32]) -> Outputs:
        """The outputs by name, for preprocessed images `N C H W`, with N as the file requires.

        Raises:
            CheckpointError: the network does not take such an input.
        """
        try:
            outputs = self._model.predict({self._input: np.ascontiguousarray(batch)})
        except Exception as error:  # as above
            size = " x ".join(str(side) for side in batch.shape)
            raise CheckpointError(f"'{self.path}' cannot run on an input of {size}: {first_line(error)}") from error
        return {name: np.asarray(outputs[name]) for name in self.outputs}

    def manifest(self) -> Manifest:
        """The manifest in the package's metadata, or in the `.json` file beside it.

        Raises:
            CheckpointError: there is none, or it is damaged.
        """
        return file_manifest(_metadata(self._model), self.path, hint="use a file written by 'mobilenets export'")

    def close(self) -> None:
        """Release the model."""
        del self._model

    def __reduce__(self) -> tuple[type[CoreMlEngine], tuple[Path, int | None]]:
        return CoreMlEngine, (self.path.absolute(), self.threads)


def coremltools() -> ModuleType:
    """coremltools.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import coremltools as module
    except ImportError as error:
        raise MissingExtraError("coremltools", "coreml") from error
    tools: ModuleType = module
    return tools


def _metadata(model: Any) -> str | None:  # Any: coremltools has no types
    """The manifest's text; None if there is none."""
    text: str | None = model.user_defined_metadata.get(METADATA_KEY)
    return text
