"""Checks the names of models in addresses."""

from __future__ import annotations

from collections.abc import Sequence

from mobilenets.errors import UsageError

IMAGES = ".images"
"""Suffix of the protocol's models for encoded images."""


def check_names(names: Sequence[str]) -> None:
    """Check that names fit into addresses, and that each means only one model.

    Raises:
        UsageError: a name does not.
    """
    for name in names:
        if not name or not all(character.isalnum() or character in "-_." for character in name) or not name.isascii():
            raise UsageError(f"'{name}' cannot be part of an address", hint="name the model, as photos=runs/photos")
        if name.endswith(IMAGES):
            raise UsageError(
                f"a model's name cannot end in '{IMAGES}': '{name}'", hint="choose another name, as in photos=PATH"
            )
    double = next((name for name in names if names.count(name) > 1), None)
    if double is not None:
        raise UsageError(f"two models are named '{double}'", hint=f"name one of them, as {double}=PATH other=PATH")
