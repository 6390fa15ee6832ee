"""The papers' printed values for whole networks, as printed. Our own values are always computed."""

from __future__ import annotations

from dataclasses import dataclass

from mobilenets.science.networks import Network, ours
from mobilenets.specs.families import BACKBONES

OPERATIONS = "printed in operations, two per multiply-add"
WITHOUT_NORMS = "the paper omits the scales and shifts of the batch norms"
NOT_REPRODUCED = "neither 1024 nor 1280 last channels give this number"
TORCHVISION_GOOGLENET = "torchvision's version has batch norms, and 3 x 3 instead of 5 x 5 convolutions"
TORCHVISION_ALEXNET = "torchvision's version has one column and no groups"
TABLES_12_TO_15 = "the paper's own Tables 12 to 15 and the released code match our count"
LAST_1280 = "the released network has 1024 last channels, the printed one 1280"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a table.

    Args:
        name: the paper's name.
        network: the package's name of the network or peer.
        width, size: width and input size of the network.
        top1: ImageNet accuracy, in percent.
        macs: multiply-adds, in millions.
        params: parameters, in millions.
        ms: latency on the paper's phone, in ms; None if not printed.
        why_macs, why_params: why our counts differ, if known.
    """

    name: str
    network: str
    width: float
    size: int
    top1: float
    macs: float
    params: float
    ms: float | None = None
    why_macs: str = ""
    why_params: str = ""

    def built(self) -> Network:
        """The network."""
        if self.network in BACKBONES:
            return ours(self.name, self.network, width=self.width, size=self.size)
        return Network(self.name, peer=self.network)


# fmt: off
V1_TABLE_4 = (
    #    name                    network                 width size top1  macs   params
    Line("Conv MobileNet",       "mobilenet_v1_full",    1.0, 224, 71.7, 4866,  29.3),
    Line("MobileNet",            "mobilenet_v1",         1.0, 224, 70.6, 569,   4.2),
)
V1_TABLE_5 = (
    Line("0.75 MobileNet",       "mobilenet_v1",         0.75, 224, 68.4, 325,  2.6),
    Line("Shallow MobileNet",    "mobilenet_v1_shallow", 1.0, 224, 65.3, 307,   2.9),
)
V1_TABLE_6 = (
    Line("1.0 MobileNet-224",    "mobilenet_v1",         1.0,  224, 70.6, 569,  4.2),
    Line("0.75 MobileNet-224",   "mobilenet_v1",         0.75, 224, 68.4, 325,  2.6),
    Line("0.5 MobileNet-224",    "mobilenet_v1",         0.5,  224, 63.7, 149,  1.3),
    Line("0.25 MobileNet-224",   "mobilenet_v1",         0.25, 224, 50.6, 41,   0.5),
)
V1_TABLE_7 = (
    Line("1.0 MobileNet-224",    "mobilenet_v1",         1.0, 224, 70.6, 569,   4.2),
    Line("1.0 MobileNet-192",    "mobilenet_v1",         1.0, 192, 69.1, 418,   4.2),
    Line("1.0 MobileNet-160",    "mobilenet_v1",         1.0, 160, 67.2, 290,   4.2),
    Line("1.0 MobileNet-128",    "mobilenet_v1",         1.0, 128, 64.4, 186,   4.2),
)
V1_TABLE_8 = (
    Line("1.0 MobileNet-224",    "mobilenet_v1",         1.0, 224, 70.6, 569,   4.2),
    Line("GoogLeNet",            "googlenet",            1.0, 224, 69.8, 1550,  6.8,
         why_macs=TORCHVISION_GOOGLENET, why_params=TORCHVISION_GOOGLENET),
    Line("VGG 16",               "vgg16",                1.0, 224, 71.5, 15300, 138),
)
V1_TABLE_9 = (
    Line("0.50 MobileNet-160",   "mobilenet_v1",         0.5, 160, 60.2, 76,    1.32),
    Line("SqueezeNet",           "squeezenet",           1.0, 224, 57.5, 1700,  1.25, why_macs=OPERATIONS),
    Line("AlexNet",              "alexnet",              1.0, 224, 57.2, 720,   60,
         why_macs=TORCHVISION_ALEXNET, why_params=TORCHVISION_ALEXNET),
)
V1_FIGURE_4 = tuple(  # the 16 networks; accuracies as published with their weights (slim's mobilenet_v1.md)
    Line(f"{width} MobileNet-{size}", "mobilenet_v1", width, size, top1, macs, params)
    for width, params, row in (
        (1.0,  4.24, ((224, 70.9, 569), (192, 70.0, 418), (160, 68.0, 291), (128, 65.2, 186))),
        (0.75, 2.59, ((224, 68.4, 317), (192, 67.2, 233), (160, 65.3, 162), (128, 62.1, 104))),
        (0.5,  1.34, ((224, 63.3, 150), (192, 61.7, 110), (160, 59.1, 77),  (128, 56.3, 49))),
        (0.25, 0.47, ((224, 49.8, 41),  (192, 47.7, 34),  (160, 45.5, 21),  (128, 41.5, 14))),
    )
    for size, top1, macs in row
)
V2_TABLE_4 = (
    #    name                network            width size top1  macs params ms on a Pixel 1
    Line("MobileNetV1",       "mobilenet_v1",    1.0, 224, 70.6, 575, 4.2, 113, "V1 itself prints 569"),
    Line("ShuffleNet (1.5)",  "shufflenet_1.5",  1.0, 224, 71.5, 292, 3.4),
    Line("ShuffleNet (x2)",   "shufflenet_2",    1.0, 224, 73.7, 524, 5.4),
    Line("NasNet-A",          "nasnet_a_mobile", 1.0, 224, 74.0, 564, 5.3, 183),
    Line("MobileNetV2",       "mobilenet_v2",    1.0, 224, 72.0, 300, 3.4, 75,  why_params=WITHOUT_NORMS),
    Line("MobileNetV2 (1.4)", "mobilenet_v2",    1.4, 224, 74.7, 585, 6.9, 143, "released with 582 M", "released with 6.06 M"),
)
V2_FIGURE_5 = tuple(  # accuracies as published with the weights (slim's mobilenet/README.md); ms on a Pixel 1
    Line(f"{width} V2-{size}", "mobilenet_v2", width, size, top1, macs, params, ms)
    for width, params, row in (
        (1.4,  6.06, ((224, 75.0, 582, 138.0),)),
        (1.3,  5.34, ((224, 74.4, 509, 123.0),)),
        (1.0,  3.47, ((224, 71.8, 300, 73.8), (192, 70.7, 221, 55.1), (160, 68.8, 154, 40.2),
                      (128, 65.3, 99, 27.6),  (96, 60.3, 56, 17.6))),
        (0.75, 2.61, ((224, 69.8, 209, 55.8), (192, 68.7, 153, 41.6), (160, 66.4, 107, 30.4),
                      (128, 63.2, 69, 21.9),  (96, 58.8, 39, 14.2))),
        (0.5,  1.95, ((224, 65.4, 97, 28.7),  (192, 63.9, 71, 21.1),  (160, 61.0, 50, 14.9),
                      (128, 57.7, 32, 9.9),   (96, 51.2, 18, 6.4))),
        (0.35, 1.66, ((224, 60.3, 59, 19.7),  (192, 58.2, 43, 14.6),  (160, 55.7, 30, 10.5),
                      (128, 50.8, 20, 6.9),   (96, 45.5, 11, 4.5))),
    )
    for size, top1, macs, ms in row
)
V2_TABLE_6: tuple[tuple[str, float, float, float, float | None], ...] = (
    #                     mAP   M par. G MACs ms on a Pixel 1
    ("SSD300",            23.2, 36.1, 35.2, None),
    ("SSD512",            26.8, 36.1, 99.5, None),
    ("YOLOv2",            21.6, 50.7, 17.5, None),
    ("MNet V1 + SSDLite", 22.2, 5.1,  1.3,  270),
    ("MNet V2 + SSDLite", 22.1, 4.3,  0.8,  200),
)
V2_TABLE_3 = (  # largest map in kB of 16 bits, at each resolution
    #      V1    V2   ShuffleNet (2x, g=3)
    (112,  1600, 400, 800),
    (56,   800,  200, 300),
    (28,   400,  100, 600),
    (14,   200,  62,  310),
    (7,    199,  32,  156),
    (1,    2,    2,   3),
)
V3_TABLE_3 = (
    #    name           network               width size top1  macs params ms on a Pixel 1
    Line("V3-Large 1.0",  "mobilenet_v3_large", 1.0,  224, 75.2, 219, 5.4, 51,   "released with 217 M"),
    Line("V3-Large 0.75", "mobilenet_v3_large", 0.75, 224, 73.3, 155, 4.0, 39),
    Line("V2 1.0",        "mobilenet_v2",       1.0,  224, 72.0, 300, 3.4, 64,   why_params=WITHOUT_NORMS),
    Line("V3-Small 1.0",  "mobilenet_v3_small", 1.0,  224, 67.4, 66,  2.9, 15.8, NOT_REPRODUCED, LAST_1280),
    Line("V3-Small 0.75", "mobilenet_v3_small", 0.75, 224, 65.4, 44,  2.4, 12.8, why_params=LAST_1280),
    Line("V2 0.35",       "mobilenet_v2",       0.35, 224, 60.8, 59.2, 1.6, 16.6, why_params=WITHOUT_NORMS),
)
V4_TABLE_6 = (  # MACs printed in billions with one digit; ms on a Pixel 6's CPU, in 8 bits
    #    name               network                       width size top1  macs  params ms
    Line("MNv3L-0.5x",      "mobilenet_v3_large",         0.5, 224, 69.2, 100,  2.7,  2.4),
    Line("MNv2",            "mobilenet_v2",               1.0, 224, 73.4, 300,  3.5,  5.0),
    Line("MNv1",            "mobilenet_v1",               1.0, 224, 74.0, 600,  4.2,  6.1),
    Line("MNv2-1.5x",       "mobilenet_v2",               1.5, 224, 76.8, 700,  6.8,  9.3),
    Line("MNv2-2.0x",       "mobilenet_v2",               2.0, 224, 78.4, 1100, 11.2, 13.9),
    Line("MNv4-Conv-S",     "mobilenet_v4_conv_small",    1.0, 224, 73.8, 200,  3.8,  2.4),
    Line("MNv4-Conv-M",     "mobilenet_v4_conv_medium",   1.0, 256, 79.9, 1000, 9.2,  11.4, TABLES_12_TO_15, TABLES_12_TO_15),
    Line("MNv4-Hybrid-M",   "mobilenet_v4_hybrid_medium", 1.0, 256, 80.7, 1200, 10.5, 14.3, TABLES_12_TO_15, TABLES_12_TO_15),
)
V3_TABLE_5 = (  # ms on a Pixel 1: with the optimized hard swish, and without
    #                    top1  ms    ms
    ("ReLU everywhere",  74.5, 50.5, 50.5),
    ("h-swish from 112", 75.0, 51.0, 54.4),
    ("V3-Large",         75.2, 51.4, 57.5),
    ("h-swish from 16",  75.4, 53.5, 68.9),
)
# fmt: on
