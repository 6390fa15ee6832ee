"""The graph as a torch program, which vendors' converters read, against the reference executor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from tests.deploy.conftest import MakeGraph
from tests.deploy.test_operators import CASES, TENSORS, C, H, W

from mobilenets.deploy import operators as op
from mobilenets.deploy import reference
from mobilenets.deploy.graph import INPUT, Graph
from mobilenets.exporters.executorch import _OtherProcess, write_executorch
from mobilenets.exporters.program import Program, exported


def test_a_networks_program_computes_what_the_reference_computes(lowered: Graph) -> None:
    contract = lowered.manifest.input
    x = np.random.default_rng(0).uniform(-1, 1, (2, contract.channels, *contract.shape)).astype(np.float32)
    with torch.no_grad():
        outputs = Program(lowered)(torch.from_numpy(x))
    for found, (name, expected) in zip(outputs, reference.run(lowered, x).items(), strict=True):
        assert np.abs(found.numpy() - expected).max() <= 2e-5 * np.abs(expected).max(), name


RUN = {name: operators for name, operators in CASES.items() if name != "boxes"}  # which such programs do not decode


@pytest.mark.parametrize("operators", RUN.values(), ids=RUN)
def test_an_operator_by_itself_is_the_same(make_graph: MakeGraph, operators: Sequence[op.Operator]) -> None:
    graph = make_graph(tuple(operators), TENSORS, height=H, width=W, channels=C)
    x = np.random.default_rng(0).normal(0, 4, (2, C, H, W)).astype(np.float32)
    [found] = Program(graph)(torch.from_numpy(x))
    np.testing.assert_allclose(found.numpy(), reference.run(graph, x)["out"], rtol=2e-5, atol=2e-5)


@pytest.mark.slow
def test_an_operator_by_itself_is_the_same_in_executorch(make_graph: MakeGraph, tmp_path: Path) -> None:
    pytest.importorskip("executorch")
    operators: list[op.Operator] = []
    for i, case in enumerate(RUN.values()):
        for one in case:
            inputs = tuple(name if name == INPUT else f"{i}.{name}" for name in one.inputs)
            names = {"name": f"{i}.{one.name}", "output": f"{i}.{one.output}", "inputs": inputs}
            operators.append(replace(one, **names))  # type: ignore[type-var]  # every operator is a dataclass
    graph = make_graph(tuple(operators), TENSORS, height=H, width=W, channels=C)
    graph = replace(graph, outputs={name: f"{i}.out" for i, name in enumerate(RUN)})
    write_executorch(graph, tmp_path / "model.pte")
    x = np.random.default_rng(0).normal(0, 4, (1, C, H, W)).astype(np.float32)
    engine = _OtherProcess(tmp_path / "model.pte", tuple(RUN))
    found = engine.run(x)
    engine.close()
    for name, expected in reference.run(graph, x).items():
        np.testing.assert_allclose(found[name], expected, rtol=2e-5, atol=2e-5, err_msg=name)


@pytest.mark.parametrize("kind", get_args(op.NonLinear))
def test_activations_are_the_same_beyond_their_knees(make_graph: MakeGraph, kind: op.NonLinear) -> None:
    x = np.linspace(-9, 9, 37, dtype=np.float32).reshape(1, 1, 1, 37)
    graph = make_graph((op.Activation(name="a", inputs=(INPUT,), output="a", kind=kind),), height=1, width=37)
    [found] = Program(graph)(torch.from_numpy(x))
    np.testing.assert_allclose(found.numpy(), reference.run(graph, x)["out"], rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("coordinates", get_args(op.Coordinates))
@pytest.mark.parametrize("padding", [(0, 0, 0, 0), (1, 1, 2, 2), (0, 1, 2, 1)])
def test_windows_rows_and_resized_maps_are_the_same(
    make_graph: MakeGraph, padding: op.Margins, coordinates: op.Coordinates
) -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(2, 4, 9, 10)).astype(np.float32)
    tensors = {
        "w": random.normal(size=(6, 4, 3, 3)).astype(np.float32),
        "dw": random.normal(size=(6, 1, 3, 3)).astype(np.float32),
        "b": random.normal(size=6).astype(np.float32),
    }
    graph = make_graph(
        (
            op.Conv(name="c", inputs=(INPUT,), output="c", weight="w", bias="b", stride=(2, 1), padding=padding),
            op.Depthwise(name="d", inputs=("c",), output="d", weight="dw", bias="b", dilation=(1, 2), padding=(1, 1, 2, 2)),
            op.Resize(name="r", inputs=("d",), output="r", size=(5, 7), coordinates=coordinates),
            op.Pool(name="p", inputs=("r",), output="p", kernel=(2, 3), stride=(1, 2)),
            op.Rows(name="rows", inputs=("p",), output="rows", columns=3),
            op.MatMul(name="m", inputs=("rows", "rows"), output="m", transposed=True, factor=0.3),
            op.Softmax(name="s", inputs=("m",), output="s"),
            op.MatMul(name="n", inputs=("s", "rows"), output="n"),
            op.Places(name="places", inputs=("n",), output="places", size=(4, 3)),
        ),
        tensors,
        height=9,
        width=10,
        channels=4,
    )
    [found] = Program(graph)(torch.from_numpy(x))
    np.testing.assert_allclose(found.numpy(), reference.run(graph, x)["out"], rtol=1e-4, atol=1e-5)


def test_a_program_says_how_many_images_it_takes(make_graph: MakeGraph) -> None:
    graph = make_graph((op.Activation(name="a", inputs=(INPUT,), output="a", kind="relu"),))
    assert exported(graph).module()(torch.ones(1, 1, 4, 4))[0].shape[0] == 1
    with pytest.raises(AssertionError):
        exported(graph).module()(torch.ones(2, 1, 4, 4))
    many = exported(graph, batch=None).module()
    assert [many(torch.ones(n, 1, 4, 4))[0].shape[0] for n in (1, 3)] == [1, 3]
