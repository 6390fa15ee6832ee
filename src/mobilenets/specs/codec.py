"""Specs as JSON, in both directions. `"row"` holds a row's kind, and `"head"` a head's."""

from __future__ import annotations

import json
from typing import Any

from mobilenets.documents import Choice, Choices, decode, encode, parse
from mobilenets.errors import DocumentError, SpecError
from mobilenets.specs.heads import HEADS
from mobilenets.specs.model import ClassifierHead, Head, ModelSpec
from mobilenets.specs.rows import ROWS, Row

CHOICES: Choices = {Row: Choice("row", ROWS), Head: Choice("head", HEADS)}
"""The possible types of a row and of a head."""

_CONTRACT = ("size", "channels", "mean", "std", "resize", "crop", "interpolation")


def to_json(spec: ModelSpec) -> str:
    """The spec as indented JSON; `from_json` reads it back as an equal spec."""
    return json.dumps(to_data(spec), indent=1)


def to_data(record: Any) -> Any:  # Any: a spec, a part of one or a manifest, and whatever JSON can hold
    """A record as dicts and lists."""
    return encode(record, choices=CHOICES)


def from_json(text: str) -> ModelSpec:
    """The spec from JSON that `to_json` wrote.

    Raises:
        SpecError: the text is not JSON, or a field is missing, unknown, of the wrong type or out of range.
    """
    try:
        return from_data(parse(text))
    except DocumentError as error:
        raise SpecError(f"not a model spec: {error}") from error


def from_data(data: object) -> ModelSpec:
    """The spec from parsed JSON of this or any earlier version.

    Raises:
        SpecError: a field is missing, unknown, of the wrong type or out of range; the message gives its path.
    """
    try:
        return decode(current(data), ModelSpec, choices=CHOICES)
    except DocumentError as error:
        raise SpecError(f"not a model spec: {error}") from error


def current(data: object) -> object:
    """The parsed JSON of a spec or manifest, converted from the form of earlier versions to the current one.

    Raises:
        DocumentError: the input contract is incomplete. Its fields have defaults in Python, but never in a file.
    """
    if not isinstance(data, dict):
        return data
    data = {key: value for key, value in data.items() if key != "task"}  # it follows from the head
    contract, head = data.get("input"), data.get("head")
    if isinstance(contract, dict) and (missing := [name for name in _CONTRACT if name not in contract]):
        raise DocumentError(f"input: not an input contract, it lacks {', '.join(missing)}")
    if isinstance(head, dict) and "head" not in head:  # once only classifiers existed, first with the backbone's dropout
        data["head"] = {"head": ClassifierHead.__name__} | {key: value for key, value in head.items() if key != "dropout"}
    return data
