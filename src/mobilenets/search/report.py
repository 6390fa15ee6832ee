"""The report of a search: the networks against their costs, and what each step removed."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from mobilenets.documents import encode
from mobilenets.errors import MissingExtraError
from mobilenets.evaluation.intervals import Interval
from mobilenets.evaluation.metric import Metric
from mobilenets.files import write_bytes, write_text
from mobilenets.reports import plots
from mobilenets.reports.front import Point, front
from mobilenets.reports.html import to_html
from mobilenets.reports.markdown import to_markdown
from mobilenets.reports.page import Content, Page, Remark, Table
from mobilenets.reports.plots import Plot
from mobilenets.search.axes import ROWS
from mobilenets.search.costs import RESOURCES
from mobilenets.search.finalists import FINALISTS
from mobilenets.search.flow import Network, Result
from mobilenets.search.latency import TOLERANCE
from mobilenets.search.space import Space
from mobilenets.search.telling import valued
from mobilenets.specs.codec import to_data
from mobilenets.specs.rows import BackboneSpec, places

REPORT = "report.html"


def write_report(result: Result, *, title: str, facts: Mapping[str, object], next_command: str = "") -> list[str]:
    """Write `report.json`, and, if the libraries for it are installed, `report.html` and `report.md` with plots.

    Args:
        result: result of the search.
        title: title of the report.
        facts: facts about the search that the report shows.
        next_command: the command that the report suggests next.

    Returns:
        Messages about what is missing, with the reason; empty if everything is written.

    Raises:
        OSError: the folder cannot be written.
    """
    folder = result.folder
    write_text(folder / "report.json", json.dumps(data(result), indent=1, ensure_ascii=False) + "\n")
    try:
        drawn = _plots(result)
        tables = (networks_table(result), *_way(result), *_shapes(result))
        content = Content(_subtitle(result), "Against the ladder", _introduction(result), (), drawn, tables)
        doubts = doubts_of(result)
        remarks = tuple(Remark(text, warning=text in doubts) for text in remarks_of(result))
        page = Page(title, _metrics(result), content, context={"Search": facts}, next_command=next_command, remarks=remarks)
        html = to_html(page)
    except MissingExtraError as error:
        return [f"no report page: {error} ({error.hint})"]
    files = [f"plots/{plot.name}.png" for plot in drawn]
    for plot, file in zip(drawn, files, strict=True):
        write_bytes(folder / file, plots.png(plot.figure))
    write_text(folder / "report.md", to_markdown(page, plots=files, images=[]))
    write_text(folder / REPORT, html)
    return []


def data(result: Result) -> dict[str, Any]:  # Any: JSON
    """The content of `report.json` and `--json`."""
    return {
        "folder": str(result.folder),
        "budget": dict(result.wanted.budget),
        "device": result.device,
        "judged_by": result.way.judged_by,
        "networks": [
            {
                **encode(network.finalist),
                "cost": dict(network.cost),
                "measured_ms": network.measured_ms,
                "spec": to_data(network.spec),
            }
            for network in result.networks
        ],
        "ladder_left_out": list(result.left_out),
        "steps": [encode(step) for step in result.way.steps],
        "trials": [encode(sampled) for sampled in result.way.sampled],
        "prediction_errors": list(result.errors),
        "remarks": remarks_of(result),
    }


def networks_table(result: Result) -> Table:
    """The start, the network that was found, and the ladder."""
    metric = result.networks[0].finalist.metric
    split = result.networks[0].finalist.split
    columns = (
        "network",
        f"{metric} on {split}",
        "95% interval",
        "ms measured",
        "ms predicted",
        "MB",
        "million MACs",
        "KB of RAM",
    )
    note = "Sizes and memory are those of 32-bit floats. Latency is that of the fastest run."
    return Table("Networks", columns, tuple(map(_cells, result.networks)), note=note)


def remarks_of(result: Result) -> list[str]:
    """Remarks on the result; doubts about its figures come first."""
    said = doubts_of(result)
    rungs = _rungs(result)
    if rungs:
        best, mine = max(rungs, key=lambda network: network.finalist.value), found(result)
        points = 100 * (mine.finalist.value - best.finalist.value)
        how = "above" if points >= 0 else "below"
        said.append(
            f"{mine.finalist.title} is {abs(points):.1f} points {how} the best network of the ladder, {best.finalist.title}"
            f"{_overlap(mine, best)}."
        )
        if points < 0:
            folder = shlex.quote(str(result.folder / FINALISTS / best.finalist.name))
            said.append(f"A search that starts from that one may find a better one: --start {folder}")
    tried = sum(network.finalist.origin == "search" for network in result.networks)
    if tried > 1:
        mine = found(result)
        said.append(
            f"{mine.finalist.title} is the best of {tried} finalists on {mine.finalist.split}: chosen by these images, it "
            "is likely to do worse on new ones."
        )
    if any(abs(error) > TOLERANCE for error in result.errors):
        worst = max(result.errors, key=abs)
        said.append(f"The latency table mispredicts a whole network by {worst:+.0%}, even after it was corrected.")
    return said


def doubts_of(result: Result) -> list[str]:
    """Remarks on what else the images of the comparison were used for."""
    split = result.networks[0].finalist.split
    if split == "train":
        return ["The networks were trained on these images: the metrics are better than they would be on new images."]
    if split == "val":
        return [
            "There is no test split: the search selected by the same images that the networks are compared on, so its result "
            "is likely to do worse on new ones."
        ]
    return []


def _rungs(result: Result) -> list[Network]:
    return [network for network in result.networks if network.finalist.origin == "ladder"]


def _introduction(result: Result) -> str:
    """A paragraph on what the ladder is, and which of its networks were not trained."""
    if not _rungs(result):
        return "No network of the ladder, the start at plain widths and input sizes, was trained for comparison."
    left_out = f" Left out after a short evaluation: {', '.join(result.left_out)}." if result.left_out else ""
    return (
        "The ladder is the start at plain widths and input sizes within the budget, trained like the network that was found. "
        f"It takes no search, so a search must beat it.{left_out}"
    )


def _overlap(one: Network, other: Network) -> str:
    first, second = one.finalist, other.finalist
    if first.low is None or first.high is None or second.low is None or second.high is None:
        return ""
    apart = first.low > second.high or second.low > first.high
    return "" if apart else "; their intervals overlap"


def _metrics(result: Result) -> list[Metric]:
    """The cards at the top of the page: the network that was found."""
    network = found(result)
    finalist, cost = network.finalist, network.cost
    interval = None if finalist.low is None or finalist.high is None else Interval(finalist.low, finalist.high)
    first = Metric(finalist.metric, f"{finalist.metric} of {finalist.title}", finalist.value, interval, f"on {finalist.split}")
    latency = network.measured_ms if network.measured_ms is not None else cost.get("ms")
    others = [] if latency is None else [Metric("latency", "latency", latency, None, "of one image")]
    return [first, *others, Metric("size", "weights", cost["mb"], None, "in 32-bit floats")]


def found(result: Result) -> Network:
    """The best network that the search found."""
    networks = [network for network in result.networks if network.finalist.origin == "search"]
    return max(networks, key=lambda network: network.finalist.value)


def _subtitle(result: Result) -> str:
    limits = [
        f"{RESOURCES[name].title} of at most {most:g} {RESOURCES[name].unit}" for name, most in result.wanted.budget.items()
    ]
    where = f", measured with {result.device}" if result.device else ""
    return f"{' and '.join(limits)}{where}"


def _cells(network: Network) -> tuple[str, ...]:
    finalist, cost = network.finalist, network.cost
    interval = "" if finalist.low is None or finalist.high is None else f"{finalist.low:.1%} to {finalist.high:.1%}"
    return (
        finalist.title,
        f"{finalist.value:.2%}",
        interval,
        "-" if network.measured_ms is None else f"{network.measured_ms:.3f}",
        f"{cost['ms']:.3f}" if "ms" in cost else "-",
        f"{cost['mb']:.2f}",
        f"{cost['macs']:.1f}",
        f"{cost['kb_ram']:.0f}",
    )


def _plots(result: Result) -> tuple[Plot, ...]:
    driver = next(iter(result.wanted.budget))
    title, unit = RESOURCES[driver].title, RESOURCES[driver].unit
    points = [
        Point(
            network.finalist.title,
            network.finalist.origin,
            _x(network, driver),
            network.finalist.value,
            None,
            None
            if network.finalist.low is None or network.finalist.high is None
            else (network.finalist.low, network.finalist.high),
        )
        for network in result.networks
    ]
    metric, split = result.networks[0].finalist.metric, result.networks[0].finalist.split
    axis = f"{title}, {unit}"
    main = front(points, x=axis, y=f"{metric} on {split}", higher_is_better=True, shares=True)
    caption = "Each network after its full training. Bars are 95% intervals."
    shares = result.way.judged_by != "loss"
    way = front(_on_the_way(result, driver), x=axis, y=result.way.judged_by, higher_is_better=shares, shares=shares)
    told = "Each network as the search judged it: with inherited weights and at most a short training."
    return Plot("front", "Accuracy and cost", caption, main, wide=True), Plot("judged", "Step by step", told, way, wide=True)


def _on_the_way(result: Result, driver: str) -> list[Point]:
    """The points of the steps, or of the networks that were drawn and fully judged."""
    steps = [(f"step {step.number}", "steps", step.chosen.cost, step.chosen.value) for step in result.way.steps]
    judged = [one for one in result.way.sampled if one.parts]
    trials = [(f"trial {one.number}", "dropped early" if one.dropped else "judged", one.cost, one.value) for one in judged]
    return [Point(name, series, cost[driver], _judged(value, result)) for name, series, cost, value in (*steps, *trials)]


def _x(network: Network, driver: str) -> float:
    if driver == "ms" and network.measured_ms is not None:
        return network.measured_ms
    return network.cost[driver]


def _judged(value: float, result: Result) -> float:
    """A value as users know it: a loss is positive."""
    return -value if result.way.judged_by == "loss" else value


def _way(result: Result) -> Iterator[Table]:
    if result.way.steps:
        yield _steps(result)
    if result.way.sampled:
        yield _trials(result)


def _trials(result: Result) -> Table:
    """The networks that were drawn, the best first; those above the budget last."""
    names = list(result.wanted.budget)
    columns = ("trial", "shape", *(RESOURCES[name].unit for name in names), result.way.judged_by)
    space = Space(result.networks[0].spec)
    ordered = sorted(result.way.sampled, key=lambda one: (not one.parts, one.dropped, -one.value))
    rows = []
    for one in ordered:
        value = valued(one.value, result.way.judged_by) if one.parts else "above the budget"
        shown = f"{value}, dropped early" if one.parts and one.dropped else value
        costs = (f"{one.cost[name]:.4g}" for name in names)
        rows.append((str(one.number), space.told(one.choice), *costs, shown))
    return Table("Sampled networks", columns, tuple(rows), words=2, most=200)


def _steps(result: Result) -> Table:
    names = list(result.wanted.budget)
    columns = (
        "step",
        "what shrank",
        "channels",
        *(RESOURCES[name].unit for name in names),
        result.way.judged_by,
        "proposals",
    )
    rows = []
    for step in result.way.steps:
        chosen = step.chosen
        shown = valued(chosen.value, result.way.judged_by).removeprefix(f"{result.way.judged_by} ")
        channels = f"{chosen.before} to {chosen.after}" if chosen.axis else ""
        costs = (f"{chosen.cost[name]:.4g}" for name in names)
        rows.append((str(step.number), chosen.title, channels, *costs, shown, str(len(step.proposals))))
    return Table("Steps", columns, tuple(rows), words=3, most=1000)


def _shapes(result: Result) -> Iterator[Table]:
    """The network that was found, row by row, with the start's channels where they differ."""
    start = result.networks[0].spec.backbone
    for network in result.networks:
        if network.finalist.origin == "search":
            yield shape_table(network.spec.backbone, start, f"{network.finalist.title}, block by block")


