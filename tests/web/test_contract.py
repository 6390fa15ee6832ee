"""The input contract in the browser against the one in Python: the same pixels, for every resize rule and kind of file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.web.corpus import Case, cases, encoded, photo
from tests.web.remote import InBrowser

from mobilenets.runtime.images.decode import decode_image
from mobilenets.runtime.images.prepare import load_placed, prepare
from mobilenets.runtime.manifest import Manifest
from mobilenets.specs.model import IMAGENET_MEAN, IMAGENET_STD, InputContract

# fmt: off
CONTRACTS = {
    "crop_then_stretch":      InputContract(size=96),
    "shorter_side_then_crop": InputContract(size=96, resize="shorter_side_then_crop", interpolation="bicubic",
                                            mean=IMAGENET_MEAN, std=IMAGENET_STD),
    "stretch":                InputContract(size=64, wide=96, resize="stretch", interpolation="lanczos", crop=1.0),
    "letterbox":              InputContract(size=80, wide=120, resize="letterbox", interpolation="bicubic", crop=1.0),
    "sample":                 InputContract(size=64, resize="sample", crop=1.0),
    "nearest":                InputContract(size=64, resize="stretch", interpolation="nearest", crop=1.0),
    "grey":                   InputContract(size=64, channels=1, mean=(0.5,), std=(0.25,)),
}
# fmt: on
CORPUS = list(cases())
ROUNDING = 1e-3  # levels: of 32-bit floats


def levels(first: NDArray[np.float32], second: NDArray[np.float32], contract: InputContract) -> float:
    """The largest difference of two preprocessed images, in levels of 255."""
    std = np.reshape(np.broadcast_to(contract.std, contract.channels), (-1, 1, 1))
    return float((np.abs(first - second) * std * 255).max())


def allowed(case: Case, contract: InputContract) -> float:
    """Levels by which a case may differ: none, but for what browsers decode differently."""
    grey_jpeg = contract.channels == 1 and case.jpeg  # Python takes the brightness that the file has; browsers give colors
    return max(case.levels, 3.0 if grey_jpeg else 0.0)


@pytest.mark.parametrize("rule", CONTRACTS)
def test_prepared_pixels_are_those_of_python(rule: str, workbench: InBrowser, color_model: Path) -> None:
    contract = CONTRACTS[rule]
    workbench.open(color_model, Manifest("any", ("label",), contract))
    workbench.keep([case.data for case in CORPUS])
    far = []
    for case, (values, place) in zip(CORPUS, workbench.prepare_all(), strict=True):
        expected = prepare(decode_image(case.data, channels=contract.channels), contract)
        difference = levels(values, expected, contract)
        if difference > allowed(case, contract) + ROUNDING:
            far.append((case.name, difference))
        assert place == load_placed(case.data, contract)[1], case.name
    assert far == []


def test_a_large_jpeg_differs_from_the_predictors_by_less_than_a_level_on_average(
    workbench: InBrowser, color_model: Path
) -> None:
    """Python decodes a JPEG at a half, a quarter or an eighth where twice the pixels remain; browsers decode it whole."""
    contract = InputContract(size=96)
    workbench.open(color_model, Manifest("any", ("label",), contract))
    sharp = Image.fromarray(photo(300, 200))
    large = encoded(sharp.resize((1200, 800), Image.Resampling.BICUBIC), "JPEG", quality=90)
    values, _ = workbench.prepare(large)
    shrunk, _ = load_placed(large, contract)
    difference = np.abs(values - shrunk) * 0.5 * 255
    assert 0 < difference.mean() < 1
    assert difference.max() < 8


def test_what_is_no_image_is_refused_in_words(workbench: InBrowser) -> None:
    for data, words in ((b"", "The file is empty"), (b"no image at all", "not an image that your browser can read")):
        with pytest.raises(Exception, match=words):
            workbench.prepare(data)
