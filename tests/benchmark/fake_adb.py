"""Stands in for `adb` with one phone. A scenario beside it says what goes wrong; every call is noted in `calls`.

The phone is a folder; what its programs print are transcripts in the documented formats of the programs.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

HERE = Path(sys.argv[0]).parent
PHONE = HERE / "phone"

LITERT = """STARTING!
Log parameter values verbosely: [0]
Num threads: [{threads}]
Graph: [{graph}]
Loaded model {graph}
INFO: Created TensorFlow Lite XNNPACK delegate for CPU.
VERBOSE: Replacing 60 out of 64 node(s) with delegate (TfLiteXNNPackDelegate) node, yielding 3 partitions for subgraph 0.
The input model file size (MB): 13.9776
Initialized session in 21.5ms.
Running benchmark for at least 3 iterations and at least 0.5 seconds but terminate if exceeding 30 seconds.
count=40 first=31250 curr=12010 min=11890 max=31250 avg=12900.5 std=3011 p5=11900 median=12011 p95=13000

Running benchmark for at least 5 iterations and at least 0.6 seconds but terminate if exceeding 30 seconds.
count=51 first=12100 curr=11950 min=11802 max=14100 avg=12123.4 std=310 p5=11850 median=12000 p95=12900

Inference timings in us: Init: 21500, First inference: 31250, Warmup (avg): 12900.5, Inference (avg): 12123.4
Note: as the benchmark tool itself affects memory footprint, the following is only APPROXIMATE to the actual memory footprint.
Memory footprint delta from the start of the tool (MB): init=18.25 overall=24.5
"""
ONNX = """Setting intra_op_num_threads to {threads}
Session creation time cost: 0.0832 s
First inference time cost: 25 ms
Total inference time cost: 1.01 s
Total inference requests: 64
Average inference time cost: 15.8 ms
Total inference run time: 1.02 s
Number of inferences per second: 63.1
Avg CPU usage: 98 %
Peak working set size: 71303168 bytes
Avg CPU usage:98
Min Latency: 0.0151 s
Max Latency: 0.0203 s
P50 Latency: 0.0155 s
P90 Latency: 0.0172 s
P95 Latency: 0.0181 s
"""


def scenario() -> str:
    return (HERE / "scenario").read_text().strip()


def fail(text: str, code: int = 1) -> None:
    sys.stderr.write(text + "\n")
    sys.exit(code)


def devices() -> None:
    states = {
        "none": [],
        "unauthorized": ["A1\tunauthorized"],
        "offline": ["A1\toffline"],
        "no permissions": ["A1\tno permissions (missing udev rules? user is in the plugdev group); see [http://x]"],
        "several": ["A1\tdevice", "B2\tdevice"],
    }.get(scenario(), ["A1\tdevice"])
    sys.stdout.write("\n".join(["List of devices attached", *states]) + "\n\n")


def shell(line: str) -> None:
    found = re.fullmatch(r"\((.*)\) 2>&1; echo exit=\$\?", line, re.DOTALL)
    if found is None:
        fail(f"unexpected: {line}")
        return
    inner, code, text = found.group(1), 0, ""
    if "benchmark_model" in inner or "onnxruntime_perf_test" in inner:
        if inner.startswith("chmod"):
            pass
        elif scenario() == "crash":
            code, text = 139, "Segmentation fault \n"
        elif scenario() == "wrong program":
            code, text = 126, "/system/bin/sh: ../benchmark_model: not executable: 64-bit ELF file\n"
        elif scenario() == "silent":
            text = "STARTING!\n"
        else:
            threads = re.search(r"--num_threads=(\d+)|-x (\d+)", inner)
            number = (threads.group(1) or threads.group(2)) if threads else "?"
            text = (LITERT if "benchmark_model" in inner else ONNX).format(threads=number, graph="model")
    elif inner.startswith("rm -rf"):
        shutil.rmtree(PHONE, ignore_errors=True)
    sys.stdout.write(f"{text}exit={code}\n")


def push(source: str, place: str) -> None:
    if scenario() == "full":
        fail(f"adb: error: failed to copy '{source}' to '{place}': remote write failed: No space left on device")
    if scenario() == "lost":
        fail("adb: error: failed to get feature set: device 'A1' not found")
    target = PHONE / place.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    sys.stdout.write(f"{source}: 1 file pushed, 0 skipped. 210.0 MB/s (1 bytes in 0.001s)\n")


def main(arguments: list[str]) -> None:
    with (HERE / "calls").open("a") as calls:
        calls.write(" ".join(arguments) + "\n")
    if arguments == ["devices"]:
        devices()
        return
    if scenario() == "unplugged" and (HERE / "calls").read_text().count("--graph") > 3:
        fail("adb: device 'A1' not found")
    _, _, verb, *rest = arguments  # -s SERIAL VERB ...
    if verb == "shell" and rest[0] == "getprop":
        sys.stdout.write({"ro.product.model": "Toy Phone 3", "ro.product.cpu.abi": "arm64-v8a"}[rest[1]] + "\r\n")
    elif verb == "shell":
        shell(rest[0])
    elif verb == "push":
        push(*rest)


if __name__ == "__main__":
    main(sys.argv[1:])
