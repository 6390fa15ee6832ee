"""Pickles whose tuples are nested too deep for Python to hash are refused before anything is built from them."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from mobilenets.errors import WeightsError
from mobilenets.weights.nesting import DEEPEST_TUPLE, check_nesting
from mobilenets.weights.states import read_states


def _deep(depth: int, wrap: bytes) -> bytes:
    """The pickle of a dict whose key is an empty tuple in so many tuples."""
    return b"\x80\x02}" + b")" + wrap * depth + b"K\x01s."


WRAPS = {"one": b"\x85", "two": b"K\x00\x86", "three": b"K\x00K\x00\x87", "marked": b"q\x000(h\x00t"}


@pytest.mark.parametrize("wrap", WRAPS)
def test_a_key_that_is_nested_too_deep_is_refused(wrap: str, tmp_path: Path) -> None:
    path = tmp_path / "deep.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", _deep(200_000 if wrap == "one" else 5_000, WRAPS[wrap]))
        archive.writestr("archive/version", "3")
    with pytest.raises(WeightsError, match=f"more than {DEEPEST_TUPLE} deep"):
        read_states(path)


@pytest.mark.parametrize("protocol", range(5))
def test_what_people_save_is_not_nested(protocol: int) -> None:
    data = {"a": [(1, (2, (3,)))], ("b", 1): {"c": (4.0, None, True)}, "d": {"e": "f" * 300}}
    check_nesting(io.BytesIO(pickle.dumps(data, protocol=protocol)), "file")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_state_dict_of_either_form_is_read(zipped: bool, tmp_path: Path) -> None:
    path = tmp_path / "state.pth"
    state = {f"layer.{i}.weight": torch.full((2, 3), float(i)) for i in range(300)}
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    [read] = read_states(path)
    assert len(read.tensors) == 300
