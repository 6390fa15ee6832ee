"""The costs of V3's networks and ideas: Table 3, the last stage, squeeze-excite, hard swish, the path from V2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from mobilenets.analysis.layers import LayerGraph
from mobilenets.reports import words
from mobilenets.science import draw
from mobilenets.science.entry import Asked, Cell, Comparison, Result
from mobilenets.science.latency import CELLS, Latencies, latencies
from mobilenets.science.networks import classifier
from mobilenets.science.printed import V3_TABLE_3, V3_TABLE_5
from mobilenets.science.tables import beside, slower
from mobilenets.science.v3 import variants
from mobilenets.specs.rows import BackboneSpec

COLUMNS = ("variant", "params", "macs", *CELLS)
CAPTION = (
    "Counted on the module that runs, and measured on this machine in ONNX Runtime: processor time, one thread, one image."
)

SHARES = (0.0, 1 / 16, 1 / 8, 1 / 4, 1 / 2)

RELU = "ReLU everywhere"


@dataclass(frozen=True, slots=True)
class Variants:
    """Networks that differ in one idea.

    Args:
        graphs, latencies: by the name of the variant.
    """

    graphs: Mapping[str, LayerGraph]
    latencies: Latencies

    def rows(self) -> list[tuple[Cell, ...]]:
        """The table, with `COLUMNS`."""
        return [(name, graph.params, graph.macs, *self.latencies.cells(name)) for name, graph in self.graphs.items()]

    def result(self, comparisons: Sequence[Comparison], findings: Sequence[str]) -> Result:
        """The table with its plot."""
        graphs = self.graphs.values()
        nothing = [None] * len(self.graphs)
        panels = (
            draw.Bars("parameters, M", [graph.params / 1e6 for graph in graphs], nothing, 2),
            draw.Bars("MACs, M", [graph.macs / 1e6 for graph in graphs], nothing, 0),
            draw.Bars("latency, ms", [self.latencies.ms(name) for name in self.graphs], nothing, 2),
        )
        figure = draw.bars(list(self.graphs), panels)
        return Result(COLUMNS, self.rows(), figure, CAPTION, tuple(comparisons), tuple(findings))


def measured_variants(specs: Mapping[str, BackboneSpec], asked: Asked) -> Variants:
    """Count and time networks side by side."""
    networks = [classifier(name, spec) for name, spec in specs.items()]
    return Variants({network.name: network.graph() for network in networks}, latencies(networks, asked))


def table_3(asked: Asked) -> Result:
    """V3 beside V2."""
    pairs = (("V3-Large 1.0", "V2 1.0"), ("V3-Small 1.0", "V2 0.35"))
    reason = "different processor and runtime"
    return beside(V3_TABLE_3, asked, pairs, source="V3, Table 3", device="on a Pixel 1", reason=reason)


def figure_5(asked: Asked) -> Result:
    """The efficient last stage, and the smaller stem."""
    new = variants.large()
    old, wide = "original last stage", "32 filters in the stem"
    specs = {"V3-Large": new, old: variants.original_last_stage(new), wide: variants.wide_stem(new)}
    found = measured_variants(specs, asked)
    macs = {name: graph.macs / 1e6 for name, graph in found.graphs.items()}
    times = {name: found.latencies.ratio(name, "V3-Large") for name in (old, wide)}
    source = "V3, section 5.1"
    comparisons = (
        Comparison("MACs that the efficient last stage saves", 30, macs[old] - macs["V3-Large"], "M", source),
        Comparison(
            "latency that it saves",
            11,
            100 * (1 - 1 / times[old].value),
            "%",
            f"{source}: 7 ms on a phone",
            "different processor and runtime",
        ),
        Comparison("MACs that 16 instead of 32 filters save", 10, macs[wide] - macs["V3-Large"], "M", source),
    )
    findings = [slower(f"The network with {'the ' * (name == old)}{name}", "V3-Large", times[name]) for name in (old, wide)]
    return found.result(comparisons, findings)


def squeeze_excite(asked: Asked) -> Result:
    """Squeeze-excite of several sizes: V3 takes a quarter of the expansion."""
    base = variants.large()
    names = ["none", "1/16", "1/8", "1/4 (V3)", "1/2"]
    specs = {
        name: variants.with_squeeze_excite(base, share) if share else variants.without_squeeze_excite(base)
        for name, share in zip(names, SHARES, strict=True)
    }
    found = measured_variants(specs, asked)
    params = {name: graph.params / 1e6 for name, graph in found.graphs.items()}
    times = found.latencies.ratio("1/4 (V3)", "none")
    sizes = found.latencies.ratio("1/2", "1/16")
    findings = (
        f"V3's squeeze-excite adds {params['1/4 (V3)'] - params['none']:.2f} M parameters and "
        f"{(found.graphs['1/4 (V3)'].macs - found.graphs['none'].macs) / 1e6:.1f} M multiply-adds.",
        slower("V3-Large", "the network without squeeze-excite", times),
        slower("The network with a squeeze-excite ratio of 1/2", "the one with 1/16", sizes),
    )
    return found.result((), findings)


def table_5(asked: Asked) -> Result:
    """Hard swish from different layers on; V3-Large has it in its stem and from 80 channels on."""
    base = variants.large()
    specs = {RELU: variants.with_relu(base)}
    specs.update({f"h-swish from {n}": variants.hard_swish_from(base, n) for n in (112, 40, 16)})
    found = measured_variants({**specs, "V3-Large": base}, asked)
    times = {name: found.latencies.ratio(name, RELU) for name in found.graphs if name != RELU}
    (_, _, *without), *printed = V3_TABLE_5
    comparisons = [
        Comparison(
            f"latency of {name} relative to {RELU}, {how}",
            phone / none,
            times[name].value,
            "times",
            "V3, Table 5: on a Pixel 1",
        )
        for name, _, *phones in printed
        for phone, none, how in zip(phones, without, ("optimized", "plain"), strict=True)
    ]
    findings = [slower(name, RELU, ratio) for name, ratio in times.items()]
    return found.result(comparisons, findings)


def figure_9(asked: Asked) -> Result:
    """From V2 to V3-Large, one idea after the other."""
    found = measured_variants(variants.path(), asked)
    names = list(found.graphs)
    findings = []
    for before, after in pairwise(names):
        ratio = found.latencies.ratio(after, before)
        saved = (found.graphs[after].macs - found.graphs[before].macs) / 1e6
        times = f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"
        findings.append(f"From '{before}' to '{after}': {words.difference(saved)} M multiply-adds, {times} times the latency.")
    last = found.latencies.ratio(names[-1], names[0])
    source = "V3, Table 3: on a Pixel 1"
    comparison = Comparison(
        "latency of V3-Large relative to V2", 51 / 64, last.value, "times", source, "different processor and runtime"
    )
    return found.result((comparison,), findings)
