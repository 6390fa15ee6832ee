"""The tree of exceptions: everything that callers may catch, all below `MobileNetsError`."""

from __future__ import annotations

INSTALL = "pip install '.[{extra}]'"
"""The command that installs an extra. With the first release it becomes "pip install 'mobilenets[{extra}]'", and the additional
words in `MissingExtraError` are removed. A test then names the lines of the README and the guides to change."""


class MobileNetsError(Exception):
    """Bad input or a failed operation, described so that the user can act on it.

    Args:
        message: what, where and what was found; lower case, no final period.
        hint: what to do next; shown on a line of its own by the command line.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UnknownNameError(MobileNetsError, KeyError):
    """A name that is in no table; the message suggests similar ones."""

    __str__ = Exception.__str__


class UsageError(MobileNetsError):
    """Arguments that contradict each other; the command line exits with 2."""


class DocumentError(MobileNetsError, ValueError):
    """JSON that is malformed, nested too deeply, or has a value of the wrong type or out of range; the message says where."""


class SpecError(MobileNetsError, ValueError):
    """An architecture, head or input contract that cannot be built."""


class ImageError(MobileNetsError):
    """An image that cannot be decoded."""


class DataError(MobileNetsError):
    """A dataset that cannot be read or trained on."""


class WeightsError(MobileNetsError):
    """Weights that are missing or damaged, or belong to another network."""


class CheckpointError(MobileNetsError):
    """A checkpoint or run folder that is missing, damaged or of another format."""


class RecipeError(MobileNetsError, ValueError):
    """A recipe with an unknown key or a value out of range."""


class TrainingError(MobileNetsError):
    """A training run that had to stop; the message names the last good checkpoint."""


class ExportError(MobileNetsError):
    """An export that failed, or whose outputs differ from the model's.

    Args:
        message, hint: as for every error.
        comparison: if the outputs differ, the whole comparison, for JSON.
    """

    def __init__(self, message: str, *, hint: str = "", comparison: dict[str, object] | None = None) -> None:
        super().__init__(message, hint=hint)
        self.comparison = comparison


class GraphError(MobileNetsError):
    """A lowered graph that is damaged, or an operator that cannot be lowered, run or written."""


class MissingExtraError(MobileNetsError, ImportError):
    """An optional dependency that is not installed.

    Args:
        package: the package that could not be imported.
        extra: the extra of `mobilenets` that installs it.
    """

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"this needs '{package}', which is not installed",
            hint=f"{INSTALL.format(extra=extra)} in your clone of mobilenets",
        )


# fmt: off
_EXTRAS = {  # package: the extra of `mobilenets` that installs it
    "torch":            "train",
    "torchvision":      "train",
    "safetensors":      "train",
    "onnx":             "train",
    "ai_edge_litert":   "tflite",
    "flatbuffers":      "tflite",
    "openvino":         "openvino",
    "executorch":       "executorch",
    "coremltools":      "coreml",
    "tensorboard":      "train",
    "matplotlib":       "report",
    "jinja2":           "report",
    "cv2":              "video",
    "h5py":             "weights",
    "optuna":           "search",
    "psycopg":          "search",
    "elpv_dataset":     "elpv",
    "fastapi":          "serve",
    "uvicorn":          "serve",
    "prometheus_client": "serve",
    "grpc":             "grpc",
    "timm":             "papers",
    "onnxscript":       "papers",
}
# fmt: on


def missing_extra(error: ModuleNotFoundError) -> MissingExtraError | None:
    """The error that names the extra for a package that could not be imported; None if the package belongs to no extra."""
    package = (error.name or "").partition(".")[0]
    return MissingExtraError(package, _EXTRAS[package]) if package in _EXTRAS else None
