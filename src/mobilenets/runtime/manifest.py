"""`Manifest`: everything a predictor must know about a network besides its weights. It accompanies every exported file.

It is in the file's own metadata if the format has room for it (`METADATA_KEY`), otherwise in a `.json` file beside it
(`beside`), which also identifies the file that it was written for.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta

from mobilenets import files
from mobilenets.documents import decode, parse
from mobilenets.errors import CheckpointError, DocumentError
from mobilenets.runtime.profile import Profile
from mobilenets.specs.codec import CHOICES, current, to_data
from mobilenets.specs.model import ClassifierHead, Head, InputContract, ModelSpec, Task

METADATA_KEY = "mobilenets"
WEIGHT_BITS_KEY = "mobilenets.weight_bits"
"""Key under which ONNX and OpenVINO files state the number of bits that their 8-bit weights use, such as 7."""

FORMAT = 3

Precision = Literal["float32", "float16", "bfloat16", "int8", "int8_weights"]
"""What a network computes in. "int8" has 8-bit weights and activations, "int8_weights" only 8-bit weights."""

_CLASSIFIER = ClassifierHead()


@dataclass(frozen=True, slots=True)
class Manifest:
    """Labels, head and input contract of an exported network.

    Args:
        model: the network's name, for display.
        labels: class names in the order of the logits.
        input: how an image is preprocessed.
        head: what the network predicts, and everything else that its decoder needs.
        precision: the precision that the exported network computes in.
        profile: the network's cost, for people; it is ignored when manifests are compared.
    """

    model: str
    labels: Annotated[tuple[str, ...], Meta(min_length=1, max_length=10**6)]
    input: InputContract
    head: Head = _CLASSIFIER
    precision: Precision = "float32"
    profile: Profile | None = field(default=None, compare=False)

    @property
    def task(self) -> Task:
        """The task, which decides the decoder of the outputs."""
        return self.head.task

    def to_json(self) -> str:
        """The manifest as one line of JSON; `from_json` reads it back as an equal manifest."""
        return json.dumps({"format": FORMAT, **to_data(self)}, ensure_ascii=False)

    @staticmethod
    def from_json(text: str | bytes) -> Manifest:
        """The manifest from the JSON that `to_json` of this or an earlier version wrote.

        Raises:
            CheckpointError: the text is not JSON or of a newer format, or a field is missing, unknown, of the wrong type or out
                of range; the message gives the field's path.
        """
        try:
            return _decoded(_parsed(text))
        except DocumentError as error:
            raise CheckpointError(f"not a manifest: {error}", hint="export the model again") from error


@dataclass(frozen=True, slots=True)
class Content:
    """Identifies the content of an exported file.

    Args:
        size_bytes: size of the file, or of all files in the folder together.
        sha256: hash of their content; for a folder also of the file names.
    """

    size_bytes: int
    sha256: str


def beside(path: Path) -> Path:
    """The file that holds the manifest of an exported file if its format has no room for it.

    >>> beside(Path("export/model.tflite")).as_posix()
    'export/model.tflite.json'
    """
    return path.with_name(f"{path.name}.json")


def write_beside(path: Path, manifest: Manifest) -> None:
    """Write the manifest of the exported file `path` beside it, together with the file's size and hash.

    Raises:
        OSError: the file cannot be read, or the folder cannot be written.
    """
    text = json.dumps({"file": asdict(_content(path)), **json.loads(manifest.to_json())}, ensure_ascii=False)
    files.write_text(beside(path), text + "\n")


def read_beside(path: Path) -> Manifest:
    """The manifest beside the exported file `path`, checked to belong to that file.

    Raises:
        CheckpointError: there is no manifest, it is damaged, or it was written for another file.
    """
    file = beside(path)
    try:
        data = _parsed(file.read_bytes())
        written_for = decode(data.pop("file"), Content) if "file" in data else None
        manifest, found = _decoded(data), _content(path)
    except FileNotFoundError as error:
        reason = "which names its labels and says how images are preprocessed"
        raise CheckpointError(
            f"no model at '{path}'" if file.is_file() else f"'{path}' has no '{file.name}' beside it, {reason}",
            hint="copy both files that 'mobilenets export' wrote",
        ) from error
    except OSError as error:
        raise CheckpointError(f"cannot read '{error.filename}': {error.strerror or error}") from error
    except DocumentError as error:
        raise CheckpointError(f"'{file}': not a manifest: {error}", hint="export the model again") from error
    except CheckpointError as error:
        raise CheckpointError(f"'{file}': {error}", hint=error.hint) from error
    if written_for is not None and found != written_for:
        same = found.size_bytes == written_for.size_bytes
        difference = "other bytes" if same else f"{found.size_bytes:,} bytes instead of {written_for.size_bytes:,}"
        raise CheckpointError(
            f"'{path}' is not the file that '{file.name}' beside it was written for: it has {difference}",
            hint="copy both files that 'mobilenets export' wrote, or export the model again",
        )
    return manifest


def manifest_of(spec: ModelSpec, *, precision: Precision = "float32") -> Manifest:
    """The manifest of a model.

    Args:
        spec: the model's specification.
        precision: the precision that the exported network computes in.
    """
    return Manifest(spec.backbone.name, spec.labels, spec.input, spec.head, precision)


def _content(path: Path) -> Content:
    """The content of an exported file or folder; raises OSError if it cannot be read."""
    if not path.is_dir():
        with path.open("rb") as opened:
            return Content(path.stat().st_size, hashlib.file_digest(opened, "sha256").hexdigest())
    total, size_bytes = hashlib.sha256(), 0
    for file in sorted(inner for inner in path.rglob("*") if inner.is_file()):
        part = _content(file)
        total.update(f"{file.relative_to(path).as_posix()} {part.sha256}\n".encode())
        size_bytes += part.size_bytes
    return Content(size_bytes, total.hexdigest())


def _parsed(text: str | bytes) -> dict[str, Any]:  # Any: JSON
    data = parse(text)
    if not isinstance(data, dict) or "format" not in data:
        raise DocumentError("it has no format number")
    return data


def _decoded(data: dict[str, Any]) -> Manifest:  # Any: JSON
    return decode(current(_upgraded(data)), Manifest, choices=CHOICES)


def _upgraded(data: dict[str, Any]) -> dict[str, Any]:  # Any: JSON
    """The fields of a manifest of any format, converted to the current one."""
    fields = {key: value for key, value in data.items() if key != "format"}
    written = data["format"]
    if type(written) is int and 1 < written <= FORMAT:  # format 2 has no precision: it was always float32
        return fields
    if type(written) is int and written == 1:  # format 1 knew only classifiers
        temperature = fields.pop("temperature", 1.0)
        return {**fields, "head": {"temperature": temperature}}
    raise CheckpointError(
        f"the manifest has format {str(written)[:40]} but this version reads up to format {FORMAT}",
        hint="use the version of mobilenets that exported the model, or export it again",
    )
