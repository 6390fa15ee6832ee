"""A small network of each task, which the tests of every format export."""

from __future__ import annotations

from mobilenets.specs.families import backbone
from mobilenets.specs.lraspp import lraspp
from mobilenets.specs.model import InputContract, ModelSpec
from mobilenets.specs.ssd import ssdlite

LABELS = ("cat", 'dög <&"', "emu\n")
BACKBONE = backbone("mobilenet_v3_small", width=0.25)
SPECS = {
    "classify": ModelSpec(BACKBONE, LABELS, InputContract(size=48)),
    "detect": ssdlite(BACKBONE, LABELS, size=(96, 128)),
    "segment": lraspp(BACKBONE, LABELS, size=(64, 96)),
}
