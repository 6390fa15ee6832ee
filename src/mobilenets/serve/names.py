"""What models are called in addresses."""

from __future__ import annotations

from collections.abc import Sequence

from mobilenets.errors import UsageError

IMAGES = ".images"
"""What the name of the protocol's model of encoded images ends in."""


def check_names(names: Sequence[str]) -> None:
    """Refuse names that addresses cannot hold, or that mean two models.

    Raises:
        UsageError: there is such a name.
    """
    for name in names:
        if not name or not all(character.isalnum() or character in "-_." for character in name) or not name.isascii():
            raise UsageError(f"'{name}' cannot be part of an address", hint="name the model, as photos=runs/photos")
        if name.endswith(IMAGES):
            raise UsageError(f"a model's name cannot end in '{IMAGES}': '{name}'", hint="name it otherwise, as photos=PATH")
    double = next((name for name in names if names.count(name) > 1), None)
    if double is not None:
        raise UsageError(f"two models are named '{double}'", hint=f"name one of them, as {double}=PATH other=PATH")
