"""Post-training quantization: the float network stays the same, and the integers stay close to it."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.deploy.conftest import SPECS, MakeGraph, trained
from tests.deploy.runtimes import by_litert_reference

from mobilenets.deploy import operators as op
from mobilenets.deploy import reference
from mobilenets.deploy.blends import float_blends
from mobilenets.deploy.graph import INPUT, Graph
from mobilenets.deploy.integers import dequantize
from mobilenets.deploy.quantization import Quantization, bias_scales
from mobilenets.deploy.quantize.gather import image_shares, moments
from mobilenets.deploy.quantize.prepare import before_gates, prepared, useful
from mobilenets.deploy.quantize.quantize import Result, quantize
from mobilenets.deploy.quantize.ranges import FAMILIES, WAYS, affine, chosen, sampled, snapped, ways_for
from mobilenets.deploy.quantize.values import Value, decibels
from mobilenets.deploy.quantize.weights import EIGHT_BITS, Grid, Moments, quantized
from mobilenets.exporters.lower import lower
from mobilenets.model import create

READ = Quantization((0.02,), 0)


NAMES = ("v1", "v2", "v3 small", "v4 conv small", "v3 ssdlite")


@pytest.fixture(scope="session", params=NAMES)
def quantized_network(request: pytest.FixtureRequest) -> tuple[Graph, Result]:
    graph = lower(trained(create(SPECS[request.param]())))
    return graph, quantize(graph, _images(graph, 24))


def test_a_prepared_network_computes_the_same(lowered: Graph) -> None:
    x = _images(lowered, 2)
    for name, expected in reference.run(lowered, x).items():
        made = reference.run(prepared(lowered), x)[name]
        assert abs(made - expected).max() <= 2e-5 * abs(expected).max()


@pytest.mark.slow
def test_integers_are_close_to_the_float_network_on_other_images(quantized_network: tuple[Graph, Result]) -> None:
    graph, result = quantized_network
    x = _images(graph, 32)
    expected, made = reference.run(graph, x[24:]), reference.run(result.graph, x[24:])
    for name in expected:
        assert decibels(expected[name], made[name]) > 10  # drawn networks amplify every noise


@pytest.mark.slow
def test_a_quantized_network_runs_on_the_kernels_that_define_the_integers(quantized_network: tuple[Graph, Result]) -> None:
    graph, result = quantized_network
    x = _images(graph, 26)[24:]
    ours, theirs = reference.run(result.graph, x), by_litert_reference(result.graph, x)
    for name in ours:
        assert decibels(ours[name], theirs[name]) > 25


def test_beyond_its_knees_hard_swish_needs_no_range(make_graph: MakeGraph) -> None:
    swish = make_graph((op.Activation(name="a", inputs=(INPUT,), output="out", kind="hard_swish"),))
    assert useful(prepared(swish)) == {INPUT: (-3.0, np.inf)}
    gate = make_graph((op.Activation(name="a", inputs=(INPUT,), output="out", kind="hard_sigmoid"),))
    assert useful(prepared(gate)) == {INPUT: (-3.0, 3.0)}
    both = replace(gate, outputs={"out": "out", "same": INPUT})
    assert useful(prepared(both)) == {}


def _gated(make_graph: MakeGraph, *, kind: op.NonLinear = "hard_sigmoid", shared: bool = False) -> Graph:
    """The image's mean, made large, then the gate of each channel; with `shared`, the mean is an output, too."""
    random = np.random.default_rng(0)
    tensors = {"w": random.normal(size=(4, 1, 1, 1)).astype(np.float32), "b": np.zeros(4, np.float32)}
    tensors |= {"w2": random.normal(size=(6, 4, 1, 1)).astype(np.float32), "b2": random.normal(size=6).astype(np.float32)}
    graph = make_graph(
        (
            op.Pool(name="mean", inputs=(INPUT,), output="mean", kernel=(4, 4)),
            op.Conv(name="reduce", inputs=("mean",), output="reduced", weight="w", bias="b", activation="relu"),
            op.Conv(name="expand", inputs=("reduced",), output="sums", weight="w2", bias="b2"),
            op.Activation(name="gate", inputs=("sums",), output="gates", kind=kind),
        ),
        tensors,
        output="y",
    )
    return replace(graph, outputs={"y": "gates", **({"same": "reduced"} if shared else {})})


def test_only_what_makes_up_gates_is_judged_behind_them(make_graph: MakeGraph) -> None:
    assert {name: conv.name for name, conv in before_gates(prepared(_gated(make_graph))).items()} == {"reduced": "expand"}
    assert before_gates(prepared(_gated(make_graph, shared=True))) == {}
    assert before_gates(prepared(_gated(make_graph, kind="sigmoid"))) == {}


