"""Snapping to steps, and the gradients of it, by hand."""

from __future__ import annotations

import pytest
import torch

from mobilenets.qat.snap import Bounds, bounds, snap, snap_bias, snap_channels, weight_integers


def test_numbers_become_the_nearest_steps_within_the_bounds() -> None:
    x = torch.tensor([[0.24, 0.26, -0.9, 7.0]])
    made = snap(x, torch.tensor(0.5), Bounds(-1, 10))
    assert made.tolist() == [[0.0, 0.5, -0.5, 5.0]]


def test_a_zero_point_at_the_lowest_integer_leaves_no_negative_step() -> None:
    assert bounds(-128) == Bounds(0, 255)
    assert bounds(0) == Bounds(-128, 127)


def test_gradients_pass_rounding_and_end_at_the_bounds() -> None:
    x = torch.tensor([[0.24, -0.9, 7.0]], requires_grad=True)
    snap(x, torch.tensor(0.5), Bounds(-1, 10)).backward(torch.tensor([[1.0, 2.0, 3.0]]))  # type: ignore[no-untyped-call]  # torch gives it no types
    assert x.grad is not None
    assert x.grad.tolist() == [[1.0, 0.0, 0.0]]


def test_the_gradient_of_a_scale_is_that_of_the_learned_step_size() -> None:
    scale = torch.tensor(0.5, requires_grad=True)
    x = torch.tensor([[0.3, -0.9, 7.0]])
    snap(x, scale, Bounds(-1, 10)).backward(torch.tensor([[1.0, 2.0, 3.0]]))  # type: ignore[no-untyped-call]  # torch gives it no types
    # LSQ, eq. 3: rounded minus number of steps inside, the bound outside; section 2.2: over the root of numbers times 127
    expected = (1.0 * (1 - 0.6) + 2.0 * -1 + 3.0 * 10) / (3 * 127) ** 0.5
    assert scale.grad is not None
    assert scale.grad.item() == pytest.approx(expected, rel=1e-6)


def test_each_channel_has_its_own_scale_and_gradient() -> None:
    weight = torch.tensor([[0.3, 90.0], [0.3, -0.2]], requires_grad=True)
    scales = torch.tensor([0.5, 0.1], requires_grad=True)
    made = snap_channels(weight, scales)
    assert made.flatten().tolist() == pytest.approx([0.5, 63.5, 0.3, -0.2])
    made.backward(torch.ones(2, 2))  # type: ignore[no-untyped-call]  # torch gives it no types
    assert weight.grad is not None
    assert scales.grad is not None
    assert weight.grad.tolist() == [[1.0, 0.0], [1.0, 1.0]]
    assert scales.grad.tolist() == pytest.approx([(0.4 + 127) / (2 * 127) ** 0.5, 0.0], abs=1e-6)
    assert weight_integers(weight, scales).tolist() == [[1, 127], [3, -2]]


def test_a_bias_moves_to_its_32_bit_steps_and_passes_its_gradient() -> None:
    bias = torch.tensor([0.26, -0.26], requires_grad=True)
    made = snap_bias(bias, torch.tensor([0.5, 0.125], dtype=torch.float64))
    assert made.tolist() == [0.5, -0.25]
    made.sum().backward()  # type: ignore[no-untyped-call]  # torch gives it no types
    assert bias.grad is not None
    assert bias.grad.tolist() == [1.0, 1.0]
