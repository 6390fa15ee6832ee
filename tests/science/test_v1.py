"""V1's figures, against what the paper prints."""

from __future__ import annotations

import pytest

from mobilenets.science.v1.separable import share


@pytest.mark.parametrize(("n", "k"), [(8, 3), (64, 3), (512, 5), (1024, 7)])
def test_the_share_of_a_separable_convolution_is_equation_5(n: int, k: int) -> None:
    assert share(n, k) == pytest.approx(1 / n + 1 / k**2)
