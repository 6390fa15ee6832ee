"""Fixtures that more than one folder of tests needs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of published figures, weights and pictures that lies beside the checkout."""
    folder = Path(os.environ.get("MOBILENETS_SHARED", Path(__file__).parents[2] / "shared"))
    if not folder.is_dir():
        pytest.skip(f"the folder of published figures, weights and pictures is not at {folder}; set MOBILENETS_SHARED")
    return folder
