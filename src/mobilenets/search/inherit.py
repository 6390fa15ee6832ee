"""`inherited`: initializes a network of another shape with the most important channels of a trained one.

The importance of a channel is the product of three L1 norms: of the filters that produce it (with the scale of their batch
norm), of its depthwise filter, and of the weights that read it. Each norm is relative to the mean of its layer, and averaged
over the layers that share the channel through a residual (after Li et al., arXiv:1608.08710, who use only the first of the
three).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from mobilenets.model import Model, create
from mobilenets.search.axes import IMAGE, ROWS, Layer, Role, RowAxes, axes, features, sizes
from mobilenets.specs.model import ModelSpec
from mobilenets.specs.rows import BackboneSpec, deepest_map, feature_maps

HEADS: Mapping[str, tuple[Layer, ...]] = {"ClassifierHead": (Layer("linear", "fixed", "in"),)}
"""Layers of a head that read the backbone's last channels, by class of the head; other heads read feature maps, whose channels
stay."""

_READ: Mapping[str, Callable[[BackboneSpec, Any], tuple[str, ...]]] = {  # Any: a head of the kind
    "ClassifierHead": lambda body, head: (),
    "SsdHead": lambda body, head: tuple(head.maps),
    "DeepLabHead": lambda body, head: (deepest_map(body), head.low, head.auxiliary),
    "LrasppHead": lambda body, head: (deepest_map(body), head.low, head.auxiliary),
}
_TAIL = (Layer("", "out", "in"),)


@dataclass(frozen=True, slots=True)
class _Placed:
    """A layer of a network.

    Args:
        prefix: its name in the state dict.
        writes, reads: its axes; "" for a fixed dimension.
    """

    prefix: str
    writes: str
    reads: str


@dataclass(slots=True)
class _Norms:
    """The norms of the weights that write, filter and read the channels of an axis, one tensor per layer."""

    written: list[Tensor] = field(default_factory=list)
    filtered: list[Tensor] = field(default_factory=list)
    read: list[Tensor] = field(default_factory=list)

    def importance(self) -> Tensor:
        """One number per channel."""
        means = [torch.stack(norms).mean(0) for norms in (self.written, self.filtered, self.read) if norms]
        return torch.stack(means).prod(0)


def maps_of(spec: ModelSpec) -> tuple[str, ...]:
    """The feature maps whose channel counts a network's head depends on; for an unknown head, all of them."""
    kind = type(spec.head).__name__
    if kind not in _READ:
        return tuple(feature_maps(spec.backbone))
    return tuple(name for name in _READ[kind](spec.backbone, spec.head) if name)


def inherited(model: Model, spec: ModelSpec, rows: Sequence[int] | None = None, *, seed: int = 0) -> Model:
    """A model of `spec` with weights from `model`; narrower layers get its most important channels, smaller kernels the center.

    Parts for which `model` has no weights, such as wider layers or a new depthwise convolution, keep their fresh weights; a
    larger kernel starts with the smaller one in its center.

    Args:
        model: a trained model.
        spec: the new network, with the same labels; a row inherits only from a row of the same kind.
        rows: for each row of `spec`, the row of `model` that it inherits from; by default the row with the same index.
        seed: seed of the fresh weights.
    """
    made = create(spec, seed=seed)
    mapping = tuple(range(len(spec.backbone.rows))) if rows is None else tuple(rows)
    kept = _kept(model, spec.backbone, mapping)
    old, new = model.state_dict(), made.state_dict()
    for ours, theirs in _pairs(spec, model.spec, mapping):
        for name, tensor in new.items():
            if name.startswith(ours.prefix):
                source = old.get(theirs.prefix + name.removeprefix(ours.prefix))
                if source is not None and source.dim() == tensor.dim():
                    new[name] = _filled(tensor, source, [kept.get(ours.writes), kept.get(ours.reads)])
    known = {layer.prefix for layer in _layers(spec)}
    for name, tensor in new.items():  # the rest of the head
        if not any(name.startswith(prefix) for prefix in known) and name in old and old[name].shape == tensor.shape:
            new[name] = old[name]
    made.load_state_dict(new)
    return made.train(model.training)


def importances(model: Model) -> dict[str, Tensor]:
    """The importance of each channel, by axis, including the channels of the image."""
    state = {name: tensor.detach().float() for name, tensor in model.state_dict().items()}
    found: dict[str, _Norms] = {}
    for layer in _layers(model.spec):
        weight = _folded(state, layer.prefix)
        if weight is None:
            continue
        across = tuple(range(1, weight.dim()))
        if layer.writes and layer.reads:
            found.setdefault(layer.writes, _Norms()).written.append(_relative(weight.abs().sum(across)))
        elif layer.writes and across:
            found.setdefault(layer.writes, _Norms()).filtered.append(_relative(weight.abs().sum(across)))
        if layer.reads:
            others = tuple(axis for axis in range(weight.dim()) if axis != 1)
            found.setdefault(layer.reads, _Norms()).read.append(_relative(weight.abs().sum(others)))
    return {axis: norms.importance() for axis, norms in found.items()}


