"""JSON files from any origin: parsed with fixed limits, decoded into frozen records, and written back.

Records are dataclasses. Their annotations state each field's type and range once (`Annotated[int, Meta(ge=1, le=255)]`).
msgspec checks them when a file is read and names the path of the wrong field; `check_ranges` checks them when Python builds
a record.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import msgspec

from mobilenets.errors import DocumentError

DEPTH = 100
"""Maximum nesting depth. Real files need at most about 30, for the configuration of a Keras model of models."""
LARGEST_INTEGER = 2**63 - 1

Record = TypeVar("Record")


@dataclass(frozen=True, slots=True)
class Choice:
    """A choice of several records for one place in JSON; a key says which of them it is.

    Args:
        key: the key in JSON, such as "row".
        kinds: the records, by their names in files.
        default: the name to assume if the key is missing; "" if it is required.
    """

    key: str
    kinds: Mapping[str, type]
    default: str = ""


Choices = Mapping[type, Choice]
"""Choices, by the protocol that annotates the place."""


def parse(text: str | bytes) -> Any:  # Any: whatever JSON can hold
    """The content of a JSON text. Byte-order marks, UTF-16, and the NaN and Infinity of Python's `json` are accepted.

    Raises:
        DocumentError: it is not JSON, is nested more than `DEPTH` deep, or has an integer beyond `LARGEST_INTEGER`.

    >>> parse('{"a": [1, 2]}')
    {'a': [1, 2]}
    >>> parse("[" * 200 + "]" * 200)
    Traceback (most recent call last):
    ...
    mobilenets.errors.DocumentError: the JSON is nested more than 100 deep
    """
    try:
        value = msgspec.json.decode(text)
    except RecursionError as error:
        raise _too_deep() from error
    except (ValueError, MemoryError):
        value = _parse_leniently(text)
    _check_limits(value)
    return value


def parse_with_file_names(text: str | bytes) -> Any:  # Any: whatever JSON can hold
    """The content of a JSON text with file names. Python writes names that are not UTF-8 with lone surrogates.

    Raises:
        DocumentError: as for `parse`, which also rejects lone surrogates.

    >>> parse_with_file_names(r'{"name": "\\udcff.jpg"}')
    {'name': '\\udcff.jpg'}
    """
    try:
        value = json.loads(text.removeprefix("\ufeff") if isinstance(text, str) else text)
    except RecursionError as error:
        raise _too_deep() from error
    except UnicodeError as error:
        raise DocumentError(f"the text is not valid Unicode: {error}") from error
    except ValueError as error:
        raise DocumentError(f"not JSON: {error}") from error
    _check_limits(value)
    return value


def decode(data: object, kind: type[Record], *, choices: Choices | None = None) -> Record:
    """The record from parsed JSON.

    Args:
        data: as returned by `parse`.
        kind: the record's class.
        choices: the places that allow one of several records.

    Raises:
        DocumentError: a field is missing, unknown, of the wrong type or out of range; the message begins with its path.
    """
    choices = choices or {}
    try:
        record = msgspec.convert(data, kind, dec_hook=functools.partial(_choose, choices))
    except (msgspec.ValidationError, OverflowError) as error:
        raise DocumentError(_readable(str(error), data, kind)) from error
    unknown = _unknown_field(data, encode(record, choices=choices))
    if unknown:
        raise DocumentError(f"{unknown}: this field is unknown")
    return record


def encode(record: Any, *, choices: Choices | None = None) -> Any:  # Any: a record, and whatever JSON can hold
    """A record as dicts and lists, from which `decode` builds an equal record."""
    names = {kind: (choice.key, name) for choice in (choices or {}).values() for name, kind in choice.kinds.items()}
    return _encode(record, names)


def finite(content: Any) -> Any:  # Any: whatever JSON can hold
    """The same content, with null for numbers that JSON cannot express.

    >>> finite({"map": float("nan"), "images": [8, 0.5]})
    {'map': None, 'images': [8, 0.5]}
    """
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    if isinstance(content, Mapping):
        return {key: finite(value) for key, value in content.items()}
    return [finite(item) for item in content] if isinstance(content, list | tuple) else content


def check_ranges(record: Any, error: type[ValueError]) -> None:  # Any: a dataclass
    """Check a record's numbers against the ranges in its annotations.

    Args:
        record: the record that was just built.
        error: the type of error to raise.

    Raises:
        ValueError: of the given type; the message names the field, its value and its range.
    """
    kind: Any = type(record)  # Any: for mypy, classes cannot be hashed
    for name, limits in _limits(kind).items():
        for value in _numbers(getattr(record, name)):
            if not limits.contains(value):
                raise error(f"{name.replace('_', ' ')} {value} is not {limits}")


@dataclass(frozen=True, slots=True)
class _Limits:
    """The allowed range of a field's numbers."""

    ge: float | None
    gt: float | None
    le: float | None
    lt: float | None

    def contains(self, value: float) -> bool:
        return (
            (self.ge is None or value >= self.ge)
            and (self.gt is None or value > self.gt)
            and (self.le is None or value <= self.le)
            and (self.lt is None or value < self.lt)
            and value == value  # not NaN
        )

    def __str__(self) -> str:
        low = "" if self.ge is None else f"at least {self.ge:g}"
        low = low if self.gt is None else f"above {self.gt:g}"
        high = "" if self.le is None else f"at most {self.le:g}"
        high = high if self.lt is None else f"below {self.lt:g}"
        return " and ".join(limit for limit in (low, high) if limit)


