"""V1's tables of networks: separable and full convolutions, narrow and shallow networks, width, resolution, other papers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from mobilenets.reports.plots import figure_of, legend_above
from mobilenets.science import draw
from mobilenets.science.entry import Asked, Comparison, Result
from mobilenets.science.printed import V1_FIGURE_4, V1_TABLE_4, V1_TABLE_5, V1_TABLE_6, V1_TABLE_7, V1_TABLE_8, V1_TABLE_9, Line
from mobilenets.science.tables import COLUMNS, COUNTS, Measured, counted, measured, result, slower


def table_4(asked: Asked) -> Result:
    """Full convolutions against separable ones."""
    found = measured(V1_TABLE_4, asked)
    full, separable = (line.name for line in found.lines)
    return result(
        found, "V1, Table 4", findings=(_costs(found, full, separable), slower(full, separable, found.times(full, separable)))
    )


def table_5(asked: Asked) -> Result:
    """A narrow network against a shallow one of about the same cost."""
    found = measured(V1_TABLE_5, asked)
    narrow, shallow = found.lines
    finding = (
        f"The shallow network has {found.macs[shallow.name] / found.macs[narrow.name]:.2f} times the multiply-adds of the "
        f"narrow one and {found.params[shallow.name] / found.params[narrow.name]:.2f} times the parameters."
    )
    times = found.times(shallow.name, narrow.name)
    return result(found, "V1, Table 5", findings=(finding, slower(shallow.name, narrow.name, times)))


def table_6(asked: Asked) -> Result:
    """The width multiplier: cost falls with its square."""
    found = measured(V1_TABLE_6, asked)
    first, *others = found.lines
    findings = [
        f"Width {line.width:g} leaves {found.macs[line.name] / found.macs[first.name]:.3f} of the multiply-adds "
        f"(width squared: {line.width**2:.3f}) and {1 / found.times(first.name, line.name).value:.3f} of the latency."
        for line in others
    ]
    return result(found, "V1, Table 6", findings=findings)


def table_7(asked: Asked) -> Result:
    """The resolution multiplier: multiply-adds fall with its square, parameters stay."""
    found = measured(V1_TABLE_7, asked)
    first, *others = found.lines
    findings = [
        f"{line.size} px leave {found.macs[line.name] / found.macs[first.name]:.3f} of the multiply-adds "
        f"(resolution squared: {(line.size / first.size) ** 2:.3f}) and "
        f"{1 / found.times(first.name, line.name).value:.3f} of the latency."
        for line in others
    ]
    return result(found, "V1, Table 7", findings=findings)


def table_8(asked: Asked) -> Result:
    """MobileNet beside GoogLeNet and VGG 16."""
    found = measured(V1_TABLE_8, asked)
    mobilenet, googlenet, vgg = (line.name for line in found.lines)
    source = "V1, section 4.3"
    comparisons = (
        Comparison(
            "VGG 16's parameters relative to MobileNet's", 32, found.params[vgg] / found.params[mobilenet], "times", source
        ),
        Comparison("VGG 16's MACs relative to MobileNet's", 27, found.macs[vgg] / found.macs[mobilenet], "times", source),
        Comparison(
            "GoogLeNet's MACs relative to MobileNet's", 2.5, found.macs[googlenet] / found.macs[mobilenet], "times", source
        ),
    )
    below = found.lines[2].top1 - found.lines[0].top1
    findings = [
        f"By published accuracy, MobileNet is {below:.1f} points below VGG 16, with 1/"
        f"{found.params[vgg] / found.params[mobilenet]:.1f} of its parameters.",
        *(slower(name, mobilenet, found.times(name, mobilenet)) for name in (googlenet, vgg)),
    ]
    return result(found, "V1, Table 8", comparisons, findings)


def table_9(asked: Asked) -> Result:
    """A reduced MobileNet beside SqueezeNet and AlexNet."""
    found = measured(V1_TABLE_9, asked)
    reduced, squeezenet, alexnet = (line.name for line in found.lines)
    source = "V1, section 4.3"
    macs, params = found.macs, found.params
    remark = "the paper counts SqueezeNet in operations, two per multiply-add, and MobileNet in multiply-adds"
    comparisons = (
        Comparison("AlexNet's parameters relative to MobileNet's", 45, params[alexnet] / params[reduced], "times", source),
        Comparison("AlexNet's MACs relative to MobileNet's", 9.4, macs[alexnet] / macs[reduced], "times", source),
        Comparison("SqueezeNet's MACs relative to MobileNet's", 22, macs[squeezenet] / macs[reduced], "times", source, remark),
    )
    findings = [slower(name, reduced, found.times(name, reduced)) for name in (squeezenet, alexnet)]
    return result(found, "V1, Table 9", comparisons, findings)


def figure_4(asked: Asked) -> Result:
    """Accuracy against multiply-adds, and against measured latency, for 16 widths and resolutions."""
    found = measured(V1_FIGURE_4, asked)
    macs = [found.macs[line.name] / 1e6 for line in found.lines]
    ms = [found.latencies.ms(line.name) for line in found.lines]
    tops = [line.top1 for line in found.lines]
    figure, _ = figure_of(10, 4.2, columns=2)
    for axes, xs, title in zip(figure.axes, (macs, ms), ("MACs, M", "latency here, ms"), strict=True):
        draw.scatter(axes, _by_size(found.lines, xs), x=title, y="ImageNet top-1 as published, %", log=True)
        slope, offset = np.polyfit(np.log10(xs), tops, 1)
        ends = [min(xs), max(xs)]
        draw.line(axes, ends, [float(slope * np.log10(x) + offset) for x in ends], name="log linear fit")
    legend_above(figure.axes[0], 3)
    fits = {name: float(np.corrcoef(np.log10(xs), tops)[0, 1] ** 2) for name, xs in (("multiply-adds", macs), ("latency", ms))}
    findings = [
        f"A line fitted to the logarithm of {name} explains {fit:.1%} of the variance in accuracy."
        for name, fit in fits.items()
    ]
    jump = [np.mean([line.top1 for line in found.lines if line.width == width]) for width in (1.0, 0.75, 0.5, 0.25)]
    drops = [float(a - b) for a, b in pairwise(jump)]
    findings.append(
        "The paper notes a jump where networks get very small, at width 0.25: from one width to the next, accuracy falls by "
        f"{drops[0]:.1f}, {drops[1]:.1f} and {drops[2]:.1f} points."
    )
    caption = (
        "Left: multiply-adds counted here. Right: processor time measured here, one thread, one image. One color per input "
        "size."
    )
    return Result(
        COLUMNS,
        found.rows(),
        figure,
        caption,
        found.comparisons("V1, Figure 4, as slim's mobilenet_v1.md prints it"),
        tuple(findings),
    )


def figure_5(_: Asked) -> Result:
    """Accuracy against parameters for 16 widths and resolutions."""
    found = counted(V1_FIGURE_4)
    figure, axes = figure_of(6.4, 4.2)
    params = [found.params[line.name] / 1e6 for line in found.lines]
    draw.scatter(axes, _by_size(found.lines, params), x="parameters, M", y="ImageNet top-1 as published, %", log=True)
    legend_above(axes, 4)
    same = {len({found.params[line.name] for line in found.lines if line.width == width}) for width in (1.0, 0.75, 0.5, 0.25)}
    finding = (
        "The number of parameters does not change with the resolution: every width has one count for all four sizes."
        if same == {1}
        else "The number of parameters changes with the resolution, which the paper's figure excludes."
    )
    caption = "Parameters are counted here, accuracies are as published. One color per input size."
    return Result(
        COUNTS,
        found.rows(),
        figure,
        caption,
        found.comparisons("V1, Figure 5, as slim's mobilenet_v1.md prints it"),
        (finding,),
    )


def _by_size(lines: Sequence[Line], xs: Sequence[float]) -> list[draw.Series]:
    sizes = sorted({line.size for line in lines}, reverse=True)
    points = [(line.size, x, line.top1) for line, x in zip(lines, xs, strict=True)]
    return [
        draw.Series(f"{size} px", [x for s, x, _ in points if s == size], [y for s, _, y in points if s == size])
        for size in sizes
    ]


def _costs(found: Measured, dear: str, cheap: str) -> str:
    first, second = (next(line for line in found.lines if line.name == name) for name in (dear, cheap))
    return (
        f"{dear} costs {found.macs[dear] / found.macs[cheap]:.1f} times the multiply-adds and "
        f"{found.params[dear] / found.params[cheap]:.1f} times the parameters of {cheap}, for "
        f"{first.top1 - second.top1:.1f} points of published accuracy."
    )
