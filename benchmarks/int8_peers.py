"""Post-training int8 of this package beside that of other libraries, on the same photos: imported weights, both halves.

Photos are named by their ImageNet class, "n01440764_tench.JPEG". Every library quantizes the float network with one half of
the photos and answers for the other half, and then the other way round, so that no photo is judged by a network that was
calibrated on it. The libraries have their plain defaults, with per-channel weights:

- ONNX Runtime: static QDQ quantization with unsigned activations, run with exact sums on processors without VNNI;
- NNCF on OpenVINO: with its own fix of the overflow on such processors;
- ai-edge-quantizer: static int8, run by LiteRT;
- torchao: pt2e with ExecuTorch's XNNPACK quantizer, run by PyTorch.

"4 bits" are our weights of 4 bits in all but the first and the depthwise layers, with one scale for each output channel, or
with a factor for each 32 weights of it; the values stay in 8 bits.

A library that is not installed is left out, and named. Ours is run by LiteRT. Columns: top-1 of the float network and of
the int8 network, the difference in points with its paired standard error, the share of equal answers, the signal to noise of
the logits, and how many photos only ours and only the other has right, with the p-value of McNemar's exact test.

    python benchmarks/int8_peers.py imagenet-sample/ imagenet-classes.json mobilenet_v2_1.0_224_quant.tflite
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenets.deploy import write_onnx, write_tflite
from mobilenets.deploy.quantize.quantize import quantize
from mobilenets.deploy.quantize.values import decibels
from mobilenets.deploy.quantize.weights import EIGHT_BITS, Grid
from mobilenets.exporters.lower import lower
from mobilenets.model import Model
from mobilenets.runtime.images.prepare import load_input
from mobilenets.weights.load import load

Images = NDArray[np.float32]
Network = Callable[[Images], Images]
"""From images N C H W to logits."""

SEED = 0


def main() -> None:
    """Print a table for each network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("classes", type=Path)
    parser.add_argument("weights", nargs="+")
    parser.add_argument("--libraries", nargs="+", choices=list(LIBRARIES), default=list(LIBRARIES))
    arguments = parser.parse_args()
    photos = sorted(arguments.photos.glob("*.JPEG"))
    index = {known["wnid"]: known["index"] for known in json.loads(arguments.classes.read_text("utf-8"))}
    truth = np.asarray([index[path.name.partition("_")[0]] for path in photos])
    halves = np.array_split(np.random.default_rng(SEED).permutation(len(photos)), 2)
    for weights in arguments.weights:
        model = load(weights)
        images = np.stack([load_input(path, model.spec.input) for path in photos])
        judge(Path(weights).stem, model, images, truth, halves, arguments.libraries)


def judge(
    name: str,
    model: Model,
    images: Images,
    truth: NDArray[Any],  # Any: integers
    halves: list[NDArray[Any]],
    libraries: list[str],
) -> None:
    """Print what each library makes of one network."""
    expected = _litert(write_tflite.to_tflite(lower(model)))(images)
    right: dict[str, NDArray[np.bool_]] = {"float": _right(expected, truth)}
    print(f"\n{name}: {len(images)} photos, top-1 in floats {right['float'].mean():.1%}")
    print("library            top-1   points ± error   same answer   SQNR dB   only ours : only it      p   minutes")
    for library in libraries:
        made, start = np.empty_like(expected), time.perf_counter()
        try:
            for some, others in (halves, halves[::-1]):
                made[others] = LIBRARIES[library](model, images[some])(images[others])
        except ImportError as error:
            print(f"{library:18} left out: {error}", flush=True)
            continue
        right[library] = _right(made, truth)
        change = right[library].astype(float) - right["float"]
        spread = change.std() / len(change) ** 0.5
        same, noise = (made.argmax(1) == expected.argmax(1)).mean(), decibels(expected, made)
        row = f"{library:18} {right[library].mean():5.1%} {100 * change.mean():+8.1f} ± {100 * spread:.1f}"
        row += f" {same:15.1%} {noise:9.1f}"
        if library != "ours" and "ours" in right:
            ours, its = (int((a & ~b).sum()) for a, b in _both_ways(right["ours"], right[library]))
            row += f" {ours:11} : {its:<8} {_mcnemar(ours, its):6.2f}"
        else:
            row += 28 * " "
        print(f"{row} {(time.perf_counter() - start) / 60:9.1f}", flush=True)


def _right(logits: Images, truth: NDArray[Any]) -> NDArray[np.bool_]:  # Any: integers
    right: NDArray[np.bool_] = logits[:, logits.shape[1] - 1000 :].argmax(1) == truth  # some have a background class first
    return right


def _both_ways(a: Any, b: Any) -> Iterator[tuple[Any, Any]]:  # Any: arrays
    yield a, b
    yield b, a


def _mcnemar(first: int, second: int) -> float:
    n = first + second
    tail = sum(comb(n, k) for k in range(min(first, second) + 1))
    return min(1.0, float(2 * tail / 2**n))


def _litert(data: bytes) -> Network:
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
    return _litert(write_tflite.to_tflite(quantize(lower(model), images, weights=weights).graph))


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
    return _litert(bytes(made))


def _torchao(model: Model, images: Images) -> Network:
    import torch
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import XNNPACKQuantizer, get_symmetric_quantization_config
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    example = (torch.from_numpy(images[:1]),)
    program = torch.export.export(model.eval(), example).module()
    library = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
    prepared = prepare_pt2e(program, library)
    with torch.inference_mode():
        for image in images:
            prepared(torch.from_numpy(image[np.newaxis]))
    made = convert_pt2e(prepared)

    def run(images: Images) -> Images:
        with torch.inference_mode():
            return np.concatenate([_logits(made(torch.from_numpy(image[np.newaxis]))) for image in images])

    return run


def _logits(outputs: Any) -> Images:  # Any: a tensor, or a mapping of them
    return np.asarray((next(iter(outputs.values())) if isinstance(outputs, dict) else outputs).numpy())


LIBRARIES: dict[str, Callable[[Model, Images], Network]] = {
    "ours": _ours,
    "ours, 4 bits": partial(_ours, weights=Grid(bits=4)),
    "ours, 4 bits / 32": partial(_ours, weights=Grid(bits=4, block=32)),
    "onnxruntime": _onnx_runtime,
    "nncf": _nncf,
    "ai-edge-quantizer": _ai_edge,
    "torchao": _torchao,
}
"""Each quantizes a model with calibration images."""


if __name__ == "__main__":
    main()