def shape_table(body: BackboneSpec, start: BackboneSpec, title: str) -> Table:
    """A table of a network's rows; in brackets the channels of the network that it started from.

    Args:
        body: the network.
        start: the network that it started from.
        title: title of the table.
    """
    rows = []
    same = len(start.rows) == len(body.rows)
    for i, place in enumerate(places(body)):
        row = place.row
        before = start.rows[i] if same else row
        inner = ROWS[type(row)].inner
        kernels = [str(getattr(row, name)) for name in ("kernel", "start_kernel", "middle_kernel") if getattr(row, name, 0)]
        rows.append(
            (
                str(i),
                type(row).__name__,
                " + ".join(kernels) or "-",
                str(place.stride),
                str(place.c_in),
                _was(getattr(row, inner), getattr(before, inner, None)) if inner else "-",
                _was(row.c_out, before.c_out),
                str(getattr(row, "c_squeeze", 0) or "-"),
            )
        )
    for i, (layer, before) in enumerate(zip(body.tail, start.tail, strict=False)):
        rows.append((f"tail {i}", "Conv", str(layer.kernel), "1", "", "-", _was(layer.c_out, before.c_out), "-"))
    columns = ("block", "kind", "kernel", "stride", "in", "expansion", "out", "squeeze")
    return Table(title, columns, tuple(rows), words=3, most=1000)


def _was(now: int, before: int | None) -> str:
    return str(now) if before is None or now == before else f"{now} (was {before})"
