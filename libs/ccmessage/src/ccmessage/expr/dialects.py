"""The expression languages of the suite as data: precedence tables (the specification) and what is special about each.

- CONDITION: message processor and job classes (expr-lang; messages-and-lib 5.4).
- AGGREGATE: `interval_aggregates` of the collector (gval; metric-collector 6).
- FORMULA: LIKWID's `calc` (gval over float64; metric-collector 4.27.4).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Dialect(NamedTuple):
    """binary: operator → precedence, higher binds tighter; unary: operator → precedence of its operand."""

    name: str
    binary: Mapping[str, int]
    unary: Mapping[str, int]
    right: frozenset[str]  # right-associative operators
    ternary: int
    words: bool  # let, if, not in, pipes, predicates with #, chained comparisons
    quotes: str
    aliases: Mapping[str, str]  # operators that mean another


_EXPR_BINARY = {
    "|": 0, "or": 10, "and": 15, "==": 20, "!=": 20, "<": 20, ">": 20, "<=": 20, ">=": 20, "in": 20, "matches": 20,
    "contains": 20, "startsWith": 20, "endsWith": 20, "..": 25, "+": 30, "-": 30, "*": 60, "/": 60, "%": 60, "**": 100, "??": 500,
}  # fmt: skip
_GVAL_BINARY = {
    "??": 10, "or": 20, "and": 30, "==": 40, "!=": 40, "<": 40, "<=": 40, ">": 40, ">=": 40, "=~": 40, "!~": 40, "in": 40,
    "^": 60, "&": 60, "|": 60, "<<": 90, ">>": 90, "+": 120, "-": 120, "*": 150, "/": 150, "%": 150, "**": 200,
}  # fmt: skip
# Operands of gval's unary operators are single operands: `-a**b` is `(-a)**b`.
_OPERAND = 1000
NEGATABLE = ("in", "matches", "contains", "startsWith", "endsWith")
COMPARISONS = ("<", ">", "<=", ">=")

CONDITION = Dialect(
    "condition",
    _EXPR_BINARY,
    {"not": 50, "-": 90, "+": 90},
    frozenset({"**"}),
    5,
    True,
    "'\"`",
    {"&&": "and", "||": "or", "!": "not", "^": "**"},
)
AGGREGATE = Dialect("aggregate", _GVAL_BINARY, {"-": _OPERAND, "not": _OPERAND, "~": _OPERAND}, frozenset(), 5, False, '"`',
                    {"&&": "and", "||": "or", "!": "not"})  # fmt: skip
FORMULA = AGGREGATE._replace(name="formula", binary={op: level for op, level in _GVAL_BINARY.items() if op != "%"})


def prepared(text: str, dialect: Dialect) -> str:
    """The text as the dialect's users write it → as it is parsed (of the same length where positions matter to nobody else).

    Conditions: `type-id` is the key `typeid`. gval: single quotes are double quotes; formulas: `%` is a backslash.
    """
    if dialect.name == "condition":
        return text.replace("type-id", "typeid")
    text = text.replace("'", '"')
    return text.replace("%", "\\") if dialect.name == "formula" else text
