"""Static checks of a tree: names, functions, kinds that can never fit, constant patterns. Also what an expression depends on."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import NamedTuple

from ccschema.patterns import compile_pattern

from .dialects import COMPARISONS, Dialect
from .errors import SyntaxProblem
from .functions import Function
from .parser import PREDICATES
from .times import METHODS, kind_of
from .tree import Binary, Call, Choice, Index, Let, ListOf, Literal, MapOf, Member, Name, Node, Predicate, Slice, Unary

ANY = "any"
_NUMBERS = ("int", "float", "number")
_PREDICATE_RESULTS = {
    "all": "bool", "any": "bool", "none": "bool", "one": "bool", "count": "int", "findIndex": "int", "findLastIndex": "int",
    "filter": "array", "map": "array", "sortBy": "array", "groupBy": "map", "sum": "number",
}  # fmt: skip


class Checked(NamedTuple):
    """result: kind of the value, `any` when only run time knows. uses: variables, `msg.Method` for methods called on a message,
    and `now()`."""

    result: str
    uses: frozenset[str]


def check(tree: Node, types: Mapping[str, str], functions: Mapping[str, Function], dialect: Dialect) -> Checked:
    """types: variable → string, int, float, number, bool, time, duration, array, map, message, function, any. SyntaxProblem."""
    checker = _Checker(types, functions, dialect)
    return Checked(checker.kind(tree), frozenset(checker.uses))


class _Checker:
    def __init__(self, types: Mapping[str, str], functions: Mapping[str, Function], dialect: Dialect) -> None:
        self.types, self.functions, self.dialect = dict(types), functions, dialect
        self.uses: set[str] = set()

    def kind(self, node: Node) -> str:
        match node:
            case Literal():
                return _literal(node.value)
            case Name():
                return self.name(node)
            case Member():
                return self.member(node)
            case Index():
                self.container(node.of, node.at)
                self.kind(node.key)
                return ANY
            case Slice():
                of = self.container(node.of, node.at)
                for bound in (node.low, node.high):
                    if bound is not None:
                        self.want(bound, *_NUMBERS)
                return of
            case Call():
                return self.call(node)
            case Predicate():
                return self.kind(node.body)
            case Unary():
                return self.unary(node)
            case Binary():
                return self.binary(node)
            case Choice():
                self.want(node.condition, "bool")
                yes, no = self.kind(node.yes), self.kind(node.no)
                return yes if yes == no else ANY
            case Let():
                return self.let(node)
            case ListOf():
                for item in node.items:
                    self.kind(item)
                return "array"
            case MapOf():
                for key, value in node.pairs:
                    self.want(key, "string")
                    self.kind(value)
                return "map"

    def want(self, node: Node, *kinds: str) -> str:
        found = self.kind(node)
        if found != ANY and found not in kinds:
            raise SyntaxProblem(node.at, f"a value of kind {kinds[0]} is needed here, not {found}")
        return found

    def container(self, node: Node, at: int) -> str:
        found = self.kind(node)
        if found not in (ANY, "array", "map", "string"):
            raise SyntaxProblem(at, f"a value of kind {found} has no elements")
        return found

    def name(self, node: Name) -> str:
        if node.name.startswith("#"):
            return "int" if node.name == "#index" else ANY
        self.uses.add(node.name)
        if node.name == "$env":
            return "map"
        found = self.types.get(node.name)
        if found is None:
            if not self.dialect.words and self.dialect.name == "aggregate":
                return ANY  # an unknown variable is null in this language
            raise SyntaxProblem(node.at, f"unknown name {node.name!r}{_meant(node.name, self.types)}")
        return found

    def member(self, node: Member) -> str:
        of = self.kind(node.of)
        if of not in (ANY, "map", "message"):
            raise SyntaxProblem(node.at, f"a value of kind {of} has no member {node.name!r}")
        return ANY

    def call(self, node: Call) -> str:
        for arg in node.args:
            self.kind(arg)
        if isinstance(node.to, Member):
            return self.method(node.to)
        assert isinstance(node.to, Name)
        name = node.to.name
        if self.dialect.words and name in PREDICATES and (len(node.args) > 1 or name not in self.functions):
            return self.predicate(node, name)
        function = self.functions.get(name)
        if function is None:
            if self.types.get(name) in ("function", ANY):
                self.uses.add(name)
                return ANY
            raise SyntaxProblem(node.at, f"unknown function {name!r}{_meant(name, [*self.functions, *PREDICATES])}")
        if not function.low <= len(node.args) <= function.high:
            raise SyntaxProblem(node.at, f"the function {name!r} takes {_count(function)}, not {len(node.args)}")
        if name == "now":
            self.uses.add("now()")
        return function.result

    def predicate(self, node: Call, name: str) -> str:
        most = 3 if name in ("reduce", "sortBy") else 2
        fewest = 1 if name == "count" else 2
        if not fewest <= len(node.args) <= most:
            raise SyntaxProblem(node.at, f"the function {name!r} takes an array and a predicate")
        if self.kind(node.args[0]) not in (ANY, "array", "map"):
            raise SyntaxProblem(node.args[0].at, f"the function {name!r} needs an array")
        return _PREDICATE_RESULTS.get(name, ANY)

    def method(self, to: Member) -> str:
        of = self.kind(to.of)
        if of in METHODS:
            if to.name not in METHODS[of]:
                raise SyntaxProblem(to.at, f"a {of} has no method {to.name!r}{_meant(to.name, list(METHODS[of]))}")
            return METHODS[of][to.name].result
        if of not in (ANY, "message"):
            raise SyntaxProblem(to.at, f"a value of kind {of} has no method {to.name!r}")
        self.uses.add(f"msg.{to.name}")
        known = self.types.get(f"msg.{to.name}")
        if of == "message" and known is None:
            methods = [name[4:] for name in self.types if name.startswith("msg.")]
            raise SyntaxProblem(to.at, f"a message has no method {to.name!r}{_meant(to.name, methods)}")
        return known if known is not None and of == "message" else ANY

    def unary(self, node: Unary) -> str:
        if node.op == "not":
            self.want(node.of, "bool")
            return "bool"
        return self.want(node.of, *_NUMBERS)

    def let(self, node: Let) -> str:
        value = self.kind(node.value)
        if node.name in self.types:
            raise SyntaxProblem(node.at, f"the name {node.name!r} is taken already")
        self.types[node.name] = value
        body = self.kind(node.body)
        del self.types[node.name]
        self.uses.discard(node.name)
        return body

    def binary(self, node: Binary) -> str:
        left, right = self.kind(node.left), self.kind(node.right)
        op = node.op
        if op in ("and", "or"):
            self.both(node, left, right, "bool")
            return "bool"
        if op == "in":
            self.membership(node, right)
            return "bool"
        if op in ("==", "!=", *COMPARISONS):
            self.comparable(node, left, right)
            return "bool"
        if op in ("matches", "=~", "!~", "contains", "startsWith", "endsWith"):
            if isinstance(node.right, Literal) and isinstance(node.right.value, str) and op in ("matches", "=~", "!~"):
                _pattern(node.right)
            self.both(node, left, right, "string", "nil")
            return "bool"
        if op == "??":
            return right if left == right else ANY
        if op == "..":
            self.both(node, left, right, *_NUMBERS)
            return "array"
        return self.arithmetic(node, left, right)

    def both(self, node: Binary, left: str, right: str, *kinds: str) -> None:
        if any(found != ANY and found not in kinds for found in (left, right)):
            raise SyntaxProblem(node.at, f"the operator {node.op!r} does not fit {left} and {right}")

    def membership(self, node: Binary, right: str) -> None:
        kinds = (ANY, "array", "map") if self.dialect.words else (ANY, "array", "map", "string", "nil")
        if right not in kinds:
            raise SyntaxProblem(node.at, f"the operator 'in' needs an array or a map on the right, not {right}")

    def comparable(self, node: Binary, left: str, right: str) -> None:
        a, b = ("number" if kind in _NUMBERS else kind for kind in (left, right))
        if ANY in (a, b) or not self.dialect.words:
            return
        fits = (a == b or "nil" in (a, b)) if node.op in ("==", "!=") else (a == b and a in ("number", "string", "time", "duration"))
        if not fits:
            raise SyntaxProblem(node.at, f"the operator {node.op!r} cannot compare {left} with {right}")

    def time_arithmetic(self, node: Binary, left: str, right: str) -> str:
        if ANY in (left, right):
            return ANY
        a, b = ("number" if kind in _NUMBERS else kind for kind in (left, right))
        result = kind_of(node.op, a, b)
        if result is None:
            raise SyntaxProblem(node.at, f"the operator {node.op!r} does not fit {left} and {right}")
        return result

    def arithmetic(self, node: Binary, left: str, right: str) -> str:
        if node.op == "+" and "string" in (left, right):
            self.both(node, left, right, "string")
            return "string"
        if left in METHODS or right in METHODS:
            return self.time_arithmetic(node, left, right)
        self.both(node, left, right, *_NUMBERS)
        if node.op in ("/", "**"):
            return "float"
        if ANY in (left, right):
            return ANY if node.op == "+" else "number"
        return left if left == right else "number"


def _literal(value: object) -> str:
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "bool"
    return "int" if isinstance(value, int) else "float" if isinstance(value, float) else "string"


def _pattern(node: Literal) -> None:
    try:
        compile_pattern(str(node.value))
    except ValueError as e:
        raise SyntaxProblem(node.at, f"invalid pattern {str(node.value)[:80]!r}: {e}") from None


def _count(function: Function) -> str:
    if function.low == function.high:
        return f"{function.low} argument{'' if function.low == 1 else 's'}"
    return f"at least {function.low} arguments" if function.high > 100 else f"{function.low} to {function.high} arguments"


def _meant(name: str, known: Mapping[str, str] | list[str]) -> str:
    near = get_close_matches(name, [word for word in known if "." not in word], 1)
    return f"; did you mean {near[0]!r}?" if near else ""
