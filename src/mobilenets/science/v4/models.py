"""V4's networks beside earlier ones (V4, Table 6)."""

from __future__ import annotations

from mobilenets.science.entry import Asked, Result
from mobilenets.science.printed import V4_TABLE_6
from mobilenets.science.tables import beside

PAIRS = (("MNv4-Conv-S", "MNv2"), ("MNv4-Conv-S", "MNv1"), ("MNv4-Conv-M", "MNv2-2.0x"), ("MNv4-Hybrid-M", "MNv4-Conv-M"))


def table_6(asked: Asked) -> Result:
    """V4 and earlier MobileNets, counted and timed."""
    reason = "different processor and runtime, and floats instead of 8 bits"
    return beside(V4_TABLE_6, asked, PAIRS, source="V4, Table 6", device="on a Pixel 6's CPU", reason=reason)
