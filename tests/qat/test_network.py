"""What trains is what is exported: the module computes the integers of the reference executor."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.deploy.conftest import SPECS, trained
from tests.deploy.min_max import quantized_by_min_max
from tests.deploy.quantized import CASES, Case, integers_for
from tests.deploy.test_quantize import _images

from mobilenets.deploy import reference
from mobilenets.deploy.graph import INPUT, Graph
from mobilenets.deploy.integers import dequantize
from mobilenets.deploy.quantize.quantize import quantize
from mobilenets.exporters.lower import lower
from mobilenets.model import create
from mobilenets.qat.network import Int8Network

OPERATORS = {name: case for name, case in CASES.items() if name != "argmax"}


@pytest.fixture(scope="module", params=["v3 small", "v4 conv small"])
def classifier(request: pytest.FixtureRequest) -> tuple[Graph, NDArray[np.float32]]:
    floats = lower(trained(create(SPECS[request.param]())))
    images = _images(floats, 8)
    return quantized_by_min_max(floats, images), images


@pytest.mark.parametrize("case", OPERATORS.values(), ids=OPERATORS)
def test_every_operator_makes_the_integers_of_the_reference(case: Case) -> None:
    for seed in range(4):
        random = np.random.default_rng(seed)
        graph = case.make(random)
        integers = integers_for(graph, random)
        network = Int8Network(graph).double().eval()
        reals = dequantize(integers.reshape(-1), graph.quantization[INPUT]).reshape(integers.shape)
        made = network(torch.from_numpy(reals.astype(np.float64)))
        [(name, expected)] = reference.run(graph, integers).items()
        value = graph.outputs[name]
        if value in graph.quantization:
            expected = dequantize(expected.reshape(-1), graph.quantization[value]).reshape(expected.shape)
        np.testing.assert_allclose(made.detach().numpy(), expected, rtol=1e-6, atol=1e-6)


def test_a_network_computes_the_integers_of_the_reference(classifier: tuple[Graph, NDArray[np.float32]]) -> None:
    graph, images = classifier
    expected = reference.run(graph, images[:2])["logits"]
    step = graph.quantization[graph.operators[-1].inputs[0]].scale
    for network, steps in ((Int8Network(graph).double().eval(), 1e-3), (Int8Network(graph).eval(), 1.001)):
        x = torch.from_numpy(images[:2]).to(next(network.parameters()).dtype)
        assert abs(network(x).detach().numpy() - expected).max() <= steps * step


def test_an_unlearned_network_gives_back_its_graph(classifier: tuple[Graph, NDArray[np.float32]]) -> None:
    graph, _ = classifier
    again = Int8Network(graph).graph()
    assert again.operators == graph.operators
    assert dict(again.quantization) == dict(graph.quantization)
    for name, tensor in graph.tensors.items():
        assert again.tensors[name].dtype == tensor.dtype
        made, kept = (array.astype(np.int64) for array in (again.tensors[name], tensor))
        np.testing.assert_allclose(made, kept, rtol=2**-23)  # biases beyond 24 bits are kept as 32-bit floats


def test_what_was_learned_is_what_the_graph_computes(classifier: tuple[Graph, NDArray[np.float32]]) -> None:
    graph, images = classifier
    network = _moved(Int8Network(graph)).eval()
    learned = network.graph()
    assert dict(learned.quantization) != dict(graph.quantization)
    expected = reference.run(learned, images[:2])["logits"]
    step = learned.quantization[learned.operators[-1].inputs[0]].scale
    made = network.double()(torch.from_numpy(images[:2]).double())
    assert abs(made.detach().numpy() - expected).max() <= 1e-3 * step


def test_every_parameter_has_a_gradient(classifier: tuple[Graph, NDArray[np.float32]]) -> None:
    graph, images = classifier
    network = Int8Network(graph).train()
    network(torch.from_numpy(images[:2])).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_a_dead_channel_keeps_a_bias_of_32_bits() -> None:
    graph, images = _tiny()
    network = Int8Network(graph)
    operator, layer = next(network.layers())
    with torch.no_grad():
        layer.weight[0] = 0
        layer.bias[0] = 5.0
        layer.stretch[0] = -10.0  # a scale 2**80 times smaller
    learned = network.graph()
    assert abs(int(learned.tensors[operator.bias][0])) <= 1.001 * 2**30
    made = network.eval()(torch.from_numpy(images))
    np.testing.assert_allclose(made.detach().numpy(), reference.run(learned, images)["logits"], atol=1e-4)


def test_a_scale_never_falls_to_what_runtimes_refuse() -> None:
    graph, _ = _tiny()
    network = Int8Network(graph)
    with torch.no_grad():
        network.stretch.fill_(-4.0)  # every scale 2**32 times smaller
    learned = network.graph().quantization
    operator, _ = next(network.layers())
    ratio = learned[operator.inputs[0]].scale * max(learned[operator.weight].scales) / learned[operator.output].scale
    assert ratio <= 2**7 * 1.001
    assert learned[operator.inputs[0]] == graph.quantization[operator.inputs[0]]  # that of the image stays


def test_frozen_blocks_keep_their_weights() -> None:
    graph, _ = _tiny()
    network = Int8Network(graph)
    network.freeze(2)
    frozen = {operator.block for operator, layer in network.layers() if not layer.weight.requires_grad}
    assert frozen == {0, 1}
    network.freeze(-1)
    assert {operator.name for operator, layer in network.layers() if layer.weight.requires_grad} == {"head.linear"}


FAMILIES = ("v1", "v2", "v2 grey, 72 x 40", "v2 resnet", "v3 small", "v4 conv small", "v4 hybrid")


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_computes_the_integers_of_the_reference(name: str) -> None:
    floats = lower(trained(create(SPECS[name]())))
    images = _images(floats, 14)
    graph = quantize(floats, images[:12]).graph
    network = _moved(Int8Network(graph)).double().eval()  # before its scales are rounded to 32 bits
    learned = network.graph()
    expected = reference.run(learned, images[12:])
    made = network(torch.from_numpy(images[12:]).double())
    outputs = dict(zip(learned.outputs, made if isinstance(made, tuple) else (made,), strict=True))
    steps = {operator.output: learned.quantization[operator.inputs[0]].scale for operator in learned.operators[-2:]}
    for output, value in learned.outputs.items():
        off = abs(outputs[output].detach().numpy() - expected[output])
        assert off.max() <= 1.001 * steps.get(value, max(steps.values()))
        assert (off > 0.5 * min(steps.values())).mean() <= 0.001


def _tiny() -> tuple[Graph, NDArray[np.float32]]:
    floats = lower(trained(create(SPECS["v1"]())))
    images = _images(floats, 4)
    graph = quantized_by_min_max(floats, images)
    return replace(graph), images


def _moved(network: Int8Network) -> Int8Network:
    """The network after something has been learned."""
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            size = 0.01 if name.endswith("stretch") else 0.05 * float(parameter.abs().mean())
            parameter.add_(size * torch.randn(parameter.shape, generator=draw))
    return network
