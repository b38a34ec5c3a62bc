"""Expressions of configuration and rules: text → checked tree → closures."""

from __future__ import annotations

from collections.abc import Mapping

from . import functions
from .check import ANY, Checked, check
from .compile import BUDGET, Compiled, Compiler
from .dialects import AGGREGATE, CONDITION, FORMULA, Dialect, prepared
from .errors import EvalError, RuleError, SyntaxProblem
from .parser import parse
from .values import Budget, Methods

__all__ = ["AGGREGATE", "CONDITION", "FORMULA", "Dialect", "EvalError", "Expression", "Methods", "RuleError", "compile_expression"]


class Expression:
    """Call it with the values of its variables. EvalError when it cannot be evaluated for them, and nothing else.

    uses: the variables it reads, and `msg.Method` for methods of a message. result: kind of its value, `any` if only known then.
    """

    __slots__ = ("_makes_lists", "_run", "result", "text", "uses")

    def __init__(self, text: str, run: Compiled, checked: Checked, makes_lists: bool) -> None:
        self.text, self._run, self.result, self.uses = text, run, checked.result, checked.uses
        self._makes_lists = makes_lists

    def __call__(self, env: Mapping[str, object]) -> object:
        try:
            return self._run({**env, BUDGET: Budget()} if self._makes_lists else env)
        except RecursionError:
            raise EvalError("the expression is nested too deeply") from None

    def holds(self, env: Mapping[str, object]) -> bool:
        """For conditions: EvalError when the value is no truth value."""
        value = self(env)
        if value is True or value is False:
            return value
        raise EvalError("the condition gives no truth value")


def compile_expression(
    text: str, env_types: Mapping[str, str], dialect: Dialect = CONDITION, *, wants: str = ANY
) -> Expression | list[RuleError]:
    """env_types: variable → string, int, float, number, bool, time, duration, array, map, message, function, any; `msg.Method` → kind of its result.

    wants: the kind that the value must have (`bool` for conditions). In aggregates an unknown variable is nil; else it is an error.
    """
    table = functions.CONDITION if dialect.words else functions.AGGREGATE
    try:
        tree = parse(prepared(text, dialect), dialect)
        checked = check(tree, env_types, table, dialect)
        fits = ("int", "float", "number") if wants == "number" else (wants,)
        if wants != ANY and checked.result not in (ANY, *fits):
            raise SyntaxProblem(tree.at, f"a value of kind {wants} is needed, this is of kind {checked.result}")
        compiler = Compiler(table, gval=not dialect.words, missing_is_nil=dialect.name == "aggregate")
        run = compiler.node(tree)
    except SyntaxProblem as problem:
        return [RuleError("", f"{problem.text}, at position {problem.at + 1} of {_shown(text)}", "mend the expression")]
    except RecursionError:
        return [RuleError("", f"the expression is nested too deeply: {_shown(text)}", "mend the expression")]
    return Expression(text, run, checked, compiler.makes_lists)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 120 else text[:117] + "...")
