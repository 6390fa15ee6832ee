"""How much faster each runtime is than torchvision in eager mode, and whether `Predictor.open` chooses the fastest.

    python benchmarks/engines.py --seconds 4 --threads 1,2
    python benchmarks/engines.py --seconds 4 --threads 1,2 --int8

MobileNetV2 1.0 at 224 px with random weights, one image at a time, by the harness of `mobilenets benchmark`: a process for each
runtime and for torchvision, which is in floats, all in turn. Ratios are paired round by round, with their 95% interval.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mobilenets.benchmark.measure import Settings, measured
from mobilenets.benchmark.row import Case, Row
from mobilenets.benchmark.timing import ratio
from mobilenets.errors import MobileNetsError
from mobilenets.runtime.engines.base import Engine, Outputs
from mobilenets.runtime.engines.fastest import Candidate, fastest
from mobilenets.runtime.engines.open import candidates_in, opened
from mobilenets.runtime.engines.table import ENGINES as OURS
from mobilenets.runtime.engines.table import Runtime, named
from mobilenets.runtime.machine import load, machine
from mobilenets.runtime.manifest import Manifest, manifest_of
from mobilenets.specs.families import backbone
from mobilenets.specs.model import InputContract, ModelSpec
from mobilenets.table import Table

EAGER = "eager"
SPEC = ModelSpec(backbone("mobilenet_v2"), tuple(str(i) for i in range(1000)), InputContract(size=224))


class Eager(Engine):
    """torchvision's MobileNetV2 as `torch` runs it.

    Args:
        path: is not read.
        threads: of torch.
    """

    outputs = ("logits",)

    def __init__(self, path: Path, threads: int | None = None) -> None:
        import torch
        import torchvision

        torch.set_num_threads(threads or 1)
        self._model = torchvision.models.mobilenet_v2().eval()

    def run(self, batch: NDArray[np.float32]) -> Outputs:
        """The logits, N classes."""
        import torch

        with torch.inference_mode():
            return {"logits": self._model(torch.from_numpy(batch)).numpy()}

    def manifest(self) -> Manifest:
        """That of our MobileNetV2."""
        return manifest_of(SPEC)


ENGINES: Table[Runtime] = Table("kind of file", {**OURS, ".eager": Runtime("torchvision", Eager, EAGER, "torchvision")})


Export = Callable[[Path, str], object]
"""Writes the network into a folder for a runtime."""


def in_floats() -> Export:
    """Of the network as it is."""
    from mobilenets.exporters.table import export
    from mobilenets.model import create

    model = create(SPEC)
    return lambda folder, runtime: export(model, folder, to=runtime)


def in_integers() -> Export:
    """Of the network in int8, calibrated with noise."""
    from mobilenets.deploy.quantize.quantize import quantize
    from mobilenets.exporters.lower import lower
    from mobilenets.exporters.quantized import export_quantized
    from mobilenets.model import create

    noise = np.random.default_rng(0).normal(size=(2, 3, 224, 224)).astype(np.float32)
    graph = quantize(lower(create(SPEC)), noise).graph
    return lambda folder, runtime: export_quantized(graph, folder, to=runtime)


def exported(folder: Path, export: Export) -> list[Case]:
    """A case for each runtime that runs here, with the file that it is fastest to open, and one for torchvision."""
    from mobilenets.exporters.table import EXPORTERS

    for name, exporter in EXPORTERS.items():
        if exporter.file.startswith("model.") and OURS[Path(exporter.file).suffix].runs_here:
            try:
                export(folder, name)
            except MobileNetsError as error:
                print(f"not exported to {name}: {error}", file=sys.stderr)
    (folder / "model.eager").touch()
    return [
        Case(SPEC.backbone.name, str(one.file), one.name) for one in candidates_in(folder, ENGINES) if one.runtime.runs_here
    ]


def compared(rows: Sequence[Row], chosen: Candidate) -> list[dict[str, object]]:
    """The rows of one number of threads, with how many times slower torchvision is, and the chosen one than the best."""
    [eager] = [row for row in rows if row.case.runtime == EAGER]
    ours = [row for row in rows if row.case.runtime != EAGER and not row.error]
    best = min(ours, key=lambda row: row.p50_ms or 0.0)
    lines: list[dict[str, object]] = []
    for row in rows:
        line: dict[str, object] = {"runtime": row.case.runtime, "threads": row.case.threads, "error": row.error}
        if not row.error:
            line |= {"p50_ms": row.p50_ms, "cpu_ms": row.cpu_ms, "eager_is_slower": asdict(ratio(eager, row))}
        if (row.case.runtime, row.case.threads) == (chosen.name, chosen.threads):
            line["chosen_to_best"] = asdict(ratio(row, best))
        lines.append(line)
    return lines


def main() -> None:
    """Export, choose, measure, and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=4.0, help="for each row, shared among the rounds")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--int8", dest="exporter", action="store_const", const=in_integers, default=in_floats)
    given = parser.parse_args()
    here = str(Path(__file__).resolve().parent)  # where the processes find this table
    os.environ["PYTHONPATH"] = os.pathsep.join([here, os.environ.get("PYTHONPATH", "")])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cases = exported(folder, given.exporter())
        load_before = load()
        network = opened(folder, OURS, cache=folder / "cache")
        lines: list[dict[str, object]] = []
        choices: list[str] = []
        for threads in map(int, given.threads.split(",")):
            candidates = network.on(threads) if threads > 1 else network.candidates
            engine, choice = fastest(candidates, cache=folder / "cache", busy=False)  # exporting was what loaded the machine
            engine.close()
            choices.append(str(choice))
            settings = Settings(given.seconds, given.rounds, live=len(cases), starts=1, table="engines:ENGINES")
            rows = list(measured([replace(case, threads=threads) for case in cases], settings))
            lines += compared(rows, next(candidate for candidate in candidates if candidate.label == choice.name))
    packages = {runtime: named(ENGINES)[runtime][1].version for runtime in named(ENGINES)}
    facts = {"machine": asdict(machine()), "load_before": load_before, "versions": {**packages, "torch": version("torch")}}
    print(json.dumps({**facts, "chosen": choices, "rows": lines}, indent=1))


if __name__ == "__main__":
    main()
