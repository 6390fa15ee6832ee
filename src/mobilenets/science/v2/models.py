"""V2's comparisons of networks: classifiers (Table 4, Figure 5), detectors (Table 6), memory (Table 3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mobilenets.analysis.layers import LayerGraph
from mobilenets.analysis.memory import BYTES, bottleneck_plan, plan
from mobilenets.reports.plots import color_cycle, figure_of, legend_above
from mobilenets.science import draw
from mobilenets.science.entry import Asked, Comparison, Result
from mobilenets.science.latency import latencies
from mobilenets.science.networks import Network, ours
from mobilenets.science.printed import V1_FIGURE_4, V2_FIGURE_5, V2_TABLE_3, V2_TABLE_4, V2_TABLE_6
from mobilenets.science.tables import COLUMNS, counted, measured, result, slower
from mobilenets.specs.families import backbone
from mobilenets.specs.ssd import ssdlite

COCO_CLASSES, DETECTOR_SIZE = 80, 320


def table_4(asked: Asked) -> Result:
    """Networks for phones side by side."""
    found = measured(V2_TABLE_4, asked)
    printed = {line.name: line.ms for line in V2_TABLE_4}
    base = "MobileNetV2"
    comparisons = [
        Comparison(
            f"latency of {name} relative to {base}",
            ms / printed[base],  # type: ignore[operator]  # the paper prints it
            found.times(name, base).value,
            "times",
            "V2, Table 4: on a Pixel 1",
            "different processor and runtime",
        )
        for name, ms in printed.items()
        if ms is not None and name != base
    ]
    findings = [slower(name, base, found.times(name, base)) for name in found.params if name != base]
    return result(found, "V2, Table 4", comparisons, findings)


def figure_5(asked: Asked) -> Result:
    """Accuracy against multiply-adds and against latency, V2 beside V1, ShuffleNet and NASNet."""
    found = measured(V2_FIGURE_5, asked)
    others = {"V1": V1_FIGURE_4, "ShuffleNet": V2_TABLE_4[1:3], "NASNet-A": V2_TABLE_4[3:4]}
    macs = {name: [counted([line]).macs[line.name] / 1e6 for line in lines] for name, lines in others.items()}
    own = [found.macs[line.name] / 1e6 for line in found.lines]
    figure, _ = figure_of(10.5, 4.4, columns=2)
    left, right = figure.axes
    series = [draw.Series("V2", own, [line.top1 for line in found.lines])]
    series += [draw.Series(name, macs[name], [line.top1 for line in lines]) for name, lines in others.items()]
    draw.scatter(left, series, x="MACs, M", y="ImageNet top-1 as published, %", log=True)
    legend_above(left, 4)
    here = [found.latencies.ms(line.name) for line in found.lines]
    phone = [float(line.ms or 0) for line in found.lines]
    draw.scatter(
        right, [draw.Series("V2", phone, here)], x="latency on a Pixel 1 as published, ms", y="latency here, ms", log=True
    )
    right.set_yscale("log")
    rank, linear = _correlation(_ranks(phone), _ranks(here)), _correlation(np.log(phone), np.log(here))
    findings = (
        f"Over the {len(here)} networks, the rank correlation of our latencies with the authors' on a Pixel 1 is {rank:.3f}; "
        f"the correlation of the logarithms is {linear:.3f}.",
        _above("V1", [line.top1 for line in V1_FIGURE_4], macs["V1"], own, [line.top1 for line in found.lines]),
    )
    caption = (
        "Left: published accuracy against multiply-adds counted here. Right: processor time here against the authors' "
        "measurements on a phone, for V2 at all widths and sizes."
    )
    source = "V2, Figure 5, as slim's mobilenet README prints it"
    return Result(COLUMNS, found.rows(), figure, caption, found.comparisons(source), findings)


def _ranks(values: Sequence[float]) -> NDArray[np.float64]:
    return np.argsort(np.argsort(values)).astype(float)


def _correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    return float(np.asarray(np.corrcoef(first, second))[0, 1])


def _above(name: str, tops: list[float], macs: list[float], own_macs: list[float], own_tops: list[float]) -> str:
    """A sentence on how often V2 has a network that is at least as good for at most as many multiply-adds."""
    better = sum(
        any(own <= cost and top >= score for own, top in zip(own_macs, own_tops, strict=True))
        for cost, score in zip(macs, tops, strict=True)
    )
    return (
        f"For {better} of {len(tops)} networks of {name}, there is a V2 that is at least as accurate with no more "
        "multiply-adds."
    )


def table_6(asked: Asked) -> Result:
    """SSDLite on V1 and V2 beside SSD on VGG 16 and YOLOv2, for COCO."""
    labels = tuple(str(i) for i in range(COCO_CLASSES))
    v1, v2 = (
        Network(f"MNet {name.upper()} + SSDLite", ssdlite(backbone(f"mobilenet_{name}"), labels, size=DETECTOR_SIZE))
        for name in ("v1", "v2")
    )
    graphs = {**_peer_detectors(), v1.name: v1.graph(), v2.name: v2.graph()}
    timed = latencies([v1, v2], asked)
    printed = {name: (map_, params, macs, ms) for name, map_, params, macs, ms in V2_TABLE_6}
    rows = [
        (name, printed[name][0] if name in printed else None, graph.params, graph.macs, *printed.get(name, (None,) * 4)[1:3])
        for name, graph in graphs.items()
    ]
    comparisons = list(_detector_comparisons(graphs))
    times = timed.ratio(v1.name, v2.name)
    comparisons.append(
        Comparison("latency of V1's SSDLite relative to V2's", 270 / 200, times.value, "times", "V2, Table 6: on a Pixel 1")
    )
    names = list(graphs)
    panels = (
        draw.Bars("parameters, M", [graph.params / 1e6 for graph in graphs.values()], [_printed(name, 1) for name in names]),
        draw.Bars("MACs, billions", [graph.macs / 1e9 for graph in graphs.values()], [_printed(name, 2) for name in names], 2),
    )
    findings = (
        "The MACs printed for YOLOv2 are those of the network in its paper, whose passthrough has all 512 channels; the "
        "parameters are those of the released network for COCO, which reduces it to 64. No single network has both.",
        slower(v1.name, v2.name, times),
    )
    caption = "Bars: counted on modules that run, at 300, 512, 416 and 320 px. Marks: the paper's values."
    columns = ("detector", "map_published", "params", "macs", "params_printed_millions", "macs_printed_billions")
    return Result(columns, rows, draw.bars(names, panels), caption, tuple(comparisons), findings)


WIDE = "YOLOv2, 512 passed through"


def _peer_detectors() -> dict[str, LayerGraph]:
    import torch

    from mobilenets.analysis.trace import trace
    from mobilenets.science.peers.table import DETECTORS

    names = {"SSD300": "ssd300_vgg16", "SSD512": "ssd512_vgg16", "YOLOv2": "yolo_v2", WIDE: "yolo_v2_wide"}
    graphs = {}
    for name, peer in names.items():
        build, size = DETECTORS[peer]
        with torch.device("meta"):
            graphs[name] = trace(build(), (1, 3, size, size))
    return graphs


def _printed(name: str, column: int) -> float | None:
    found = {line[0]: line[1:] for line in V2_TABLE_6}.get(name)
    return found[column] if found is not None else None


def _detector_comparisons(graphs: dict[str, LayerGraph]) -> Iterator[Comparison]:
    source = "V2, Table 6"
    remarks = {"YOLOv2": "the paper prints the network whose passthrough has 512 channels"}
    for name, _, params, macs, _ in V2_TABLE_6:
        same = "the paper prints one number for SSD300 and SSD512" if name == "SSD300" else ""
        yield Comparison(f"{name}: parameters", params, graphs[name].params / 1e6, "M", source, same)
        yield Comparison(f"{name}: MACs", macs, graphs[name].macs / 1e9, "billion", source, remarks.get(name, ""))
    yield Comparison(f"{WIDE}: MACs", 17.5, graphs[WIDE].macs / 1e9, "billion", source)
    v2, yolo = graphs["MNet V2 + SSDLite"], graphs["YOLOv2"]
    claim = "V2, section 6.2: '20x more efficient and 10x smaller'"
    yield Comparison("YOLOv2's MACs relative to V2 + SSDLite's", 20, yolo.macs / v2.macs, "times", claim)
    yield Comparison("YOLOv2's parameters relative to V2 + SSDLite's", 10, yolo.params / v2.params, "times", claim)


@dataclass(frozen=True, slots=True)
class _Held:
    """Bytes of the largest map that outlives its block, by side."""

    name: str
    graph: LayerGraph

    def at(self, side: int) -> float:
        kept = [shape for shape in self._ends() if shape[2:] == (side, side)]
        return max((np.prod(shape) for shape in kept), default=0) * BYTES["fp16"] / 1000

    def _ends(self) -> list[tuple[int, ...]]:
        """Shapes of what leaves each block: of a row of ours, of a child of a peer."""
        ends: dict[str, tuple[int, ...]] = {}
        for i, layer in enumerate(self.graph.layers):
            block = (
                f"block {layer.block}"
                if layer.block >= 0
                else layer.name.partition(".")[0]
                if "." in layer.name
                else f"layer {i}"
            )
            ends[block] = self.graph.shapes[layer.output]
        return [shape if len(shape) == 4 else (*shape, 1, 1) for shape in ends.values()]


def table_3(_: Asked) -> Result:
    """The memory that has to be held at each resolution, with 16-bit activations."""
    networks = (
        _Held("V1", ours("V1", "mobilenet_v1").graph()),
        _Held("V2", ours("V2", "mobilenet_v2").graph()),
        _Held("ShuffleNet (x2)", Network("ShuffleNet (x2)", peer="shufflenet_2").graph()),
    )
    rows = [(side, *(held.at(side) for held in networks), *printed) for side, *printed in V2_TABLE_3]
    remarks: dict[tuple[str, float], str] = {
        ("V1", 7): "1024 x 7 x 7 values of 2 bytes take 100 kB",
        ("V2", 112): "the paper omits the first convolution, whose 32 channels take 803 kB",
        ("V2", 56): "the paper prints the 32 channels that V2 has at 28 x 28",
        ("V2", 28): "the paper prints the 64 channels that V2 has at 14 x 14",
        ("V2", 14): "the paper prints the 160 channels that V2 has at 7 x 7",
        ("V2", 7): "the paper omits the last convolution, whose 1280 channels take 125 kB",
        ("ShuffleNet (x2)", 112): "the stem of the network with 524 M multiply-adds has 48 channels",
    }
    comparisons = tuple(
        Comparison(
            f"{held.name} at {side} x {side}", row[4 + i], row[1 + i], "kB", "V2, Table 3", remarks.get((held.name, side), "")
        )
        for row in rows
        for i, held in enumerate(networks)
        for side in (row[0],)
    )
    figure, axes = figure_of(7.2, 3.8)
    sides = [str(row[0]) for row in rows]
    places = np.arange(len(rows))
    for i, (held, color) in enumerate(zip(networks, color_cycle(len(networks)), strict=True)):
        axes.bar(places + 0.27 * (i - 1), [row[1 + i] for row in rows], 0.25, color=color, alpha=0.65, label=held.name)
        axes.plot(places + 0.27 * (i - 1), [row[4 + i] for row in rows], "D", color=color, markersize=4)
    axes.set_xticks(places, sides)
    axes.set_yscale("log")
    axes.set_xlabel("side of the map, px")
    axes.set_ylabel("largest map, kB")
    legend_above(axes, 3)
    own = {held.name: held.graph for held in networks[:2]}
    findings = tuple(
        f"{name} needs {plan(graph, 'fp16').peak_bytes / 1000:,.0f} kB in 16 bits if every feature map is stored, "
        f"and {bottleneck_plan(graph, 'fp16').peak_bytes / 1000:,.0f} kB if the inner feature maps of a block are never "
        "stored whole (section 5.1)."
        for name, graph in own.items()
    )
    caption = (
        "Bars: the largest feature map that outlives its block, counted on the module that runs. Marks: the paper's values."
    )
    columns = ("side", "v1_kb", "v2_kb", "shufflenet_kb", "v1_printed_kb", "v2_printed_kb", "shufflenet_printed_kb")
    return Result(columns, rows, figure, caption, comparisons, findings)
