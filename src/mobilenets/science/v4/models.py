"""V4's networks beside earlier ones (V4, Table 6)."""

from __future__ import annotations

from mobilenets.science.entry import Asked, Comparison, Result
from mobilenets.science.printed import V4_TABLE_6
from mobilenets.science.tables import measured, result, slower

PAIRS = (("MNv4-Conv-S", "MNv2"), ("MNv4-Conv-S", "MNv1"), ("MNv4-Conv-M", "MNv2-2.0x"), ("MNv4-Hybrid-M", "MNv4-Conv-M"))


def table_6(asked: Asked) -> Result:
    """V4 and earlier MobileNets, counted and timed."""
    found = measured(V4_TABLE_6, asked)
    printed = {line.name: line.ms or 0 for line in V4_TABLE_6}
    comparisons = [
        Comparison(
            f"latency of {name} over {other}'s",
            printed[name] / printed[other],
            found.times(name, other).value,
            "times",
            "V4, Table 6: on a Pixel 6's CPU",
            "another processor, another runtime, and floats in place of 8 bits",
        )
        for name, other in PAIRS
    ]
    return result(found, "V4, Table 6", comparisons, [slower(name, other, found.times(name, other)) for name, other in PAIRS])
