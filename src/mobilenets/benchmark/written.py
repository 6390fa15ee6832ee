"""Output of a benchmark as a text table, as JSON, CSV and a plot."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mobilenets.benchmark.remarks import remarks
from mobilenets.benchmark.row import Row, to_flat
from mobilenets.benchmark.timing import spread
from mobilenets.files import write_bytes
from mobilenets.runtime.machine import Machine

if TYPE_CHECKING:
    from mobilenets.reports.front import Point

PLOT = "plot.png"
ROUNDS = ("rounds_ms", "rounds_cpu_ms")
"""Figures of a row that are lists and therefore left out of CSV."""

# fmt: off
_COLUMNS: Mapping[str, Callable[[Row], str]] = {
    "model":       lambda row: row.case.model,
    "runtime":     lambda row: row.case.runtime,
    "precision":   lambda row: row.case.precision or "-",
    "threads":     lambda row: str(row.case.threads),
    "batch":       lambda row: str(row.case.batch),
    "machine":     lambda row: row.case.machine or "here",
    "accuracy":    lambda row: "-" if row.accuracy is None else f"{row.accuracy:.2%}",
    "p50 ms":      lambda row: _ms(row.p50_ms),
    "p90 ms":      lambda row: _ms(row.p90_ms),
    "rounds ms":   lambda row: _range(spread(row)),
    "images/s":    lambda row: "-" if row.images_per_second is None else f"{row.images_per_second:.1f}",
    "memory MB":   lambda row: _mb(row.own_bytes),
    "+ Python MB": lambda row: _mb(row.baseline_bytes),
    "arena MB":    lambda row: _mb(row.case.activation_bytes),
    "file MB":     lambda row: _mb(row.file_bytes),
    "cold s":      lambda row: "-" if row.cold_start_ms is None else f"{row.cold_start_ms / 1000:.2f}",
    "import+open+run s": lambda row: _parts(row),
    "fast path":   lambda row: "-" if row.fast_path is None else f"{row.fast_path:.0%}",
}
# fmt: on
_ALWAYS = ("runtime", "precision", "p50 ms")
_TITLED = ("model", "threads", "batch", "machine")  # moved to the title if they are the same in all rows


def table(rows: Sequence[Row]) -> tuple[str, tuple[str, ...], list[tuple[str, ...]]]:
    """Title, column heads and lines of the measured rows, the fastest first within each setting.

    Values that all rows share are in the title, and columns without figures are left out.
    """
    done = sorted(
        (row for row in rows if not row.error),
        key=lambda row: (row.case.machine, row.case.threads, row.case.batch, row.case.model.partition("/")[0], row.p50_ms or 0),
    )
    cells = {column: [cell(row) for row in done] for column, cell in _COLUMNS.items()}
    same = [column for column in _TITLED if len(set(cells[column])) == 1]
    shown = [
        column
        for column in _COLUMNS
        if column not in same and (column in _ALWAYS or any(cell != "-" for cell in cells[column]))
    ]
    title = ", ".join(_titled(column, cells[column][0]) for column in same if (column, cells[column][0]) != ("machine", "here"))
    heads = tuple(_accuracy_head(done) if column == "accuracy" else column for column in shown)
    return title, heads, [tuple(cells[column][i] for column in shown) for i in range(len(done))]


def failure(row: Row) -> str:
    """Why a row could not be measured, in a line; "" if it could."""
    return f"{row.case.file or row.case.model} on {row.case.runtime}: {row.error}" if row.error else ""


def to_data(rows: Sequence[Row], machine: Machine, *, data: str = "") -> dict[str, Any]:  # Any: JSON
    """The benchmark for JSON.

    Args:
        rows: all rows, including those with errors.
        machine: this machine.
        data: the dataset for accuracy.
    """
    return {
        "machine": {**asdict(machine), "int8": list(machine.int8)},
        "data": data,
        "rows": [to_flat(row) for row in rows],
        "remarks": remarks(rows, machine),
    }


def csv_table(rows: Sequence[Row]) -> tuple[list[str], list[list[object]]]:
    """Column heads and lines for CSV: all figures except those of the rounds. Unknown figures are empty."""
    flat = [{key: value for key, value in to_flat(row).items() if key not in ROUNDS} for row in rows]
    columns = list(flat[0]) if flat else []
    return columns, [["" if value is None else value for value in line.values()] for line in flat]


def write_plot(rows: Sequence[Row], folder: Path) -> Path | None:
    """Write the plot; None if no row was measured.

    It shows accuracy against latency; if accuracy was not measured, multiply-adds or file size instead.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OSError: the file cannot be written.
    """
    from mobilenets.reports.front import front
    from mobilenets.reports.plots import png

    done = [row for row in rows if row.p50_ms is not None]
    if not done:
        return None
    machine, *others = {row.case.machine for row in done}
    several = bool(others)
    latency = f"latency on {machine}, ms" if machine and not several else "latency, ms"
    if any(row.accuracy is not None for row in done):
        metric = next(row.metric for row in done if row.metric)
        points = [_point(row, row.accuracy, _interval(row), named=several) for row in done if row.accuracy is not None]
        figure = front(points, x=latency, y=metric, higher_is_better=True, shares=True)
    elif len({row.case.macs for row in done}) > 1 and all(row.case.macs is not None for row in done):
        points = [_point(row, (row.case.macs or 0) / 1e6, None, named=several) for row in done]
        figure = front(points, x=latency, y="millions of multiply-adds", higher_is_better=False)
    else:
        points = [_point(row, (row.file_bytes or 0) / 1e6, None, named=several) for row in done]
        figure = front(points, x=latency, y="size of the file, MB", higher_is_better=False)
    write_bytes(folder / PLOT, png(figure))
    return folder / PLOT


def _point(row: Row, y: float | None, y_range: tuple[float, float] | None, *, named: bool) -> Point:
    """A row's point, in the series of its runtime, and also of its machine if there are several."""
    from mobilenets.reports.front import Point

    case = row.case
    setting = "" if (case.threads, case.batch) == (1, 1) else f" {case.threads}t b{case.batch}"
    is_said = case.precision == "float32" or case.model.endswith(f"/{case.precision}")
    name = f"{case.model}{'' if is_said else ' ' + case.precision}{setting}"
    series = f"{case.runtime} on {case.machine}" if named and case.machine else case.runtime
    return Point(name, series, row.p50_ms or 0.0, y or 0.0, spread(row), y_range)


def _interval(row: Row) -> tuple[float, float] | None:
    return None if row.accuracy_low is None or row.accuracy_high is None else (row.accuracy_low, row.accuracy_high)


def _titled(column: str, cell: str) -> str:
    return cell if column in ("model", "machine") else f"{column} {cell}"


def _accuracy_head(rows: Sequence[Row]) -> str:
    return next((row.metric for row in rows if row.metric), "accuracy")


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _mb(value: int | None) -> str:
    return "-" if value is None else f"{value / 1e6:.1f}"


def _range(ends: tuple[float, float] | None) -> str:
    return "-" if ends is None else f"{ends[0]:.2f}-{ends[1]:.2f}"


def _parts(row: Row) -> str:
    parts = (row.import_ms, row.open_ms, row.first_run_ms)
    return "-" if any(part is None for part in parts) else " + ".join(f"{(part or 0) / 1000:.2f}" for part in parts)
