"""`Table`: the registry type, a read-only mapping that suggests similar names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from mobilenets.errors import UnknownNameError

Value = TypeVar("Value")


class Table(Mapping[str, Value]):
    """A read-only mapping from names to things of one kind.

    Args:
        kind: what one entry is, in the singular ("backbone"), for messages.
        entries: the named things, in the order in which users see them.

    >>> shapes = Table("shape", {"circle": 0, "square": 4})
    >>> shapes["square"]
    4
    >>> shapes["sqare"]
    Traceback (most recent call last):
    ...
    mobilenets.errors.UnknownNameError: unknown shape 'sqare'; did you mean 'square'?
    """

    def __init__(self, kind: str, entries: Mapping[str, Value]) -> None:
        self.kind = kind
        self._entries = dict(entries)

    def __getitem__(self, name: str) -> Value:
        if name in self._entries:
            return self._entries[name]
        raise unknown_name(self.kind, name, self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"Table({self.kind!r}, {list(self._entries)})"


def unknown_name(kind: str, name: str, known: Mapping[str, object]) -> UnknownNameError:
    """The error for a name that is not among `known`; it suggests similar names, or lists all of them."""
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    suggestion = did_you_mean(near) if near else "known: " + ", ".join(known)
    return UnknownNameError(f"unknown {kind} '{name}'; {suggestion}")


def did_you_mean(near: Iterable[str]) -> str:
    """The question whether one of these names was meant.

    >>> did_you_mean(["a", "b"])
    "did you mean 'a' or 'b'?"
    """
    return "did you mean " + " or ".join(f"'{name}'" for name in near) + "?"
