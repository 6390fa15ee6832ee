"""Assembles a `Model` from a file's weights. Every tensor is placed, and none may be left over.

An importer states the role of each tensor and what shapes cannot tell: kind of row, stride, activation. Channels, kernels,
squeeze-excite and attention heads are read from the tensors' shapes, so any width and depth can be loaded.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean

import torch
from torch import Tensor

from mobilenets.errors import WeightsError
from mobilenets.model import Model
from mobilenets.specs.families import BACKBONES
from mobilenets.specs.model import ClassifierHead, Head, InputContract, ModelSpec
from mobilenets.specs.rows import (
    Activation,
    Attention,
    BackboneSpec,
    Bottleneck,
    Conv,
    Fused,
    Row,
    Separable,
    Shortcut,
    Universal,
)
from mobilenets.weights.told import Basis

NORM = ("weight", "bias", "running_mean", "running_var")
_COMMON_WIDTHS = (1.0, 0.75, 0.5, 0.35, 0.25, 1.4, 1.3, 1.25, 1.5, 2.0, 1.1, 1.2, 0.1)
_WIDTHS = (*_COMMON_WIDTHS, *(k / 20 for k in range(1, 61) if k / 20 not in _COMMON_WIDTHS))


@dataclass(frozen=True, slots=True)
class Block:
    """One block of a network in a file.

    Args:
        kind: type of its row.
        tensors: its weights under our module's names, such as `"expand.conv.weight"`.
        stride: stride of its spatial convolution.
        activation: activation of its layers.
        shortcut: what a bottleneck's shortcut connects, or "none" if it has no shortcut.
    """

    kind: type[Row]
    tensors: Mapping[str, Tensor]
    stride: int = 1
    activation: Activation = "relu6"
    shortcut: Shortcut = "bottleneck"


@dataclass(frozen=True, slots=True)
class Network:
    """The network that an importer found in a file.

    Args:
        like: provides name, padding and batch norm settings; its rows are replaced by those of the blocks.
        blocks: the blocks, from the stem to the last layer before pooling.
        input: the input contract of the weights.
        tail: layers between pooling and classifier.
        head: the classifier's `weight` (classes x features) and `bias`; empty if the file has none. For another head, described
            by `record`, every tensor by its name below `head.`.
        record: description of the head, if it is not a classifier.
        record_classes: number of classes of that head.
        labels: class names, if the file or its library states them.
        known: the source of each part of `input`, as in `Contract`; missing parts were guessed.
        notes: remarks for the user on how the file was read, one sentence each.
    """

    like: BackboneSpec
    blocks: Sequence[Block]
    input: InputContract
    tail: Sequence[Block] = ()
    head: Mapping[str, Tensor] = field(default_factory=dict)
    record: Head | None = None
    record_classes: int = 0
    labels: tuple[str, ...] = ()
    known: Mapping[str, Basis] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def classes(self) -> int:
        """Number of classes of the file's head; 0 without a head."""
        if self.record is not None:
            return self.record_classes
        return self.head["weight"].shape[0] if self.head else 0


class Tensors:
    """The named tensors of one file. Each can be taken once, and leftovers are an error.

    Args:
        tensors: the tensors, by the file's own names.
        origin: the file, for messages.
    """

    def __init__(self, tensors: Mapping[str, Tensor], origin: str) -> None:
        self._left = dict(tensors)
        self.origin = origin

    def has(self, name: str) -> bool:
        """Whether a tensor of this name exists and was not taken yet."""
        return name in self._left

    def take(self, name: str) -> Tensor:
        """Take a tensor.

        Raises:
            WeightsError: it does not exist.
        """
        if name not in self._left:
            raise WeightsError(f"'{self.origin}' has no tensor '{name}'")
        return self._left.pop(name)

    def conv(self, ours: str, conv: str, norm: str) -> dict[str, Tensor]:
        """Take a convolution and its batch norm, renamed to names below `ours` (`""` for a row of one convolution)."""
        lead = f"{ours}." if ours else ""
        taken = {f"{lead}norm.{part}": self.take(f"{norm}.{part}") for part in NORM}
        return {f"{lead}conv.weight": self.take(f"{conv}.weight"), **taken}

    def numbers(self, lead: str) -> list[int]:
        """The numbers that follow `lead` in the names: for `"blocks."`, 0, 1, 2, ..."""
        digits = {name[len(lead) :].partition(".")[0] for name in self._left if name.startswith(lead)}
        return sorted(int(number) for number in digits if number.isdigit())

    def done(self) -> None:
        """Check that all tensors were taken.

        Raises:
            WeightsError: some were not; the message names them.
        """
        left = sorted(name for name in self._left if not name.endswith("num_batches_tracked"))
        if left:
            raise WeightsError(f"'{self.origin}' holds tensors that this network has no place for: {_some(left)}")


