"""What the package states as printed, against the published figures beside the checkout."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from mobilenets.science import printed
from mobilenets.science.printed import Line

Read = Callable[[str], list[dict[str, str]]]


@pytest.fixture(scope="module")
def rows(shared: Path) -> Read:
    def read(name: str) -> list[dict[str, str]]:
        with (shared / "paper" / f"{name}.csv").open(newline="") as file:
            return list(csv.DictReader(file))

    return read


# fmt: off
TABLES: dict[str, tuple[str, str, tuple[Line, ...], str]] = {
    #                     file            source                                lines                 column of ms
    "v1-table-4":  ("mobilenet_v1", "arXiv:1704.04861 Table 4",                 printed.V1_TABLE_4,   ""),
    "v1-table-5":  ("mobilenet_v1", "arXiv:1704.04861 Table 5",                 printed.V1_TABLE_5,   ""),
    "v1-table-6":  ("mobilenet_v1", "arXiv:1704.04861 Table 6",                 printed.V1_TABLE_6,   ""),
    "v1-table-7":  ("mobilenet_v1", "arXiv:1704.04861 Table 7",                 printed.V1_TABLE_7[1:], ""),
    "v1-table-8":  ("mobilenet_v1", "arXiv:1704.04861 Table 8",                 printed.V1_TABLE_8[1:], ""),
    "v1-table-9":  ("mobilenet_v1", "arXiv:1704.04861 Table 9",                 printed.V1_TABLE_9,   ""),
    "v1-figure-4": ("mobilenet_v1", "research/slim/nets/mobilenet_v1.md",       printed.V1_FIGURE_4,  ""),
    "v2-table-4":  ("mobilenet_v2", "arXiv:1801.04381v4 Table 4",               printed.V2_TABLE_4,   "pixel1_cpu_ms"),
    "v2-figure-5": ("mobilenet_v2", "research/slim/nets/mobilenet/README.md",   printed.V2_FIGURE_5,  "pixel1_cpu_ms"),
    "v3-table-3":  ("mobilenet_v3", "arXiv:1905.02244 Table 3",                 printed.V3_TABLE_3,   "pixel1_ms"),
}
# fmt: on


@pytest.mark.parametrize("name", TABLES)
def test_every_line_is_printed_so(name: str, rows: Read) -> None:
    file, source, lines, column = TABLES[name]
    found = [row for row in rows(file) if row["source"].endswith(source) or source in row["source"]]
    numbers = [
        tuple(float(row[key]) if row[key] else None for key in ("imagenet_top1", "madds_millions", "params_millions"))
        for row in found
    ]
    for line in lines:
        assert (line.top1, line.macs, line.params) in numbers, line
        if line.ms is not None:
            row = found[numbers.index((line.top1, line.macs, line.params))]
            assert float(row[column]) == line.ms, line


def test_table_6_of_v2_is_printed_so(rows: Read) -> None:
    found = {row["model"]: row for row in rows("ssdlite") if row["table"] == "V2 paper Table 6"}
    for name, *numbers in printed.V2_TABLE_6:
        row = found[name if "MNet" in name or name == "YOLOv2" else f"{name} (VGG-16)"]
        columns = ("map", "params_millions", "madds_billions", "latency_ms")
        assert [float(row[key]) if row[key] else None for key in columns] == numbers


def test_table_3_of_v2_is_printed_so(rows: Read) -> None:
    found = {
        (row["network"], row["resolution"]): float(row["memory_kb"])
        for row in rows("memory")
        if row["paper_version"].startswith("v4")
    }
    names = ("MobileNetV1", "MobileNetV2", "ShuffleNet (2x,g=3)")
    for side, *numbers in printed.V2_TABLE_3:
        assert [found[name, f"{side}x{side}"] for name in names] == numbers


def test_table_5_of_v3_is_printed_so(rows: Read) -> None:
    found = [row for row in rows("mobilenet_v3") if row["source"] == "arXiv:1905.02244 Table 5"]
    both = {(float(row["imagenet_top1"]), float(row["pixel1_ms"]), float(row["other_latency"].split()[-2])) for row in found}
    assert {tuple(numbers) for _, *numbers in printed.V3_TABLE_5} == both


def test_table_6_of_v4_is_printed_so(rows: Read) -> None:
    found = {
        (float(row["top1"]), float(row["params_millions"]), 1000 * float(row["macs_g"]), float(row["pixel6_cpu_ms"]))
        for row in rows("mobilenet_v4_table6")
        if row["pixel6_cpu_ms"]
    }
    assert {(line.top1, line.params, line.macs, line.ms) for line in printed.V4_TABLE_6} <= found
