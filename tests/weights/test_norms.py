from __future__ import annotations

import pytest
import torch

from mobilenets.errors import WeightsError
from mobilenets.model import Model, create
from mobilenets.specs.deeplab import deeplab
from mobilenets.specs.families import backbone
from mobilenets.specs.model import InputContract, ModelSpec
from mobilenets.weights.norms import folded, folded_norm, reinsert


def _folded_model() -> Model:
    model = create(ModelSpec(backbone("mobilenet_v3_small", width=0.35), ("a", "b"), input=InputContract(size=32)))
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            bias = torch.randn(module.num_features, generator=generator) * 0.5
            module.load_state_dict({**folded_norm(bias, module.eps), "num_batches_tracked": torch.tensor(0)})
    return model.eval()


def _images(seed: int, count: int = 16) -> torch.Tensor:
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


def test_a_folded_norm_adds_its_bias_and_nothing_else() -> None:
    norm = torch.nn.BatchNorm2d(3, eps=1e-3).eval()
    bias = torch.tensor([1.0, -2.0, 0.25])
    norm.load_state_dict({**folded_norm(bias, 1e-3), "num_batches_tracked": torch.tensor(0)})
    x = torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(norm(x), x + bias[:, None, None], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("eps", [1e-3, 1e-5])
def test_a_fresh_norm_is_not_taken_for_a_folded_one(eps: float) -> None:
    assert not folded(torch.nn.BatchNorm2d(8, eps=eps))


def test_a_network_without_norms_is_not_folded() -> None:
    assert not folded(torch.nn.Linear(2, 2))


def test_the_norms_of_a_fresh_head_stay_while_those_of_its_backbone_are_put_back() -> None:
    spec = deeplab(backbone("mobilenet_v2", width=0.35), ("a", "b"), filters=8, auxiliary="s8")
    model = create(spec)
    for module in model.backbone.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            bias = torch.zeros(module.num_features)
            module.load_state_dict({**folded_norm(bias, module.eps), "num_batches_tracked": torch.tensor(0)})
    head = {name: tensor.clone() for name, tensor in model.head.state_dict().items()}
    assert folded(model)
    reinsert(model, [_images(1)])
    assert not folded(model)
    assert all(torch.equal(tensor, head[name]) for name, tensor in model.head.state_dict().items())


def test_outputs_stay_as_they_were() -> None:
    model = _folded_model()
    others = _images(9)
    with torch.inference_mode():
        before = model(others)
    assert folded(model)
    reinsert(model, [_images(1), _images(2)])
    assert not folded(model)
    with torch.inference_mode():
        torch.testing.assert_close(model(others), before, rtol=1e-4, atol=1e-5)


def test_running_statistics_are_those_of_what_passes() -> None:
    """Computed layer by layer with torch's own mean and variance, over both batches at once."""
    model = _folded_model()
    first, bottleneck = model.backbone.blocks[0], model.backbone.blocks[1]
    second = bottleneck.get_submodule("depthwise")
    with torch.no_grad():
        images = torch.cat([_images(1, 16), _images(2, 8)])
        into_first = first.get_submodule("conv")(images)
        into_second = second.get_submodule("conv")(first(images))
    reinsert(model, [_images(1, 16), _images(2, 8)])
    for layer, seen in ((first, into_first), (second, into_second)):
        mean, var = layer.get_buffer("norm.running_mean"), layer.get_buffer("norm.running_var")
        torch.testing.assert_close(mean, seen.mean((0, 2, 3)), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(var, seen.var((0, 2, 3), correction=0), rtol=1e-5, atol=1e-6)


def test_training_mode_then_computes_nearly_the_same() -> None:
    """In a network that was only folded, batch statistics would change the outputs beyond recognition."""
    model, images = _folded_model(), _images(1, 32)
    with torch.no_grad():
        expected = model.backbone(images)
        reinsert(model, [images])
        found = model.train().backbone(images)
    torch.testing.assert_close(found, expected, rtol=0.02, atol=0.02 * float(expected.abs().max()))


def test_the_mode_and_the_gradients_are_left_as_they_were() -> None:
    model = _folded_model().train()
    reinsert(model, [_images(1)])
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_no_images_is_an_error() -> None:
    with pytest.raises(WeightsError, match="without images"):
        reinsert(_folded_model(), [])
