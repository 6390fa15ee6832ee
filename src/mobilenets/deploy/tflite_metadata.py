"""TFLite metadata for the Tasks library: a description of inputs and outputs, and the labels.

The schema is `metadata_schema.fbs` of TensorFlow Lite Support (Apache-2.0); the metadata is a separate FlatBuffer inside the
file. Only the tables that are needed are written here, by the number of each field in that schema. As the library expects,
labels are a text file in a ZIP archive after the network; programs that only run the network never read that far.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mobilenets.runtime.manifest import Manifest

KEY = "TFLITE_METADATA"
"""Name of the metadata in the file."""

LABELS = "labels.txt"
"""Name of the file with the labels, one per line."""

OUTPUTS = ("location", "category", "score", "number of detections")
"""The Tasks library's names of outputs: boxes y0 x0 y1 x1 as shares of the input's sides, 1 K 4; classes, 1 K; scores, 1 K;
and the number of valid boxes, 1."""

_IDENTIFIER = b"M001"
_AXIS_LABELS, _VALUE_LABELS = 2, 3  # AssociatedFileType
_FEATURE, _IMAGE, _BOXES = 1, 2, 3  # ContentProperties
_NORMALIZATION = 1  # ProcessUnitOptions
_RGB, _GRAY = 1, 2  # ColorSpaceType
_BOUNDARIES = 1  # BoundingBoxType


@dataclass(frozen=True, slots=True)
class _Byte:
    """A value of an enumeration, which is stored as one byte."""

    value: int


_Field = str | int | _Byte | Sequence[float] | Sequence[int] | Mapping[int, Any] | Sequence[Mapping[int, Any]]
_Table = Mapping[int, _Field]  # by the number of the field in the schema


def metadata(manifest: Manifest, outputs: Sequence[str]) -> bytes:
    """The metadata of a network.

    Args:
        manifest: the manifest of the network.
        outputs: names of the file's outputs, in order.
    """
    import flatbuffers

    subgraph: _Table = {2: [_input(manifest)], 3: [_output(name, manifest) for name in outputs]}
    model: _Table = {
        0: manifest.model,
        1: f"{manifest.task}, {len(manifest.labels)} labels",
        3: [subgraph],
        4: "mobilenets",
        7: "1.0.0",
    }
    builder = flatbuffers.Builder(4096)
    builder.Finish(_written(builder, model), _IDENTIFIER)
    return bytes(builder.Output())


def with_labels(data: bytes, labels: Sequence[str]) -> bytes:
    """The bytes of a file followed by its labels in a ZIP archive, uncompressed and with a fixed date."""
    packed = io.BytesIO()
    packed.write(data)
    with zipfile.ZipFile(packed, "a", zipfile.ZIP_STORED) as archive:
        lines = "".join(f"{' '.join(label.split()) or '?'}\n" for label in labels)
        archive.writestr(zipfile.ZipInfo(LABELS, (1980, 1, 1, 0, 0, 0)), lines.encode("utf-8"))
    return packed.getvalue()


def _input(manifest: Manifest) -> _Table:
    contract = manifest.input
    height, width = contract.shape
    properties: _Table = {0: _Byte(_RGB if contract.channels == 3 else _GRAY), 1: {0: width, 1: height}}
    pixels = [[float(255 * value) for value in values] for values in (contract.mean, contract.std)]
    return {
        0: "image",
        1: f"an image, resized as '{contract.resize}' and normalized",
        3: _content(_IMAGE, properties) if contract.channels in (1, 3) else _content(_FEATURE, {}),
        4: [{0: _Byte(_NORMALIZATION), 1: {0: pixels[0], 1: pixels[1]}}],
    }


def _output(name: str, manifest: Manifest) -> _Table:
    table: dict[int, _Field] = {0: name, 3: _content(_FEATURE, {})}
    location, category, score, _ = OUTPUTS
    if name == "logits" and manifest.task != "detect":
        table[6] = [{0: LABELS, 1: "labels, one a line", 2: _Byte(_AXIS_LABELS)}]
    if name == "logits" and manifest.task == "segment":
        table[3] = _content(_IMAGE, {}, range_=(1, 2))
    if name == location:
        table[3] = _content(_BOXES, {0: [1, 0, 3, 2], 1: _Byte(_BOUNDARIES)}, range_=(2, 2))
    if name in (category, score):
        table[3] = _content(_FEATURE, {}, range_=(2, 2))
    if name == category:
        table[6] = [{0: LABELS, 1: "labels, one a line", 2: _Byte(_VALUE_LABELS)}]
    return table


def _content(kind: int, properties: _Table, *, range_: tuple[int, int] | None = None) -> _Table:
    content: dict[int, _Field] = {0: _Byte(kind), 1: properties}
    return content if range_ is None else {**content, 2: {0: range_[0], 1: range_[1]}}


def _written(builder: Any, table: _Table) -> int:  # Any: flatbuffers has no types
    """Write a table and return its position. Whatever it points to has to be written first."""
    places = {number: _placed(builder, field) for number, field in table.items()}
    builder.StartObject(max(table, default=-1) + 1)
    for number, field in table.items():
        if isinstance(field, _Byte):
            builder.PrependInt8Slot(number, field.value, 0)
        elif isinstance(field, int):
            builder.PrependUint32Slot(number, field, 0)
        else:
            builder.PrependUOffsetTRelativeSlot(number, places[number], 0)
    return int(builder.EndObject())


def _placed(builder: Any, field: Any) -> int:  # Any: as above, and the kinds of `_Field`
    if isinstance(field, str):
        return int(builder.CreateString(field))
    if isinstance(field, Mapping):
        return _written(builder, field)
    if isinstance(field, _Byte | int):
        return 0  # stored in the table itself
    if all(isinstance(entry, Mapping) for entry in field):
        tables = [_written(builder, entry) for entry in field]
        builder.StartVector(4, len(tables), 4)
        for place in reversed(tables):
            builder.PrependUOffsetTRelative(place)
        return int(builder.EndVector())
    builder.StartVector(4, len(field), 4)
    for number in reversed(field):
        if isinstance(number, float):
            builder.PrependFloat32(number)
        else:
            builder.PrependUint32(number)
    return int(builder.EndVector())
