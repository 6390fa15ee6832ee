"""`key`: one setting of a recipe on one line: its type, default, range, tasks and meaning.

A *part* is a frozen dataclass of keys. Code that reads, checks or documents settings uses `settings`, so nothing is repeated.
"""

from __future__ import annotations

import dataclasses
import math
import numbers
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, TypeVar

from mobilenets.errors import RecipeError
from mobilenets.table import Table

T = TypeVar("T")
_SWITCHES = {"true": True, "false": False, "yes": True, "no": False, "on": True, "off": False, "1": True, "0": False}


def key(
    default: T,
    meaning: str,
    *,
    between: tuple[float, float] | None = None,
    tasks: tuple[str, ...] = (),
    needs: tuple[object, ...] = (),
) -> T:
    """A field of a part.

    Args:
        default: the key's default; None to keep the model's own value.
        meaning: description for people, with the unit.
        between: minimum and maximum of a number.
        tasks: the tasks that the key applies to; by default all.
        needs: another key, and the values of it for which this key has an effect; without values, any except 0 and "".
    """
    stated = {"meaning": meaning, "between": between, "tasks": tasks, "needs": needs}
    field: T = dataclasses.field(default=default, metadata=stated)
    return field


@dataclass(frozen=True, slots=True)
class Setting:
    """A key, as returned by `settings`.

    Args:
        name: name of the field.
        kind: bool, int, float or str.
        optional: whether None is also a value.
        choices: the allowed values of a text; empty for any text.
        default, meaning, between, tasks, needs: as given to `key`.
        part: the class that defines it.
    """

    name: str
    kind: type
    optional: bool
    choices: tuple[str, ...]
    default: Any  # Any: of the field's type
    meaning: str
    between: tuple[float, float] | None
    tasks: tuple[str, ...]
    needs: tuple[Any, ...]
    part: type

    def check(self, value: object) -> None:
        """Check a value's type and range.

        Raises:
            RecipeError: the value is wrong; the message says what would be right.
        """
        if value is None and self.optional:
            return
        if not isinstance(value, _TYPES[self.kind]) or (isinstance(value, bool) and self.kind is not bool):
            raise RecipeError(f"{self.name} is {value!r}, but a recipe needs a {self.kind.__name__} there")
        if self.choices and value not in self.choices:
            raise RecipeError(f"{self.name}={value} is not one of {', '.join(self.choices)}")
        if self.between is not None:
            low, high = self.between
            if not low <= typing.cast("float", value) <= high:  # also rejects NaN
                raise RecipeError(f"{self.name}={value} is not between {low:g} and {high:g}")

    def parse(self, text: str) -> object:
        """The value from a text, as on the command line.

        Raises:
            RecipeError: it is not of the key's type.
        """
        if self.optional and text.lower() == "none":
            return None
        if self.kind is bool:
            if text.lower() in _SWITCHES:
                return _SWITCHES[text.lower()]
            raise RecipeError(f"{self.name}={text} is not true or false")
        if self.kind is str:
            return text
        try:
            value = float(text)
        except ValueError as error:
            raise RecipeError(f"{self.name}={text} is not a number") from error
        if self.kind is float:
            return value
        if not math.isfinite(value) or value != int(value):
            raise RecipeError(f"{self.name}={text} is not a whole number")
        return int(value)

    def idle(self, values: Mapping[str, Any]) -> str:
        """Why the key has no effect with these values of the other keys, in words; "" if it has one."""
        if not self.needs:
            return ""
        other, *wanted = self.needs
        if values[other] in wanted if wanted else values[other]:
            return ""
        return f"{other}={values[other]}"


_TYPES: dict[type, Any] = {bool: bool, int: numbers.Integral, float: numbers.Real, str: str}  # Any: classes and ABCs


@lru_cache
def settings(record: type) -> Table[Setting]:
    """The keys of a part, or of several combined by inheritance, in the order of definition."""
    hints = typing.get_type_hints(record)
    fields = {field.name: field for field in dataclasses.fields(record)}
    return Table("recipe key", {name: _setting(part, fields[name], hints[name]) for part, name in _written(record)})


def names(record: type) -> tuple[str, ...]:
    """The names of a part's keys."""
    return tuple(settings(record))


def values_of(record: object) -> dict[str, Any]:  # Any: the fields' types differ
    """The values of all keys, in order."""
    kind: type = type(record)
    return {name: getattr(record, name) for name in settings(kind)}


def _written(record: type) -> Iterator[tuple[type, str]]:
    """Each key with the part that defines it: bases before the class that combines them, from left to right."""
    seen = set()
    parts = [part for base in record.__bases__ for part in _parts(base)] + [record]
    for part in parts:
        for field in vars(part).get("__annotations__", {}):
            declared = record.__dataclass_fields__.get(field)  # type: ignore[attr-defined]  # of dataclasses
            if declared is not None and "meaning" in declared.metadata and field not in seen:
                seen.add(field)
                yield part, field


def _parts(record: type) -> list[type]:
    return [] if record is object else [*(part for base in record.__bases__ for part in _parts(base)), record]


def _setting(part: type, field: dataclasses.Field[Any], hint: Any) -> Setting:  # Any: types and type hints
    optional = isinstance(hint, types.UnionType)
    kind = next(member for member in typing.get_args(hint) if member is not type(None)) if optional else hint
    choices = typing.get_args(kind) if typing.get_origin(kind) is Literal else ()
    return Setting(
        name=field.name,
        kind=str if choices else kind,
        optional=optional,
        choices=choices,
        default=field.default,
        part=part,
        **typing.cast("dict[str, Any]", dict(field.metadata)),
    )