@functools.cache
def _limits(kind: type[Any]) -> dict[str, _Limits]:
    """The ranges of a record's fields, including numbers in tuples. Fields without a range are left out."""
    hints = typing.get_type_hints(kind, include_extras=True)
    limits_of = {field.name: _limits_in(hints[field.name]) for field in dataclasses.fields(kind)}
    return {name: limits for name, limits in limits_of.items() if limits is not None}


def _limits_in(hint: Any) -> _Limits | None:  # Any: a type hint
    for meta in getattr(hint, "__metadata__", ()):
        if isinstance(meta, msgspec.Meta) and any(limit is not None for limit in (meta.ge, meta.gt, meta.le, meta.lt)):
            return _Limits(meta.ge, meta.gt, meta.le, meta.lt)
    inner = [_limits_in(argument) for argument in typing.get_args(hint) if argument is not Ellipsis]
    return inner[0] if inner and all(limits == inner[0] for limits in inner) else None


def _numbers(value: object) -> list[float]:
    if isinstance(value, tuple | list):
        return [number for item in value for number in _numbers(item)]
    return [value] if isinstance(value, int | float) else []


def _parse_leniently(text: str | bytes) -> Any:  # Any: whatever JSON can hold
    """The content from Python's own parser, which accepts more encodings, and whose messages name line and column."""
    value = parse_with_file_names(text)
    try:
        json.dumps(value, ensure_ascii=False).encode()  # a lone surrogate could not be written again
    except UnicodeError as error:
        raise DocumentError(f"the text is not valid Unicode: {error}") from error
    return value


def _check_limits(value: object) -> None:
    """Raise for content that is nested too deeply, or has an integer that other programs cannot represent."""
    level: list[Any] = [[value]]  # Any: lists and dicts
    for _ in range(DEPTH + 1):
        deeper = []
        for container in level:
            for item in container.values() if type(container) is dict else container:
                kind = type(item)
                if kind is dict or kind is list:
                    deeper.append(item)
                elif kind is int and not -LARGEST_INTEGER <= item <= LARGEST_INTEGER:
                    raise DocumentError(f"an integer has {item.bit_length()} bits, and at most 63 are read")
        if not deeper:
            return
        level = deeper
    raise _too_deep()


def _too_deep() -> DocumentError:
    return DocumentError(f"the JSON is nested more than {DEPTH} deep")


def _choose(choices: Choices, kind: type, data: object) -> object:
    """The record for a place that allows several; msgspec calls this for every type that it does not know."""
    choice = choices[kind]
    if not isinstance(data, dict):
        raise ValueError(f"Expected `object`, got `{type(data).__name__}`")
    name = data.get(choice.key, choice.default)
    if not isinstance(name, str) or name not in choice.kinds:
        raise ValueError(f"there is no {choice.key} {_short(name)}; known: {', '.join(choice.kinds)}")
    fields = {key: value for key, value in data.items() if key != choice.key}
    try:
        return msgspec.convert(fields, choice.kinds[name], dec_hook=functools.partial(_choose, choices))
    except msgspec.ValidationError as error:  # raised unchanged, it would lose the path to this place
        raise ValueError(_readable(str(error), fields, choice.kinds[name])) from error


