"""What can be wrong with a rule or an expression."""

from __future__ import annotations

import msgspec


class RuleError(msgspec.Struct, frozen=True):
    """A rule that cannot be compiled. path: inside the options, `add_tags_if[2].if`; empty for a single expression."""

    path: str
    text: str
    remedy: str


class SyntaxProblem(Exception):
    """The text is no expression; `at` is the position in it."""

    def __init__(self, at: int, text: str) -> None:
        super().__init__(text)
        self.at, self.text = at, text


class EvalError(Exception):
    """An expression cannot be evaluated for these values; the text says why."""
