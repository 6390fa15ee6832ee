"""Finds a network among the names of a state dict: its prefix, and which of the other tensors are its head."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from torch import Tensor

from mobilenets.errors import WeightsError
from mobilenets.weights.dense import Dense, Gap, norm_layer

Kind = Literal["ssd", "segment", "timm", "transformers", "torchvision"]
ANCHORS: tuple[tuple[Kind, str], ...] = (  # the end of a name that reveals the kind of network, most specific first
    ("ssd", "backbone.extra.0.0.0.weight"),
    ("segment", "classifier.cbr.0.weight"),
    ("segment", "classifier.0.project.0.weight"),
    ("timm", "conv_stem.weight"),
    ("transformers", "conv_stem.first_conv.convolution.weight"),
    ("transformers", "conv_stem.convolution.weight"),
)
FEATURES = "features."
"""torchvision's name for the layers of its classifiers, which replaces other names in a file."""
NO_LAYERS = re.compile(
    r"(^|\.)(criterion|loss|loss_fn|loss_fct|loss_function|metrics?|(train|val|valid|test)_\w+|\w*(accuracy|metric|f1|auroc))\."
)
"""Tensors of losses and metrics, which Lightning stores beside the network."""
_OWN: dict[str, re.Pattern[str]] = {  # how the names of a backbone begin if its head has the same prefix
    "timm": re.compile(r"(conv_stem|bn1|blocks|conv_head|bn2|norm_head)\."),
    "transformers": re.compile(r"(conv_stem|layer|conv_1x1)\."),
}
NORM_EPS = 1e-5  # torch's default for batch norms, which a state dict does not store


@dataclass(frozen=True, slots=True)
class Layout:
    """A network among the names of a state dict.

    Args:
        kind: the library whose names they are.
        lead: prefix of the network's names.
        body: the tensors below `lead`, under the library's own names.
        rest: all other tensors, by the file's names without their common prefix.
        left_out: names of tensors that belong to losses and metrics.
    """

    kind: Kind
    lead: str
    body: Mapping[str, Tensor]
    rest: Mapping[str, Tensor] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()


def layouts(tensors: Mapping[str, Tensor]) -> list[Layout]:
    """Every network found by the names; there are several if the file also has a teacher or averaged weights."""
    for kind, anchor in ANCHORS:
        leads = [name[: -len(anchor)] for name in tensors if name.endswith(anchor) and _is_lead(name[: -len(anchor)])]
        if leads:
            return [_under(lead, kind, tensors) for lead in dict.fromkeys(leads)]
    return [_features(lead, tensors) for lead in _feature_leads(tensors)]


def chosen(tensors: Mapping[str, Tensor], origin: str, *, key: str = "") -> Layout | None:
    """The network found by the names; None if there is none.

    Args:
        tensors: the tensors of a state dict.
        origin: the file, for messages.
        key: prefix of the network to choose, if there are several.

    Raises:
        WeightsError: there are several, and `key` matches none of them.
    """
    candidates = layouts(tensors)
    named = [layout for layout in candidates if key and f".{key.rstrip('.')}." in f".{layout.lead}"]
    if len(named) == 1 and len(candidates) > 1:
        others = tuple(_shared(layout.lead) for layout in candidates if layout is not named[0])
        if all(others):
            rest = {name: tensor for name, tensor in named[0].rest.items() if not name.startswith(others)}
            candidates = [replace(named[0], rest=rest)]
    if len(candidates) > 1:
        leads = ", ".join(f"'{layout.lead}'" for layout in candidates[:4])
        raise WeightsError(f"'{origin}' holds {len(candidates)} networks, under {leads}", hint="say which: --key PREFIX")
    return candidates[0] if candidates else None


def dense_layers(rest: Mapping[str, Tensor], origin: str, *, ordered: bool) -> list[Dense]:
    """The tensors outside the body as layers of a head, in order.

    Args:
        rest: the tensors, by name.
        origin: the file, for messages.
        ordered: whether the tensors are in the order of the layers; otherwise the numbers in their names give the order.

    Raises:
        WeightsError: some do not belong to fully connected layers or batch norms.
    """
    modules: dict[str, dict[str, Tensor]] = {}
    for name, tensor in rest.items():
        module, _, part = name.rpartition(".")
        if part != "num_batches_tracked":
            modules.setdefault(module, {})[part] = tensor
    names = list(modules) if ordered else sorted(modules, key=_natural)
    layers: list[Dense] = []
    before = ""
    for name in names:
        layers.append(_dense(name, modules[name], _gap(before, name), origin))
        before = name
    return layers


