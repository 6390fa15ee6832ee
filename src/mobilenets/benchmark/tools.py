"""The runtimes' own benchmark programs: how to call each on a device, and how to parse its output."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mobilenets.errors import MobileNetsError
from mobilenets.table import Table


class ToolError(MobileNetsError):
    """A failure of a benchmark program or of the connection to its device; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The results of one run of a benchmark program. Figures that it does not report are None.

    Args:
        p50_ms, p90_ms: latency of one batch; the average replaces the median if the program reports none.
        runs: number of timed batches.
        open_ms, first_run_ms: time to open the file, and of the first run.
        peak_bytes: peak memory, as reported by the program.
        fast_path: share of operators that are delegated to the fast kernels, 0 to 1.
    """

    p50_ms: float
    p90_ms: float | None = None
    runs: int = 0
    open_ms: float | None = None
    first_run_ms: float | None = None
    peak_bytes: int | None = None
    fast_path: float | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a program on the device.

    Args:
        file: the model's file, in the current folder.
        threads, batch: as in a case.
        seconds: how long it measures.
    """

    file: str
    threads: int
    batch: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Tool:
    """A runtime's benchmark program.

    Args:
        program: its usual name, which the name of its file contains.
        arguments: returns the arguments of a call.
        read: parses its output; raises ToolError.
        batches: whether it supports batches of several images.
        source: where to get it for Android.
    """

    program: str
    arguments: Callable[[Call], Sequence[str]]
    read: Callable[[str], Reading]
    batches: bool
    source: str


def _litert_arguments(call: Call) -> list[str]:
    return [
        f"--graph={call.file}",
        f"--num_threads={call.threads}",
        "--use_xnnpack=true",
        "--warmup_runs=3",
        "--num_runs=5",
        f"--min_secs={call.seconds:g}",
        f"--max_secs={max(30.0, 10 * call.seconds):g}",
        "--report_peak_memory_footprint=true",
    ]


def read_litert(text: str) -> Reading:
    """Parse the output of TFLite's `benchmark_model`, with times in microseconds and memory in MB.

    The first line of statistics is for the warm-up, the last for the measurement. Newer programs also print the median.

    Raises:
        ToolError: there is no measurement in it.
    """
    summary = re.search(rf"Inference timings in us: Init: {_N}, First inference: {_N}, .*Inference \(avg\): {_N}", text)
    counts = re.findall(rf"count=(\d+) first={_N}.*?avg={_N}(?:.*?median={_N})?", text)
    if summary is None or not counts:
        raise ToolError("benchmark_model printed no timings")
    runs, _, average_us, median_us = counts[-1]
    memory = re.search(rf"(?:Peak memory footprint|Memory footprint delta[^(]*) \(MB\): init={_N} overall={_N}", text)
    peak = re.search(rf"Overall peak memory footprint \(MB\) via periodic monitoring: {_N}", text)
    given = [
        (int(part), int(whole)) for part, whole in re.findall(r"Replacing (\d+) out of (\d+) node\(s\) with delegate", text)
    ]
    megabytes = peak.group(1) if peak else memory.group(2) if memory else None
    return Reading(
        p50_ms=float(median_us or average_us) / 1000,
        runs=int(runs),
        open_ms=float(summary.group(1)) / 1000,
        first_run_ms=float(summary.group(2)) / 1000,
        peak_bytes=None if megabytes is None else round(float(megabytes) * 1e6),
        fast_path=given[-1][0] / max(given[-1][1], 1) if given else None,
    )


def _onnx_arguments(call: Call) -> list[str]:
    return [
        "-I",  # random input
        "-s",  # percentiles
        *("-m", "duration", "-t", f"{max(1, round(call.seconds))}"),
        *("-x", str(call.threads), "-y", "1"),
        *("-f", f"batch:{call.batch}"),  # the name that the ONNX writer gives to the free dimension
        *("-e", "cpu"),
        call.file,
    ]


def read_onnx(text: str) -> Reading:
    """Parse the output of ONNX Runtime's `onnxruntime_perf_test`, with percentiles in seconds.

    Raises:
        ToolError: there is no measurement in it.
    """

    def number(pattern: str) -> float | None:
        match = re.search(pattern, text)
        return None if match is None else float(match.group(1))

    average_ms = number(rf"Average (?:inference )?time cost: ?{_N} ms")
    p50_s, p90_s = (number(rf"P{share} Latency(?: is|:) ?{_N} ?s") for share in (50, 90))
    if average_ms is None and p50_s is None:
        raise ToolError("onnxruntime_perf_test printed no timings")
    opened_s = number(rf"Session creation time cost: ?{_N} s")
    peak = number(rf"Peak working set size: ?{_N} bytes")
    return Reading(
        p50_ms=1000 * p50_s if p50_s is not None else average_ms or 0.0,
        p90_ms=None if p90_s is None else 1000 * p90_s,
        runs=int(number(rf"Total (?:inference requests|iterations): ?{_N}") or 0),
        open_ms=None if opened_s is None else 1000 * opened_s,
        peak_bytes=None if peak is None else int(peak),
    )


_N = r"([0-9][0-9.]*(?:e[+-]?\d+)?)"
_NIGHTLY = "https://storage.googleapis.com/tensorflow-nightly-public/prod/tensorflow/release/lite/tools/nightly/latest"

# fmt: off
TOOLS: Table[Tool] = Table("runtime with a benchmark program for devices", {
    "tflite": Tool(
        "benchmark_model", _litert_arguments, read_litert, batches=False,
        source=f"download {_NIGHTLY}/android_aarch64_benchmark_model (android_arm_benchmark_model for 32 bits)",
    ),
    "onnx": Tool(
        "onnxruntime_perf_test", _onnx_arguments, read_onnx, batches=True,
        source="build it from ONNX Runtime's source with --android (https://onnxruntime.ai/docs/build/android.html)",
    ),
})
# fmt: on
"""The benchmark programs, by name of the runtime."""
