"""Networks of other papers, against what their own papers and libraries say of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mobilenets.analysis.layers import LayerGraph
from mobilenets.analysis.trace import trace
from mobilenets.science.networks import Network, classifier, ours
from mobilenets.science.peers.shufflenet import ShuffleNet, shuffled
from mobilenets.science.peers.table import DETECTORS, PEERS
from mobilenets.specs.families import backbone


def counted(build: nn.Module, size: int) -> LayerGraph:
    return trace(build, (1, 3, size, size))


@pytest.mark.parametrize(
    ("peer", "params", "millions"),
    [
        ("vgg16", 138_357_544, 15_470),  # torchvision's documentation: 138357544 parameters, 15.47 GFLOPS
        ("alexnet", 61_100_840, 714),  # 61100840, 0.71
        ("squeezenet", 1_248_424, 819),  # 1248424, 0.82
        ("googlenet", 6_624_904, 1_498),  # 6624904, 1.50
        ("nasnet_a_mobile", 5_289_978, 564),  # arXiv:1707.07012, Table 3: 5.3 M, 564 M; 5289978 in the port for PyTorch
        ("shufflenet_1.5", None, 292),  # arXiv:1707.01083, Table 5, with three groups
        ("shufflenet_2", None, 524),
    ],
)
def test_peers_cost_what_their_sources_say(peer: str, params: int | None, millions: int) -> None:
    with torch.device("meta"):
        graph = counted(PEERS[peer](), 224)
    assert round(graph.macs / 1e6) == millions
    assert params in (None, graph.params)


def test_shufflenet_of_scale_1_costs_140_million() -> None:
    """arXiv:1707.01083, Table 2: 137 M with three groups."""
    with torch.device("meta"):
        assert round(counted(ShuffleNet(1.0), 224).macs / 1e6) == 137


@pytest.mark.parametrize(
    ("detector", "params", "billions"),
    [
        ("ssd300_vgg16", 34.3, 34.4),  # V2, Table 6 prints 36.1 and 35.2
        ("ssd512_vgg16", 36.0, 98.6),  # 36.1 and 99.5
        ("yolo_v2", 51.0, 14.7),  # yolov2.cfg at 416: 29.47 billion operations; 50.7 M in V2, Table 6
        ("yolo_v2_wide", 67.4, 17.5),  # V2, Table 6
    ],
)
def test_detectors_cost_what_their_sources_say(detector: str, params: float, billions: float) -> None:
    build, size = DETECTORS[detector]
    with torch.device("meta"):
        graph = counted(build(), size)
    assert (round(graph.params / 1e6, 1), round(graph.macs / 1e9, 1)) == (params, billions)


def test_ssd300_has_the_8732_boxes_of_its_paper() -> None:
    with torch.device("meta"):
        outputs = DETECTORS["ssd300_vgg16"][0]()(torch.empty(1, 3, 300, 300))
    assert sum(x.shape[1] // 85 * x.shape[2] * x.shape[3] for x in outputs) == 8732


def test_ssd512_has_the_24564_boxes_of_its_paper() -> None:
    with torch.device("meta"):
        outputs = DETECTORS["ssd512_vgg16"][0]()(torch.empty(1, 3, 512, 512))
    assert sum(x.shape[1] // 85 * x.shape[2] * x.shape[3] for x in outputs) == 24564


def test_the_shuffle_deals_the_channels_of_each_group_out() -> None:
    """arXiv:1707.01083, Figure 1: reshape to groups x n, transpose, flatten."""
    channels = torch.arange(6.0).view(1, 6, 1, 1)
    assert shuffled(channels).flatten().tolist() == [0, 2, 4, 1, 3, 5]


def test_our_networks_and_peers_become_files_that_compute_the_same(tmp_path: Path) -> None:
    from mobilenets.runtime.engines.onnx import OnnxEngine

    for network in (ours("v1", "mobilenet_v1", width=0.25, size=64), Network("squeezenet", peer="squeezenet")):
        file = network.file(tmp_path)
        assert file.parent == tmp_path
        assert OnnxEngine(file).manifest().input.size == (64 if network.spec else 224)
        again = file.stat().st_mtime_ns
        assert network.file(tmp_path) == file
        assert file.stat().st_mtime_ns == again
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_networks_of_other_layers_have_other_files(tmp_path: Path) -> None:
    first = classifier("a", backbone("mobilenet_v1", width=0.25), size=32).file(tmp_path)
    other = classifier("a", backbone("mobilenet_v1", width=0.25, activation="relu6"), size=32).file(tmp_path)
    assert first != other


def test_a_network_is_timed_in_proportion_to_its_work(tmp_path: Path) -> None:
    from mobilenets.science.entry import Asked
    from mobilenets.science.latency import latencies

    small, large = ours("small", "mobilenet_v1", width=0.25, size=64), ours("large", "mobilenet_v1", width=1.0, size=128)
    found = latencies([small, large], Asked(tmp_path, seconds=0.15))
    assert found.ms("large") > 3 * found.ms("small")  # 52 times the multiply-adds
    assert found.ratio("large", "small").value > 3
    assert np.all(np.array(found.cells("small")) > 0)
