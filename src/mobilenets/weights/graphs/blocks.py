"""Groups a graph's layers into blocks: a depthwise layer forms a block with the 1 x 1 layers around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from mobilenets.errors import WeightsError
from mobilenets.specs.rows import BackboneSpec, Bottleneck, Conv, Fused, Padding, Separable
from mobilenets.weights.assemble import Block
from mobilenets.weights.graphs.walk import Layer, Pads
from mobilenets.weights.norms import folded_norm

_HINT = "networks that are built like a MobileNet but compute something else cannot be converted"
PADDINGS: tuple[Padding, ...] = ("tf", "symmetric", "end")


def blocks_of(body: Sequence[Layer], layers: Sequence[Layer], like: BackboneSpec, origin: str) -> list[Block]:
    """The layers up to pooling, as blocks.

    Args:
        body: the layers in sequence, without those inside squeeze-excite.
        layers: all layers of the walk, including those inside squeeze-excite.
        like: the network that they are assumed to be.
        origin: the file, for messages.

    Raises:
        WeightsError: they do not form blocks of a MobileNet.
    """
    blocks: list[Block] = []
    places = {id(layer): i for i, layer in enumerate(layers)}
    i = 0
    while i < len(body):
        count = _block_length(body, i)
        part = body[i : i + count]
        if len(part) < count:
            raise WeightsError(f"'{origin}' ends in a depthwise layer, which no MobileNet does", hint=_HINT)
        before = places[id(body[i - 1])] if i else -1
        c_in = body[i - 1].weight.shape[0] if i else 0
        blocks.append(_block(part, layers, like))
        _check_residual(
            part, before, c_in, f"'{origin}' has its residuals elsewhere than a MobileNet: at {part[-1].name}", like
        )
        _check_activations(part, origin)
        i += count
    return blocks


def _block_length(body: Sequence[Layer], i: int) -> int:
    """Number of layers from index `i` on that form one block: expansion, depthwise, projection; a fused block; or one layer."""
    layer, behind = body[i], body[i + 1 : i + 2]
    if layer.depthwise:
        return 2
    if behind and behind[0].depthwise and layer.kernel == 1:
        return 3
    fuses = i > 0 and layer.kernel > 1 and behind and behind[0].kernel == 1 and behind[0].activation == "linear"
    return 2 if fuses else 1


def _block(part: Sequence[Layer], layers: Sequence[Layer], like: BackboneSpec) -> Block:
    if len(part) == 1:
        return Block(Conv, normed("", part[0], like), part[0].stride, part[0].activation)
    *_, spatial, point = part
    if not spatial.depthwise:
        return Block(
            Fused, normed("expand", spatial, like) | normed("project", point, like), spatial.stride, spatial.activation
        )
    tensors = normed("expand", part[0], like) if len(part) == 3 else {}
    tensors |= normed("depthwise", spatial, like)
    if spatial.squeeze:
        reduce, expand = (layers[i] for i in spatial.squeeze)
        tensors |= bare("squeeze.reduce", reduce) | bare("squeeze.expand", expand)
    if point.activation != "linear":
        return Block(Separable, tensors | normed("pointwise", point, like), spatial.stride, spatial.activation)
    could_join = spatial.stride == 1 and part[0].weight.shape[0 if spatial is part[0] else 1] == point.weight.shape[0]
    shortcut = "none" if could_join and not point.joins and _departs(like) else "bottleneck"
    return Block(Bottleneck, tensors | normed("project", point, like), spatial.stride, spatial.activation, shortcut)  # type: ignore[arg-type] # literals


def _departs(like: BackboneSpec) -> bool:
    """Whether the network has rows without a shortcut although their shapes allow one (MobilenetEdgeTPU)."""
    return any(row.shortcut == "none" for row in like.rows if isinstance(row, Bottleneck))


def _check_residual(part: Sequence[Layer], before: int, c_in: int, message: str, like: BackboneSpec) -> None:
    """Check that a block has a shortcut exactly where our module has one: if its shapes allow it and its row has one."""
    *inner, last = part
    if any(layer.joins for layer in inner) or (len(part) == 1 and last.joins):
        raise WeightsError(message, hint=_HINT)
    could_join = all(layer.stride == 1 for layer in part) and c_in == last.weight.shape[0] and last.activation == "linear"
    if last.joins and (not could_join or last.shortcut != before):
        raise WeightsError(message, hint=_HINT)
    may_leave_out = len(part) == 1 or (part[-2].depthwise and _departs(like))
    if could_join and not last.joins and not may_leave_out:
        raise WeightsError(message, hint=_HINT)


def _check_activations(part: Sequence[Layer], origin: str) -> None:
    """Check that the layers of a block share one activation, except for a linear projection."""
    activations = {layer.activation for layer in part[:-1]} | ({part[-1].activation} - {"linear"})
    if len(part) > 1 and len(activations) > 1:
        raise WeightsError(f"'{origin}' mixes {' and '.join(sorted(activations))} in one block, at {part[-1].name}", hint=_HINT)


def normed(ours: str, layer: Layer, like: BackboneSpec) -> dict[str, Tensor]:
    """A layer as convolution and batch norm: the file's own batch norm, or one that only adds the bias it was folded into."""
    lead = f"{ours}." if ours else ""
    if layer.norm is None:
        norm = folded_norm(torch.from_numpy(layer.bias), like.norm_eps)
    else:
        var = torch.from_numpy(layer.norm.var)
        parts = {"weight": layer.norm.weight, "bias": layer.norm.bias, "running_mean": layer.norm.mean}
        shift = layer.norm.eps - like.norm_eps
        norm = {
            **{part: torch.from_numpy(values) for part, values in parts.items()},
            "running_var": var + shift if shift else var,
        }
    return {
        f"{lead}conv.weight": torch.from_numpy(layer.weight),
        **{f"{lead}norm.{part}": tensor for part, tensor in norm.items()},
    }


