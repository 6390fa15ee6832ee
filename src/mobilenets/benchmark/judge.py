"""The process that measures the accuracy of one file on one runtime, with the same evaluation as `mobilenets evaluate`.

python -m mobilenets.benchmark.judge
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mobilenets.evaluation.evaluators import AnyReport


def main() -> None:
    """Read the job; answer with the number of images, then with progress, and finally with the metric."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)

    def answer(data: Mapping[str, object]) -> None:
        answers.write(json.dumps(data) + "\n")
        answers.flush()

    try:
        answer(judged(json.loads(sys.stdin.readline()), answer))
    except BrokenPipeError:
        os._exit(1)  # the benchmark no longer listens
    except Exception as error:  # whatever goes wrong becomes a note of the benchmark
        answer({"error": (str(error).strip().splitlines() or [type(error).__name__])[0]})


def judged(job: Mapping[str, Any], answer: Callable[[Mapping[str, object]], None]) -> dict[str, object]:  # Any: JSON
    """The metric of a file on labeled data.

    Args:
        job: `table`, `runtime` and `file`, as for the worker; `data` with `source`, `split`, `classes` and `ignore`.
        answer: called with the number of images, then each time some are done.

    Raises:
        MobileNetsError: the data cannot be read, or does not fit the model.
    """
    from pathlib import Path

    from mobilenets.benchmark.worker import runtime_of
    from mobilenets.data.open import open_dataset
    from mobilenets.evaluation.evaluators import evaluate
    from mobilenets.evaluation.intervals import ends
    from mobilenets.evaluation.part import part_of
    from mobilenets.runtime.cores import cores
    from mobilenets.runtime.predictor import Predictor

    engine = runtime_of(job).open(Path(job["file"]), threads=1)
    manifest = engine.manifest()
    data = job["data"]
    dataset = open_dataset(
        data["source"], task=manifest.task, classes=data["classes"], ignore=tuple(data["ignore"]), val=0, test=0
    )
    dataset.check_task(manifest.task, f"'{job['file']}'")
    _, samples = part_of(dataset, data["split"] or None)
    answer({"images": len(samples)})
    predictor = Predictor(manifest, engine, threads=cores(), runs=cores(), batch=engine.batch or 2)
    report: AnyReport = evaluate(predictor, samples, dataset.labels, progress=lambda done: answer({"done": done}))
    first = report.metrics[0]
    low, high = ends(first.interval)
    return {"metric": first.name, "value": first.value, "low": low, "high": high}


if __name__ == "__main__":
    main()
