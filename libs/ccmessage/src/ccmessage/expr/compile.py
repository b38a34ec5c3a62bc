"""Tree → closures: each node becomes a function of the environment."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from functools import cmp_to_key
from typing import Any

from ccschema.patterns import compile_pattern

from .dialects import COMPARISONS
from .errors import EvalError
from .functions import Function, integer, items, order, pattern, total
from .parser import PREDICATES
from .tree import Binary, Call, Choice, Index, Let, ListOf, Literal, MapOf, Member, Name, Node, Predicate, Slice, Unary
from .values import Budget, Methods, arithmetic, compare, contains, equal, is_integer, is_list, kind, remainder, truth, wrapped

Env = Mapping[str, object]
Compiled = Callable[[Env], Any]
BUDGET = "$budget"
# What wrong arguments of built-in functions raise.
_WRONG_ARGUMENTS = (TypeError, ValueError, LookupError, ArithmeticError, AttributeError, RecursionError)


class Compiler:
    """gval: numbers are floats, `in` looks into strings, an unknown variable is null (`missing_is_nil`)."""

    def __init__(self, functions: Mapping[str, Function], *, gval: bool, missing_is_nil: bool) -> None:
        self.functions, self.gval, self.missing_is_nil = functions, gval, missing_is_nil
        self.makes_lists = False  # ranges or predicates: the expression needs a budget

    def node(self, node: Node) -> Compiled:
        match node:
            case Literal():
                return self.literal(node.value)
            case Name():
                return self.name(node.name)
            case Member():
                return _member(self.node(node.of), node.name, node.optional)
            case Index():
                return _index(self.node(node.of), self.node(node.key), node.optional)
            case Slice():
                return self.slice(node)
            case Call():
                return self.call(node)
            case Predicate():
                return self.node(node.body)
            case Unary():
                return _unary(node.op, self.node(node.of))
            case Binary():
                return self.binary(node)
            case Choice():
                return _choice(self.node(node.condition), self.node(node.yes), self.node(node.no))
            case Let():
                return _let(node.name, self.node(node.value), self.node(node.body))
            case ListOf():
                parts = [self.node(item) for item in node.items]
                return lambda env: [part(env) for part in parts]
            case MapOf():
                pairs = [(self.node(key), self.node(value)) for key, value in node.pairs]
                return lambda env: {key(env): value(env) for key, value in pairs}

    def literal(self, value: object) -> Compiled:
        if self.gval and is_integer(value):
            value = float(value)
        return lambda env: value

    def name(self, name: str) -> Compiled:
        if name == "$env":
            return lambda env: {key: value for key, value in env.items() if not key.startswith(("$", "#"))}
        if self.missing_is_nil:
            return lambda env: env.get(name)

        def look_up(env: Env) -> object:
            try:
                return env[name]
            except KeyError:
                raise EvalError(f"unknown name {name!r}") from None

        return look_up

    def slice(self, node: Slice) -> Compiled:
        of = self.node(node.of)
        low, high = (None if bound is None else self.node(bound) for bound in (node.low, node.high))

        def part(env: Env) -> object:
            whole = of(env)
            if not (is_list(whole) or isinstance(whole, str)):
                raise EvalError(f"a slice of {kind(whole)} is not possible")
            return whole[integer(low(env)) if low else None : integer(high(env)) if high else None]

        return part

    def call(self, node: Call) -> Compiled:
        args = [self.node(arg) for arg in node.args]
        if isinstance(node.to, Member):
            return _method(self.node(node.to.of), node.to.name, args)
        assert isinstance(node.to, Name)
        name = node.to.name
        if any(isinstance(arg, Predicate) for arg in node.args) or (name in PREDICATES and name not in self.functions):
            self.makes_lists = True
            return _predicate_call(name, args)
        function = self.functions.get(name)
        if function is None:
            to = self.name(name)
            return lambda env: _called(name, to(env), [arg(env) for arg in args])
        plain = function.call
        if len(args) == 1:
            only = args[0]
            return lambda env: _called(name, plain, (only(env),))
        return lambda env: _called(name, plain, [arg(env) for arg in args])

    def binary(self, node: Binary) -> Compiled:
        left, right, op = self.node(node.left), self.node(node.right), node.op
        if op == "and":
            return lambda env: truth(left(env), op) and truth(right(env), op)
        if op == "or":
            return lambda env: truth(left(env), op) or truth(right(env), op)
        if op == "==":
            return lambda env: equal(left(env), right(env))
        if op == "!=":
            return lambda env: not equal(left(env), right(env))
        if op in COMPARISONS:
            return lambda env: compare(op, left(env), right(env))
        if op == "in":
            member = _in_gval if self.gval else contains
            return lambda env: member(left(env), right(env))
        if op in ("matches", "=~", "!~"):
            return _matches(op, left, right, node.right)
        if op in ("contains", "startsWith", "endsWith"):
            return _text_test(op, left, right)
        if op == "??":
            return lambda env: right(env) if (value := left(env)) is None else value
        if op == "..":
            self.makes_lists = True
            return lambda env: _range(left(env), right(env), env)
        if op in ("&", "|", "^", "<<", ">>"):
            return lambda env: _bits(op, left(env), right(env))
        if op == "%" and self.gval:
            return lambda env: float(remainder(integer(left(env)), integer(right(env))))
        return lambda env: arithmetic(op, left(env), right(env))


def _called(name: str, function: object, args: Sequence[object]) -> object:
    if not callable(function):
        raise EvalError(f"{name!r} is no function")
    try:
        return function(*args)
    except EvalError as e:
        raise EvalError(f"{name}: {e}") from None
    except _WRONG_ARGUMENTS as e:
        raise EvalError(f"{name}: wrong arguments ({', '.join(map(kind, args))}): {e}") from None


def _member(of: Compiled, name: str, optional: bool) -> Compiled:
    def get(env: Env) -> object:
        value = of(env)
        if isinstance(value, Mapping):
            return value.get(name)
        if value is None and optional:
            return None
        raise EvalError(f"{kind(value)} has no member {name!r}")

    return get


def _index(of: Compiled, key: Compiled, optional: bool) -> Compiled:
    def get(env: Env) -> object:
        value, at = of(env), key(env)
        if isinstance(value, Mapping):
            return value.get(at) if isinstance(at, str) else None
        if value is None and optional:
            return None
        if not (is_list(value) or isinstance(value, str)):
            raise EvalError(f"{kind(value)} has no elements")
        place = integer(at)
        if not -len(value) <= place < len(value):
            raise EvalError(f"index {place} is outside of the {kind(value)} of length {len(value)}")
        return value[place]

    return get


def _method(of: Compiled, name: str, args: list[Compiled]) -> Compiled:
    def call(env: Env) -> object:
        target = of(env)
        if not isinstance(target, Methods):
            raise EvalError(f"{kind(target)} has no method {name!r}")
        try:
            method = target.method(name)
        except KeyError:
            raise EvalError(f"there is no method {name!r}") from None
        return _called(name, method, [arg(env) for arg in args])

    return call


def _unary(op: str, of: Compiled) -> Compiled:
    if op == "not":
        return lambda env: not truth(of(env), "not")
    if op == "~":
        return lambda env: ~integer(of(env))

    def sign(env: Env) -> object:
        value = of(env)
        return arithmetic("-", 0, value) if op == "-" and value != 0 else _signed(op, value)

    return sign


def _signed(op: str, value: object) -> object:
    if isinstance(value, float):
        return -value if op == "-" else value
    return arithmetic("+", 0, value)


def _choice(condition: Compiled, yes: Compiled, no: Compiled) -> Compiled:
    return lambda env: yes(env) if truth(condition(env), "?") else no(env)


def _let(name: str, value: Compiled, body: Compiled) -> Compiled:
    return lambda env: body({**env, name: value(env)})


def _in_gval(needle: object, hay: object) -> bool:
    """Text in text, integers in lists, an integer in text as digits."""
    if isinstance(hay, str):
        if isinstance(needle, str):
            return needle in hay
        return str(integer(needle)) in hay
    return contains(needle, hay) if hay is None or is_list(hay) or isinstance(hay, Mapping) else False


def _matches(op: str, left: Compiled, right: Compiled, source: Node) -> Compiled:
    known = compile_pattern(source.value) if isinstance(source, Literal) and isinstance(source.value, str) else None

    def test(env: Env) -> bool:
        text, sought = left(env), right(env)
        if text is None or sought is None:
            return op == "!~"
        if not (isinstance(text, str) and isinstance(sought, str)):
            raise EvalError(f"operator {op!r} needs two strings, not {kind(text)} and {kind(sought)}")
        return (known or pattern(sought)).matches(text) != (op == "!~")

    return test


_TEXT_TESTS: Mapping[str, Callable[[str, str], bool]] = {
    "contains": operator.contains,
    "startsWith": str.startswith,
    "endsWith": str.endswith,
}


def _text_test(op: str, left: Compiled, right: Compiled) -> Compiled:
    holds = _TEXT_TESTS[op]

    def test(env: Env) -> bool:
        text, part = left(env), right(env)
        if text is None or part is None:
            return False
        if not (isinstance(text, str) and isinstance(part, str)):
            raise EvalError(f"operator {op!r} needs two strings, not {kind(text)} and {kind(part)}")
        return holds(text, part)

    return test


def _spend(env: Env, count: int) -> None:
    budget = env[BUDGET]
    assert isinstance(budget, Budget)
    budget.spend(count)


def _range(low: object, high: object, env: Env) -> range:
    span = range(integer(low), integer(high) + 1)
    _spend(env, max(0, span.stop - span.start))
    return span


def _bits(op: str, a: object, b: object) -> int:
    x, y = integer(a), integer(b)
    if op in ("<<", ">>"):
        if not 0 <= y <= 63:
            raise EvalError("shifts go by 0 to 63 places")
        return wrapped(x << y) if op == "<<" else x >> y
    return x & y if op == "&" else x | y if op == "|" else x ^ y


# ---- functions with a predicate


def _element(env: Env) -> Any:
    return env["#"]


def _predicate_call(name: str, args: list[Compiled]) -> Compiled:
    source = args[0]
    body: Compiled = args[1] if len(args) > 1 else _element
    rest = args[2:]

    def call(env: Env) -> object:
        whole = source(env)
        elements = [{"key": key, "value": value} for key, value in whole.items()] if isinstance(whole, Mapping) else items(whole)
        _spend(env, len(elements))
        if name == "reduce":
            return _reduce(elements, body, rest, env)
        results = (body({**env, "#": element, "#index": at}) for at, element in enumerate(elements))
        try:
            return _FINISH[name](elements, results, [arg(env) for arg in rest])
        except TypeError as e:
            raise EvalError(f"{name}: {e}") from None

    return call


def _reduce(elements: Sequence[Any], body: Compiled, rest: list[Compiled], env: Env) -> object:
    values = iter(enumerate(elements))
    if rest:
        result = rest[0](env)
    elif elements:
        result = next(values)[1]
    else:
        raise EvalError("reduce: the list is empty")
    for at, element in values:
        result = body({**env, "#": element, "#index": at, "#acc": result})
    return result


Results = Any  # an iterator over what the predicate gives for each element


def _hits(elements: Sequence[Any], results: Results) -> list[int]:
    return [at for at, result in enumerate(results) if truth(result, "predicate")]


def _grouped(elements: Sequence[Any], results: Results) -> dict[str, list[Any]]:
    groups: dict[str, list[Any]] = {}
    for element, key in zip(elements, results, strict=True):
        groups.setdefault(key if isinstance(key, str) else str(key), []).append(element)
    return groups


def _by_key(a: tuple[Any, Any], b: tuple[Any, Any]) -> int:
    return order(a[0], b[0])


def _sorted(elements: Sequence[Any], results: Results, rest: Sequence[Any]) -> list[Any]:
    keyed = sorted(zip(results, elements, strict=True), key=cmp_to_key(_by_key), reverse=list(rest[:1]) == ["desc"])
    return [element for _, element in keyed]


_FINISH: Mapping[str, Callable[[Sequence[Any], Results, list[Any]], Any]] = {
    "all": lambda elements, results, _: all(truth(r, "all") for r in results),
    "any": lambda elements, results, _: any(truth(r, "any") for r in results),
    "none": lambda elements, results, _: not any(truth(r, "none") for r in results),
    "one": lambda elements, results, _: len(_hits(elements, results)) == 1,
    "count": lambda elements, results, _: len(_hits(elements, results)),
    "filter": lambda elements, results, _: [elements[at] for at in _hits(elements, results)],
    "map": lambda elements, results, _: list(results),
    "find": lambda elements, results, _: next((elements[at] for at in _hits(elements, results)), None),
    "findIndex": lambda elements, results, _: next(iter(_hits(elements, results)), -1),
    "findLast": lambda elements, results, _: next((elements[at] for at in reversed(_hits(elements, results))), None),
    "findLastIndex": lambda elements, results, _: next(reversed(_hits(elements, results)), -1),
    "groupBy": lambda elements, results, _: _grouped(elements, results),
    "sortBy": _sorted,
    "sum": lambda elements, results, _: total(list(results)),
}