def test_numbers_that_hold_gates_open_do_not_make_others_coarse(make_graph: MakeGraph) -> None:
    graph = _gated(make_graph)
    contrast = np.random.default_rng(1).choice([1, 1, 1, 300], (64, 1, 1, 1))  # a quarter of the images saturates every gate
    x = np.random.default_rng(2).uniform(0.5, 1.5, (64, 1, 4, 4)) * contrast
    result = quantize(graph, x.astype(np.float32))
    choice = next(noise.choice for noise in result.noise if noise.value == "reduced")
    assert choice is not None
    assert choice.high < reference.run_all(graph, x.astype(np.float32))["reduced"].max() / 3


def test_one_image_is_enough_for_gates(make_graph: MakeGraph) -> None:
    x = np.random.default_rng(0).normal(size=(1, 1, 4, 4)).astype(np.float32)
    quantize(_gated(make_graph), x).graph.check()


def test_zero_is_an_integer_of_every_range() -> None:
    for low, high in ((0.3, 2.0), (-1.7, 0.4), (-5.0, -1.0), (0.0, 0.0)):
        zero = affine(low, high)
        assert snapped(np.zeros(1, np.float32), zero)[0] == 0


def test_each_way_to_a_range_belongs_to_a_family() -> None:
    assert FAMILIES.keys() == WAYS.keys()


def test_a_chosen_range_leaves_out_what_hardly_ever_occurs() -> None:
    random = np.random.default_rng(0)
    numbers = random.normal(size=40_000).astype(np.float32)
    numbers[::10_000] = 60
    choice = chosen(numbers, numbers)
    everything = snapped(numbers, affine(float(numbers.min()), float(numbers.max())))
    assert choice.way != "min-max"
    assert choice.error < np.square(everything - numbers).mean()


