"""Benchmarks on Android devices over `adb`: pushes model and benchmark program, runs the program, and parses its output."""

from __future__ import annotations

import contextlib
import shlex
import shutil
import statistics
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mobilenets.benchmark.plan import parts
from mobilenets.benchmark.row import Case, Row
from mobilenets.benchmark.timing import quantile
from mobilenets.benchmark.tools import TOOLS, Call, Reading, Tool, ToolError
from mobilenets.runtime.cache import user_cache

FOLDER = "/data/local/tmp/mobilenets"
"""The folder on the device; programs can be executed there, and it is removed afterwards."""

ROUNDS = 5
TIMEOUT_S = 600.0
_NO_PROGRAM = "126"  # the shell's exit code for a file that this processor cannot run


class AdbError(ToolError):
    """An error of adb itself: the device is gone or refuses a request."""


@dataclass(frozen=True, slots=True)
class Phone:
    """An Android device.

    Args:
        serial: serial number in the list of `adb devices`.
        model: its name.
        abi: the kind of programs that it runs, such as "arm64-v8a".
        adb: path of the adb program.
    """

    serial: str
    model: str
    abi: str
    adb: str

    @property
    def name(self) -> str:
        """Its name in rows."""
        return self.model or self.serial

    def run(self, *arguments: str) -> str:
        """The output of an `adb` command for this device; raises ToolError."""
        return _adb(self.adb, "-s", self.serial, *arguments)

    def shell(self, line: str) -> str:
        """The output of a shell command on the device, including standard error.

        Raises:
            ToolError: the command failed; the message has its last line.
        """
        text = self.run("shell", f"({line}) 2>&1; echo exit=$?")  # old versions of adb do not pass the exit code on
        printed, _, code = text.rstrip().rpartition("exit=")
        if code.strip() != "0":
            lines = printed.strip().splitlines()
            last = lines[-1].strip() if lines else "it printed nothing"
            if "No space left" in printed:
                raise ToolError(f"'{self.name}' has no space left in {FOLDER}", hint="free some space on the device")
            built = f"; is the program built for {self.abi}?" if code.strip() == _NO_PROGRAM else ""
            raise ToolError(f"on '{self.name}' a command ended with exit code {code.strip() or '?'}: {last[:200]}{built}")
        return printed


def phone(serial: str = "") -> Phone:
    """The device with this serial number, or the only one that is connected.

    Raises:
        ToolError: adb is not installed, or no such device is available; the hint says what to do.
    """
    adb = shutil.which("adb")
    if adb is None:
        raise ToolError(
            "'adb' is not installed", hint="install Android's platform tools: https://developer.android.com/tools/adb"
        )
    listed = [line.split() for line in _adb(adb, "devices").splitlines()[1:] if line.strip()]
    states = {words[0]: _state(words[1:]) for words in listed if len(words) > 1 and not words[0].startswith("*")}
    if serial and serial not in states:
        known = ", ".join(states) or "none"
        raise ToolError(f"adb knows no device '{serial}'; connected: {known}", hint="adb devices lists them")
    if not states:
        raise ToolError(
            "no Android device is connected",
            hint="turn on USB debugging in the developer options and connect it; adb devices lists it then",
        )
    if not serial and len(states) > 1:
        raise ToolError(
            f"several devices are connected: {', '.join(states)}", hint=f"--serial {next(iter(states))} takes that one"
        )
    serial = serial or next(iter(states))
    if states[serial] != "device":
        raise ToolError(
            f"device '{serial}' is {states[serial]}", hint=_STATES.get(states[serial], "disconnect it and try again")
        )
    model, abi = (
        _adb(adb, "-s", serial, "shell", "getprop", key).strip() for key in ("ro.product.model", "ro.product.cpu.abi")
    )
    return Phone(serial, model, abi, adb)


def _state(words: Sequence[str]) -> str:
    """The state of a device as `adb devices` lists it; "no permissions" is followed by an explanation."""
    return "not accessible" if words[0] == "no" else words[0]


