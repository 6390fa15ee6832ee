"""Specs as JSON, both ways. Rows carry their kind under `"row"`, heads under `"head"`."""

from __future__ import annotations

import json
from typing import Any

from mobilenets.documents import Choice, Choices, decode, encode, parse
from mobilenets.errors import DocumentError, SpecError
from mobilenets.specs.heads import HEADS
from mobilenets.specs.model import ClassifierHead, Head, ModelSpec
from mobilenets.specs.rows import ROWS, Row

CHOICES: Choices = {Row: Choice("row", ROWS), Head: Choice("head", HEADS)}
"""What may stand in the place of a row and of a head."""

_CONTRACT = ("size", "channels", "mean", "std", "resize", "crop", "interpolation")


def to_json(spec: ModelSpec) -> str:
    """The spec as indented JSON; `from_json` reads it back to an equal spec."""
    return json.dumps(to_data(spec), indent=1)


def to_data(record: Any) -> Any:  # Any: a spec, a part of one or a manifest, and whatever JSON can hold
    """A record as dicts and lists."""
    return encode(record, choices=CHOICES)


def from_json(text: str) -> ModelSpec:
    """The spec that `to_json` wrote.

    Raises:
        SpecError: the text is not JSON, or a field is missing, unknown, of another type or out of range.
    """
    try:
        return from_data(parse(text))
    except DocumentError as error:
        raise SpecError(f"not a model spec: {error}") from error


def from_data(data: object) -> ModelSpec:
    """The spec in parsed JSON, of this version or any before.

    Raises:
        SpecError: a field is missing, unknown, of another type or out of range; the message names its path.
    """
    try:
        return decode(current(data), ModelSpec, choices=CHOICES)
    except DocumentError as error:
        raise SpecError(f"not a model spec: {error}") from error


def current(data: object) -> object:
    """The parsed JSON of a spec or manifest with what earlier versions wrote differently put as this one writes it.

    Raises:
        DocumentError: the input contract is incomplete. Its fields have defaults in Python, but never in a file.
    """
    if not isinstance(data, dict):
        return data
    data = {key: value for key, value in data.items() if key != "task"}  # the head says it
    contract, head = data.get("input"), data.get("head")
    if isinstance(contract, dict) and (missing := [name for name in _CONTRACT if name not in contract]):
        raise DocumentError(f"input: not an input contract, it lacks {', '.join(missing)}")
    if isinstance(head, dict) and "head" not in head:  # there were classifiers only, once with the backbone's dropout
        data["head"] = {"head": ClassifierHead.__name__} | {key: value for key, value in head.items() if key != "dropout"}
    return data
