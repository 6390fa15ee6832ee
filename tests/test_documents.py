"""Documents: one set of limits for every JSON file, and the path of the wrong field."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal, Protocol, runtime_checkable

import pytest
from msgspec import Meta

from mobilenets.documents import DEPTH, Choice, Choices, check_ranges, decode, encode, parse
from mobilenets.errors import DocumentError, MobileNetsError, SpecError


@runtime_checkable
class Shape(Protocol):
    shape: ClassVar[str]


@dataclass(frozen=True, slots=True)
class Circle:
    shape: ClassVar[str] = "round"
    radius: Annotated[float, Meta(gt=0, le=10)] = 1.0


@dataclass(frozen=True, slots=True)
class Square:
    shape: ClassVar[str] = "angular"
    side: Annotated[int, Meta(ge=1, le=10)]
    color: Literal["red", "blue"] = "red"

    def __post_init__(self) -> None:
        check_ranges(self, SpecError)
        if self.side == 7:
            raise SpecError("seven is not allowed")


@dataclass(frozen=True, slots=True)
class Drawing:
    shapes: Annotated[tuple[Shape, ...], Meta(min_length=1)]
    first: Square | None = None
    corners: tuple[tuple[Annotated[float, Meta(ge=0, le=1)], ...], ...] = ()
    notes: dict[str, float] = field(default_factory=dict)


CHOICES: Choices = {Shape: Choice("kind", {"Circle": Circle, "Square": Square})}
DRAWING = Drawing((Circle(2.5), Square(3, "blue")), Square(2), ((0.0, 0.5), (1.0,)), {"a": 1.5})


def test_a_record_reads_back_equal() -> None:
    data = encode(DRAWING, choices=CHOICES)
    assert data["shapes"] == [{"kind": "Circle", "radius": 2.5}, {"kind": "Square", "side": 3, "color": "blue"}]
    assert decode(data, Drawing, choices=CHOICES) == DRAWING


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "expected object, got array"),
        ({}, "'shapes' is missing"),
        ({"shapes": []}, "shapes is a list of 0, expected array of length of at least 1"),
        ({"shapes": [3]}, r"shapes\[0\] is 3, expected object, got int"),
        ({"shapes": [{"radius": 1}]}, r"shapes\[0\]: there is no kind ''; known: Circle, Square"),
        ({"shapes": [{"kind": "Oval"}]}, r"shapes\[0\]: there is no kind 'Oval'; known: Circle, Square"),
        ({"shapes": [{"kind": ["Circle"]}]}, r"shapes\[0\]: there is no kind a list of 1"),
        ({"shapes": [{"kind": "Circle"}, {"kind": "Square"}]}, r"shapes\[1\]: 'side' is missing"),
        ({"shapes": [{"kind": "Square", "side": "x"}]}, r"shapes\[0\]: side is 'x', expected int, got str"),
        ({"shapes": [{"kind": "Square", "side": True}]}, r"shapes\[0\]: side is true, expected int, got bool"),
        ({"shapes": [{"kind": "Square", "side": 11}]}, r"shapes\[0\]: side is 11, expected int of at most 10"),
        ({"shapes": [{"kind": "Square", "side": 10**30}]}, r"shapes\[0\]: "),
        ({"shapes": [{"kind": "Square", "side": 7}]}, r"shapes\[0\]: seven is not allowed"),
        ({"shapes": [{"kind": "Circle", "radius": float("nan")}]}, r"shapes\[0\]: radius is NaN"),
        ({"shapes": [{"kind": "Circle", "radius": 0}]}, "radius is 0, which is not positive"),
        (
            {"shapes": [{"kind": "Square", "side": 1, "color": "green"}]},
            r"shapes\[0\]: color is 'green', which is not one of red, blue",
        ),
        ({"shapes": [{"kind": "Circle"}], "corners": [[0, 1], [2]]}, r"corners\[1\]\[0\] is 2, expected float of at most 1.0"),
        ({"shapes": [{"kind": "Circle"}], "corner": 1}, "corner: this field is unknown"),
        ({"shapes": [{"kind": "Circle", "side": 1}]}, r"shapes\[0\].side: this field is unknown"),
        ({"shapes": [{"kind": "Circle"}], "first": {"side": 1, "sides": 2}}, r"first.sides: this field is unknown"),
    ],
)
def test_a_wrong_field_is_named_by_its_path(data: object, message: str) -> None:
    with pytest.raises(DocumentError, match=message):
        decode(data, Drawing, choices=CHOICES)


def test_ranges_hold_in_python_too() -> None:
    with pytest.raises(SpecError, match="side 11 is not at least 1 and at most 10"):
        Square(11)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000 + "]" * 100_000,
        '{"a":' * 100_000 + "1" + "}" * 100_000,
        "[" * 100_000,
        "[" * (DEPTH + 1) + "]" * (DEPTH + 1),
        '[{"a": ' * 60 + "1" + "}]" * 60,
        "[NaN, " + "[" * 200 + "]" * 200 + "]",
    ],
)
def test_json_that_nests_too_deep_is_refused(text: str) -> None:
    for form in (text, text.encode()):
        with pytest.raises(DocumentError, match="nested more than 100 deep"):
            parse(form)


def test_json_as_deep_as_the_limit_is_read() -> None:
    value = parse("[" * DEPTH + "]" * DEPTH)
    for _ in range(DEPTH - 1):
        [value] = value
    assert value == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1" + "0" * 400 + "]", "an integer has 1329 bits"),
        ("[1" + "0" * 5000 + "]", "not JSON: .*integer"),
        ("[-9223372036854775808]", "an integer has 64 bits"),
        ("", "not JSON: .*line 1 column 1"),
        ('{"a": 1', "not JSON: .*line 1 column 8"),
        (b'["\xff"]', "Unicode"),
        (r'["\ud800"]', "Unicode"),
        (r'{"\udfff": NaN}', "Unicode"),
    ],
)
def test_other_texts_that_cannot_be_read_say_why(text: str | bytes, message: str) -> None:
    with pytest.raises(DocumentError, match=message):
        parse(text)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32-be"])
def test_texts_in_any_encoding_of_unicode_are_read(encoding: str) -> None:
    assert parse('{"Möwe": [1, 2.5, null]}'.encode(encoding)) == {"Möwe": [1, 2.5, None]}


def test_a_byte_order_mark_in_text_is_passed_over() -> None:
    assert parse("\ufeff[true]") == [True]


def test_what_pythons_own_writer_makes_of_nan_is_read() -> None:
    assert str(parse('{"loss": NaN, "best": -Infinity}')) == "{'loss': nan, 'best': -inf}"


def test_a_caller_may_catch_it_as_a_value_error() -> None:
    assert issubclass(DocumentError, ValueError)
    assert issubclass(DocumentError, MobileNetsError)
