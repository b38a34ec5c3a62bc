"""Functions of the expression languages: name → (callable, fewest arguments, most arguments, kind of the result).

Callables raise EvalError or any built-in exception on wrong arguments; the compiler makes EvalErrors of them.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cmp_to_key, lru_cache
from typing import Any, NamedTuple

from ccschema.patterns import Pattern, compile_pattern

from .errors import EvalError
from .times import Duration, Time, date, duration, now
from .values import MAX_ELEMENTS, compare, equal, is_integer, is_list, is_number, kind, wrapped

MANY = 1_000


class Function(NamedTuple):
    call: Callable[..., Any]
    low: int
    high: int
    result: str = "any"


@lru_cache(maxsize=256)
def pattern(text: str) -> Pattern:
    """Patterns that are not constant in the expression."""
    try:
        return compile_pattern(text)
    except ValueError as e:
        raise EvalError(f"invalid pattern {text[:80]!r}: {e}") from None


def items(x: object) -> Sequence[Any]:
    if not is_list(x):
        raise EvalError(f"an array is needed, not {kind(x)}")
    return x


def numbers(*args: object) -> list[float]:
    """Numbers given one by one, or in arrays."""
    found: list[float] = []
    for arg in args:
        for entry in arg if is_list(arg) else (arg,):
            if not is_number(entry):
                raise EvalError(f"numbers are needed, not {kind(entry)}")
            found.append(entry)
    return found


def some(*args: object) -> list[float]:
    found = numbers(*args)
    if not found:
        raise EvalError("the list is empty")
    return found


def text(x: object) -> str:
    if not isinstance(x, str):
        raise EvalError(f"a string is needed, not {kind(x)}")
    return x


def integer(x: object) -> int:
    """Integral floats count as integers."""
    if is_integer(x):
        return int(x)
    if isinstance(x, float) and x.is_integer():
        return int(x)
    raise EvalError(f"an integer is needed, not {kind(x)}")


def total(*args: object) -> float:
    found = numbers(*args)
    return wrapped(int(sum(found))) if all(map(is_integer, found)) else math.fsum(found) if _finite(found) else sum(found)


def _finite(found: Sequence[float]) -> bool:
    return all(map(math.isfinite, found))


def mean(*args: object) -> float:
    found = some(*args)
    return float(total(*found)) / len(found)


def median(*args: object) -> float:
    """The middle, or the mean of the two middle ones; of one integer kind with a whole middle that kind."""
    found = sorted(some(*args))
    low, high = found[(len(found) - 1) // 2], found[len(found) // 2]
    return low if low == high else (low + high) / 2


def length(x: object) -> int:
    if isinstance(x, str | Mapping) or is_list(x):
        return len(x)
    raise EvalError(f"{kind(x)} has no length")


def to_int(x: object) -> int:
    if is_number(x):
        return wrapped(int(x))
    try:
        return wrapped(int(text(x).replace("_", " ")))
    except ValueError:
        raise EvalError(f"{str(x)[:80]!r} is no integer") from None


def to_float(x: object) -> float:
    if is_number(x):
        return float(x)
    try:
        return float(text(x).replace("_", " "))
    except ValueError:
        raise EvalError(f"{str(x)[:80]!r} is no number") from None


def to_text(x: object) -> str:
    """As a field's value becomes a tag: floats in shortest form without `.0`."""
    if isinstance(x, bool):
        return "true" if x else "false"
    if isinstance(x, float):
        return repr(x).removesuffix(".0")
    if isinstance(x, str):
        return x
    if x is None:
        return "nil"
    if isinstance(x, Time | Duration):
        return str(x)
    return str(int(x)) if isinstance(x, int) else to_json(x)


def rounded(x: object) -> float:
    value = to_float(x)
    return math.copysign(math.floor(abs(value) + 0.5), value) if math.isfinite(value) else value


def to_json(x: object) -> str:
    return json.dumps(x, ensure_ascii=False, default=lambda o: dict(o) if isinstance(o, Mapping) else list(o), separators=(",", ":"))