def _kept(model: Model, backbone: BackboneSpec, rows: Sequence[int]) -> dict[str, Tensor]:
    """For each axis of a network, the channels that it inherits from the model, in order."""
    ranked = importances(model)
    theirs, ours = axes(model.spec.backbone), axes(backbone)
    count = sizes(backbone)
    kept: dict[str, Tensor] = {}
    tails = zip(ours[len(backbone.rows) :], theirs[len(model.spec.backbone.rows) :], strict=False)
    for mine, other in (*((ours[i], theirs[row]) for i, row in enumerate(rows)), *tails):
        for role in ("in", "inner", "out", "squeeze"):
            axis, source = mine.get(role, ""), other.get(role, "")
            if axis and axis not in kept and axis != IMAGE and axis in count and source in ranked:
                best = ranked[source].argsort(descending=True, stable=True)[: count[axis]]
                kept[axis] = best.sort().values
    return kept


def _pairs(spec: ModelSpec, source: ModelSpec, rows: Sequence[int]) -> Iterator[tuple[_Placed, _Placed]]:
    """Pairs of corresponding layers that both networks have."""
    ours = {layer.prefix: layer for layer in _layers(spec)}
    theirs = {layer.prefix: layer for layer in _layers(source)}
    for prefix, layer in ours.items():
        parts = prefix.split(".")
        if parts[:2] == ["backbone", "blocks"]:
            i = int(parts[2])
            other = ".".join(["backbone", "blocks", str(rows[i]), *parts[3:]])
            same = type(spec.backbone.rows[i]) is type(source.backbone.rows[rows[i]])
            if same and other in theirs:
                yield layer, theirs[other]
        elif prefix in theirs:
            yield layer, theirs[prefix]


def _layers(spec: ModelSpec) -> Iterator[_Placed]:
    """Every layer with its prefix in the state dict."""
    every, count = axes(spec.backbone), len(spec.backbone.rows)
    for i, row in enumerate(spec.backbone.rows):
        for layer in ROWS[type(row)].layers:
            yield _placed(f"backbone.blocks.{i}.", layer, every[i])
    for i, roles in enumerate(every[count:]):
        for layer in _TAIL:
            yield _placed(f"backbone.tail.{i}.", layer, roles)
    for layer in HEADS.get(type(spec.head).__name__, ()):
        yield _placed("head.", layer, {"in": features(spec.backbone)})


def _placed(above: str, layer: Layer, roles: RowAxes) -> _Placed:
    def axis(role: Role) -> str:
        return "" if role == "fixed" else roles[role]

    return _Placed(f"{above}{layer.name}{layer.name and '.'}", axis(layer.writes), axis(layer.reads))


def _folded(state: Mapping[str, Tensor], prefix: str) -> Tensor | None:
    """The weights of a layer times the scale of its batch norm; None if the block lacks the layer or has only a batch norm."""
    for name in (f"{prefix}conv.weight", f"{prefix}weight"):
        if name in state and state[name].dim() > 1:
            break
    else:
        return None
    weight, norm = state[name], f"{prefix}norm."
    if f"{norm}weight" not in state:
        return weight
    scale = state[f"{norm}weight"] / (state[f"{norm}running_var"] + 1e-5).sqrt()
    return weight * scale.reshape(-1, *[1] * (weight.dim() - 1))


def _relative(norms: Tensor) -> Tensor:
    mean = norms.mean()
    return norms / mean if mean > 0 else torch.ones_like(norms)


def _filled(fresh: Tensor, source: Tensor, kept: Sequence[Tensor | None]) -> Tensor:
    """A fresh tensor with the kept channels of a trained one copied in, and of kernels the common part around the center."""
    if not fresh.dim():
        return source
    made = fresh.clone()
    for dimension in range(min(2, source.dim())):
        indices = kept[dimension]
        if indices is not None:
            source = source.index_select(dimension, indices[indices < source.shape[dimension]])
    ours, theirs = [], []
    for dimension, (mine, other) in enumerate(zip(made.shape, source.shape, strict=True)):
        most = min(mine, other)
        centered = dimension > 1
        ours.append(slice((mine - most) // 2, (mine - most) // 2 + most) if centered else slice(0, most))
        theirs.append(slice((other - most) // 2, (other - most) // 2 + most) if centered else slice(0, most))
    if made.dim() > 2 and made.shape[2] > source.shape[2]:
        made[ours[0], ours[1]] = 0  # around the smaller kernel
    made[tuple(ours)] = source[tuple(theirs)]
    return made