def assemble(network: Network, *, labels: Sequence[str], weights: str) -> Model:
    """The model in evaluation mode, with all parameters from the file.

    Args:
        network: the network that an importer found.
        labels: a name for each class of the file's classifier; none for a file without a classifier.
        weights: where the weights come from, for display.

    Raises:
        WeightsError: names and shapes do not match any of our networks.
    """
    backbone = backbone_of(network)
    contract = _for_channels(network.input, backbone.in_channels)
    record = ClassifierHead() if network.record is None else network.record
    spec = ModelSpec(backbone, tuple(labels), input=contract, head=record, weights=weights)
    with torch.device("meta"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Initializing zero-element tensors")  # from a file without a classifier
        model = Model(spec)
    tensors = dict(_placed(network, spec))
    expected = model.state_dict()
    tensors.update({name: torch.zeros((), dtype=torch.int64) for name in expected if name.endswith("num_batches_tracked")})
    missing, surplus = sorted(expected.keys() - tensors.keys()), sorted(tensors.keys() - expected.keys())
    if missing or surplus:
        problems = [f"nothing for {_some(missing)}"] if missing else []
        problems += [f"no place for {_some(surplus)}"] if surplus else []
        raise WeightsError(f"'{weights}' does not fit {spec.backbone.name}: {' and '.join(problems)}")
    for name, tensor in expected.items():
        if tensor.shape != tensors[name].shape:
            shape, wanted = list(tensors[name].shape), list(tensor.shape)
            raise WeightsError(f"'{weights}' does not fit {spec.backbone.name}: '{name}' is {shape}, not {wanted}")
    _check_values(tensors, weights)
    owned = {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
    model.load_state_dict(owned, assign=True)
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    return model.eval()


def _check_values(tensors: Mapping[str, Tensor], weights: str) -> None:
    """Check that weights are finite and variances are not negative.

    Raises:
        WeightsError: some are not; the message names them.
    """
    broken = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise WeightsError(
            f"'{weights}' has weights that are NaN or infinite, in {len(broken)} of {len(tensors)} tensors: {_some(broken)}",
            hint="its training diverged, or the file is damaged; take an earlier checkpoint",
        )
    negative = [name for name, tensor in tensors.items() if name.endswith("running_var") and (tensor < 0).any()]
    if negative:
        raise WeightsError(f"'{weights}' is damaged: it has negative variances in {_some(negative)}")


def backbone_of(network: Network) -> BackboneSpec:
    """The backbone's specification according to the tensors, with the width that gives its family's channels.

    Raises:
        WeightsError: the rows do not belong to the family that the importer assumed.
    """
    c_in = network.blocks[0].tensors["conv.weight"].shape[1]
    rows = tuple(_row(block) for block in network.blocks)
    tail = tuple(row for row in map(_row, network.tail) if isinstance(row, Conv))
    name = network.like.name
    _check_kinds(rows, network.like)
    return replace(network.like, rows=rows, tail=tail, in_channels=c_in, width=_width(name, rows), size=network.input.size)


def width_of(network: Network) -> float:
    """The width multiplier that best matches the blocks' channels. It is only for display; the rows hold the exact channels."""
    return _width(network.like.name, tuple(map(_row, network.blocks)))


def _for_channels(contract: InputContract, channels: int) -> InputContract:
    """The contract for a network with grey or more than three channels, which share one mean and one std."""
    if channels == contract.channels:
        return contract
    mean, std = fmean(contract.mean), fmean(contract.std)
    return replace(contract, channels=channels, mean=(mean,), std=(std,))


def _placed(network: Network, spec: ModelSpec) -> list[tuple[str, Tensor]]:
    """Every tensor under its name in `Model`."""
    named = [
        (f"backbone.{part}.{i}.{name}", tensor)
        for part, blocks in (("blocks", network.blocks), ("tail", network.tail))
        for i, block in enumerate(blocks)
        for name, tensor in block.tensors.items()
    ]
    if network.record is None:
        head = network.head or {"weight": torch.empty(0, spec.backbone.c_features), "bias": torch.empty(0)}
        named += [(f"head.linear.{name}", tensor) for name, tensor in head.items()]
    else:
        named += [(f"head.{name}", tensor) for name, tensor in network.head.items()]
    return [(name, tensor.detach().to(torch.float32)) for name, tensor in named]


def _row(block: Block) -> Row:
    def shape(name: str) -> tuple[int, ...]:
        if name not in block.tensors:
            raise WeightsError(f"a {block.kind.__name__} block has no '{name}', only {_some(sorted(block.tensors))}")
        return tuple(block.tensors[name].shape)

    def kernel(name: str) -> int:
        return shape(f"{name}.conv.weight")[2] if f"{name}.conv.weight" in block.tensors else 0

    stride, activation = block.stride, block.activation
    if block.kind is Conv:
        c_out, _, side, _ = shape("conv.weight")
        return Conv(c_out, side, stride, activation, norm="conv.bias" not in block.tensors)
    if block.kind is Separable:
        return Separable(shape("pointwise.conv.weight")[0], kernel("depthwise"), stride, activation)
    if block.kind is Attention:
        key_dim = shape("key.weight")[0]
        heads = shape("query.weight")[0] // key_dim
        kv_stride = 2 if "key_reduce.conv.weight" in block.tensors else 1
        return Attention(shape("project.weight")[0], heads, key_dim, kv_stride, "scale.weight" in block.tensors)
    c_out = shape("project.conv.weight")[0]
    if block.kind is Bottleneck:
        c_squeeze = shape("squeeze.reduce.weight")[0] if "squeeze.reduce.weight" in block.tensors else 0
        c_expand = shape("depthwise.conv.weight")[0]
        return Bottleneck(c_expand, c_out, kernel("depthwise"), stride, activation, c_squeeze, shortcut=block.shortcut)
    c_expand = shape("expand.conv.weight")[0]
    if block.kind is Fused:
        return Fused(c_expand, c_out, kernel("expand"), stride, activation)
    scale = "scale.weight" in block.tensors
    return Universal(c_expand, c_out, kernel("start"), kernel("middle"), stride, activation, scale)


def _check_kinds(rows: Sequence[Row], like: BackboneSpec) -> None:
    """Check that each row, except for its channels, occurs in the family; convolutions of stride 1 may follow the last row."""
    known = {_without_channels(row) for row in like.rows}
    last = max((i for i, row in enumerate(rows) if not isinstance(row, Conv)), default=-1)
    for i, row in enumerate(rows):
        follows = isinstance(row, Conv) and i > last and row.stride == 1
        if not follows and _without_channels(row) not in known:
            raise WeightsError(
                f"this is not a {like.name}: its block {i} is {_told(row)}, which {like.name} does not have",
                hint="networks that are built like a MobileNet but compute something else cannot be converted",
            )


def _told(row: Row) -> str:
    """A description of a row, without its channels."""
    settings = [f"{name} {getattr(row, name)}" for name in ("kernel", "stride", "activation", "shortcut") if hasattr(row, name)]
    squeezed = ["squeeze-excite"] if getattr(row, "c_squeeze", 0) else []
    return f"{type(row).__name__.lower()} ({', '.join(settings + squeezed)})"


def _without_channels(row: Row) -> Row:
    match row:
        case Bottleneck():
            return replace(row, c_out=0, c_expand=0, c_squeeze=min(row.c_squeeze, 1))
        case Universal() | Fused():
            return replace(row, c_out=0, c_expand=0)
        case Attention():
            return replace(row, c_out=0, heads=0, key_dim=0)
        case _:
            return replace(row, c_out=0)


def _width(name: str, rows: Sequence[Row]) -> float:
    """The width multiplier whose channels are closest to these. It is only for display; the rows hold the exact channels."""
    own = _channels(rows)
    return max(_WIDTHS, key=lambda width: _likeness(_channels(BACKBONES[name](width).rows), own))


def _channels(rows: Sequence[Row]) -> set[int]:
    """Channels between the blocks, since stem and last layers follow other rules."""
    return {row.c_out for row in rows if not isinstance(row, Conv)}


def _likeness(channels: set[int], others: set[int]) -> float:
    return len(channels & others) / len(channels | others)


def _some(names: Sequence[str]) -> str:
    listed = ", ".join(f"'{name}'" for name in names[:4])
    return f"{listed} and {len(names) - 4} more" if len(names) > 4 else listed
