"""Hostile requests end in answers with reasons; `benchmarks/fuzz_serve.py` sends more of them."""

from __future__ import annotations

import importlib
import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.serve.running import Running

from mobilenets.serve.logs import LOGGER

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_no_request_leaves_a_traceback_or_breaks_the_server(
    seed: int, serve: Callable[..., Running], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(LOGGER, "propagate", True)  # to what captures it, whatever was configured before
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    fuzz: Any = importlib.import_module("fuzz_serve")
    model = importlib.import_module("fuzz_prediction").color_model(tmp_path / "model.onnx")
    server = serve(measured=model)
    with caplog.at_level(logging.WARNING, LOGGER.name):
        answers, faults = fuzz.run(int(server.url.rpartition(":")[2]), 200 if seed == 1 else 2000, seed)
    assert faults == []
    assert [record.getMessage() for record in caplog.records if record.name == LOGGER.name] == []
    assert {"200", "400", "404", "405", "422", "no HTTP"} <= answers.keys() - Counter()
    assert server.samples("mobilenets_held_bytes") == {"": 0}
