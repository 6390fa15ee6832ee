"""`finished`: run the parts of a plan on Ray Data's workers. Ray restarts lost workers, and with them their parts."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mobilenets.bulk.model import fetched
from mobilenets.bulk.plan import Plan, read
from mobilenets.bulk.work import predict_part
from mobilenets.errors import MissingExtraError, MobileNetsError
from mobilenets.runtime.engines.chatter import without_chatter
from mobilenets.runtime.predictor import Predictor


@dataclass(frozen=True, slots=True)
class Done:
    """A finished part.

    Args:
        part: its number.
        images: number of its images.
        unreadable: number of its images that cannot be read.
    """

    part: int
    images: int
    unreadable: int


class Worker:
    """Holds the model on a worker. Everything that it needs is in the folder of the results.

    Args:
        out: that folder.
    """

    def __init__(self, out: str) -> None:
        self._out = out

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:  # Any: a row of Ray Data
        """Predict a part. An error is returned, because for a raised one Ray prints some hundred lines of its own."""
        number = int(row["part"])
        try:
            images, unreadable = predict_part(self._predictor, number, self._plan.parts[number], self._out, top=self._plan.top)
        except (MobileNetsError, OSError) as error:
            return {"part": number, "images": 0, "unreadable": 0, "error": str(error) or type(error).__name__}
        return {"part": number, "images": images, "unreadable": unreadable, "error": ""}

    @cached_property
    def _plan(self) -> Plan:
        return read(self._out)

    @cached_property
    def _predictor(self) -> Predictor:
        with tempfile.TemporaryDirectory(prefix="mobilenets-bulk-") as folder:
            predictor = Predictor.open(fetched(self._plan.model, self._out, Path(folder)), threads=1)
        threshold = self._plan.threshold
        return predictor if threshold is None else predictor.with_threshold(threshold)


def connected() -> int:
    """Join the cluster that RAY_ADDRESS names, or start one on this machine.

    Returns:
        The cluster's number of cores.

    Raises:
        MissingExtraError: Ray is not installed.
        MobileNetsError: the cluster cannot be reached, or none can be started.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # errors are raised anyway
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError("ray", "ray") from error
    if not ray.is_initialized():
        _start()
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]  # Ray has few types
    return max(1, int(resources.get("CPU", 1)))


def finished(parts: Sequence[int], out: str, *, workers: int) -> Iterator[Done]:
    """Predict parts of the plan in a folder, and yield each one once its file is written.

    Args:
        parts: the parts' numbers.
        out: folder of the results.
        workers: number of processes, each on its own core.

    Raises:
        MobileNetsError: a part failed, or Ray did.
    """
    import ray
    import ray.data
    from ray.exceptions import RayError

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    rows = ray.data.from_items([{"part": number} for number in parts], override_num_blocks=len(parts))
    pool = ray.data.ActorPoolStrategy(size=min(workers, len(parts)))  # restarts lost workers and their parts
    done = rows.map(Worker, fn_constructor_args=(out,), compute=pool, num_cpus=1)  # type: ignore[arg-type]  # a class of such
    try:
        for row in done.iter_rows():
            if row["error"]:
                raise _stopped(f"on a worker, {row['error']}")
            yield Done(int(row["part"]), int(row["images"]), int(row["unreadable"]))
    except RayError as error:
        cause = error.__cause__
        raise _stopped(str(cause) if isinstance(cause, MobileNetsError) else _last_line(error)) from error


def _start() -> None:
    """Join a cluster or start one."""
    import ray

    address = os.environ.get("RAY_ADDRESS")
    where = f"at '{address}'" if address else "of this machine"
    try:
        with without_chatter():
            ray.init(log_to_driver=False, logging_level=logging.CRITICAL, include_dashboard=False)
    except ConnectionError as error:
        raise MobileNetsError(
            f"the Ray cluster {where} does not let this program in: {_last_line(error)}",
            hint="does it run there? one that asks for a token needs RAY_AUTH_MODE=token and its ~/.ray/auth_token here",
        ) from error
    except Exception as error:  # Ray has no specific exception type for this
        raise MobileNetsError(
            f"Ray did not start: {_last_line(error)}",
            hint="run the same command again when the machine is less busy; what is written is kept",
        ) from error


def _stopped(reason: str) -> MobileNetsError:
    return MobileNetsError(f"the prediction stopped: {reason}", hint="what is written is kept; the same command continues")


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
