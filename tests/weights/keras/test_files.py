"""Keras files of unknown origin: nothing outside the file is read, and no more of it than a network can need."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

h5py = pytest.importorskip("h5py")

from mobilenets.errors import WeightsError  # noqa: E402 - after the check for h5py
from mobilenets.weights.keras import files  # noqa: E402
from mobilenets.weights.keras.read import read  # noqa: E402

SECRET = b"-----PRIVATE KEY-----" * 100


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    (tmp_path / "id_rsa").write_bytes(SECRET)
    return tmp_path / "id_rsa"


def test_a_dataset_in_another_file_is_refused(secret: Path, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m.weights.h5", "w") as file:
        group = file.create_group("layers/conv2d/vars")
        group.create_dataset("0", shape=(3, 3, 3, 8), dtype="f4", external=[(str(secret), 0, 4 * 216)])
    with pytest.raises(WeightsError, match="keeps '/layers/conv2d/vars/0' in another file"):
        read(tmp_path / "m.weights.h5")


def test_a_virtual_dataset_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = np.ones(8, np.float32)
    layout = h5py.VirtualLayout(shape=(8,), dtype="f4")
    layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "x", shape=(8,))
    with h5py.File(tmp_path / "m.weights.h5", "w") as file:
        file.create_group("layers/conv2d/vars").create_virtual_dataset("0", layout)
    with pytest.raises(WeightsError, match="in another file"):
        read(tmp_path / "m.weights.h5")


@pytest.mark.parametrize("where", ["layers/conv2d/vars/0", "layers/conv2d", "layers"])
@pytest.mark.parametrize("kind", ["external", "soft"])
def test_links_are_refused(kind: str, where: str, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x/layers/conv2d/vars/0"] = np.ones((3, 3, 3, 8), np.float32)
    link = h5py.ExternalLink(str(tmp_path / "other.h5"), f"x/{where}") if kind == "external" else h5py.SoftLink("/kept")
    with h5py.File(tmp_path / "m.weights.h5", "w") as file:
        file["kept"] = np.ones((3, 3, 3, 8), np.float32)
        file[where] = link
    with pytest.raises(WeightsError, match="holds a link to another place or file"):
        read(tmp_path / "m.weights.h5")


def test_weights_that_unpack_to_more_than_a_network_needs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MOST_BYTES", 1 << 20)
    with zipfile.ZipFile(tmp_path / "m.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", bytes(2 << 20))
    assert (tmp_path / "m.keras").stat().st_size < 10_000
    with pytest.raises(WeightsError, match=r"unpacks to more than 1 MB in 'model\.weights\.h5'"):
        read(tmp_path / "m.keras")
    with h5py.File(tmp_path / "m.weights.h5", "w") as file:
        vars_group = file.create_group("layers/conv2d/vars")
        vars_group.create_dataset("0", shape=(1 << 19,), dtype="f4", compression="gzip", fillvalue=0)
    with pytest.raises(WeightsError, match="unpacks to over 1 MB"):
        read(tmp_path / "m.weights.h5")


def test_a_configuration_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        archive.writestr("config.json", '{"config":' + "[" * 100_000 + "]" * 100_000 + "}")
        archive.writestr("model.weights.h5", b"")
    with pytest.raises(WeightsError, match="is not a Keras file that can be read"):
        read(tmp_path / "m.keras")