def bare(ours: str, layer: Layer) -> dict[str, Tensor]:
    """A layer without batch norm; if the file has one, it is folded into weight and bias."""
    lead = f"{ours}." if ours else ""
    weight, bias = torch.from_numpy(layer.weight), torch.from_numpy(layer.bias)
    if layer.norm is not None:
        factor, offset = (torch.from_numpy(values) for values in layer.norm.scaling)
        weight = (weight.double() * factor[:, None, None, None]).float()
        bias = (bias.double() * factor + offset).float()
    return {f"{lead}weight": weight, f"{lead}bias": bias}


def with_norms(like: BackboneSpec, layers: Sequence[Layer]) -> BackboneSpec:
    """The network with the batch norm epsilon that most layers of the file have."""
    epsilons = [layer.norm.eps for layer in layers if layer.norm is not None]
    return replace(like, norm_eps=max(set(epsilons), key=epsilons.count)) if epsilons else like


def padding_of(body: Sequence[Layer], origin: str, *, keeps_size: bool = True) -> Padding:
    """The padding rule that pads every layer as the file does at its own input size.

    Args:
        body: layers up to pooling.
        origin: the file, for messages.
        keeps_size: whether the amounts in separate padding operators apply only to this input size, as in Keras's V2 and V3.

    Raises:
        WeightsError: no rule fits.
    """
    fixed = not keeps_size and any(layer.padded_apart for layer in body)
    for rule in PADDINGS[::-1] if fixed else PADDINGS:
        if all(layer.pads == _pads(rule, layer) for layer in body):
            return rule
    raise WeightsError(
        f"'{origin}' pads its layers by no rule that is known",
        hint="those of TensorFlow (SAME), of torch (k // 2 on both sides) and of Keras's MobileNet are",
    )


def _pads(rule: Padding, layer: Layer) -> Pads:
    kernel, stride = layer.reach, layer.stride
    if stride == 1 or rule == "symmetric":
        return (kernel - 1) // 2, (kernel - 1) // 2
    if rule == "end" and layer.depthwise:
        return 0, max(kernel - stride, 0)
    total = max((-(-layer.size // stride) - 1) * stride + kernel - layer.size, 0)
    return total // 2, total - total // 2