@pytest.mark.parametrize(("count", "beyond"), [(1 << 12, True), (1 << 18, False)])
def test_a_range_goes_beyond_all_numbers_only_where_there_are_few(count: int, beyond: bool) -> None:
    numbers = np.random.default_rng(0).uniform(-1, 1, count).astype(np.float32)
    numbers[count // 2 :] *= 1.2  # the first half of the images knows nothing of such numbers
    choice = chosen(sampled(numbers), sampled(numbers), ways_for(numbers.size))
    assert (choice.high > numbers.max()) == beyond


def test_integers_of_many_numbers_take_no_more_memory_than_themselves() -> None:
    numbers = np.random.default_rng(0).normal(size=(2, 1, 1000, 1000)).astype(np.float16)
    value = Value(numbers, numbers)
    tracemalloc.start()
    try:
        made = value.quantized(affine(-4, 4))
        assert made.decibels() > 30
        assert tracemalloc.get_traced_memory()[1] < numbers.size + (8 << 20)
    finally:
        tracemalloc.stop()


def _layer(random: np.random.Generator, n: int = 4000) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Eight correlated numbers in many places, 1 K n, and weights for them, O K."""
    mixed = random.normal(size=(8, 3)) @ random.normal(size=(3, n)) + 0.1 * random.normal(size=(8, n)) + 1
    return mixed[None].astype(np.float32), random.normal(size=(5, 8)).astype(np.float32)


def _halves(read: NDArray[np.float32], meant: NDArray[np.float32]) -> tuple[Moments, Moments]:
    halves = (Moments(*read.shape[:2]), Moments(*read.shape[:2]))
    for i in range(2):
        halves[i].add(read[:, :, i::2], meant[:, :, i::2])
    return halves


def test_rounding_makes_up_for_the_rounding_before_it() -> None:
    random = np.random.default_rng(0)
    ours, nearest = 0.0, 0.0
    for _ in range(20):
        x, weight = _layer(random)
        layer = quantized(weight, np.zeros(5, np.float32), _halves(x, x), read=READ)
        scales = np.asarray(layer.quantization.scales)[:, None]
        noise = [w @ x[0] - weight @ x[0] for w in (layer.integers * scales, np.rint(weight / scales) * scales)]
        ours, nearest = ours + noise[0].var(1).sum(), nearest + noise[1].var(1).sum()
    assert ours < 0.6 * nearest


def test_the_mean_of_every_channel_is_corrected_for_what_is_read() -> None:
    random = np.random.default_rng(1)
    x, weight = _layer(random)
    read = x + np.float32(0.3) + 0.1 * random.normal(size=x.shape).astype(np.float32)  # what earlier layers have done to it
    bias = random.normal(size=5).astype(np.float32)
    layer = quantized(weight, bias, _halves(read, x), read=READ)
    made = layer.integers * np.asarray(layer.quantization.scales)[:, None] @ read[0] + layer.bias[:, None]
    meant = weight @ x[0] + bias[:, None]
    np.testing.assert_allclose(made.mean(1), meant.mean(1), atol=1e-3)


@pytest.mark.parametrize(("block", "highest"), [(0, 7), (4, 126)])
def test_weights_of_4_bits_have_15_integers_in_each_block(block: int, highest: int) -> None:
    x, weight = _layer(np.random.default_rng(3))
    weight[:, 4:] *= 0.1  # the second block of 4 is quieter
    layer = quantized(weight, np.zeros(5, np.float32), _halves(x, x), read=READ, grid=Grid(bits=4, block=block))
    assert np.abs(layer.integers).max() <= highest
    for row in layer.integers.reshape(5, -1, block or 8):
        for integers in row:
            steps = np.gcd.reduce(np.abs(integers).astype(np.int64))
            assert np.abs(integers).max() <= 7 * max(steps, 1)


def test_factors_of_blocks_keep_what_4_bits_lose() -> None:
    x, weight = _layer(np.random.default_rng(3))
    weight[:, 4:] *= 0.1
    noise = []
    for grid in (Grid(bits=4), Grid(bits=4, block=4), EIGHT_BITS):
        layer = quantized(weight, np.zeros(5, np.float32), _halves(x, x), read=READ, grid=grid)
        reals = layer.integers * np.asarray(layer.quantization.scales)[:, None]
        noise.append(decibels(weight[:, 4:], reals[:, 4:]))
    assert noise[0] < noise[1] - 6 < noise[2] - 6


@pytest.mark.parametrize("weight", [0.0, 1e-30, 1e-9])
def test_a_bias_fits_32_bits_where_weights_are_all_but_0(weight: float) -> None:
    x, weights = _layer(np.random.default_rng(2))
    weights[3] = weight
    layer = quantized(weights, np.full(5, 7, np.float32), _halves(x, x), read=READ)
    assert (np.abs(layer.bias) / bias_scales(READ, layer.quantization)).max() < 2**31 - 1
    assert layer.bias[3] == pytest.approx(7, rel=1e-4)


def test_operators_that_are_kept_stay_in_floats(make_graph: MakeGraph) -> None:
    random = np.random.default_rng(0)
    tensors = {"w": random.normal(size=(1, 1, 1, 1)).astype(np.float32), "b": np.zeros(1, np.float32)}
    graph = make_graph(
        (
            op.Conv(name="first", inputs=(INPUT,), output="x", weight="w", bias="b", activation="relu6"),
            op.Conv(name="second", inputs=("x",), output="out", weight="w2", bias="b2"),
        ),
        {**tensors, "w2": tensors["w"], "b2": tensors["b"]},
    )
    x = random.normal(size=(8, 1, 4, 4)).astype(np.float32)
    made = quantize(graph, x, keep=frozenset({"second"})).graph
    assert (made.tensors["w"].dtype.name, made.tensors["w2"].dtype.name) == ("int8", "float32")
    assert decibels(reference.run(graph, x)["out"], reference.run(made, x)["out"]) > 35


def test_a_range_is_chosen_by_all_outputs_of_a_row(make_graph: MakeGraph) -> None:
    random = np.random.default_rng(0)
    graph = make_graph(
        (
            op.Pool(name="mean", inputs=(INPUT,), output="x", kernel=(4, 4)),
            op.Flatten(name="flat", inputs=("x",), output="row"),
            op.Dense(name="out", inputs=("row",), output="out", weight="w", bias="b"),
        ),
        {"w": np.array([[1.0], [-40.0], [1.0], [-40.0]], np.float32), "b": np.zeros(4, np.float32)},
        output="y",
    )
    x = random.uniform(0, 1, size=(32, 1, 4, 4)).astype(np.float32) * random.uniform(0, 1, (32, 1, 1, 1)).astype(np.float32)
    made = quantize(graph, x).graph  # of the four outputs only every second one is far from 0
    assert decibels(reference.run(graph, x)["y"], reference.run(made, x)["y"]) > 20


def test_one_image_is_enough_to_quantize(make_graph: MakeGraph) -> None:
    tensors = {"w": np.ones((1, 1, 1, 1), np.float32), "b": np.zeros(1, np.float32)}
    graph = make_graph((op.Conv(name="a", inputs=(INPUT,), output="out", weight="w", bias="b"),), tensors)
    x = np.random.default_rng(0).normal(size=(1, 1, 4, 4)).astype(np.float32)
    assert decibels(reference.run(graph, x)["out"], reference.run(quantize(graph, x).graph, x)["out"]) > 30


def test_joined_values_share_one_scale(make_graph: MakeGraph) -> None:
    graph = make_graph(
        (
            op.Activation(name="a", inputs=(INPUT,), output="x", kind="relu"),
            op.Activation(name="b", inputs=(INPUT,), output="y", kind="hard_swish"),
            op.Concat(name="join", inputs=("x", "y"), output="out"),
        )
    )
    x = np.random.default_rng(0).normal(size=(8, 1, 4, 4)).astype(np.float32) * 4
    made = quantize(graph, x).graph.quantization
    assert made["x"] == made["y"] == made["out"]


@pytest.mark.slow
def test_a_squeeze_that_is_dead_on_all_images_does_not_make_a_file_that_is_refused() -> None:
    graph = lower(trained(create(SPECS["v3 small"]())))
    squeezes = [
        operator.inputs[0] for operator in graph.operators if isinstance(operator, op.Conv) and operator.activation == "relu"
    ]
    for operator in graph.operators:
        if isinstance(operator, op.Conv) and operator.activation == "relu" and operator.inputs[0] in squeezes:
            graph = replace(graph, tensors={**graph.tensors, operator.bias: np.full_like(graph.tensors[operator.bias], -1e3)})
            break
    x = _images(graph, 8)
    result = quantize(graph, x)
    made = by_litert_reference(result.graph, x[:1])
    assert all(np.isfinite(values).all() for values in made.values())
    for name, quantization in result.graph.quantization.items():
        assert min(quantization.scales) > 0, name


def test_the_noise_of_every_value_is_told(make_graph: MakeGraph) -> None:
    graph = make_graph((op.Activation(name="a", inputs=(INPUT,), output="out", kind="relu6"),))
    x = np.random.default_rng(0).normal(size=(4, 1, 4, 4)).astype(np.float32)
    result = quantize(graph, x)
    [noise] = result.noise
    stored = dequantize(reference.run_all(result.graph, x)["out"], result.graph.quantization["out"])
    expected = reference.run(graph, x)["out"]
    assert noise.decibels == pytest.approx(decibels(expected, stored), abs=1.0)


def _images(graph: Graph, count: int) -> NDArray[np.float32]:
    """Images that are smooth as photos are, each with a contrast of its own; N C H W."""
    contract = graph.manifest.input
    random = np.random.default_rng(0)
    small = random.normal(size=(count, contract.channels, 5, 5)).astype(np.float32)
    down, across = (float_blends(5, side, "half_pixel").matrix() for side in contract.shape)
    contrast = random.uniform(0.3, 1.5, (count, 1, 1, 1)).astype(np.float32)
    images: NDArray[np.float32] = np.clip(contrast * (down @ small @ across.T), -1, 1)
    return images


def test_an_image_counts_by_its_share_of_noise() -> None:
    meant = np.ones((4, 2, 3, 3), np.float32)
    meant[3] *= 100
    shares = image_shares(meant)
    assert shares.mean() == pytest.approx(1)
    np.testing.assert_allclose(shares[:3] / shares[3], (10_000 + 0.1) / 1.1)
    meant[0] = 0
    assert image_shares(meant)[0] == pytest.approx(11 * image_shares(meant)[1])  # but an image with nothing does not decide
    for dead in (np.zeros((4, 2)), np.array([0.0, 0, 0, 1])):
        assert np.isfinite(image_shares(dead)).all()
        assert image_shares(dead).mean() == pytest.approx(1)


def test_a_few_loud_images_that_are_cut_off_do_not_move_the_sums_of_the_others() -> None:
    random = np.random.default_rng(0)
    meant = random.normal(size=(64, 8, 6, 6)).astype(np.float32)
    meant[::16] *= 40
    made = np.clip(meant, -4, 4)
    weight = random.normal(size=(4, 8, 1, 1)).astype(np.float32)
    sums = np.einsum("oc,nchw->nohw", weight[:, :, 0, 0], meant)
    conv = op.Conv(name="conv", inputs=(INPUT,), output="out", weight="w", bias="b")
    halves = moments(conv, weight.shape, Value(meant, made), image_shares(sums))
    layer = quantized(weight, np.zeros(4, np.float32), halves, read=READ)
    reals = layer.integers.reshape(4, 8) * np.asarray(layer.quantization.scales)[:, None]
    found = np.einsum("oc,nchw->nohw", reals, made) + layer.bias[:, None, None]
    quiet = np.arange(64) % 16 > 0
    assert decibels(sums[quiet], found[quiet]) > 40  # 16 where every square counts alike


def test_a_few_loud_images_do_not_decide_for_the_others() -> None:
    graph = lower(trained(create(SPECS["v1"]())))
    images = np.random.default_rng(0).normal(size=(96, *graph.shapes()[INPUT])).astype(np.float32)
    images[::12] *= 20
    result = quantize(graph, images[:48])
    expected, made = (reference.run(each, images[48:])["logits"] for each in (graph, result.graph))
    typical = np.median([decibels(*both) for both in zip(expected, made, strict=True)])
    assert typical > 33  # 31 where every square counts alike
