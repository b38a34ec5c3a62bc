"""Topological scopes of a metric and their order."""

from __future__ import annotations

from enum import StrEnum


class Scope(StrEnum):
    """Where a sample was measured. The members stand from coarse to fine."""

    NODE = "node"
    SOCKET = "socket"
    MEMORY_DOMAIN = "memoryDomain"
    CORE = "core"
    HWTHREAD = "hwthread"
    ACCELERATOR = "accelerator"

    @property
    def rank(self) -> int:
        """Higher is coarser; the numbers are those of the suite (node 10 … accelerator 1)."""
        return _RANK[self]

    @classmethod
    def of(cls, word: str) -> Scope | None:
        """The scope of exactly this word, else None."""
        return _BY_WORD.get(word)


_RANK = {
    Scope.NODE: 10,
    Scope.SOCKET: 5,
    Scope.MEMORY_DOMAIN: 4,
    Scope.CORE: 3,
    Scope.HWTHREAD: 2,
    Scope.ACCELERATOR: 1,
}
_BY_WORD = {scope.value: scope for scope in Scope}


def coarser(a: Scope, b: Scope) -> Scope:
    """The coarser of two scopes."""
    return a if a.rank >= b.rank else b
