"""Post-training int8 quantizers side by side: each makes a network of a model with calibration images, and runs it.

The libraries have their plain defaults, with per-channel weights:

- ours: run by LiteRT; "4 bits" are weights of 4 bits in all but the first and the depthwise layers, with one scale for each
  output channel, or with a factor for each 32 weights of it, while the values stay in 8 bits;
- ONNX Runtime: static QDQ quantization with unsigned activations, run with exact sums on processors without VNNI;
- NNCF on OpenVINO: with its own fix of the overflow on such processors;
- ai-edge-quantizer: static int8, run by LiteRT;
- torchao: pt2e with ExecuTorch's XNNPACK quantizer, run by PyTorch.

`nncf` and `ai-edge-quantizer` are not among the package's own dependencies: `pip install nncf ai-edge-quantizer`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenets.deploy import write_onnx, write_tflite
from mobilenets.deploy.quantize.quantize import quantize
from mobilenets.deploy.quantize.weights import EIGHT_BITS, Grid
from mobilenets.exporters.lower import lower
from mobilenets.model import Model

Images = NDArray[np.float32]
Network = Callable[[Images], Images]
"""From images N C H W to logits."""

Quantizer = Callable[[Model, Images], Network]
"""From a float model and calibration images to the quantized network."""

BATCH = 50
"""Images that a torch program gets at once."""


def floats(model: Model) -> Network:
    """The float network, run by LiteRT."""
    return litert(write_tflite.to_tflite(lower(model)))


def litert(data: bytes) -> Network:
    """A TFLite file, run by LiteRT image after image; integers at its ends become floats here."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=data)
    interpreter.allocate_tensors()
    [read], [made] = interpreter.get_input_details(), interpreter.get_output_details()

    def run(images: Images) -> Images:
        logits = []
        for image in images:
            x = image.transpose(1, 2, 0)[np.newaxis]
            if read["dtype"] == np.int8:
                x = np.clip(np.rint(x / read["quantization"][0]) + read["quantization"][1], -128, 127).astype(np.int8)
            interpreter.set_tensor(read["index"], x)
            interpreter.invoke()
            y = interpreter.get_tensor(made["index"])[0].astype(np.float32)
            scale, zero = made["quantization"] if made["dtype"] == np.int8 else (1.0, 0)
            logits.append((y - zero) * np.float32(scale))
        return np.stack(logits)

    return run


def _ours(model: Model, images: Images, weights: Grid = EIGHT_BITS) -> Network:
    return litert(write_tflite.to_tflite(quantize(lower(model), images, weights=weights).graph))


def _onnx_runtime(model: Model, images: Images) -> Network:
    import onnxruntime
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # the library has no types
        def __init__(self) -> None:
            self.rest = iter(images)

        def get_next(self) -> dict[str, Images] | None:
            image = next(self.rest, None)
            return None if image is None else {"image": image[np.newaxis]}

    with tempfile.TemporaryDirectory() as name:
        first, second, third = (str(Path(name) / f"{stage}.onnx") for stage in ("float", "ready", "int8"))
        Path(first).write_bytes(write_onnx.to_onnx(lower(model)).SerializeToString())
        quant_pre_process(first, second, skip_symbolic_shape=True)
        quantize_static(
            second,
            third,
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.x64quantprecision", "1")
        session = onnxruntime.InferenceSession(third, options, providers=["CPUExecutionProvider"])
    return lambda images: np.concatenate([session.run(None, {"image": image[np.newaxis]})[0] for image in images])


def _nncf(model: Model, images: Images) -> Network:
    import nncf
    import openvino

    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "model.onnx"
        path.write_bytes(write_onnx.to_onnx(lower(model)).SerializeToString())
        core = openvino.Core()
        network = core.read_model(path)
        network.reshape([1, *images.shape[1:]])
        fix = nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE)
        made = nncf.quantize(network, nncf.Dataset(images[:, np.newaxis]), subset_size=len(images), advanced_parameters=fix)
        compiled = core.compile_model(made, "CPU")
    return lambda images: np.concatenate([compiled(image[np.newaxis])[0].copy() for image in images])


def _ai_edge(model: Model, images: Images) -> Network:
    from ai_edge_quantizer import quantizer, recipe

    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "model.tflite"
        path.write_bytes(write_tflite.to_tflite(lower(model)))
        work = quantizer.Quantizer(str(path), recipe.static_wi8_ai8())
        shown = [{"image": image.transpose(1, 2, 0)[np.newaxis]} for image in images]
        seen = work.calibrate({"serving_default": shown})
        made = work.quantize(seen).quantized_model
    return litert(bytes(made))


def _torchao(model: Model, images: Images) -> Network:
    import torch
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import XNNPACKQuantizer, get_symmetric_quantization_config
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    example = (torch.from_numpy(images[:2]),)
    program = torch.export.export(model.eval(), example, dynamic_shapes=({0: torch.export.Dim("images")},)).module()
    library = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
    prepared = prepare_pt2e(program, library)
    with torch.inference_mode():
        for batch in _batches(images):
            prepared(torch.from_numpy(batch))
    made = convert_pt2e(prepared)

    def run(images: Images) -> Images:
        with torch.inference_mode():
            return np.concatenate([_logits(made(torch.from_numpy(batch))) for batch in _batches(images)])

    return run


def _batches(images: Images) -> list[Images]:
    return [images[i : i + BATCH] for i in range(0, len(images), BATCH)]


def _logits(outputs: Any) -> Images:  # Any: a tensor, or a mapping of them
    return np.asarray((next(iter(outputs.values())) if isinstance(outputs, dict) else outputs).numpy())


LIBRARIES: dict[str, Quantizer] = {
    "ours": _ours,
    "ours, 4 bits": partial(_ours, weights=Grid(bits=4)),
    "ours, 4 bits / 32": partial(_ours, weights=Grid(bits=4, block=32)),
    "onnxruntime": _onnx_runtime,
    "nncf": _nncf,
    "ai-edge-quantizer": _ai_edge,
    "torchao": _torchao,
}
"""Each quantizes a model with calibration images."""