def tool_file(name: str, device: Phone, given: Sequence[str]) -> Path:
    """The benchmark program of a runtime, for a device.

    Args:
        name: name of the runtime.
        device: the device that it will run on.
        given: paths or addresses from the user. One belongs to this runtime if its name contains the program's name, or if it
            starts with the runtime's name and an equals sign. Downloads are kept in the user's cache folder.

    Raises:
        ToolError: there is none; the hint says where to get it.
    """
    if name not in TOOLS:
        raise ToolError(f"{name} has no benchmark program for devices; {' and '.join(TOOLS)} have one")
    tool, place = TOOLS[name], places(given).get(name)
    kept = user_cache() / "tools" / (device.abi or "unknown") / tool.program
    if place is not None and "://" in place:
        _download(place, kept)
        return kept
    if place is not None:
        return Path(place)
    if kept.is_file():
        return kept
    raise ToolError(
        f"no '{tool.program}' for {device.abi or 'this device'}; give it with --tool {name}=PATH",
        hint=f"{tool.source}; --tool also takes an address, and '{kept}' is found by itself",
    )


def places(given: Sequence[str]) -> dict[str, str]:
    """The path or address of the benchmark program, for each runtime that the user gave one for.

    Args:
        given: as for `tool_file`.

    Raises:
        ToolError: there is no such file, or it is unclear which runtime it belongs to.
    """
    found: dict[str, str] = {}
    for text in given:
        runtime, equals, place = text.partition("=")
        if not equals or runtime not in TOOLS:
            place, file = text, text.rpartition("/")[2]
            runtime = next((name for name, tool in TOOLS.items() if tool.program in file), "")
        if not runtime:
            known = " or ".join(tool.program for tool in TOOLS.values())
            ways = " or ".join(f"--tool {name}={text}" for name in TOOLS)
            raise ToolError(f"'{text}' is not named {known}", hint=f"{ways} says which it is")
        if "://" not in place and not Path(place).is_file():
            raise ToolError(f"there is no file '{place}'", hint=TOOLS[runtime].source)
        found.setdefault(runtime, place)
    return found


def measured_on(
    device: Phone,
    cases: Sequence[Case],
    tools: Mapping[str, Path],
    *,
    seconds: float,
    rounds: int = ROUNDS,
    progress: Callable[[int], None] = lambda done: None,
) -> Iterator[Row]:
    """A row for each case, measured by the runtime's own program: once in each round, with the cases interleaved.

    Args:
        device: the device that runs them.
        cases: cases with runtimes that are in `TOOLS`.
        tools: the program of each runtime, a file on this machine.
        seconds: total time for each case, divided among the rounds.
        rounds: number of rounds.
        progress: called with the number of runs done since the last call; there are `rounds` for each case.

    Raises:
        AdbError: the device was lost; the rows of the rounds up to then are yielded first.
    """
    lost: AdbError | None = None
    rows = [Row(replace(case, machine=device.name), group=f"adb {device.serial}") for case in cases]
    readings: list[list[Reading]] = [[] for _ in cases]
    folders = {file: f"{FOLDER}/{i}" for i, file in enumerate(dict.fromkeys(case.file for case in cases))}
    try:
        for name in dict.fromkeys(case.runtime for case in cases):
            _push(device, tools[name], f"{FOLDER}/{TOOLS[name].program}")
            device.shell(f"chmod 755 {FOLDER}/{TOOLS[name].program}")
        for file, place in folders.items():
            for part in parts(Path(file)):
                _push(device, part, f"{place}/{part.name}")
        for i in [*range(len(cases))] * rounds:
            if not rows[i].error:
                try:
                    readings[i].append(_read(device, cases[i], folders[cases[i].file], seconds / rounds))
                except AdbError as error:
                    lost = error
                    break
                except ToolError as error:
                    rows[i] = replace(rows[i], error=str(error))
            progress(1)
    finally:
        with contextlib.suppress(ToolError):  # the device was lost, which another error reports
            device.shell(f"rm -rf {FOLDER}")
    yield from (row if row.error else _timed(row, said) for row, said in zip(rows, readings, strict=True) if row.error or said)
    if lost is not None:
        raise lost