def left_out(layout: Layout) -> tuple[str, ...]:
    """The note about tensors of losses and metrics, which are skipped."""
    return (f"left out: {', '.join(layout.left_out[:4])}, of losses or metrics",) if layout.left_out else ()


def _is_lead(lead: str) -> bool:
    return not lead or lead.endswith(".")


def _under(lead: str, kind: Kind, tensors: Mapping[str, Tensor]) -> Layout:
    """The network whose names all begin with `lead`."""
    body = {name[len(lead) :]: tensor for name, tensor in tensors.items() if name.startswith(lead)}
    rest = {name: tensor for name, tensor in tensors.items() if not name.startswith(lead)}
    if kind in ("ssd", "segment"):
        return _sorted_out(kind, lead, body, rest)
    head = {name: tensor for name, tensor in body.items() if not _OWN[kind].match(name)}
    body = {name: tensor for name, tensor in body.items() if _OWN[kind].match(name)}
    return _sorted_out(kind, lead, body, {**head, **rest})


def _features(lead: str, tensors: Mapping[str, Tensor]) -> Layout:
    body = {FEATURES + name[len(lead) :]: tensor for name, tensor in tensors.items() if _below(name, lead)}
    rest = {name: tensor for name, tensor in tensors.items() if not _below(name, lead)}
    return _sorted_out("torchvision", lead, body, rest)


def _below(name: str, lead: str) -> bool:
    """Whether a tensor belongs to a numbered layer of the features."""
    return name.startswith(lead) and re.match(r"\d+\.(\d|conv|block)", name[len(lead) :]) is not None


def _sorted_out(kind: Kind, lead: str, body: Mapping[str, Tensor], rest: Mapping[str, Tensor]) -> Layout:
    left_out = tuple(name for name in rest if NO_LAYERS.search(f"{name}."))
    shared = _shared(lead)
    kept = {name.removeprefix(shared): tensor for name, tensor in rest.items() if name not in left_out}
    return Layout(kind, lead, body, kept, left_out)


def _shared(lead: str) -> str:
    """The common prefix of the names of the body and its head."""
    return re.sub(r"(features|backbone|encoder|body|mobilenet_v[12])\.$", "", lead)


def _feature_leads(tensors: Mapping[str, Tensor]) -> Iterable[str]:
    """The prefixes before the numbers of torchvision's layers: `"features."`, `"model.backbone."`, `"0."`."""
    for name, tensor in tensors.items():
        match = re.fullmatch(r"((?:.*\.)?)0\.0\.weight", name)
        if match is None or tensor.ndim != 4 or tensor.shape[2:] != (3, 3):
            continue
        lead = match[1]
        blocks = (f"{lead}1.conv.0.0.weight", f"{lead}1.block.0.0.weight")
        if f"{lead}0.1.running_mean" in tensors and any(block in tensors for block in blocks):
            yield lead


def _dense(name: str, parts: Mapping[str, Tensor], behind: Gap, origin: str) -> Dense:
    weight = parts.get("weight")
    if set(parts) == {"weight", "bias", "running_mean", "running_var"}:
        return norm_layer(name, [parts[part] for part in ("weight", "bias", "running_mean", "running_var")], NORM_EPS, behind)
    if weight is not None and set(parts) <= {"weight", "bias"} and (weight.ndim == 2 or weight.shape[2:] == (1, 1)):
        return Dense(name, weight.reshape(weight.shape[:2]).float(), parts.get("bias"), behind)
    full = ", ".join(f"'{name}.{part}'" if name else f"'{part}'" for part in list(parts)[:4])
    raise WeightsError(
        f"'{origin}' holds tensors that this network has no place for: {full}",
        hint="only a backbone with a head of fully connected layers can be converted; leave other tensors out of the file",
    )


def _gap(before: str, name: str) -> Gap:
    """What is between two modules, according to their numbers in one nn.Sequential."""
    (parent, _, number), (other, _, next_number) = before.rpartition("."), name.rpartition(".")
    if parent != other or not (number.isdigit() and next_number.isdigit()):
        return "unknown"
    return "none" if int(next_number) == int(number) + 1 else "some"


def _natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts numbers in names as numbers."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in name.split(".")]
