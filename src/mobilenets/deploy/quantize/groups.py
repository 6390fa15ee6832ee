"""`Groups`: sets of values that operators tie together, as a union-find structure."""

from __future__ import annotations


class Groups:
    """Disjoint groups of names; at first every name is a group of its own.

    >>> groups = Groups()
    >>> groups.join("a", "b")
    >>> groups.of("a") == groups.of("b"), groups.of("a") == groups.of("c")
    (True, False)
    """

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def join(self, name: str, other: str) -> None:
        """Merge the groups of two names."""
        first, second = self.of(name), self.of(other)
        if first != second:
            self._parent[first] = second

    def of(self, name: str) -> str:
        """The name that represents the group of this name."""
        while name in self._parent:
            name = self._parent[name]
        return name
