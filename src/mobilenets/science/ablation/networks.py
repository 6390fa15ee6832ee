"""The networks of the ablations, for images of 32 px: the papers' own rows, narrower and with fewer strides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from mobilenets.science.entry import Paper
from mobilenets.science.printed import V1_TABLE_4, V1_TABLE_5, V3_TABLE_5
from mobilenets.science.v3 import variants
from mobilenets.specs.families import backbone
from mobilenets.specs.rows import BackboneSpec, Bottleneck, places

SIZE, HALVINGS = 32, 4
"""The last map is 2 x 2: a network for 224 px would leave one pixel of 32."""
V1_WIDTH, V2_WIDTH, V3_WIDTH = 0.25, 0.35, 0.35
NARROW = 0.75
"""V1, Table 5: the width whose cost equals that of leaving out five layers."""


@dataclass(frozen=True, slots=True)
class Order:
    """A paper's claim about two variants.

    Args:
        better, worse: their names.
        points: difference in points of ImageNet accuracy; None if not printed.
        relation: "better than", or "as good as" if the paper claims no loss.
    """

    better: str
    worse: str
    points: float | None = None
    relation: Literal["better than", "as good as"] = "better than"


@dataclass(frozen=True, slots=True)
class Ablation:
    """Networks that differ in one aspect.

    Args:
        paper, place: the source.
        variants: the networks, by name.
        orders: the paper's claims about them.
    """

    paper: Paper
    place: str
    variants: Mapping[str, BackboneSpec]
    orders: tuple[Order, ...]


def table_4() -> Ablation:
    """Full convolutions against separable ones (V1, Table 4)."""
    networks = {"separable": _v1("mobilenet_v1"), "full": _v1("mobilenet_v1_full")}
    full, separable = (line.top1 for line in V1_TABLE_4)
    return Ablation("V1", "Table 4", networks, (Order("full", "separable", full - separable),))


def table_5() -> Ablation:
    """A narrow network against a shallow one (V1, Table 5)."""
    networks = {"narrow": _v1("mobilenet_v1", NARROW * V1_WIDTH), "shallow": _v1("mobilenet_v1_shallow")}
    narrow, shallow = (line.top1 for line in V1_TABLE_5)
    return Ablation("V1", "Table 5", networks, (Order("narrow", "shallow", narrow - shallow),))


def figure_6a() -> Ablation:
    """Linear bottlenecks against bottlenecks with ReLU6 (V2, Figure 6a)."""
    networks = {"linear": _v2("mobilenet_v2"), "ReLU6": _v2("mobilenet_v2_relu_bottleneck")}
    return Ablation("V2", "Figure 6a", networks, (Order("linear", "ReLU6"),))


def figure_6b() -> Ablation:
    """Shortcuts between bottlenecks, between expansions, and none (V2, Figure 6b)."""
    networks = {
        "between bottlenecks": _v2("mobilenet_v2"),
        "between expansions": _v2("mobilenet_v2_expansion_shortcut"),
        "no shortcut": _v2("mobilenet_v2_no_shortcut"),
    }
    orders = (
        Order("between bottlenecks", "between expansions"),
        Order("between bottlenecks", "no shortcut"),
        Order("between expansions", "no shortcut"),
    )
    return Ablation("V2", "Figure 6b", networks, orders)


def expansion() -> Ablation:
    """Expansion ratios of 1, 3 and 6 (V2, section 3.3)."""
    base = _v2("mobilenet_v2")
    networks = {f"t = {t}": with_expansion(base, t) for t in (6, 3, 1)}
    return Ablation("V2", "Section 3.3", networks, (Order("t = 6", "t = 3"), Order("t = 3", "t = 1")))


def hard_swish() -> Ablation:
    """Hard swish everywhere, where V3 has it, and nowhere (V3, Table 5)."""
    large = variants.large(V3_WIDTH)
    networks = {
        "from 16": variants.hard_swish_from(large, 16),
        "V3-Large": large,
        "from 112": variants.hard_swish_from(large, 112),
        "ReLU": variants.with_relu(large),
    }
    relu, from_112, as_v3, from_16 = (top1 for _, top1, *_ in V3_TABLE_5)
    orders = (
        Order("V3-Large", "ReLU", as_v3 - relu),
        Order("from 16", "V3-Large", from_16 - as_v3),
        Order("V3-Large", "from 112", as_v3 - from_112),
    )
    return Ablation("V3", "Table 5", _small(networks), orders)


def last_stage() -> Ablation:
    """The efficient last stage against the original one (V3, Figure 5)."""
    large = variants.large(V3_WIDTH)
    networks = {"efficient": large, "original": variants.original_last_stage(large)}
    return Ablation("V3", "Section 5.1", _small(networks), (Order("efficient", "original", relation="as good as"),))


def for_small_images(spec: BackboneSpec, halvings: int = HALVINGS) -> BackboneSpec:
    """The network with only its last `halvings` strides of 2; earlier ones become 1.

    >>> [row.stride for row in for_small_images(backbone("mobilenet_v1"), 2).rows if row.stride > 1]
    [2, 2]
    """
    skipped = sum(row.stride == 2 for row in spec.rows) - halvings
    rows = []
    for row in spec.rows:
        skips = row.stride == 2 and skipped > 0
        skipped -= skips
        rows.append(replace(row, stride=1) if skips else row)
    return replace(spec, rows=tuple(rows))


def with_expansion(spec: BackboneSpec, ratio: int) -> BackboneSpec:
    """The network with this expansion ratio in every block but the first, which has none; a ratio of 1 is no expansion."""
    rows = []
    for place in places(spec):
        row = place.row
        expands = isinstance(row, Bottleneck) and row.c_expand != place.c_in
        rows.append(replace(row, c_expand=ratio * place.c_in) if expands else row)
    return replace(spec, rows=tuple(rows))


def _small(networks: Mapping[str, BackboneSpec]) -> dict[str, BackboneSpec]:
    return {name: for_small_images(spec) for name, spec in networks.items()}


def _v1(name: str, width: float = V1_WIDTH) -> BackboneSpec:
    return for_small_images(backbone(name, width=width))


def _v2(name: str) -> BackboneSpec:
    return for_small_images(backbone(name, width=V2_WIDTH))
