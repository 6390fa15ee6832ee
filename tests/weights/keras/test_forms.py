"""Keras models as tutorials and bug reports have them: each computes what Keras does on photos, or is refused by name."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras")
pytest.importorskip("h5py")

from mobilenets.errors import WeightsError  # noqa: E402 - the backend must be chosen first
from mobilenets.runtime.images.prepare import normalize  # noqa: E402
from mobilenets.specs.rows import Conv  # noqa: E402
from mobilenets.weights.load import Reading, read  # noqa: E402
from mobilenets.weights.told import NOTHING_TOLD, Told  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:keras")
L = keras.layers
SIZE = 64
V1 = ((16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (64, 2), *((64, 1),) * 5, (96, 2), (96, 1))  # channels, stride
Layers = Sequence[Any]  # Any: Keras has no types


def base(activation: str = "relu6", *, norm: bool = True, bias: bool = False) -> Any:  # Any: Keras has no types
    """MobileNetV1 as tutorials write it by hand, narrow."""

    def behind(x: Any) -> Any:
        return L.Activation(activation)(L.BatchNormalization()(x) if norm else x)

    image = keras.Input((SIZE, SIZE, 3))
    x = behind(L.Conv2D(8, 3, strides=2, padding="same", use_bias=bias)(image))
    for channels, stride in V1:
        x = behind(L.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=bias)(x))
        x = behind(L.Conv2D(channels, 1, use_bias=bias)(x))
    return keras.Model(image, x)


def stacked(*layers: Any) -> Any:
    return keras.Sequential([keras.Input((SIZE, SIZE, 3)), *layers])


def drawn(model: Any) -> Any:
    """Weights that make scores depend on the image."""
    random = np.random.default_rng(0)
    for variable in model.weights:
        shape, name = tuple(variable.shape), variable.path
        if "variance" in name:
            variable.assign(random.uniform(0.5, 1.5, shape))
        elif any(part in name for part in ("mean", "beta", "bias")):
            variable.assign(random.normal(0, 0.2, shape))
        elif "kernel" in name:
            fan = np.prod(shape[:2]) if "depthwise" in name else np.prod(shape[:-1])
            variable.assign(random.normal(0, (2 / fan) ** 0.5, shape))
    return model


@pytest.fixture(scope="module")
def photos(shared: Path) -> NDArray[np.uint8]:
    found = sorted((shared / "data/imagenet-sample").glob("*.JPEG"))[::170]
    return np.stack([np.asarray(Image.open(path).convert("RGB").resize((SIZE, SIZE))) for path in found])


def scores(reading: Reading, photos: NDArray[np.uint8]) -> NDArray[Any]:
    images = np.stack([normalize(Image.fromarray(photo), reading.model.spec.input) for photo in photos])
    with torch.inference_mode():
        found: NDArray[Any] = reading.model(torch.from_numpy(images)).softmax(1).numpy()
    return found


def theirs(model: Any, images: NDArray[Any]) -> NDArray[Any]:
    found: NDArray[Any] = keras.ops.convert_to_numpy(model(images.astype(np.float32), training=False))
    return found


HEADS: dict[str, Callable[[], Layers]] = {
    "one layer": lambda: [L.GlobalAveragePooling2D(), L.Dropout(0.2), L.Dense(3, "softmax")],
    "hidden ReLU": lambda: [L.GlobalAveragePooling2D(), L.Dense(20, "relu"), L.Dropout(0.5), L.Dense(3, "softmax")],
    "hidden GELU without biases": lambda: [
        L.GlobalAveragePooling2D(),
        L.Dense(20, "gelu", use_bias=False),
        L.Dense(3, use_bias=False),
        L.Softmax(),
    ],
    "batch norms": lambda: [
        L.GlobalAveragePooling2D(),
        L.BatchNormalization(),
        L.Dense(20),
        L.BatchNormalization(),
        L.ReLU(),
        L.Dense(16, "relu"),
        L.BatchNormalization(),
        L.Dense(3, "softmax"),
    ],
    "average of the whole map, flattened": lambda: [
        L.AveragePooling2D((2, 2)),
        L.Flatten(),
        L.Dense(12, "relu"),
        L.Dense(2, "softmax"),
    ],
    "a convolution before pooling": lambda: [
        L.Conv2D(12, 3, padding="same", activation="relu"),
        L.GlobalAveragePooling2D(),
        L.Dense(3, "softmax"),
    ],
    "convolution, then pooling": lambda: [L.Conv2D(3, 1), L.GlobalAveragePooling2D(), L.Softmax()],
}


@pytest.mark.parametrize(("nested", "ending"), [(True, ".keras"), (False, ".h5")])
@pytest.mark.parametrize("head", HEADS)
def test_heads_compute_what_keras_does(head: str, nested: bool, ending: str, photos: NDArray[np.uint8], tmp_path: Path) -> None:
    inner = base()
    if nested:
        model = stacked(inner, *HEADS[head]())
    else:
        x = inner.output
        for layer in HEADS[head]():
            x = layer(x)
        model = keras.Model(inner.input, x)
    drawn(model).save(tmp_path / f"model{ending}")
    expected = theirs(model, photos / np.float32(127.5) - 1)
    assert expected.std(axis=0).max() > 1e-4
    np.testing.assert_allclose(scores(read(tmp_path / f"model{ending}"), photos), expected, atol=1e-5)


def test_models_inside_models_as_teachable_machine_has_them(photos: NDArray[np.uint8], tmp_path: Path) -> None:
    inner = base()
    features = keras.Sequential([keras.Model(inner.input, L.GlobalAveragePooling2D()(inner.output))])
    top = keras.Sequential([keras.Input((96,)), L.Dense(10, "relu"), L.Dense(3, use_bias=False, activation="softmax")])
    model = drawn(stacked(features, top))
    for name in ("model.h5", "model.keras"):
        model.save(tmp_path / name)
        expected = theirs(model, photos / np.float32(127.5) - 1)
        np.testing.assert_allclose(scores(read(tmp_path / name), photos), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("activation", "norm", "bias"), [("relu", True, True), ("relu6", False, True), ("hard_swish", True, False)]
)
def test_mobilenet_v1_written_by_hand(
    activation: str, norm: bool, bias: bool, photos: NDArray[np.uint8], tmp_path: Path
) -> None:
    model = drawn(stacked(base(activation, norm=norm, bias=bias), L.GlobalAveragePooling2D(), L.Dense(3, "softmax")))
    model.save(tmp_path / "hand.keras")
    reading = read(tmp_path / "hand.keras")
    stem = reading.model.spec.backbone.rows[0]
    assert isinstance(stem, Conv)
    assert stem.activation == activation
    expected = theirs(model, photos / np.float32(127.5) - 1)
    np.testing.assert_allclose(scores(reading, photos), expected, atol=1e-5)


PIXELS: dict[str, Callable[[], Layers]] = {
    "1 / 255": lambda: [L.Rescaling(1 / 255)],
    "to -1 .. 1": lambda: [L.RandomFlip("horizontal"), L.Rescaling(1 / 127.5, offset=-1)],
    "two in a row": lambda: [L.Rescaling(1 / 127.5, offset=-1), L.Rescaling(0.5, offset=0.25)],
    "a mean per channel": lambda: [L.Normalization(mean=[124.0, 116.0, 104.0], variance=[3300.0, 3200.0, 3400.0])],
    "a batch norm": lambda: [L.Rescaling(1 / 255), L.BatchNormalization()],
}


@pytest.mark.parametrize("form", PIXELS)
def test_scaling_inside_the_model_is_the_input_contract(form: str, photos: NDArray[np.uint8], tmp_path: Path) -> None:
    model = drawn(stacked(*PIXELS[form](), base(), L.GlobalAveragePooling2D(), L.Dense(3, "softmax")))
    model.save(tmp_path / "model.keras")
    reading = read(tmp_path / "model.keras")
    assert (reading.known["pixels"], reading.known["resize"]) == ("read", "guessed")
    np.testing.assert_allclose(scores(reading, photos), theirs(model, photos.astype(np.float32)), atol=1e-5)


def test_a_functional_model_with_preprocess_input(photos: NDArray[np.uint8], tmp_path: Path) -> None:
    image = keras.Input((SIZE, SIZE, 3))
    x = keras.applications.mobilenet_v2.preprocess_input(image)
    x = L.GlobalAveragePooling2D()(base()(x, training=False))
    model = drawn(keras.Model(image, L.Dense(3, "softmax")(x)))
    for name in ("model.keras", "model.h5"):
        model.save(tmp_path / name)
        np.testing.assert_allclose(scores(read(tmp_path / name), photos), theirs(model, photos.astype(np.float32)), atol=1e-5)


def test_a_scale_that_the_file_does_not_say_can_be_given(photos: NDArray[np.uint8], tmp_path: Path) -> None:
    model = drawn(stacked(base(), L.GlobalAveragePooling2D(), L.Dense(3, "softmax")))
    model.save(tmp_path / "model.keras")
    assert read(tmp_path / "model.keras").known["pixels"] == "guessed"
    reading = read(tmp_path / "model.keras", told=Told(pixels="0..1", resize="letterbox"))
    assert (reading.known["pixels"], reading.known["resize"]) == ("given", "given")
    np.testing.assert_allclose(scores(reading, photos), theirs(model, photos / np.float32(255)), atol=1e-5)


def test_a_lambda_is_refused_unless_the_scale_of_pixels_is_given(photos: NDArray[np.uint8], tmp_path: Path) -> None:
    model = drawn(stacked(L.Lambda(lambda x: x / 127.5 - 1), base(), L.GlobalAveragePooling2D(), L.Dense(3, "softmax")))
    model.save(tmp_path / "model.keras")
    with pytest.raises(WeightsError, match="holds code, which is never run"):
        read(tmp_path / "model.keras")
    reading = read(tmp_path / "model.keras", told=Told(pixels="-1..1"))
    np.testing.assert_allclose(scores(reading, photos), theirs(model, photos.astype(np.float32)), atol=1e-5)


@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_one_sigmoid_output_becomes_two_classes(ending: str, photos: NDArray[np.uint8], tmp_path: Path) -> None:
    model = drawn(stacked(base(), L.GlobalAveragePooling2D(), L.Dense(1, "sigmoid")))
    model.save(tmp_path / f"model{ending}")
    expected = theirs(model, photos / np.float32(127.5) - 1)
    found = scores(read(tmp_path / f"model{ending}", labels=("cat", "dog")), photos)
    np.testing.assert_allclose(found, np.concatenate([1 - expected, expected], 1), atol=1e-5)


def test_one_logit_needs_its_loss_or_two_names(tmp_path: Path) -> None:
    model = stacked(base(), L.GlobalAveragePooling2D(), L.Dense(1))
    model.save(tmp_path / "plain.keras")
    with pytest.raises(WeightsError, match="1 output without an activation"):
        read(tmp_path / "plain.keras")
    assert read(tmp_path / "plain.keras", labels=("cat", "dog")).model.spec.labels == ("cat", "dog")
    model.compile(loss=keras.losses.BinaryCrossentropy(from_logits=True))
    model.save(tmp_path / "binary.keras")
    assert read(tmp_path / "binary.keras").model.spec.classes == 2


def _trained(loss: str, units: int) -> Any:
    model = stacked(base(), L.GlobalAveragePooling2D(), L.Dense(units))
    model.compile(loss=loss)
    return model


def _joined() -> Any:
    inner = base()
    pools = [L.GlobalAveragePooling2D()(inner.output), L.GlobalMaxPooling2D()(inner.output)]
    return keras.Model(inner.input, L.Dense(3, "softmax")(L.Concatenate()(pools)))


def _two_outputs() -> Any:
    inner = base()
    x = L.GlobalAveragePooling2D()(inner.output)
    return keras.Model(inner.input, [L.Dense(3)(x), L.Dense(2)(x)])


def _with(*layers: Any) -> Any:
    return stacked(base(), *layers)


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "max pooling": (lambda: _with(L.GlobalMaxPooling2D(), L.Dense(3)), r"\(GlobalMaxPooling2D\) takes the maximum"),
    "flattened": (lambda: _with(L.Flatten(), L.Dense(3)), "flattens a 2 x 2 x 96 map"),
    "part of the map": (lambda: _with(L.AveragePooling2D(1), L.Flatten(), L.Dense(3)), "averages parts of a 2 x 2 map"),
    "labels that do not exclude": (
        lambda: _with(L.GlobalAveragePooling2D(), L.Dense(3, "sigmoid")),
        "3 independent sigmoid outputs",
    ),
    "regression": (lambda: _trained("mse", 1), "trained with 'mse', a number and not a class"),
    "regression of several": (lambda: _trained("mae", 4), "trained with 'mae', so they are not classes"),
    "softmax of one": (lambda: _with(L.GlobalAveragePooling2D(), L.Dense(1, "softmax")), "softmax over 1 output"),
    "swish": (lambda: _with(L.GlobalAveragePooling2D(), L.Dense(9, "silu"), L.Dense(3)), "activation 'silu'"),
    "leaky ReLU": (lambda: _with(L.GlobalAveragePooling2D(), L.Dense(9), L.LeakyReLU(), L.Dense(3)), "LeakyReLU"),
    "ReLU at the end": (lambda: _with(L.GlobalAveragePooling2D(), L.Dense(3, "relu")), "gives no logits"),
    "softmax twice": (lambda: _with(L.GlobalAveragePooling2D(), L.Dense(3, "softmax"), L.Softmax()), "does not follow"),
    "two pools": (_joined, "joins several maps"),
    "two outputs": (_two_outputs, "2 outputs"),
    "another network": (
        lambda: stacked(L.Conv2D(8, 3, activation="relu"), L.GlobalAveragePooling2D(), L.Dense(3)),
        "0 depthwise layers",
    ),
    "channels first": (lambda: stacked(L.Conv2D(8, 3, data_format="channels_first")), "channels first"),
    "a map upsampled": (lambda: _with(L.UpSampling2D(), L.GlobalAveragePooling2D(), L.Dense(3)), "UpSampling2D"),
}


@pytest.mark.parametrize("form", REFUSED)
def test_what_no_network_here_computes_is_refused_by_name_and_with_a_hint(form: str, tmp_path: Path) -> None:
    build, message = REFUSED[form]
    build().save(tmp_path / "model.keras")
    with pytest.raises(WeightsError, match=message) as caught:
        read(tmp_path / "model.keras")
    assert caught.value.hint
    assert "\n" not in str(caught.value)


def test_a_hidden_layer_in_a_file_of_weights_alone_needs_its_activation(photos: NDArray[np.uint8], tmp_path: Path) -> None:
    model = drawn(stacked(_applications(), L.GlobalAveragePooling2D(), L.Dense(9, "relu"), L.Dense(3, "softmax")))
    model.save_weights(tmp_path / "model.weights.h5")
    with pytest.raises(WeightsError, match="does not say which activation"):
        read(tmp_path / "model.weights.h5")
    reading = read(tmp_path / "model.weights.h5", told=Told(hidden_activation="relu"))
    expected = theirs(model, photos / np.float32(127.5) - 1)
    np.testing.assert_allclose(scores(reading, photos), expected, atol=1e-5)


def _applications() -> Any:
    return keras.applications.MobileNet(input_shape=(SIZE, SIZE, 3), include_top=False, weights=None, alpha=0.25)


def test_v3_keeps_the_relu_of_a_hidden_layer_of_the_user_s_own(photos: NDArray[np.uint8], tmp_path: Path) -> None:
    inner = keras.applications.MobileNetV3Small(input_shape=(SIZE, SIZE, 3), include_top=False, weights=None)
    model = drawn(stacked(inner, L.GlobalAveragePooling2D(), L.Dense(16, "relu"), L.Dense(3, "softmax")))
    for layer, share in zip(model.layers[-2:], (0.01, 1.0), strict=True):
        kernel, bias = layer.get_weights()
        layer.set_weights([kernel * share, bias])
    model.save(tmp_path / "v3.keras")
    reading = read(tmp_path / "v3.keras")
    assert [row.activation for row in reading.model.spec.backbone.tail] == ["relu"]
    assert reading.known["pixels"] == "read"  # V3 scales pixels itself
    np.testing.assert_allclose(scores(reading, photos), theirs(model, photos.astype(np.float32)), atol=1e-5)


def test_gray_input_and_any_size_are_read(tmp_path: Path) -> None:
    inner = keras.applications.MobileNet(input_shape=(None, None, 1), include_top=False, weights=None, alpha=0.25)
    keras.Model(inner.input, L.Dense(3)(L.GlobalAveragePooling2D()(inner.output))).save(tmp_path / "gray.keras")
    reading = read(tmp_path / "gray.keras", told=NOTHING_TOLD)
    assert (reading.model.spec.input.channels, reading.known["size"]) == (1, "guessed")


def test_resizing_inside_the_model_is_read(tmp_path: Path) -> None:
    layers = [L.Resizing(SIZE, SIZE), L.Rescaling(1 / 255), base(), L.GlobalAveragePooling2D(), L.Dense(3)]
    keras.Sequential([keras.Input((96, 96, 3)), *layers]).save(tmp_path / "model.keras")
    contract = read(tmp_path / "model.keras").model.spec.input
    assert (contract.size, contract.resize, contract.mean) == (SIZE, "sample", (0.0,))
    assert contract.std == pytest.approx((1.0,), abs=1e-6)
