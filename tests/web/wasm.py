"""The engine as WebAssembly, in Node.js: for tests of what browsers are too slow for."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenets.deploy import file
from mobilenets.deploy.graph import Graph

RUNNER = Path(__file__).parent / "run_wasm.mjs"
SECONDS = 300
_RELAXED = "--experimental-wasm-relaxed-simd"  # of Node.js 20, which later versions do not know any more


@dataclass(frozen=True, slots=True)
class Ran:
    """A network that ran.

    Args:
        outputs: by name, without the batch.
        facts: what the engine says of the network.
    """

    outputs: dict[str, NDArray[Any]]  # Any: of several kinds of number
    facts: dict[str, Any]  # Any: JSON


def run_all(module: Path, jobs: Sequence[tuple[Graph, NDArray[Any]]]) -> list[Ran]:
    """Every graph on one image, C H W, in an instance of its own.

    Args:
        module: the `.wasm` file.
        jobs: graphs and images.
    """
    with tempfile.TemporaryDirectory() as scratch:
        asked = []
        for i, (graph, image) in enumerate(jobs):
            folder = Path(scratch, str(i))
            folder.mkdir()
            file.save(graph, folder / "network.graph")
            (folder / "image").write_bytes(np.ascontiguousarray(image).tobytes())
            asked.append({"graph": f"{folder}/network.graph", "image": f"{folder}/image", "outputs": str(folder)})
        results = said(module, asked)
        return [_ran(facts, Path(job["outputs"])) for facts, job in zip(results, asked, strict=True)]


def said(module: Path, jobs: Sequence[dict[str, str]]) -> list[dict[str, Any]]:  # Any: JSON
    """What became of each job, which `run_wasm.mjs` describes."""
    node = shutil.which("node")
    assert node is not None
    options = subprocess.run([node, "--v8-options"], capture_output=True, text=True, check=True).stdout
    flags = [_RELAXED] if _RELAXED.removeprefix("--experimental-") in options else []
    done = subprocess.run(
        [node, *flags, str(RUNNER), str(module)],
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
