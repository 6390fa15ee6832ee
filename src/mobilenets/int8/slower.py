"""`why_slower`: explains why a quantized network is slower than the float network on the runtime that measured both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mobilenets.data.text import counted
from mobilenets.runtime.machine import Machine, machine

if TYPE_CHECKING:
    from mobilenets.int8.flow import Quantized

ALIKE = 1.05
"""The ratio of int8 latency to float latency above which int8 counts as slower; below it, the difference may be noise."""


def why_slower(done: Quantized, here: Machine | None = None) -> str:
    """A message that int8 is slower, by how much, and why; "" if it is not slower.

    Args:
        done: the quantization and its measurements.
        here: this machine.
    """
    latency, floats = done.latency, done.gated.last.float_layers
    if latency.int8 <= ALIKE * latency.real:
        return ""
    reasons = [lack] if (lack := (here or machine()).lack) else []
    if floats:
        cost = "" if latency.whole is None else f"with all of them in integers it takes {latency.whole:.2f} ms, and "
        are = "layer stayed" if len(floats) == 1 else "layers stayed"
        reasons.append(f"{len(floats)} {are} in float: {cost}each switch between floats and integers is an extra operator")
    more, before = len(done.int8.operators), len(done.graph.operators)
    if more > before:
        reasons.append(
            f"it has {counted(more, 'operator')} where the float network has {before:,}, and calling each costs time"
        )
    reasons.append("mobilenets benchmark shows where both spend their time")
    times, title = latency.int8 / latency.real, done.gated.last.running.title
    return f"int8 takes {times:.2f} times as long as floats on {title}: {'; '.join(reasons)}"
