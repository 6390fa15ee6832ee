"""Conversion of Python numbers, records and arrays to C++ source."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

WIDTH = 124
"""Characters per line of numbers."""

_TYPES = {"int8": "std::int8_t", "uint8": "std::uint8_t", "int32": "std::int32_t", "float32": "float", "void8": "std::byte"}
_LEAST = -(2**31)


@dataclass(frozen=True, slots=True)
class Array:
    """A constant array.

    Args:
        name: its name in C++.
        numbers: of a type that C++ has, in any shape.
        about: a description, for a comment.
    """

    name: str
    numbers: NDArray[Any]  # Any: integers or floats
    about: str = ""

    @property
    def declaration(self) -> str:
        """The declaration, without numbers."""
        return f"extern const {type_name(self.numbers.dtype)} {self.name}[{self.numbers.size}];"

    @property
    def definition(self) -> str:
        """The definition, with its numbers."""
        about = f"// {comment(self.about)}\n" if self.about else ""
        kind = type_name(self.numbers.dtype)
        return f"{about}alignas(16) const {kind} {self.name}[{self.numbers.size}] = {{\n{_lines(self.numbers)}}};\n"

    @property
    def size_bytes(self) -> int:
        """Size of the numbers."""
        return self.numbers.nbytes


@dataclass(frozen=True, slots=True)
class Name:
    """A C++ name as the value of a field."""

    name: str


Field = bool | int | float | Name | Mapping[str, Any] | tuple[Any, ...]  # Any: a `Field`; a tuple has no names


def type_name(number: np.dtype[Any]) -> str:  # Any: of a number that C++ has
    """The type of a number in C++."""
    return _TYPES[number.name]


def record(value: Field) -> str:
    """A record or value as a C++ initializer. Fields that are None are left out and keep their C++ defaults."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | np.integer():
            return f"({_LEAST + 1} - 1)" if value == _LEAST else str(int(value))
        case float() | np.floating():
            return real(float(value))
        case Name(name):
            return name
        case tuple():
            return "{" + ", ".join(record(each) for each in value) + "}"
        case _:
            return "{" + ", ".join(f".{key} = {record(each)}" for key, each in value.items() if each is not None) + "}"


def real(number: float) -> str:
    """A 32-bit float as a literal that represents it exactly.

    >>> real(0.1), real(3.0), real(1e-9)
    ('0.1F', '3.0F', '1e-09F')
    """
    return f"{np.float32(number)!s}F"


def text_literal(text: str) -> str:
    """A string as a C++ literal; UTF-8 bytes beyond ASCII are escaped."""
    plain = "".join(chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?' else f"\\{byte:03o}" for byte in text.encode())
    return f'"{plain}"'


def comment(text: str) -> str:
    """A text that is safe in a C++ line comment: no character of it ends the line or joins it with the next."""
    return "".join(character if character.isprintable() and character != "\\" else "?" for character in text)


def _lines(numbers: NDArray[Any]) -> str:
    flat = numbers.ravel().tolist()
    words = (_WORDS[numbers.dtype.kind](number) for number in flat)
    lines: list[str] = []
    line: list[str] = []
    length = 0
    for word in words:
        if length + len(word) + 2 > WIDTH:
            lines.append(", ".join(line))
            line, length = [], 0
        line.append(word)
        length += len(word) + 2
    lines.append(", ".join(line))
    return "".join(f"    {each},\n" for each in lines)


_WORDS: dict[str, Callable[[Any], str]] = {  # Any: a number of the array
    "i": record,
    "u": record,
    "f": real,
    "V": lambda byte: f"std::byte{{{byte[0]}}}",
}
