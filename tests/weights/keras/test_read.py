"""Keras files against keras.applications on the torch backend."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras")
pytest.importorskip("h5py")

from mobilenets.errors import WeightsError  # noqa: E402 - the backend must be chosen first
from mobilenets.specs import v1, v2, v3  # noqa: E402
from mobilenets.specs.families import backbone  # noqa: E402
from mobilenets.specs.rows import Activation  # noqa: E402
from mobilenets.weights.assemble import assemble  # noqa: E402
from mobilenets.weights.keras import read as importer  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:keras")
LABELS = tuple(f"class {i}" for i in range(7))
# fmt: off
CASES = [
    # network                            alpha  size  file            top
    ("mobilenet_v1",                     0.25,  64,   "m.weights.h5", True),
    ("mobilenet_v1",                     0.5,   98,   "m.h5",         True),   # odd maps behind an even image
    ("mobilenet_v1",                     1.0,   97,   "m.keras",      True),
    ("mobilenet_v1",                     0.75,  64,   "m.keras",      False),
    ("mobilenet_v2",                     0.35,  97,   "m.keras",      True),
    ("mobilenet_v2",                     0.5,   64,   "m.h5",         True),
    ("mobilenet_v2",                     0.75,  64,   "m.weights.h5", False),
    ("mobilenet_v2",                     1.0,   97,   "m.weights.h5", True),
    ("mobilenet_v2",                     1.4,   64,   "m.h5",         True),
    ("mobilenet_v3_large",               0.75,  64,   "m.h5",         True),
    ("mobilenet_v3_large",               1.0,   97,   "m.keras",      True),
    ("mobilenet_v3_large",               1.25,  64,   "m.weights.h5", False),
    ("mobilenet_v3_small",               0.5,   64,   "m.keras",      True),
    ("mobilenet_v3_small",               1.0,   97,   "m.weights.h5", True),
    ("mobilenet_v3_large_minimalistic",  1.0,   97,   "m.h5",         True),
    ("mobilenet_v3_small_minimalistic",  1.0,   64,   "m.keras",      True),
]
SCALINGS = {"mobilenet_v1": v1.KERAS, "mobilenet_v2": v2.KERAS, "mobilenet_v3": v3.KERAS}
# fmt: on


def _build(name: str, alpha: float, size: int, *, top: bool) -> Any:  # Any: Keras has no types
    applications = keras.applications
    settings: dict[str, Any] = {"weights": None, "alpha": alpha, "input_shape": (size, size, 3), "include_top": top}
    settings |= {"classes": 7, "classifier_activation": None} if top else {"pooling": "avg"}
    if name == "mobilenet_v1":
        return applications.MobileNet(**settings)
    if name == "mobilenet_v2":
        return applications.MobileNetV2(**settings)
    build = applications.MobileNetV3Large if "large" in name else applications.MobileNetV3Small
    return build(**settings, minimalistic=name.endswith("minimalistic"), include_preprocessing=False)


def _draw(model: Any) -> None:  # Any: Keras has no types
    random = np.random.default_rng(7)
    for layer in model.layers:
        drawn = []
        for variable in layer.weights:
            shape = tuple(variable.shape)
            if variable.path.endswith("moving_variance"):
                drawn.append(random.uniform(0.5, 2, shape))
            elif variable.path.endswith("gamma"):
                drawn.append(random.uniform(0.5, 1.5, shape))
            elif len(shape) == 1:
                drawn.append(random.normal(0, 0.3, shape))
            else:
                fan = np.prod(shape[:2]) if "depthwise" in variable.path or "conv_dw" in variable.path else np.prod(shape[:-1])
                drawn.append(random.normal(0, (2 / fan) ** 0.5, shape))
        if drawn:
            layer.set_weights(drawn)


@pytest.mark.parametrize(("name", "alpha", "size", "file", "top"), CASES)
def test_outputs_equal_those_of_keras(name: str, alpha: float, size: int, file: str, top: bool, tmp_path: Path) -> None:
    theirs = _build(name, alpha, size, top=top)
    _draw(theirs)
    path = tmp_path / file
    theirs.save_weights(path) if file.endswith(".weights.h5") else theirs.save(path)
    network = importer.read(path)
    ours = assemble(network, labels=LABELS if top else (), weights=file)
    activation: Activation | None = "relu6" if name == "mobilenet_v1" else None
    family = backbone(name, width=alpha, scaling=SCALINGS[name[:12]], activation=activation)
    assert (ours.spec.backbone.name, ours.spec.backbone.width) == (name, alpha)
    assert (ours.spec.backbone.rows, ours.spec.backbone.tail) == (family.rows, family.tail if top else ())
    assert ours.spec.input.size == (224 if file.endswith(".weights.h5") else size)
    image = np.random.default_rng(1).uniform(-1, 1, (2, size, size, 3)).astype(np.float32)
    expected = keras.ops.convert_to_numpy(theirs(image, training=False))
    images = torch.from_numpy(image).permute(0, 3, 1, 2)
    with torch.inference_mode():
        found = (ours(images) if top else ours.backbone.features(images)).numpy()
    assert expected.std(axis=0).max() > 1e-3
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_weights_in_the_older_layout_load(tmp_path: Path) -> None:
    """The published files: layers in the order of an attribute, each a group of named datasets."""
    model = _build("mobilenet_v2", 0.35, 64, top=True)
    _draw(model)
    keras.src.legacy.saving.legacy_h5_format.save_model_to_hdf5(model, tmp_path / "whole.h5", include_optimizer=False)
    import h5py

    with h5py.File(tmp_path / "whole.h5") as whole, h5py.File(tmp_path / "weights.h5", "w") as weights:
        for name in whole["model_weights"]:
            whole.copy(f"model_weights/{name}", weights)
        for name, value in whole["model_weights"].attrs.items():
            weights.attrs[name] = value
    whole_model = assemble(importer.read(tmp_path / "whole.h5"), labels=LABELS, weights="whole.h5")
    weights_model = assemble(importer.read(tmp_path / "weights.h5"), labels=LABELS, weights="weights.h5")
    assert (whole_model.spec.input.size, weights_model.spec.input.size) == (64, 224)
    for name, tensor in whole_model.state_dict().items():
        assert torch.equal(tensor, weights_model.state_dict()[name])


def test_another_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "dense.keras"
    keras.Sequential([keras.layers.Input((8,)), keras.layers.Dense(3)]).save(path)
    with pytest.raises(WeightsError, match="which is not that of images"):
        importer.read(path)


@pytest.mark.parametrize("name", ["m.h5", "m.keras", "m.weights.h5"])
def test_a_file_that_is_cut_off_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"whole.{name}"
    model = _build("mobilenet_v1", 0.25, 64, top=True)
    model.save_weights(path) if name.endswith(".weights.h5") else model.save(path)
    cut = tmp_path / name
    shutil.copy(path, cut)
    with cut.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    with pytest.raises(WeightsError, match="is not a Keras file that can be read"):
        importer.read(cut)
