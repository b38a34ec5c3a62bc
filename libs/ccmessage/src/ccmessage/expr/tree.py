"""Syntax tree of expressions. `at` is the position in the text, for messages."""

from __future__ import annotations

from typing import NamedTuple, Union


class Literal(NamedTuple):
    at: int
    value: object


class Name(NamedTuple):
    """A variable; `#`, `#acc`, `#index` inside predicates; `$env` for all variables."""

    at: int
    name: str


class Member(NamedTuple):
    at: int
    of: Node
    name: str
    optional: bool


class Index(NamedTuple):
    at: int
    of: Node
    key: Node
    optional: bool


class Slice(NamedTuple):
    at: int
    of: Node
    low: Node | None
    high: Node | None


class Call(NamedTuple):
    """`f(…)`: `to` is a Name of a function, or a Member: a method."""

    at: int
    to: Node
    args: tuple[Node, ...]


class Predicate(NamedTuple):
    """Argument of all, any, filter …: evaluated for each element."""

    at: int
    body: Node


class Unary(NamedTuple):
    at: int
    op: str
    of: Node


class Binary(NamedTuple):
    at: int
    op: str
    left: Node
    right: Node


class Choice(NamedTuple):
    at: int
    condition: Node
    yes: Node
    no: Node


class Let(NamedTuple):
    at: int
    name: str
    value: Node
    body: Node


class ListOf(NamedTuple):
    at: int
    items: tuple[Node, ...]


class MapOf(NamedTuple):
    at: int
    pairs: tuple[tuple[Node, Node], ...]


Node = Union[Literal, Name, Member, Index, Slice, Call, Predicate, Unary, Binary, Choice, Let, ListOf, MapOf]  # noqa: UP007
