"""`Draft`: builds a TFLite file from tensors and operators, with the format's published schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mobilenets.deploy import tflite_metadata
from mobilenets.deploy.quantization import Quantization
from mobilenets.errors import MissingExtraError
from mobilenets.runtime.manifest import METADATA_KEY, Manifest

if TYPE_CHECKING:
    from types import ModuleType

    from numpy.typing import NDArray

SIGNATURE = "serving_default"
"""The name of the signature, which lets programs refer to inputs and outputs by name."""

_ALIGNMENT = 16  # bytes; the schema requires it of every buffer
_TENSOR_TYPES = {
    "float32": "FLOAT32",
    "float16": "FLOAT16",
    "int32": "INT32",
    "int64": "INT64",
    "int8": "INT8",
    "uint8": "UINT8",
}
# fmt: off
_OPTIONS = {  # operator: the table of its options, and the operator versions for floats and for int8
    "ADD":               ("AddOptions", 1, 2),
    "ARG_MAX":           ("ArgMaxOptions", 1, 2),
    "AVERAGE_POOL_2D":   ("Pool2DOptions", 1, 2),
    "BATCH_MATMUL":      ("BatchMatMulOptions", 1, 2),
    "CAST":              ("CastOptions", 1, 1),
    "CONCATENATION":     ("ConcatenationOptions", 1, 2),
    "CONV_2D":           ("Conv2DOptions", 1, 3),
    "DEPTHWISE_CONV_2D": ("DepthwiseConv2DOptions", 2, 3),
    "DEQUANTIZE":        ("DequantizeOptions", 3, 2),
    "EXP":               ("ExpOptions", 1, 1),
    "FULLY_CONNECTED":   ("FullyConnectedOptions", 1, 4),
    "GATHER":            ("GatherOptions", 1, 1),
    "GELU":              ("GeluOptions", 1, 2),
    "GREATER":           ("GreaterOptions", 1, 1),
    "GREATER_EQUAL":     ("GreaterEqualOptions", 1, 1),
    "HARD_SWISH":        ("HardSwishOptions", 1, 1),
    "LOG":               ("", 1, 1),
    "LOGISTIC":          ("", 1, 2),
    "MAXIMUM":           ("MaximumMinimumOptions", 1, 1),
    "MEAN":              ("ReducerOptions", 1, 2),
    "MINIMUM":           ("MaximumMinimumOptions", 1, 1),
    "MUL":               ("MulOptions", 1, 2),
    "PAD":               ("PadOptions", 1, 2),
    "QUANTIZE":          ("QuantizeOptions", 1, 2),
    "RELU":              ("", 1, 2),
    "RELU6":             ("", 1, 2),
    "RESHAPE":           ("ReshapeOptions", 1, 1),
    "RESIZE_BILINEAR":   ("ResizeBilinearOptions", 3, 3),
    "SLICE":             ("SliceOptions", 1, 1),
    "SOFTMAX":           ("SoftmaxOptions", 1, 2),
    "SUB":               ("SubOptions", 1, 1),
    "TOPK_V2":           ("TopKV2Options", 1, 1),
    "TRANSPOSE":         ("TransposeOptions", 1, 1),
}
# fmt: on


class Draft:
    """A TFLite file under construction.

    Raises:
        MissingExtraError: ai-edge-litert, which has the schema, or flatbuffers is not installed.
    """

    def __init__(self) -> None:
        self._schema = _schema()
        self._tensors: list[Any] = []  # Any: the schema's classes have no types
        self._operators: list[Any] = []
        self._buffers: list[Any] = [self._schema.BufferT()]  # the first one is for tensors without data
        self._codes: dict[tuple[str, int], int] = {}

    def value(self, name: str, shape: Sequence[int], *, kind: str = "FLOAT32", quantization: Quantization | None = None) -> int:
        """The index of a new tensor for an operator's output; with a quantization it is int8, or unsigned if "UINT8"."""
        unsigned = kind == "UINT8"
        index = self._tensor(name, shape, kind if unsigned or not quantization else "INT8", buffer=0)
        if quantization:
            self._quantize(index, quantization.scales, quantization.zero_point + (128 if unsigned else 0))
        return index

    def constant(
        self, name: str, values: NDArray[Any], *, scales: Sequence[float] = (), axis: int = 0
    ) -> int:  # Any: floats or integers
        """The index of a new tensor with data.

        Args:
            name: shown in viewers; it has no other use.
            values: floats, or integers of a type that the format supports.
            scales: of quantized numbers, with zero point 0.
            axis: the axis that several scales belong to.
        """
        self._buffers.append(self._buffer(np.ascontiguousarray(values).tobytes()))
        index = self._tensor(name, values.shape, _TENSOR_TYPES[values.dtype.name], buffer=len(self._buffers) - 1)
        if scales:
            self._quantize(index, scales, 0, axis=axis)
        return index

    def custom(self, kind: str, inputs: Sequence[int], made: Sequence[int], options: Mapping[str, int | float | bool]) -> None:
        """Append a custom operator: one that is not in the schema, but that the runtime may know by name.

        Args:
            kind: its name.
            inputs, made: indices of its input and output tensors.
            options: its options, which are stored as a FlexBuffer.
        """
        from flatbuffers import flexbuffers

        builder = flexbuffers.Builder()
        with builder.Map():
            for name, value in options.items():
                add = builder.Bool if isinstance(value, bool) else builder.Int if isinstance(value, int) else builder.Float
                add(name, value)
        operator = self._schema.OperatorT()
        operator.opcodeIndex = self._codes.setdefault((kind, 1), len(self._codes))
        operator.inputs, operator.outputs = list(inputs), list(made)
        operator.customOptions = list(builder.Finish())
        self._operators.append(operator)

    def operator(
        self, kind: str, inputs: Sequence[int], made: int, *others: int, **options: Any
    ) -> int:  # Any: what options hold
        """Append an operator; returns the index of its (first) output tensor.

        Args:
            kind: its name in the schema.
            inputs: indices of its input tensors.
            made: index of its output tensor.
            others: indices of further output tensors.
            options: the fields of its options; padding, activation and types are given by name.
        """
        schema = self._schema
        table, *versions = _OPTIONS[kind]
        version = versions[self._tensors[inputs[0]].type == schema.TensorType.INT8]
        operator = schema.OperatorT()
        operator.opcodeIndex = self._codes.setdefault((kind, version), len(self._codes))
        operator.inputs, operator.outputs = list(inputs), [made, *others]
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
            inputs, outputs: indices of the tensors, by the names that programs use.
            manifest: stored in the file's metadata, complete under our key and in the Tasks library's format under its key.
        """
        import flatbuffers

        schema = self._schema
        graph = schema.SubGraphT()
        graph.name, graph.tensors, graph.operators = b"main", self._tensors, self._operators
        graph.inputs, graph.outputs = list(inputs.values()), list(outputs.values())
        model = schema.ModelT()
        model.version, model.description, model.subgraphs = 3, b"mobilenets", [graph]
        model.operatorCodes = [self._code(kind, version) for kind, version in self._codes]
        model.signatureDefs = [self._signature(inputs, outputs)]
        model.metadata = [
            self._metadata(METADATA_KEY, manifest.to_json().encode()),
            self._metadata(tflite_metadata.KEY, tflite_metadata.metadata(manifest, list(outputs))),
        ]
        model.buffers = self._buffers
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(model.Pack(builder), b"TFL3")
        return tflite_metadata.with_labels(bytes(builder.Output()), manifest.labels)

    def _tensor(self, name: str, shape: Sequence[int], kind: str, *, buffer: int) -> int:
        tensor = self._schema.TensorT()
        tensor.name, tensor.shape, tensor.buffer = name.encode(), [int(side) for side in shape], buffer
        tensor.type = getattr(self._schema.TensorType, kind)
        self._tensors.append(tensor)
        return len(self._tensors) - 1

    def _quantize(self, index: int, scales: Sequence[float], zero_point: int, *, axis: int = 0) -> None:
        parameters = self._schema.QuantizationParametersT()
        parameters.scale = np.asarray(scales, np.float32)
        parameters.zeroPoint = np.full(len(scales), zero_point, np.int64)
        parameters.quantizedDimension = axis
        self._tensors[index].quantization = parameters

    def _buffer(self, data: bytes) -> Any:  # Any: the schema's classes have no types
        schema = self._schema

        class Aligned(schema.BufferT):  # type: ignore[name-defined, misc]  # a class of a module found at run time
            """A buffer with the alignment that the schema requires, which the generated code ignores."""

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
        known = self._schema.BuiltinOperator
        code.builtinCode, code.version = getattr(known, kind, known.CUSTOM), version
        if code.builtinCode == known.CUSTOM:
            code.customCode = kind.encode()
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
            mapping = self._schema.TensorMapT()
            mapping.name, mapping.tensorIndex = name.encode(), index
            named.append(mapping)
        return named

    def _metadata(self, name: str, data: bytes) -> Any:  # Any: as above
        self._buffers.append(self._buffer(data))
        entry = self._schema.MetadataT()
        entry.name, entry.buffer = name.encode(), len(self._buffers) - 1
        return entry


_NAMED = {
    "padding": "Padding",
    "fusedActivationFunction": "ActivationFunctionType",
    "outputType": "TensorType",
    "inDataType": "TensorType",
    "outDataType": "TensorType",
}


def _schema() -> ModuleType:
    try:
        import flatbuffers  # noqa: F401  # the schema needs it
        from ai_edge_litert import schema_py_generated
    except ImportError as error:
        raise MissingExtraError("ai-edge-litert", "tflite") from error
    schema: ModuleType = schema_py_generated
    return schema
