"""Everything that can be reproduced, by name. Adding one is a function and a line here."""

from __future__ import annotations

import importlib

from mobilenets.science.entry import Asked, Make, Reproduction, Result
from mobilenets.table import Table

# fmt: off
REPRODUCTIONS: Table[Reproduction] = Table("reproduction", {
    "v1-equation-5": Reproduction("V1", "Equation 5", "The cost of a separable convolution as a share of a full one's, 1/N + 1/k²", 0.1, "v1.separable:equation_5"),
    "v2-figure-1":   Reproduction("V2", "Figure 1", "What ReLU destroys of a spiral that is embedded in 2 to 30 dimensions", 0.2, "v2.spiral:figure_1", ("repeats",)),
    "v3-figure-6":   Reproduction("V3", "Figure 6", "Sigmoid and swish beside their hard versions, and how far they are apart", 0.1, "v3.nonlinearities:figure_6"),
})
# fmt: on


def function_of(reproduction: Reproduction) -> Make:
    """The function that computes a reproduction; its module is imported now."""
    module, _, name = reproduction.function.partition(":")
    make: Make = getattr(importlib.import_module(f"mobilenets.science.{module}"), name)
    return make


def reproduce(name: str, asked: Asked) -> Result:
    """Compute a reproduction.

    Raises:
        UnknownNameError: there is none of this name.
        MobileNetsError: it cannot be computed; the message says why.
    """
    return function_of(REPRODUCTIONS[name])(asked)
