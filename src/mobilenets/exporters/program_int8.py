"""Int8 operators in a torch program: float operators between conversions that vendors' converters recognize.

The conversions are torch's own `quantized_decomposed` operators with the graph's scales. XNNPACK recognizes a convolution with
its conversions as one int8 operator, which computes the same integers as LiteRT.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mobilenets.deploy import operators as op
from mobilenets.deploy.quantization import HIGHEST, LOWEST, Quantization, bias_scales
from mobilenets.deploy.swish import SIX

if TYPE_CHECKING:
    from mobilenets.deploy.graph import Graph
    from mobilenets.exporters.program import Program

_THREE = Quantization((3 / HIGHEST,))


def register() -> Any:  # Any: torch's namespace of operators
    """The namespace of the conversions, which torch knows once their module is imported."""
    from torch.ao.quantization.fx import _decomposed  # noqa: F401  # registers them

    return torch.ops.quantized_decomposed


def tensors(graph: Graph) -> dict[str, Tensor]:
    """Tensors that the conversions need besides the graph's: dequantized biases, scales and zero points of weights, and the 3.

    Args:
        graph: a quantized graph.
    """
    made = {}
    for operator in graph.operators:
        if not isinstance(operator, op.Weighted) or operator.weight not in graph.quantization:
            continue
        weight = graph.quantization[operator.weight]
        scales = torch.tensor(bias_scales(graph.quantization[operator.inputs[0]], weight))
        count = len(graph.tensors[operator.weight])
        made[f"{operator.bias}/real"] = (torch.from_numpy(graph.tensors[operator.bias]) * scales).float()
        made[f"{operator.weight}/scales"] = torch.tensor(weight.scales).expand(count).contiguous()
        made[f"{operator.weight}/zeros"] = torch.zeros(count, dtype=torch.int64)
    made["three/int8"] = torch.full((1,), HIGHEST, dtype=torch.int8)
    return made


def quantize(real: Tensor, quantization: Quantization) -> Tensor:
    """Quantize reals to 8-bit integers."""
    made: Tensor = register().quantize_per_tensor.default(
        real, quantization.scale, quantization.zero_point, LOWEST, HIGHEST, torch.int8
    )
    return made


def dequantize(integers: Tensor, quantization: Quantization) -> Tensor:
    """Dequantize 8-bit integers to reals."""
    made: Tensor = register().dequantize_per_tensor.default(
        integers, quantization.scale, quantization.zero_point, LOWEST, HIGHEST, torch.int8
    )
    return made


def weights(program: Program, operator: op.Weighted) -> tuple[Tensor, Tensor]:
    """Dequantized weight and bias of an int8 operator; the weight is stored in 8 bits."""
    stored, scales, zeros = (program.weight(f"{operator.weight}{part}") for part in ("", "/scales", "/zeros"))
    real: Tensor = register().dequantize_per_channel.default(stored, scales, zeros, 0, -HIGHEST, HIGHEST, torch.int8)
    return real, program.weight(f"{operator.bias}/real")


def compute(program: Program, operator: op.Operator, inputs: Sequence[Tensor]) -> Tensor:
    """The output of an int8 operator.

    Args:
        program: the program with its weights.
        operator: an operator of its graph.
        inputs: integers, or floats if the operator quantizes them.
    """
    from mobilenets.exporters.program import RULES

    known = program.graph.quantization
    reals = [dequantize(x, known[name]) if name in known else x for name, x in zip(operator.inputs, inputs, strict=True)]
    made = known.get(operator.output)
    if isinstance(operator, op.Quantize | op.Dequantize):
        real = reals[0]
    elif isinstance(operator, op.Activation) and operator.output in program.undivided:
        real = _shifted(program, reals[0], known[operator.output])
    else:
        real = RULES[type(operator)](program, operator, reals)
    return real if made is None else quantize(real, made)


def _shifted(program: Program, x: Tensor, made: Quantization) -> Tensor:
    """relu6(x + 3), the hard sigmoid before its division. If 8 bits cover exactly 0 to 6, quantization itself is the ReLU6."""
    total = x + dequantize(program.weight("three/int8"), _THREE)
    low, high = (made.scale * (end - made.zero_point) for end in (LOWEST, HIGHEST))
    return torch.clamp(total, 0, SIX) if low < 0 or high > SIX + made.scale / 2 else total
