"""Table: a read-only mapping that suggests near names."""

from __future__ import annotations

import pytest

from mobilenets.errors import MobileNetsError
from mobilenets.table import Table

FRUIT = Table("fruit", {"apple": 1, "pear": 2, "peach": 3})


def test_it_is_a_mapping_in_order() -> None:
    assert dict(FRUIT) == {"apple": 1, "pear": 2, "peach": 3}
    assert "pear" in FRUIT
    assert "plum" not in FRUIT


@pytest.mark.parametrize(
    ("name", "message"),
    [("appel", "unknown fruit 'appel'; did you mean 'apple'?"), ("xyz", "unknown fruit 'xyz'; known: apple, pear, peach")],
)
def test_an_unknown_name_suggests(name: str, message: str) -> None:
    with pytest.raises(MobileNetsError) as caught:
        FRUIT[name]
    assert str(caught.value) == message
    assert isinstance(caught.value, KeyError)