def get(of: object, key: object, default: object = None) -> object:
    if isinstance(of, Mapping):
        return of.get(key, default) if isinstance(key, str) else default
    if is_list(of) and is_integer(key):
        return of[key] if -len(of) <= key < len(of) else default
    return default


def take(x: object, n: object) -> list[Any]:
    return list(items(x)[: max(0, integer(n))])


def uniq(x: object) -> list[Any]:
    found: list[Any] = []
    for entry in items(x):
        if not any(equal(entry, known) for known in found):
            found.append(entry)
    return found


def flatten(x: object) -> list[Any]:
    found: list[Any] = []
    for entry in items(x):
        found.extend(flatten(entry) if is_list(entry) else [entry])
    return found


def concat(*args: object) -> list[Any]:
    return [entry for arg in args for entry in items(arg)]


def order(a: object, b: object) -> int:
    return -1 if compare("<", a, b) else int(compare(">", a, b))


def ordered(x: object, direction: object = "asc") -> list[Any]:
    return sorted(items(x), key=cmp_to_key(order), reverse=direction == "desc")


def join(x: object, glue: object = "") -> str:
    return text(glue).join(text(entry) for entry in items(x))


def split(x: object, sep: object, n: object = -1) -> list[str]:
    limit = integer(n)
    if text(sep) == "":
        return list(text(x))
    return [] if limit == 0 else text(x).split(text(sep), limit - 1 if limit > 0 else -1)


def split_after(x: object, sep: object) -> list[str]:
    parts = split(x, sep)
    return [part + text(sep) for part in parts[:-1]] + parts[-1:] if text(sep) else parts


def repeat(x: object, n: object) -> str:
    if integer(n) < 0 or len(text(x)) * integer(n) > MAX_ELEMENTS:
        raise EvalError(f"repeat: the result must have 0 to {MAX_ELEMENTS} characters")
    return text(x) * integer(n)


def replace(x: object, old: object, new: object) -> str:
    source, sought, put = text(x), text(old), text(new)
    if (source.count(sought) + 1) * len(put) + len(source) > 10 * MAX_ELEMENTS:
        raise EvalError("replace: the result is too long")
    return source.replace(sought, put)


def shifted(x: object, by: object) -> int:
    places = integer(by)
    if not 0 <= places <= 63:
        raise EvalError("shifts go by 0 to 63 places")
    return wrapped(integer(x) << places)


def shifted_right(x: object, by: object) -> int:
    if not 0 <= integer(by) <= 63:
        raise EvalError("shifts go by 0 to 63 places")
    return integer(x) >> integer(by)


def shifted_right_unsigned(x: object, by: object) -> int:
    if not 0 <= integer(by) <= 63:
        raise EvalError("shifts go by 0 to 63 places")
    return wrapped((integer(x) % 2**64) >> integer(by))


def match(expression: object, of: object) -> bool:
    """Search; `%` stands for a backslash (`temp_core_%d+`)."""
    return pattern(text(expression).replace("%", "\\")).matches(text(of))


def decoded_base64(x: object) -> str:
    return base64.b64decode(text(x), validate=True).decode()


def pairs_of(x: Mapping[str, Any]) -> list[list[Any]]:
    return [[key, value] for key, value in x.items()]


