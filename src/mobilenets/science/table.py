"""All reproductions, by name. To add one, write a function and add a line here."""

from __future__ import annotations

import importlib

from mobilenets.science.entry import Asked, Make, Reproduction, Result
from mobilenets.table import Table

# fmt: off
REPRODUCTIONS: Table[Reproduction] = Table("reproduction", {
    "v1-equation-5": Reproduction("V1", "Equation 5", "The cost of a separable convolution relative to a full one, 1/N + 1/k²", 0.1, "v1.separable:equation_5"),
    "v1-table-4":    Reproduction("V1", "Table 4", "Full convolutions against separable ones: parameters, MACs, latency", 1, "v1.models:table_4", ("seconds",)),
    "v1-table-5":    Reproduction("V1", "Table 5", "A narrow network against a shallow one of the same cost", 1, "v1.models:table_5", ("seconds",)),
    "v1-table-6":    Reproduction("V1", "Table 6", "What the width multiplier saves in parameters, MACs and latency", 1, "v1.models:table_6", ("seconds",)),
    "v1-table-7":    Reproduction("V1", "Table 7", "What the resolution multiplier saves in MACs and latency", 1, "v1.models:table_7", ("seconds",)),
    "v1-figure-4":   Reproduction("V1", "Figure 4", "Accuracy against MACs and latency for 16 widths and resolutions", 3, "v1.models:figure_4", ("seconds",)),
    "v1-figure-5":   Reproduction("V1", "Figure 5", "Accuracy against parameters for 16 widths and resolutions", 0.1, "v1.models:figure_5"),
    "v1-table-8":    Reproduction("V1", "Table 8", "MobileNet compared with GoogLeNet and VGG 16", 3, "v1.models:table_8", ("seconds",)),
    "v1-table-9":    Reproduction("V1", "Table 9", "A reduced MobileNet compared with SqueezeNet and AlexNet", 2, "v1.models:table_9", ("seconds",)),
    "v1-table-4-trained": Reproduction("V1", "Table 4", "Full convolutions against separable ones, trained", 20, "ablation.compared:table_4", ("data", "seeds", "epochs")),
    "v1-table-5-trained": Reproduction("V1", "Table 5", "A narrow network against a shallow one, trained", 20, "ablation.compared:table_5", ("data", "seeds", "epochs")),
    "v2-figure-1":   Reproduction("V2", "Figure 1", "What ReLU destroys of a spiral embedded in 2 to 30 dimensions", 0.2, "v2.spiral:figure_1", ("repeats",)),
    "v2-figure-1-lost": Reproduction("V2", "Figure 1", "How much of the spiral is lost for each n, over many random embeddings", 0.4, "v2.spiral:lost_information", ("repeats",)),
    "v2-lemma-2":    Reproduction("V2", "Lemma 2", "When ReLU of a linear map can be inverted, checked on random matrices", 0.2, "v2.lemma:lemma_2", ("repeats",)),
    "v2-figure-3":   Reproduction("V2", "Figure 3", "A residual block and an inverted one, drawn from their layers", 0.1, "v2.blocks:figure_3"),
    "v2-figure-4":   Reproduction("V2", "Figure 4", "The blocks of V1, V2, ShuffleNet and NASNet-A, drawn operator by operator", 0.2, "v2.blocks:figure_4"),
    "v2-figure-7":   Reproduction("V2", "Figure 7", "Positive channels after each ReLU6, with real weights on real photos", 1, "v2.activations:figure_7", ("weights", "images")),
    "v2-table-3":    Reproduction("V2", "Table 3", "The largest feature map at each resolution: V1, V2 and ShuffleNet", 0.2, "v2.models:table_3"),
    "v2-memory":     Reproduction("V2", "Section 5.1", "The memory plan of each network, operator by operator and row by row", 0.3, "v2.arenas:arenas"),
    "v2-table-4":    Reproduction("V2", "Table 4", "V2 compared with V1, ShuffleNet and NASNet-A: parameters, MACs, latency", 2, "v2.models:table_4", ("seconds",)),
    "v2-figure-5":   Reproduction("V2", "Figure 5", "Accuracy against MACs for V2, V1, ShuffleNet, NASNet-A, and our latencies against a phone's", 5, "v2.models:figure_5", ("seconds",)),
    "v2-table-6":    Reproduction("V2", "Table 6", "SSDLite on V1 and V2 compared with SSD300, SSD512 and YOLOv2", 1, "v2.models:table_6", ("seconds",)),
    "v2-figure-6a":  Reproduction("V2", "Figure 6a", "Linear bottlenecks against bottlenecks with ReLU6, trained", 45, "ablation.compared:figure_6a", ("data", "seeds", "epochs")),
    "v2-figure-6b":  Reproduction("V2", "Figure 6b", "Shortcuts between bottlenecks, between expansions and none, trained", 65, "ablation.compared:figure_6b", ("data", "seeds", "epochs")),
    "v2-expansion":  Reproduction("V2", "Section 3.3", "Expansion ratios of 1, 3 and 6, trained", 40, "ablation.compared:expansion", ("data", "seeds", "epochs")),
    "v3-table-3":    Reproduction("V3", "Table 3", "V3 compared with V2: parameters, MACs, latency", 1, "v3.models:table_3", ("seconds",)),
    "v3-figure-5":   Reproduction("V3", "Figure 5", "What the efficient last stage and the smaller stem save", 1, "v3.models:figure_5", ("seconds",)),
    "v3-figure-6":   Reproduction("V3", "Figure 6", "Sigmoid and swish, their hard versions, and how far these differ", 0.1, "v3.nonlinearities:figure_6"),
    "v3-table-5":    Reproduction("V3", "Table 5", "What hard swish costs when used from 16, 40, 80 or 112 channels on", 1, "v3.models:table_5", ("seconds",)),
    "v3-table-5-trained": Reproduction("V3", "Table 5", "Hard swish everywhere, where V3 has it, and nowhere, trained", 60, "ablation.compared:hard_swish", ("data", "seeds", "epochs")),
    "v3-figure-5-trained": Reproduction("V3", "Section 5.1", "The efficient last stage against the original one, trained", 30, "ablation.compared:last_stage", ("data", "seeds", "epochs")),
    "v3-squeeze":    Reproduction("V3", "Section 5.3", "What squeeze-excite costs at several sizes", 1, "v3.models:squeeze_excite", ("seconds",)),
    "v3-figure-9":   Reproduction("V3", "Figure 9", "From V2 to V3-Large, one idea at a time: parameters, MACs, latency", 1, "v3.models:figure_9", ("seconds",)),
    "v4-roofline":   Reproduction("V4", "Section 3", "What bounds each layer on this machine, and a sweep over ridge points", 2, "v4.roofline:roofline", ("seconds",)),
    "v4-figure-4":   Reproduction("V4", "Figure 4", "What the variants of the universal inverted bottleneck cost", 1, "v4.blocks:figure_4", ("seconds",)),
    "v4-table-6":    Reproduction("V4", "Table 6", "V4 compared with V1, V2 and V3: parameters, MACs, latency", 2, "v4.models:table_6", ("seconds",)),
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
        UnknownNameError: there is none with this name.
        MobileNetsError: it cannot be computed; the message says why.
    """
    return function_of(REPRODUCTIONS[name])(asked)
