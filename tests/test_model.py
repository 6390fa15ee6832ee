"""Model: seeded, copied, run."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from mobilenets.errors import SpecError
from mobilenets.model import Model, TorchEngine, create, rebuilt
from mobilenets.specs import codec
from mobilenets.specs.model import InputContract, ModelSpec
from mobilenets.specs.rows import BackboneSpec, Bottleneck, Conv

SPEC = ModelSpec(
    BackboneSpec("tiny", (Conv(8, 3, 2), Bottleneck(16, 8, stride=2), Conv(24)), tail=(Conv(32, norm=False),)),
    labels=("cat", "dog", "owl"),
    input=InputContract(size=32),
)
JSON = codec.to_json(SPEC)


def weights(model: Model) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def test_same_seed_same_weights() -> None:
    assert same(weights(create(SPEC, seed=3)), weights(create(SPEC, seed=3)))
    assert not same(weights(create(SPEC, seed=3)), weights(create(SPEC, seed=4)))


def test_creating_leaves_the_global_random_state_alone() -> None:
    before = torch.get_rng_state()
    rebuilt(create(SPEC), replace(SPEC, labels=("a", "b")))
    rebuilt(create(SPEC), replace(SPEC, input=InputContract(size=48)))
    assert torch.equal(before, torch.get_rng_state())


def test_new_labels_get_a_new_head_on_the_same_backbone() -> None:
    model = create(SPEC)
    other = rebuilt(model, replace(model.spec, labels=("defective", "functional")), seed=1)
    assert same(weights(model.backbone), weights(other.backbone))  # type: ignore[arg-type]  # a Backbone has the same state
    assert other(torch.zeros(2, 3, 32, 32)).shape == (2, 2)
    assert other.spec.labels == ("defective", "functional")


def test_engine_runs_in_evaluation_mode_and_leaves_the_mode_as_it_was() -> None:
    model = create(SPEC).train()
    batch = np.random.default_rng(0).normal(size=(2, 3, 32, 32)).astype(np.float32)
    found = TorchEngine(model).run(batch)["logits"]
    assert model.training
    torch.testing.assert_close(torch.from_numpy(found), model.eval()(torch.from_numpy(batch)).detach())


def test_spec_survives_json() -> None:
    assert codec.from_json(codec.to_json(SPEC)) == SPEC


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": ("a", "b", "a")}, "labels appear twice: a"),
        ({"input": InputContract(channels=1, mean=(0.5,), std=(0.5,))}, "takes 3 channels but the input contract gives 1"),
    ],
)
def test_specs_that_contradict_themselves_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        replace(SPEC, **change)  # type: ignore[arg-type]  # one field each


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"backbone": 3}', JSON.replace('"Bottleneck"', '"Batleneck"')])
def test_foreign_json_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="not a model spec"):
        codec.from_json(text)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"size": 0}, "input size 0"),
        ({"crop": 1.5}, "crop 1.5"),
        ({"mean": (0.5, 0.5)}, "mean has 2 values but the input has 3 channels"),
        ({"std": (0.0,)}, "std"),
    ],
)
def test_input_contracts_out_of_range_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        InputContract(**fields)  # type: ignore[arg-type]  # one field each


def test_every_convolution_starts_at_the_variance_of_its_own_fan_out() -> None:
    spec = replace(SPEC, backbone=BackboneSpec("wide", (Conv(256, 3, 2), Bottleneck(1024, 256))))
    block = create(spec).backbone.blocks[1].state_dict()
    assert block["depthwise.conv.weight"].std().item() == pytest.approx((2 / 9) ** 0.5, rel=0.05)  # one channel, 3 x 3
    assert block["expand.conv.weight"].std().item() == pytest.approx((2 / 1024) ** 0.5, rel=0.05)


def test_a_model_in_training_mode_answers_threads_as_in_evaluation_mode_and_stays_as_it_was() -> None:
    """Also where part of it is frozen, and where two engines share it."""
    model = create(SPEC).train()
    next(model.backbone.children()).eval()
    modes = [module.training for module in model.modules()]
    engines = [TorchEngine(model), TorchEngine(model)]
    batches = [np.random.default_rng(i).normal(size=(2, 3, 32, 32)).astype(np.float32) for i in range(40)]
    with torch.no_grad():
        frozen = create(SPEC).eval()
        expected = [frozen(torch.from_numpy(batch)).numpy() for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda i: engines[i % 2].run(batches[i])["logits"], range(40)))
    for ours, one in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, one, rtol=1e-4, atol=1e-5)
    assert [module.training for module in model.modules()] == modes
    assert len(set(modes)) == 2
