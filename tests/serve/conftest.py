"""Servers of toy models."""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from tests.serve.held import Held
from tests.serve.running import Running, running

from mobilenets.runtime.engines.table import Runtime
from mobilenets.serve.app import Access
from mobilenets.serve.limits import Limits
from mobilenets.serve.model import Source
from mobilenets.table import Table

LIMITS, OPEN = Limits(), Access()


@pytest.fixture
def serve() -> Iterator[Callable[..., Running]]:
    """Starts servers that end with the test: `serve(color=path, cells=other, limits=Limits(queue=1))`."""
    with contextlib.ExitStack() as stack:

        def start(
            *sources: Source,
            limits: Limits = LIMITS,
            access: Access = OPEN,
            watch_s: float | None = None,
            grpc: int | None = None,
            **models: Path,
        ) -> Running:
            sources += tuple(Source(name, path, threads=2) for name, path in models.items())
            return stack.enter_context(running(sources, limits=limits, access=access, watch_s=watch_s, grpc=grpc))

        yield start


@pytest.fixture(scope="module")
def both(color_model: Path, cell_model: Path) -> Iterator[Running]:
    """A server of a classifier, "color", and a detector, "cells"."""
    with running(
        [Source("color", color_model, threads=2), Source("cells", cell_model, threads=2)], limits=Limits(), access=Access()
    ) as server:
        yield server


@pytest.fixture(scope="session")
def encoded() -> Callable[..., bytes]:
    """Encodes an image of one color: `encoded("red", (40, 30), "JPEG")`."""

    def make(color: str = "red", size: tuple[int, int] = (40, 30), kind: str = "PNG") -> bytes:
        buffer = io.BytesIO()
        Image.new("RGB", size, color).save(buffer, kind)
        return buffer.getvalue()

    return make


@pytest.fixture
def held(tmp_path: Path) -> Iterator[tuple[Source, threading.Semaphore]]:
    """A model that computes one batch for each turn that the test releases; it ends with all turns that it needs."""
    Held.turns, Held.batches = threading.Semaphore(0), []
    path = tmp_path / "model.held"
    path.write_text("0")
    yield Source("held", path, threads=1, engines=Table("kind", {".held": Runtime("Held", Held)})), Held.turns
    Held.turns.release(1000)
