"""`Draft`: tensors and operators as they are written into a TFLite file, by the format's own published schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mobilenets.errors import MissingExtraError
from mobilenets.runtime.manifest import METADATA_KEY, Manifest

if TYPE_CHECKING:
    from types import ModuleType

    from numpy.typing import NDArray

SIGNATURE = "serving_default"
"""The name under which programs ask for inputs and outputs by name."""

_ALIGNMENT = 16  # bytes, as the schema says of every buffer
_TENSOR_TYPES = {"float32": "FLOAT32", "float16": "FLOAT16", "int32": "INT32", "int64": "INT64", "int8": "INT8"}
# fmt: off
_OPTIONS = {  # operator: its options in the schema, and the version from which on a runtime knows what is written
    "ADD":               ("AddOptions", 1),
    "ARG_MAX":           ("ArgMaxOptions", 1),
    "AVERAGE_POOL_2D":   ("Pool2DOptions", 1),
    "BATCH_MATMUL":      ("BatchMatMulOptions", 1),
    "CONCATENATION":     ("ConcatenationOptions", 1),
    "CONV_2D":           ("Conv2DOptions", 1),
    "DEPTHWISE_CONV_2D": ("DepthwiseConv2DOptions", 2),
    "DEQUANTIZE":        ("DequantizeOptions", 3),
    "FULLY_CONNECTED":   ("FullyConnectedOptions", 1),
    "GELU":              ("GeluOptions", 1),
    "HARD_SWISH":        ("HardSwishOptions", 1),
    "LOGISTIC":          ("", 1),
    "MEAN":              ("ReducerOptions", 1),
    "MUL":               ("MulOptions", 1),
    "PAD":               ("PadOptions", 1),
    "RELU":              ("", 1),
    "RELU6":             ("", 1),
    "RESHAPE":           ("ReshapeOptions", 1),
    "RESIZE_BILINEAR":   ("ResizeBilinearOptions", 3),
    "SOFTMAX":           ("SoftmaxOptions", 1),
}
# fmt: on


class Draft:
    """A file in the making.

    Raises:
        MissingExtraError: ai-edge-litert, which has the schema, or flatbuffers is not installed.
    """

    def __init__(self) -> None:
        self._schema = _schema()
        self._tensors: list[Any] = []  # Any: the schema's classes have no types
        self._operators: list[Any] = []
        self._buffers: list[Any] = [self._schema.BufferT()]  # the first is that of tensors without data
        self._codes: dict[tuple[str, int], int] = {}

    def value(self, name: str, shape: Sequence[int], *, kind: str = "FLOAT32") -> int:
        """The index of a new tensor that an operator will make."""
        return self._tensor(name, shape, kind, buffer=0)

    def constant(self, name: str, values: NDArray[Any]) -> int:  # Any: floats or whole numbers
        """The index of a new tensor with data."""
        self._buffers.append(self._buffer(np.ascontiguousarray(values).tobytes()))
        return self._tensor(name, values.shape, _TENSOR_TYPES[values.dtype.name], buffer=len(self._buffers) - 1)

    def operator(self, kind: str, inputs: Sequence[int], made: int, **options: Any) -> int:  # Any: what options hold
        """Append an operator; returns the index of the tensor that it makes.

        Args:
            kind: the schema's name of it.
            inputs: indices of the tensors it reads.
            made: index of the tensor it makes.
            options: the fields of its options; names of padding, activation and types are looked up.
        """
        schema = self._schema
        table, version = _OPTIONS[kind]
        operator = schema.OperatorT()
        operator.opcodeIndex = self._codes.setdefault((kind, version), len(self._codes))
        operator.inputs, operator.outputs = list(inputs), [made]
        if table:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, table)
            operator.builtinOptions = getattr(schema, f"{table}T")()
            for name, value in options.items():
                assert hasattr(operator.builtinOptions, name), f"{table} has no {name}"
                known = getattr(schema, _NAMED[name]) if name in _NAMED else None
                setattr(operator.builtinOptions, name, value if known is None else getattr(known, value))
        self._operators.append(operator)
        return made

    def packed(self, inputs: Mapping[str, int], outputs: Mapping[str, int], manifest: Manifest) -> bytes:
        """The bytes of the file.

        Args:
            inputs, outputs: tensors by the names that programs ask for.
            manifest: is kept in the file's metadata.
        """
        import flatbuffers  # type: ignore[import-untyped]  # it has no types

        schema = self._schema
        graph = schema.SubGraphT()
        graph.name, graph.tensors, graph.operators = b"main", self._tensors, self._operators
        graph.inputs, graph.outputs = list(inputs.values()), list(outputs.values())
        model = schema.ModelT()
        model.version, model.description, model.subgraphs = 3, b"mobilenets", [graph]
        model.operatorCodes = [self._code(kind, version) for kind, version in self._codes]
        model.signatureDefs = [self._signature(inputs, outputs)]
        model.metadata = [self._metadata(METADATA_KEY, manifest.to_json().encode())]
        model.buffers = self._buffers
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _tensor(self, name: str, shape: Sequence[int], kind: str, *, buffer: int) -> int:
        tensor = self._schema.TensorT()
        tensor.name, tensor.shape, tensor.buffer = name.encode(), [int(side) for side in shape], buffer
        tensor.type = getattr(self._schema.TensorType, kind)
        self._tensors.append(tensor)
        return len(self._tensors) - 1

    def _buffer(self, data: bytes) -> Any:  # Any: the schema's classes have no types
        schema = self._schema

        class Aligned(schema.BufferT):  # type: ignore[name-defined, misc]  # a class of a module found at run time
            """A buffer that begins where the schema asks for it; the generated code forgets that."""

            def Pack(self, builder: Any) -> Any:  # noqa: N802  # Any: flatbuffers has no types
                builder.StartVector(1, len(data), _ALIGNMENT)
                builder.head -= len(data)
                builder.Bytes[builder.head : builder.head + len(data)] = data
                vector = builder.EndVector()
                schema.BufferStart(builder)
                schema.BufferAddData(builder, vector)
                return schema.BufferEnd(builder)

        return Aligned()

    def _code(self, kind: str, version: int) -> Any:  # Any: as above
        code = self._schema.OperatorCodeT()
        code.builtinCode, code.version = getattr(self._schema.BuiltinOperator, kind), version
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        return code

    def _signature(self, inputs: Mapping[str, int], outputs: Mapping[str, int]) -> Any:  # Any: as above
        signature = self._schema.SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = SIGNATURE.encode(), 0
        signature.inputs, signature.outputs = self._named(inputs), self._named(outputs)
        return signature

    def _named(self, tensors: Mapping[str, int]) -> list[Any]:  # Any: as above
        named = []
        for name, index in tensors.items():
            one = self._schema.TensorMapT()
            one.name, one.tensorIndex = name.encode(), index
            named.append(one)
        return named

    def _metadata(self, name: str, data: bytes) -> Any:  # Any: as above
        self._buffers.append(self._buffer(data))
        entry = self._schema.MetadataT()
        entry.name, entry.buffer = name.encode(), len(self._buffers) - 1
        return entry


_NAMED = {"padding": "Padding", "fusedActivationFunction": "ActivationFunctionType", "outputType": "TensorType"}


def _schema() -> ModuleType:
    try:
        import flatbuffers  # noqa: F401  # the schema needs it
        from ai_edge_litert import schema_py_generated
    except ImportError as error:
        raise MissingExtraError("ai-edge-litert", "tflite") from error
    schema: ModuleType = schema_py_generated
    return schema
