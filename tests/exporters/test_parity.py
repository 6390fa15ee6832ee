"""How far two networks are apart."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mobilenets.cli.export import show_parity
from mobilenets.errors import ExportError
from mobilenets.exporters.checked import model_rounding
from mobilenets.exporters.parity import Agreement, OutputParity, Parity, compare, differences
from mobilenets.model import TorchEngine, create
from mobilenets.specs.families import backbone
from mobilenets.specs.model import InputContract, ModelSpec


class Shifted:
    """Gives its input back, plus an amount."""

    def __init__(self, amount: float, *, name: str = "logits", columns: int = 2) -> None:
        self.amount, self.name, self.columns = amount, name, columns

    def run(self, batch: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        return {self.name: batch[:, : self.columns] + np.float32(self.amount)}


SMALL = np.array([[1.0, -4.0]], np.float32)
LARGE = np.array([[100.0, 8.0], [3.0, 2.0]], np.float32)


def parity_of(max_rel: float) -> Parity:
    return Parity("test", 1e-4, 0, (1,), (OutputParity("boxes", 0.0, 0.0), OutputParity("logits", 1.0, max_rel)))


def test_the_worst_difference_is_relative_to_the_largest_value_of_its_batch() -> None:
    (found,) = compare(Shifted(0.0), Shifted(0.5), [SMALL, LARGE])
    assert found == OutputParity("logits", max_abs=0.5, max_rel=0.125)  # 0.5 / 4, not 0.5 / 100


def test_equal_networks_differ_by_nothing() -> None:
    assert compare(Shifted(0.0), Shifted(0.0), [SMALL]) == (OutputParity("logits", 0.0, 0.0),)


@pytest.mark.parametrize("broken", [Shifted(0.0, name="scores"), Shifted(0.0, columns=1)], ids=["name", "shape"])
def test_a_missing_output_or_another_shape_is_infinitely_far(broken: Shifted) -> None:
    assert compare(Shifted(0.0), broken, [SMALL]) == (OutputParity("logits", math.inf, math.inf),)


def test_not_a_number_is_not_lost_among_later_batches() -> None:
    (found,) = compare(Shifted(0.0), Shifted(0.0), [np.full((1, 2), np.nan, np.float32), SMALL])
    assert math.isnan(found.max_rel)


@pytest.mark.parametrize(
    ("max_rel", "passed"), [(0.0, True), (1e-4, True), (1.1e-4, False), (math.inf, False), (math.nan, False)]
)
def test_every_output_has_to_stay_within_the_tolerance(max_rel: float, passed: bool) -> None:
    assert parity_of(max_rel).passed is passed


@pytest.mark.parametrize(("differing", "passed"), [(0, True), (10, True), (11, False)])
def test_a_share_of_what_is_decoded_may_differ(differing: int, passed: bool) -> None:
    parity = replace(parity_of(0.0), agreements=(Agreement("classes", "pixels", differing, 10_000, 0.001),))
    assert parity.passed is passed


def test_nothing_decoded_agrees() -> None:
    nothing = Agreement("detections", "boxes", 0, 0, 0.01)
    assert nothing.passed
    assert nothing.told == "no boxes found"  # "0 of 0" would look like a comparison


def test_what_was_not_found_is_not_said_to_be_ok(capsys: pytest.CaptureFixture[str]) -> None:
    found, none = Agreement("detections", "boxes", 0, 8, 0.01), Agreement("detections", "boxes", 0, 0, 0.01)
    lines = {}
    for agreement in (found, none):
        show_parity(replace(parity_of(0.0), agreements=(agreement,)), "the model")
        lines[agreement] = next(line for line in capsys.readouterr().out.splitlines() if "detections" in line)
    assert "ok" in lines[found]
    assert "not compared" in lines[none]


def test_what_does_not_pass_is_said() -> None:
    parity_of(0.0).check()
    with pytest.raises(ExportError, match=r"'logits' differs from the model's by 5\.0e-01 of the largest value") as error:
        parity_of(0.5).check()
    assert error.value.hint == "the file was not kept; a larger --tolerance accepts it"
    with pytest.raises(ExportError, match=r"2,000 of 10,000 pixels differ .*; at most 0\.1% may") as error:
        replace(parity_of(0.0), agreements=(Agreement("classes", "pixels", 2000, 10_000, 0.001),)).check()
    assert error.value.hint == "the file was not kept; a larger --tolerance accepts it"


def test_no_tolerance_is_offered_for_predictions_of_integers_which_it_is_not_about() -> None:
    output = parity_of(0.0).outputs[0]
    integers = replace(parity_of(0.0), outputs=(replace(output, steps=1.0, mean_steps=0.1),), steps=16.0)
    with pytest.raises(ExportError, match="boxes differ") as error:
        replace(integers, agreements=(Agreement("detections", "boxes", 30, 100, 0.1),)).check()
    assert error.value.hint.endswith("train the model longer before it is quantized")


def test_a_network_that_is_sensitive_to_32_bits_may_differ_by_what_they_explain() -> None:
    assert not parity_of(3.9e-4).passed
    assert replace(parity_of(3.9e-4), rounding=1e-4).passed
    assert not replace(parity_of(4.1e-4), rounding=1e-4).passed


def test_the_rounding_of_a_model_is_large_where_its_outputs_cancel() -> None:
    spec = ModelSpec(backbone("mobilenet_v2", width=0.1), ("a", "b"), InputContract(size=32))
    model = create(spec, seed=0).eval()
    batch = np.random.default_rng(0).normal(size=(1, 3, 32, 32)).astype(np.float32)
    before = model_rounding(model, [(batch, TorchEngine(model).run(batch))])
    assert 0 < before < 1e-5
    with torch.no_grad():
        model.head.linear.bias -= model(torch.from_numpy(batch))[0] * (1 - 1e-5)
    assert model_rounding(model, [(batch, TorchEngine(model).run(batch))]) > 100 * before


@pytest.mark.parametrize(
    ("steps", "mean_steps", "passed"), [(16.0, 4.0, True), (17.0, 1.0, False), (12.0, 4.1, False), (math.nan, 1.0, False)]
)
def test_integers_may_be_16_steps_apart_and_a_quarter_of_it_on_average(steps: float, mean_steps: float, passed: bool) -> None:
    output = OutputParity("logits", 1.0, 0.3, steps=steps, mean_steps=mean_steps)
    assert Parity("test", 1e-4, 0, (1,), (output,), steps=16.0).passed is passed


def test_steps_are_counted_in_the_scale_of_the_output() -> None:
    (output,) = differences([({"logits": SMALL}, {"logits": SMALL + np.array([[0.5, 0.0]], np.float32)})], {"logits": 0.25})
    assert (output.steps, output.mean_steps) == (2.0, 1.0)