CONDITION: Mapping[str, Function] = {
    "len": Function(length, 1, 1, "int"),
    "type": Function(kind, 1, 1, "string"),
    "int": Function(to_int, 1, 1, "int"),
    "float": Function(to_float, 1, 1, "float"),
    "string": Function(to_text, 1, 1, "string"),
    "abs": Function(lambda x: abs(some(x)[0]), 1, 1, "number"),
    "ceil": Function(lambda x: float(math.ceil(to_float(x))), 1, 1, "float"),
    "floor": Function(lambda x: float(math.floor(to_float(x))), 1, 1, "float"),
    "round": Function(rounded, 1, 1, "float"),
    "min": Function(lambda *a: min(some(*a)), 1, MANY, "number"),
    "max": Function(lambda *a: max(some(*a)), 1, MANY, "number"),
    "sum": Function(total, 1, MANY, "number"),
    "mean": Function(mean, 1, MANY, "float"),
    "median": Function(median, 1, MANY, "number"),
    "first": Function(lambda x: next(iter(items(x)), None), 1, 1),
    "last": Function(lambda x: items(x)[-1] if items(x) else None, 1, 1),
    "take": Function(take, 2, 2, "array"),
    "keys": Function(lambda x: list(x.keys()), 1, 1, "array"),
    "values": Function(lambda x: list(x.values()), 1, 1, "array"),
    "get": Function(get, 2, 2),
    "sort": Function(ordered, 1, 2, "array"),
    "reverse": Function(lambda x: list(reversed(items(x))), 1, 1, "array"),
    "uniq": Function(uniq, 1, 1, "array"),
    "flatten": Function(flatten, 1, 1, "array"),
    "concat": Function(concat, 1, MANY, "array"),
    "join": Function(join, 1, 2, "string"),
    "split": Function(split, 2, 3, "array"),
    "splitAfter": Function(split_after, 2, 2, "array"),
    "replace": Function(replace, 3, 3, "string"),
    "repeat": Function(repeat, 2, 2, "string"),
    "trim": Function(lambda x, chars=None: text(x).strip(chars), 1, 2, "string"),
    "trimPrefix": Function(lambda x, p: text(x).removeprefix(text(p)), 2, 2, "string"),
    "trimSuffix": Function(lambda x, p: text(x).removesuffix(text(p)), 2, 2, "string"),
    "upper": Function(lambda x: text(x).upper(), 1, 1, "string"),
    "lower": Function(lambda x: text(x).lower(), 1, 1, "string"),
    "indexOf": Function(lambda x, part: text(x).find(text(part)), 2, 2, "int"),
    "lastIndexOf": Function(lambda x, part: text(x).rfind(text(part)), 2, 2, "int"),
    "hasPrefix": Function(lambda x, part: text(x).startswith(text(part)), 2, 2, "bool"),
    "hasSuffix": Function(lambda x, part: text(x).endswith(text(part)), 2, 2, "bool"),
    "now": Function(now, 0, 0, "time"),
    "date": Function(date, 1, 1, "time"),
    "duration": Function(duration, 1, 1, "duration"),
    "toJSON": Function(to_json, 1, 1, "string"),
    "fromJSON": Function(lambda x: json.loads(text(x)), 1, 1),
    "toBase64": Function(lambda x: base64.b64encode(text(x).encode()).decode(), 1, 1, "string"),
    "fromBase64": Function(decoded_base64, 1, 1, "string"),
    "toPairs": Function(pairs_of, 1, 1, "array"),
    "fromPairs": Function(lambda x: {text(key): value for key, value in items(x)}, 1, 1, "map"),
    "bitand": Function(lambda a, b: integer(a) & integer(b), 2, 2, "int"),
    "bitor": Function(lambda a, b: integer(a) | integer(b), 2, 2, "int"),
    "bitxor": Function(lambda a, b: integer(a) ^ integer(b), 2, 2, "int"),
    "bitnand": Function(lambda a, b: integer(a) & ~integer(b), 2, 2, "int"),
    "bitnot": Function(lambda a: ~integer(a), 1, 1, "int"),
    "bitshl": Function(shifted, 2, 2, "int"),
    "bitshr": Function(shifted_right, 2, 2, "int"),
    "bitushr": Function(shifted_right_unsigned, 2, 2, "int"),
}

AGGREGATE: Mapping[str, Function] = {
    "sum": Function(lambda x: total(some(x)), 1, 1, "number"),
    "min": Function(lambda x: min(some(x)), 1, 1, "number"),
    "max": Function(lambda x: max(some(x)), 1, 1, "number"),
    "avg": Function(mean, 1, 1, "float"),
    "mean": Function(mean, 1, 1, "float"),
    "median": Function(median, 1, 1, "number"),
    "len": Function(length, 1, 1, "int"),
    "match": Function(match, 2, 2, "bool"),
}
