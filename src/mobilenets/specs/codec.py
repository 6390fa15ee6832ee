"""Specs as JSON, both ways. Rows carry their type under `"row"`, heads under `"head"`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from mobilenets.errors import SpecError
from mobilenets.specs import rows
from mobilenets.specs.deeplab import DeepLabHead
from mobilenets.specs.lraspp import LrasppHead
from mobilenets.specs.model import ClassifierHead, Head, InputContract, ModelSpec
from mobilenets.specs.rows import BackboneSpec, Conv, Row
from mobilenets.specs.ssd import SsdHead

HEADS: dict[str, type[Head]] = {kind.__name__: kind for kind in (ClassifierHead, SsdHead, DeepLabHead, LrasppHead)}
"""Every head there is, by the name that files know it by."""


def to_json(spec: ModelSpec) -> str:
    """The spec as indented JSON; `from_json` reads it back to an equal spec."""
    return json.dumps(to_data(spec), indent=1)


def from_json(text: str) -> ModelSpec:
    """The spec that `to_json` wrote.

    Raises:
        SpecError: the text is not JSON or does not describe a model.
    """
    try:
        return _model_spec(json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SpecError(f"not a model spec: {error!r}") from error


def to_data(record: Any) -> Any:  # Any: whatever JSON can hold
    """A record as dicts and lists."""
    if dataclasses.is_dataclass(record) and not isinstance(record, type):
        data = {field.name: to_data(getattr(record, field.name)) for field in dataclasses.fields(record)}
        if isinstance(record, Row):
            return {"row": type(record).__name__, **data}
        return {"head": type(record).__name__, **data} if type(record).__name__ in HEADS else data
    if isinstance(record, tuple | list):
        return [to_data(one) for one in record]
    return record


def input_contract(data: Mapping[str, Any]) -> InputContract:  # Any: JSON
    """The input contract in parsed JSON.

    Raises:
        SpecError: a key is missing or unknown, or a value is out of range.
    """
    try:
        return InputContract(**{**data, "mean": tuple(data["mean"]), "std": tuple(data["std"])})
    except (KeyError, TypeError) as error:
        raise SpecError(f"not an input contract: {error!r}") from error


def head(data: Mapping[str, Any]) -> Head:  # Any: JSON
    """The head in parsed JSON; of a classifier where it does not say which.

    Raises:
        SpecError: no head has this name, or a key is unknown, or a value is out of range.
    """
    fields = {name: _tuples(value) for name, value in data.items() if name != "head"}
    name = data.get("head", ClassifierHead.__name__)
    if name not in HEADS:
        raise SpecError(f"there is no head '{name}'", hint="use the version of mobilenets that wrote the file, or a newer one")
    try:
        return HEADS[name](**fields)
    except TypeError as error:
        raise SpecError(f"not the settings of a head: {error}") from error


def _tuples(value: Any) -> Any:  # Any: JSON
    return tuple(_tuples(one) for one in value) if isinstance(value, list) else value


def _model_spec(data: Mapping[str, Any]) -> ModelSpec:  # Any: JSON
    return ModelSpec(
        **{
            **{name: value for name, value in data.items() if name != "task"},
            "backbone": _backbone(data["backbone"]),
            "labels": tuple(data["labels"]),
            "input": input_contract(data["input"]),
            "head": head(data["head"]),
        }
    )


def _backbone(data: Mapping[str, Any]) -> BackboneSpec:  # Any: JSON
    tail = tuple(Conv(**{key: value for key, value in row.items() if key != "row"}) for row in data["tail"])
    return BackboneSpec(**{**data, "rows": tuple(_row(row) for row in data["rows"]), "tail": tail})


def _row(data: Mapping[str, Any]) -> Row:  # Any: JSON
    fields = dict(data)
    kind: type[Row] = _ROWS[fields.pop("row")]
    return kind(**fields)


_ROWS: dict[str, type[Row]] = {
    kind.__name__: kind
    for kind in (
        rows.Conv,
        rows.Separable,
        rows.Bottleneck,
        rows.Fused,
        rows.Universal,
        rows.Attention,
        rows.ResNetBottleneck,
    )
}
