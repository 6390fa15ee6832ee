"""`Machine`: this machine's processor, its number of cores, and its support for 8-bit integers."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mobilenets.runtime.cores import cores

# fmt: off
INT8_INSTRUCTIONS: Mapping[str, str] = {  # name in the operating system: common name
    "avx512_vnni": "AVX-512 VNNI",
    "avx_vnni":    "AVX-VNNI",
    "amx_int8":    "AMX",
    "asimddp":     "Arm dot product",
    "i8mm":        "Arm i8mm",
}
# fmt: on
"""Instructions that multiply and add 8-bit integers four at a time. Without them, int8 is seldom faster than float."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine, as benchmarks describe it.

    Args:
        cpu: the processor's name.
        cores: number of cores that this process may use.
        system: operating system and architecture, such as "Linux x86_64".
        int8: which of `INT8_INSTRUCTIONS` the processor has.
        memory_bytes: size of the machine's memory; 0 if unknown.
    """

    cpu: str
    cores: int
    system: str
    int8: tuple[str, ...] = ()
    memory_bytes: int = 0

    @property
    def lack(self) -> str:
        """What this processor lacks for fast int8, in words; "" if nothing."""
        if self.int8:
            return ""
        known = ", ".join(sorted(set(INT8_INSTRUCTIONS.values())))
        return f"this processor ({self.cpu}) has no instructions for 8-bit products ({known})"


def machine() -> Machine:
    """This machine."""
    text = _read("/proc/cpuinfo")
    flags = set(text.split()) | _mac_flags()
    return Machine(
        cpu=_name(text),
        cores=cores(),
        system=f"{platform.system()} {platform.machine()}",
        int8=tuple(flag for flag in INT8_INSTRUCTIONS if flag in flags),
        memory_bytes=_memory_bytes(),
    )


def sums_overflow() -> bool:
    """Whether this processor's fast kernels add two products of 8-bit integers in 16 bits, which can overflow.

    This is so on x86 without VNNI. Such sums are always right only if the weights use 7 bits.
    """
    return platform.machine().lower() in _X86 and not machine().int8


def load() -> float | None:
    """The number of programs that want to run, averaged over the last minute; None if the system does not tell."""
    try:
        return os.getloadavg()[0]
    except (OSError, AttributeError):
        return None


def peak_memory_bytes() -> int | None:
    """This process's peak memory so far; None if the system does not tell.

    On Linux it is `VmHWM`, the peak resident memory.
    """
    for line in _read("/proc/self/status").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if platform.system() == "Darwin" else most * 1024


_X86 = ("x86_64", "amd64", "i386", "i686")


def _name(cpuinfo: str) -> str:
    """The processor's name, from the text of /proc/cpuinfo and other system information."""
    fields = dict(line.split(":", 1) for line in reversed(cpuinfo.splitlines()) if ":" in line)
    known = {key.strip(): value.strip() for key, value in fields.items()}
    board = _read("/proc/device-tree/model").strip("\0\n ")  # on boards such as a Raspberry Pi
    parts = " ".join(known[key] for key in ("CPU implementer", "CPU part") if key in known)
    names = (known.get("model name"), board, known.get("Hardware"), _sysctl("machdep.cpu.brand_string"), parts)
    return next((name for name in names if name), platform.processor() or platform.machine())


def _memory_bytes() -> int:
    for line in _read("/proc/meminfo").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    size = _sysctl("hw.memsize")
    return int(size) if size.isdigit() else 0


def _mac_flags() -> set[str]:
    names = {"hw.optional.arm.FEAT_DotProd": "asimddp", "hw.optional.arm.FEAT_I8MM": "i8mm"}
    return {flag for name, flag in names.items() if _sysctl(name) == "1"}


def _sysctl(name: str) -> str:
    """A fact about a Mac; "" elsewhere."""
    if platform.system() != "Darwin":
        return ""
    asked = subprocess.run(["/usr/sbin/sysctl", "-n", name], capture_output=True, text=True, check=False)
    return asked.stdout.strip()


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