def _encode(record: Any, names: Mapping[type, tuple[str, str]]) -> Any:  # Any: as for `encode`
    if dataclasses.is_dataclass(record):
        key = dict([names[type(record)]]) if type(record) in names else {}
        return key | {field.name: _encode(getattr(record, field.name), names) for field in dataclasses.fields(record)}
    if isinstance(record, Mapping):
        return {key: _encode(value, names) for key, value in record.items()}
    if isinstance(record, tuple | list):
        return [_encode(item, names) for item in record]
    return record


def _unknown_field(given: object, known: object, path: str = "") -> str:
    """The path of the first given key that is unknown; "" if there is none."""
    if isinstance(given, dict) and isinstance(known, dict):
        for key, value in given.items():
            key_path = f"{path}.{key}" if path else str(key)
            if key not in known:
                return key_path
            if deeper := _unknown_field(value, known[key], key_path):
                return deeper
    if isinstance(given, list) and isinstance(known, list):
        for i, (value, other) in enumerate(zip(given, known, strict=True)):
            if deeper := _unknown_field(value, other, f"{path}[{i}]"):
                return deeper
    return ""


def _readable(message: str, data: object, kind: type) -> str:
    """msgspec's message, rephrased with the path in front and the value that was found.

    >>> _readable("Expected `int` <= 9 - at `$.rows[1].c`", {"rows": [{}, {"c": 10}]}, dict)
    'rows[1].c is 10, expected int of at most 9'
    """
    reason, _, location = message.rpartition(" - at `$") if " - at `$" in message else (message, "", "")
    path = location.removesuffix("`").removeprefix(".")
    reason = reason.replace("`", "")
    if match := re.fullmatch(r"Object missing required field (.*)", reason):
        return f"{path} lacks '{match[1]}'" if path else f"'{match[1]}' is missing"
    if reason.startswith(("Expected", "Invalid enum value")):
        for pattern, meant in _PLAIN.items():
            reason = re.sub(pattern, meant, reason)
        if values := _known_values(kind, path):
            reason = f"which is not one of {', '.join(map(str, values))}"
        return f"{path} is {_short(_at(data, path))}, {reason}" if path else reason
    return f"{path}: {reason}" if path else reason


_PLAIN = {  # msgspec's words: ours
    r"^Expected \w+ > 0\.0$": "which is not positive",
    r"^Invalid enum value.*": "which is not a known value",
    r"^Expected": "expected",
    r" >= ": " of at least ",
    r" <= ": " of at most ",
    r" > ": " above ",
    r" < ": " below ",
}


def _known_values(kind: Any, path: str) -> tuple[object, ...]:  # Any: a type hint
    """The values of the `Literal` at a path in a record; empty if there is something else."""
    for key, index in _steps(path):
        if dataclasses.is_dataclass(kind):
            kind = typing.get_type_hints(kind, include_extras=True).get(key)
        elif index and (inner := typing.get_args(_bare(kind))):
            kind = inner[0]
    return typing.get_args(_bare(kind)) if typing.get_origin(_bare(kind)) is Literal else ()


def _bare(hint: Any) -> Any:  # Any: type hints
    """A type hint without its range."""
    return hint.__origin__ if hasattr(hint, "__metadata__") else hint


def _steps(path: str) -> list[tuple[str, str]]:
    """The keys and indices of a path, as pairs of which one is empty."""
    return re.findall(r"(\w+)|\[(\d+)\]", path)


def _at(data: Any, path: str) -> object:  # Any: whatever JSON can hold
    for key, index in _steps(path):
        if not isinstance(data, dict | list):
            break
        data = data.get(key) if isinstance(data, dict) else data[int(index)] if index else data
    return data


def _short(value: object) -> str:
    """A value, shortened for a message."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else f"a list of {len(value)}"
    shown = json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
