"""The messages of the Open Inference Protocol over gRPC, with the field numbers of its specification.

They are built from the tables here, in a separate descriptor pool: generated code would be tied to one major version of
protobuf, and would collide with that of clients in the same process, which register the same names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

PACKAGE, SERVICE = "inference", "inference.GRPCInferenceService"

Fields = Mapping[str, tuple[int, str]]
"""Fields by name: number and type. "*" before a type means 'repeated'; "TYPE?" is a member of the message's only 'oneof'."""

# fmt: off
MESSAGES: Mapping[str, Fields] = {
    "ServerLiveRequest":      {},
    "ServerLiveResponse":     {"live": (1, "bool")},
    "ServerReadyRequest":     {},
    "ServerReadyResponse":    {"ready": (1, "bool")},
    "ModelReadyRequest":      {"name": (1, "string"), "version": (2, "string")},
    "ModelReadyResponse":     {"ready": (1, "bool")},
    "ServerMetadataRequest":  {},
    "ServerMetadataResponse": {"name": (1, "string"), "version": (2, "string"), "extensions": (3, "*string")},
    "ModelMetadataRequest":   {"name": (1, "string"), "version": (2, "string")},
    "ModelMetadataResponse.TensorMetadata": {"name": (1, "string"), "datatype": (2, "string"), "shape": (3, "*int64")},
    "ModelMetadataResponse": {
        "name":       (1, "string"),
        "versions":   (2, "*string"),
        "platform":   (3, "string"),
        "inputs":     (4, "*ModelMetadataResponse.TensorMetadata"),
        "outputs":    (5, "*ModelMetadataResponse.TensorMetadata"),
        "properties": (6, "{string}"),
    },
    "InferParameter": {
        "bool_param":   (1, "bool?"),
        "int64_param":  (2, "int64?"),
        "string_param": (3, "string?"),
        "double_param": (4, "double?"),
        "uint64_param": (5, "uint64?"),
    },
    "InferTensorContents": {
        "bool_contents":   (1, "*bool"),
        "int_contents":    (2, "*int32"),
        "int64_contents":  (3, "*int64"),
        "uint_contents":   (4, "*uint32"),
        "uint64_contents": (5, "*uint64"),
        "fp32_contents":   (6, "*float"),
        "fp64_contents":   (7, "*double"),
        "bytes_contents":  (8, "*bytes"),
    },
    "ModelInferRequest.InferInputTensor": {
        "name":       (1, "string"),
        "datatype":   (2, "string"),
        "shape":      (3, "*int64"),
        "parameters": (4, "{InferParameter}"),
        "contents":   (5, "InferTensorContents"),
    },
    "ModelInferRequest.InferRequestedOutputTensor": {"name": (1, "string"), "parameters": (2, "{InferParameter}")},
    "ModelInferRequest": {
        "model_name":         (1, "string"),
        "model_version":      (2, "string"),
        "id":                 (3, "string"),
        "parameters":         (4, "{InferParameter}"),
        "inputs":             (5, "*ModelInferRequest.InferInputTensor"),
        "outputs":            (6, "*ModelInferRequest.InferRequestedOutputTensor"),
        "raw_input_contents": (7, "*bytes"),
    },
    "ModelInferResponse.InferOutputTensor": {
        "name":       (1, "string"),
        "datatype":   (2, "string"),
        "shape":      (3, "*int64"),
        "parameters": (4, "{InferParameter}"),
        "contents":   (5, "InferTensorContents"),
    },
    "ModelInferResponse": {
        "model_name":          (1, "string"),
        "model_version":       (2, "string"),
        "id":                  (3, "string"),
        "parameters":          (4, "{InferParameter}"),
        "outputs":             (5, "*ModelInferResponse.InferOutputTensor"),
        "raw_output_contents": (6, "*bytes"),
    },
}
"""Messages by name. "OUTER.INNER" is declared inside OUTER; "{TYPE}" maps strings to values of the type."""

CONTENTS: Mapping[str, str] = {  # datatype: the field of `InferTensorContents` for its values; FP16 has none
    "BOOL":   "bool_contents",
    "INT8":   "int_contents",   "INT16":  "int_contents",   "INT32":  "int_contents",   "INT64":  "int64_contents",
    "UINT8":  "uint_contents",  "UINT16": "uint_contents",  "UINT32": "uint_contents",  "UINT64": "uint64_contents",
    "FP32":   "fp32_contents",  "FP64":   "fp64_contents",  "BYTES":  "bytes_contents",
}
# fmt: on

_ONEOF = "parameter_choice"


def _file() -> FileDescriptorProto:
    file = FileDescriptorProto(name="mobilenets/inference.proto", package=PACKAGE, syntax="proto3")
    for name, fields in MESSAGES.items():
        outer, _, inner = name.partition(".")
        if inner:
            _described(_outer(file, outer).nested_type.add(name=inner), name, fields)
        else:
            _described(_outer(file, outer), name, fields)
    return file


def _outer(file: FileDescriptorProto, name: str) -> DescriptorProto:
    """The message with this name; nested ones may be declared before it."""
    return next((message for message in file.message_type if message.name == name), None) or file.message_type.add(name=name)


def _described(message: DescriptorProto, full_name: str, fields: Fields) -> None:
    if any(kind.endswith("?") for _, kind in fields.values()):
        message.oneof_decl.add(name=_ONEOF)
    for name, (number, kind) in fields.items():
        field = message.field.add(name=name, number=number, label=FieldDescriptorProto.LABEL_OPTIONAL)
        if kind.startswith("{"):
            entry = name.title().replace("_", "") + "Entry"
            pairs = message.nested_type.add(name=entry)
            pairs.options.map_entry = True
            for number_of, part, part_kind in ((1, "key", "string"), (2, "value", kind[1:-1])):
                pair = pairs.field.add(name=part, number=number_of, label=FieldDescriptorProto.LABEL_OPTIONAL)
                _typed(pair, part_kind)
            kind = f"*{full_name}.{entry}"
        if kind.startswith("*"):
            field.label = FieldDescriptorProto.LABEL_REPEATED
        if kind.endswith("?"):
            field.oneof_index = 0
        _typed(field, kind.strip("*?"))


def _typed(field: FieldDescriptorProto, kind: str) -> None:
    scalar = getattr(FieldDescriptorProto, f"TYPE_{kind.upper()}", None)
    if scalar is None:
        field.type, field.type_name = FieldDescriptorProto.TYPE_MESSAGE, f".{PACKAGE}.{kind}"
    else:
        field.type = scalar


def _classes() -> Iterator[tuple[str, Any]]:  # Any: classes that protobuf makes
    pool = DescriptorPool()
    pool.AddSerializedFile(_file().SerializeToString())
    for name in MESSAGES:
        yield name, GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))


CLASSES: Mapping[str, Any] = dict(_classes())  # Any: as above
"""The classes of the messages, by name."""