def _read(device: Phone, case: Case, place: str, seconds: float) -> Reading:
    tool: Tool = TOOLS[case.runtime]
    if case.batch > 1 and not tool.batches:
        raise ToolError(f"{tool.program} runs one image at a time")
    arguments = tool.arguments(Call(Path(case.file).name, case.threads, case.batch, seconds))
    return tool.read(device.shell(f"cd {place} && ../{tool.program} {shlex.join(arguments)}"))


def _timed(row: Row, said: Sequence[Reading]) -> Row:
    rounds = [reading.p50_ms for reading in said]
    p50_ms = statistics.median(rounds)
    p90s = sorted(reading.p90_ms for reading in said if reading.p90_ms is not None)
    first, last = said[0], said[-1]
    peaks = [reading.peak_bytes for reading in said if reading.peak_bytes is not None]
    return replace(
        row,
        p50_ms=p50_ms,
        p90_ms=quantile(p90s, 0.5) if p90s else None,
        rounds_ms=tuple(rounds),
        runs=sum(reading.runs for reading in said),
        images_per_second=1000 * row.case.batch / p50_ms if p50_ms else None,
        peak_bytes=max(peaks, default=None),
        file_bytes=sum(part.stat().st_size for part in parts(Path(row.case.file))),
        open_ms=first.open_ms,
        first_run_ms=first.first_run_ms,
        fast_path=last.fast_path,
    )


def _push(device: Phone, file: Path, place: str) -> None:
    device.shell(f"mkdir -p {place.rpartition('/')[0]}")
    device.run("push", str(file), place)


def _adb(adb: str, *arguments: str) -> str:
    """The output of an `adb` command.

    Raises:
        ToolError: it fails; the message is adb's own, and the hint says what to do.
    """
    try:
        done = subprocess.run([adb, *arguments], capture_output=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise ToolError(f"adb {arguments[-1][:60]} took longer than {TIMEOUT_S:g} s") from error
    except OSError as error:
        raise ToolError(f"'{adb}' cannot be run: {error.strerror or error}") from error
    out, err = (stream.decode("utf-8", "replace") for stream in (done.stdout, done.stderr))
    if done.returncode == 0:
        return out
    lines = (err or out).strip().splitlines() or [f"it ended with exit code {done.returncode} and printed nothing"]
    last = lines[-1].removeprefix("adb: ").removeprefix("error: ")
    raise AdbError(f"adb: {last}", hint=next((hint for words, hint in _FAILURES.items() if words in last), ""))


def _download(address: str, place: Path) -> None:
    import urllib3

    from mobilenets.files import write_bytes

    try:
        answer = urllib3.request("GET", address, timeout=60.0)
    except urllib3.exceptions.HTTPError as error:
        raise ToolError(f"'{address}' cannot be downloaded: {error}") from error
    if answer.status != 200:
        raise ToolError(f"'{address}' cannot be downloaded: the server answers {answer.status}")
    write_bytes(place, answer.data)


# fmt: off
_STATES = {
    "unauthorized":   "accept the question on the device's screen whether this computer may debug it",
    "offline":        "unlock it, disconnect it and connect it again",
    "not accessible": "adb may not open the USB device: see https://developer.android.com/studio/run/device#setting-up",
    "recovery":       "start Android on it",
    "sideload":       "start Android on it",
}
_FAILURES = {  # words in adb's message: what to do
    "unauthorized":           _STATES["unauthorized"],
    "offline":                _STATES["offline"],
    "No space left":          "free some space on the device",
    "not found":              "was it disconnected? adb devices lists what is there",
    "no devices":             "was it disconnected? adb devices lists what is there",
    "more than one device":   "--serial SERIAL says which",
    "Permission denied":      "the folder /data/local/tmp cannot be written on this device",
    "Read-only file system":  "the folder /data/local/tmp cannot be written on this device",
}
# fmt: on
