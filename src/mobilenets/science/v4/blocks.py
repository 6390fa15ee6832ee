"""What the variants of the universal inverted bottleneck cost (V4, Figure 4)."""

from __future__ import annotations

from mobilenets.science import draw
from mobilenets.science.entry import Asked, Comparison, Result
from mobilenets.science.latency import latencies
from mobilenets.science.networks import classifier
from mobilenets.science.tables import slower
from mobilenets.specs.rows import BackboneSpec, Conv, Fused, Row, Universal

CHANNELS, EXPANSION, SIZE, STRIDE = 160, 4, 256, 16
"""A block in the middle of Conv-M: 160 channels, 640 inside, maps of 16 x 16 px (V4, Table 12)."""
BLOCKS = 6
"""Number of blocks in sequence when they are timed."""

WIDE = CHANNELS * EXPANSION
# fmt: off
VARIANTS: dict[str, Row] = {
    "FFN":      Universal(WIDE, CHANNELS),
    "IB":       Universal(WIDE, CHANNELS, middle_kernel=3),
    "ConvNext": Universal(WIDE, CHANNELS, start_kernel=3),
    "ExtraDW":  Universal(WIDE, CHANNELS, start_kernel=3, middle_kernel=3),
    "FusedIB":  Fused(WIDE, CHANNELS),
}
# fmt: on


def figure_4(asked: Asked) -> Result:
    """Parameters, multiply-adds and latency of one block of each variant."""
    stem = Conv(CHANNELS, kernel=3, stride=STRIDE, activation="relu")
    networks = {"nothing": _stack(stem, None), **{name: _stack(stem, row) for name, row in VARIANTS.items()}}
    graphs = {name: classifier(name, spec, size=SIZE).graph() for name, spec in networks.items()}
    timed = latencies([classifier(name, spec, size=SIZE) for name, spec in networks.items()], asked)
    costs = {
        name: (
            (graphs[name].params - graphs["nothing"].params) // BLOCKS,
            (graphs[name].macs - graphs["nothing"].macs) // BLOCKS,
            (timed.ms(name) - timed.ms("nothing")) / BLOCKS,
        )
        for name in VARIANTS
    }
    side = SIZE // STRIDE
    area = side * side
    dense = 2 * CHANNELS * WIDE
    expected = {
        "FFN": area * dense,
        "IB": area * (dense + 9 * WIDE),
        "ConvNext": area * (dense + 9 * CHANNELS),
        "ExtraDW": area * (dense + 9 * (WIDE + CHANNELS)),
        "FusedIB": area * (9 * CHANNELS * WIDE + WIDE * CHANNELS),
    }
    comparisons = [
        Comparison(f"{name}: MACs", expected[name] / 1e6, macs / 1e6, "M", "V4, Figure 4: the layers it draws")
        for name, (_, macs, _) in costs.items()
    ]
    panels = (
        draw.Bars("parameters, thousands", [params / 1e3 for params, _, _ in costs.values()], [None] * len(costs), 0),
        draw.Bars("MACs, M", [macs / 1e6 for _, macs, _ in costs.values()], [value / 1e6 for value in expected.values()]),
        draw.Bars("latency, ms", [ms for _, _, ms in costs.values()], [None] * len(costs), 2),
    )
    pairs = (("ExtraDW", "IB"), ("IB", "ConvNext"), ("FusedIB", "IB"))
    findings = [
        f"ExtraDW has {costs['ExtraDW'][1] / costs['FFN'][1] - 1:.1%} more multiply-adds than the FFN and sees 5 x 5 "
        "pixels, where the FFN sees one.",
        *(slower(f"A stack of {name}", f"one of {other}", timed.ratio(name, other)) for name, other in pairs),
    ]
    caption = (
        f"One block with {CHANNELS} channels, {WIDE} inside, and 3 x 3 kernels on a feature map of {side} x {side} px, "
        f"averaged over {BLOCKS} in a row. Latency is processor time in ONNX Runtime, one thread, one image."
    )
    rows = [(name, *cost, *timed.range_ms(name)) for name, cost in costs.items()]
    columns = ("block", "params", "macs", "cpu_ms", "cpu_low_ms_of_all", "cpu_high_ms_of_all")
    return Result(columns, rows, draw.bars(list(costs), panels), caption, tuple(comparisons), tuple(findings))


def _stack(stem: Row, row: Row | None) -> BackboneSpec:
    """The stem, and the same block several times."""
    return BackboneSpec("universal_blocks", (stem, *([row] * BLOCKS if row is not None else [])))
