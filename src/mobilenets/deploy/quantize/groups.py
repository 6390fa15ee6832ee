"""`Groups`: values that belong together, because of operators that tie one to another."""

from __future__ import annotations


class Groups:
    """Names in groups, every name alone at first.

    >>> groups = Groups()
    >>> groups.join("a", "b")
    >>> groups.of("a") == groups.of("b"), groups.of("a") == groups.of("c")
    (True, False)
    """

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def join(self, name: str, other: str) -> None:
        """Put two names, and all that belong to either, into one group."""
        first, second = self.of(name), self.of(other)
        if first != second:
            self._parent[first] = second

    def of(self, name: str) -> str:
        """The name that stands for the group."""
        while name in self._parent:
            name = self._parent[name]
        return name
