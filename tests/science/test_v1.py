"""V1's figures, against what the paper prints."""

from __future__ import annotations

import pytest

from mobilenets.science.printed import OPERATIONS, V1_TABLE_5, V1_TABLE_9
from mobilenets.science.tables import counted
from mobilenets.science.v1.separable import share


@pytest.mark.parametrize(("n", "k"), [(8, 3), (64, 3), (512, 5), (1024, 7)])
def test_the_share_of_a_separable_convolution_is_equation_5(n: int, k: int) -> None:
    assert share(n, k) == pytest.approx(1 / n + 1 / k**2)


def test_counts_beside_the_papers_are_those_of_the_modules() -> None:
    """V1, Table 5 and the reference count: the shallow network has 307 M multiply-adds and 2.9 M parameters."""
    found = counted(V1_TABLE_5)
    assert round(found.macs["Shallow MobileNet"] / 1e6) == 307
    assert round(found.params["Shallow MobileNet"] / 1e6, 1) == 2.9


def test_a_reason_is_given_only_where_the_count_differs() -> None:
    comparisons = {each.what: each for each in counted(V1_TABLE_9).comparisons("V1, Table 9")}
    assert comparisons["SqueezeNet: MACs"].remark == OPERATIONS
    assert comparisons["SqueezeNet: MACs"].here == pytest.approx(1700 / 2, rel=0.05)
    assert comparisons["SqueezeNet: parameters"].remark == ""
