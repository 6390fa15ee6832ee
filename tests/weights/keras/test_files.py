"""Keras files of unknown origin: nothing outside the file is read, and no more of it than a network can need."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

h5py = pytest.importorskip("h5py")

from mobilenets.errors import WeightsError  # noqa: E402 - after the check for h5py
from mobilenets.weights.keras import files, probe  # noqa: E402
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
    with pytest.raises(WeightsError, match="unpacks to more than 1 MB of weights"):
        read(tmp_path / "m.weights.h5")


@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_a_configuration_nested_too_deeply_is_refused_in_one_line(ending: str, tmp_path: Path) -> None:
    path, deep = tmp_path / f"m{ending}", '{"config":' + "[" * 100_000 + "]" * 100_000 + "}"
    if ending == ".keras":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", deep)
            archive.writestr("model.weights.h5", b"")
    else:
        with h5py.File(path, "w") as file:
            file.attrs.create("model_config", deep, dtype=h5py.string_dtype())
    with pytest.raises(WeightsError, match="the JSON is nested more than 100 deep") as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def endless(path: Path, *, attribute_of: str) -> bytes:
    """An HDF5 file with an attribute that HDF5 never finishes reading: its text is said to be 2^64 - 16 bytes long."""
    with h5py.File(path, "w") as file:
        file.create_group("layers/conv2d/vars")["0"] = np.ones((3, 3, 3, 8), np.float32)
        file[attribute_of].attrs["keras_version"] = "2.15.0"
    data = bytearray(path.read_bytes())
    heap = data.index(b"GCOL")  # 16 bytes of header, then an object: index, references, reserved, and at 24 its length
    assert data[heap + 24 : heap + 32] == (6).to_bytes(8, "little")
    data[heap + 24 : heap + 32] = (2**64 - 16).to_bytes(8, "little")
    return bytes(data)


@pytest.mark.parametrize("ending", [".keras", ".h5"])
@pytest.mark.parametrize("attribute_of", ["/", "/layers/conv2d/vars/0"])
def test_a_file_whose_reading_never_ends_is_refused(
    attribute_of: str, ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "SECONDS", 0.7)
    path = tmp_path / f"m{ending}"
    data = endless(path, attribute_of=attribute_of)
    path.write_bytes(data)
    if ending == ".keras":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", "{}")
            archive.writestr("model.weights.h5", data)
    with pytest.raises(WeightsError, match=rf"m\{ending}' is damaged: reading it did not end within 0\.7 seconds"):
        read(path)


def test_a_file_that_crashes_hdf5_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "crash.py").write_text("import ctypes; ctypes.string_at(0)")
    monkeypatch.setattr(probe, "SCRIPT", tmp_path / "crash.py")
    with h5py.File(tmp_path / "m.weights.h5", "w") as file:
        file["layers/conv2d/vars/0"] = np.ones((3, 3, 3, 8), np.float32)
    with pytest.raises(WeightsError, match=r"m\.weights\.h5' is damaged: HDF5 crashes while reading it"):
        read(tmp_path / "m.weights.h5")


def test_a_file_that_takes_too_much_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "MOST_MEMORY", 1 << 20)
    with h5py.File(tmp_path / "m.weights.h5", "w") as file:
        file["layers/conv2d/vars/0"] = np.ones((1 << 22,), np.float32)
    with pytest.raises(WeightsError, match=r"m\.weights\.h5' is damaged: reading it takes more memory"):
        read(tmp_path / "m.weights.h5")


def test_a_file_whose_groups_cannot_be_listed_is_refused_because_the_reader_asks_by_name(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        file["model_weights/conv"] = np.ones(3, np.float32)
        file.attrs["model_config"] = "{}"
    data = bytearray(path.read_bytes())
    free_list = data.index(b"HEAP") + 16
    data[free_list : free_list + 8] = b"\x77" * 8
    path.write_bytes(data)
    with pytest.raises(WeightsError, match=r"m\.h5' is damaged: an object in it cannot say what it holds"):
        read(path)


def test_a_group_that_holds_itself_and_damage_that_python_sees_do_not_end_the_walk(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        file["a/again"] = file["/"]
        file["a/soft"] = h5py.SoftLink("/nowhere")
        file.create_dataset("b", data=np.arange(1000), compression="gzip", chunks=(1000,))
        chunk = file["b"].id.get_chunk_info(0)
    data = bytearray(path.read_bytes())
    data[chunk.byte_offset : chunk.byte_offset + chunk.size] = bytes(chunk.size)
    probe.check(bytes(data), "m.h5", most_bytes=1 << 20, most_attribute=1 << 20)
    probe.check(b"no HDF5", "m.h5", most_bytes=1 << 20, most_attribute=1 << 20)
