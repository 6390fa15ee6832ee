"""Every printed count of SSD and SSDLite networks, against the modules that run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import cache

import pytest
import torch
from torch import nn

from mobilenets.analysis.layers import LayerGraph
from mobilenets.analysis.trace import trace
from mobilenets.model import Model
from mobilenets.specs.families import backbone
from mobilenets.specs.model import ModelSpec
from mobilenets.specs.scaling import Scaling
from mobilenets.specs.ssd import ssd, ssd_anchors, ssdlite

Read = Callable[[str], list[dict[str, str]]]
PARAMS, MADDS = "params_millions", "madds_billions"
V2_TABLE_5, V2_TABLE_6, V3_TABLE_6 = "V2 paper Table 5", "V2 paper Table 6", "V3 paper Table 6"
V1_TABLE_13, TORCHVISION = "V1 paper Table 13", "torchvision"
SLIM = Scaling(last="scales")  # slim's default for V2: the last layer is scaled below width 1 too
COCO_80, COCO_90 = 80, 90  # COCO has 80 classes, by numbers up to 90; papers and code count one or the other
HEAD_ALONE = "extra layers and predictors only"

Key = tuple[str, str]


def labels(count: int) -> tuple[str, ...]:
    return tuple(str(i) for i in range(count))


def v2(width: float) -> ModelSpec:
    return ssdlite(backbone("mobilenet_v2", width=width, scaling=SLIM), labels(COCO_90))


def v3(size: str, *, reduced: bool = False) -> ModelSpec:
    return ssdlite(backbone(f"mobilenet_v3_{size}"), labels(COCO_90), reduced=reduced)


# fmt: off
NETWORKS: dict[Key, Callable[[], ModelSpec]] = {
    (V2_TABLE_5,  "SSD (MobileNetV2)"):             lambda: ssd(backbone("mobilenet_v2"), labels(COCO_80)),
    (V2_TABLE_5,  "SSDLite (MobileNetV2)"):         lambda: ssdlite(backbone("mobilenet_v2"), labels(COCO_80)),
    (V2_TABLE_6,  "MNet V1 + SSDLite"):             lambda: ssdlite(backbone("mobilenet_v1"), labels(COCO_80)),
    (V2_TABLE_6,  "MNet V2 + SSDLite"):             lambda: ssdlite(backbone("mobilenet_v2"), labels(COCO_80)),
    (V3_TABLE_6,  "V1 + SSDLite"):                  lambda: ssdlite(backbone("mobilenet_v1"), labels(COCO_80)),
    (V3_TABLE_6,  "V2 + SSDLite"):                  lambda: ssdlite(backbone("mobilenet_v2"), labels(COCO_80)),
    (V3_TABLE_6,  "V3 (Large) + SSDLite"):          lambda: v3("large"),
    (V3_TABLE_6,  "V3 (Large) dagger + SSDLite"):   lambda: v3("large", reduced=True),
    (V3_TABLE_6,  "V2 0.35 + SSDLite"):             lambda: v2(0.35),
    (V3_TABLE_6,  "V2 0.5 + SSDLite"):              lambda: v2(0.5),
    (V3_TABLE_6,  "V3-Small + SSDLite"):            lambda: v3("small"),
    (V3_TABLE_6,  "V3-Small dagger + SSDLite"):     lambda: v3("small", reduced=True),
    (V1_TABLE_13, "SSD MobileNet (V1, plain SSD)"): lambda: ssd(
        backbone("mobilenet_v1"), labels(COCO_90), size=300, kernel=1
    ),
    (TORCHVISION, "ssdlite320_mobilenet_v3_large (COCO_V1)"): lambda: ssdlite(
        backbone("mobilenet_v3_large"), labels(COCO_90), reduced=True, anchors=ssd_anchors(smallest=0)
    ),
}
FOREIGN = {  # detectors that are no SSD on a network of this family
    *("SSD300 (VGG-16)", "SSD512 (VGG-16)", "YOLOv2", "SSD deeplab-VGG", "SSD Inception V2"),
    *("MnasNet + SSDLite", "MnasNet 0.35 + SSDLite", "MnasNet 0.5 + SSDLite"),
    *("Faster-RCNN VGG", "Faster-RCNN Inception V2", "Faster-RCNN MobileNet"),
    *("fasterrcnn_mobilenet_v3_large_320_fpn", "fasterrcnn_mobilenet_v3_large_fpn"),
    *("EfficientFormer L1 RetinaNet", "MobileNet v1 @1.5 RetinaNet", "MNv4-Conv-M RetinaNet", "MNv4-Hybrid-M RetinaNet"),
    *("MobileNet Multi-AVG @1.5 RetinaNet", "MobileNet v2 @2.0 RetinaNet", "MobileNet v3 Large @2.0 RetinaNet"),
}
# fmt: on

DOUBLE = "printed as operations, two for each multiply-add, beside the SSD's 1.25 billion multiply-adds"
WITHOUT_NORM = "printed without the gammas and betas of the batch norms"

# Figures that the networks do not have, by the reason.
KNOWN: dict[str, list[tuple[str, str, str]]] = {
    DOUBLE: [(V2_TABLE_5, "SSDLite (MobileNetV2)", MADDS)],
    WITHOUT_NORM: [
        (V3_TABLE_6, "V3 (Large) + SSDLite", PARAMS),
        (V3_TABLE_6, "V3 (Large) dagger + SSDLite", PARAMS),
        (V3_TABLE_6, "V3-Small + SSDLite", PARAMS),
        (V3_TABLE_6, "V3-Small dagger + SSDLite", PARAMS),
        (V3_TABLE_6, "V2 0.35 + SSDLite", PARAMS),
        (V3_TABLE_6, "V2 0.5 + SSDLite", PARAMS),
    ],
}


@dataclass(frozen=True)
class Count:
    """Parameters, those of batch norms among them, and multiply-adds."""

    params: int
    norms: int
    macs: int


@dataclass(frozen=True)
class Cell:
    """One printed figure and ours, in its unit."""

    table: str
    model: str
    column: str
    printed: Decimal
    ours: Decimal
    norms: Decimal = Decimal(0)

    @property
    def key(self) -> tuple[str, str, str]:
        return self.table, self.model, self.column

    def agrees(self, ours: Decimal) -> bool:
        """Within one unit of the last printed digit; computed figures must be equal when rounded."""
        unit = Decimal(1).scaleb(int(self.printed.as_tuple().exponent))
        return ours.quantize(unit) == self.printed if exact(self) else abs(ours - self.printed) <= unit


def exact(cell: Cell) -> bool:
    return cell.column.startswith("computed") or cell.table == TORCHVISION


@cache
def counted(key: Key) -> Count:
    spec = NETWORKS[key]()
    with torch.device("meta"):
        model = Model(spec)
    graph = trace(model, (1, 3, *spec.input.shape))
    part: nn.Module = model
    if key[0] == V2_TABLE_5:
        part, graph = (
            model.head,
            LayerGraph(tuple(x for x in graph.layers if x.name.startswith("head.")), graph.shapes, graph.outputs),
        )
    norms = [module for module in part.modules() if isinstance(module, nn.BatchNorm2d)]
    return Count(graph.params, sum(x.numel() for norm in norms for x in norm.parameters()), graph.macs)


def cells(printed: Read) -> Iterator[Cell]:
    for row in printed("ssdlite.csv"):
        key = row["table"], row["model"]
        if key not in NETWORKS:
            continue
        count = counted(key)
        params, norms, macs = Decimal(count.params) / 10**6, Decimal(count.norms) / 10**6, Decimal(count.macs) / 10**9
        for column, ours in ((PARAMS, params), ("computed_params_millions", params), (MADDS, macs)):
            if row[column]:
                yield Cell(*key, column, Decimal(row[column]), ours, norms if column == PARAMS else Decimal(0))
        if row["computed_madds_billions"]:
            yield Cell(*key, "computed_madds_billions", Decimal(row["computed_madds_billions"]), macs)


@pytest.fixture(scope="module")
def found(printed: Read) -> list[Cell]:
    return list(cells(printed))


def test_every_count_is_the_printed_one_or_a_known_difference(found: list[Cell]) -> None:
    known = {key for keys in KNOWN.values() for key in keys}
    assert [cell for cell in found if not cell.agrees(cell.ours) and cell.key not in known] == []


def test_every_known_difference_is_real(found: list[Cell]) -> None:
    different = {cell.key for cell in found if not cell.agrees(cell.ours)}
    assert {reason: sorted(set(keys) - different) for reason, keys in KNOWN.items() if set(keys) - different} == {}


def test_no_row_with_counts_is_left_out(printed: Read) -> None:
    rows = [row for row in printed("ssdlite.csv") if row[PARAMS] or row[MADDS]]
    assert {row["model"] for row in rows if ((row["table"], row["model"]) in NETWORKS) == (row["model"] in FOREIGN)} == set()
    assert NETWORKS.keys() <= {(row["table"], row["model"]) for row in rows}


def test_what_is_printed_without_norms_is_the_count_without_norms(found: list[Cell]) -> None:
    chosen = [cell for cell in found if cell.key in KNOWN[WITHOUT_NORM]]
    assert [cell for cell in chosen if not cell.agrees(cell.ours - cell.norms)] == []


def test_what_is_printed_as_operations_is_twice_the_count(found: list[Cell]) -> None:
    assert [cell for cell in found if cell.key in KNOWN[DOUBLE] and not cell.agrees(2 * cell.ours)] == []


def test_tensorflows_configuration_of_v3_large_states_our_counts() -> None:
    """`ssdlite_mobilenet_v3_large_320x320_coco.config`: "3.22M parameters, 1.02B FLOPs"."""
    count = counted((V3_TABLE_6, "V3 (Large) dagger + SSDLite"))
    assert (count.params - count.norms) / 1e6 == pytest.approx(3.22, abs=0.01)
    assert 2 * count.macs / 1e9 == pytest.approx(1.02, abs=0.01)


def test_torchvisions_network_has_its_stated_parameters() -> None:
    assert counted((TORCHVISION, "ssdlite320_mobilenet_v3_large (COCO_V1)")).params == 3_440_060
