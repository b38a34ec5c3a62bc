"""JSON of requests and files, read as every program of the suite reads it (messages-and-lib 1.1).

Keys match exactly or else in any case, the last of several wins, null leaves the default, unknown keys are an error in strict bodies
and ignored elsewhere, only the first value of a body counts. msgspec alone is stricter, hence the second look.
"""

from __future__ import annotations

import json
import types
from collections.abc import Mapping
from functools import cache
from typing import Any, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

T = TypeVar("T")


class BodyError(ValueError):
    """A body cannot be read; the text is safe to show to whoever sent it."""


def decode(body: bytes, type_: type[T], *, strict: bool = False) -> T:
    """The first JSON value of `body` as `type_` (a Struct, or a container of Structs). BodyError: what is wrong, and where.

    Structs of the fast path forbid unknown fields; what they refuse is read again by the lenient rules.
    """
    try:
        known: Any = type_
        return msgspec.json.decode(body, type=type_) if _exact(known) else _second_look(body, type_, strict)
    except msgspec.MsgspecError:
        return _second_look(body, type_, strict)
    except (RecursionError, UnicodeDecodeError):
        raise BodyError("the body is no valid JSON text") from None


def _second_look(body: bytes, type_: type[T], strict: bool) -> T:
    value = first_value(body)
    try:
        return msgspec.convert(shaped(value, type_, strict), type=type_)
    except msgspec.ValidationError as e:
        raise BodyError(str(e)) from None
    except RecursionError:
        raise BodyError("the body is nested too deeply") from None


def first_value(body: bytes) -> Any:
    """The first JSON value of a body, whatever follows it. BodyError; an empty body has the text `EOF`."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as e:
        raise BodyError(f"invalid UTF-8 at byte {e.start + 1}") from None
    text = text.lstrip(" \t\r\n")
    if not text:
        raise BodyError("EOF")
    try:
        value, _ = json.JSONDecoder(parse_constant=_no_constant).raw_decode(text)
    except BodyError:
        raise
    except json.JSONDecodeError as e:
        raise BodyError(f"invalid JSON at line {e.lineno}, column {e.colno}: {e.msg}") from None
    except (RecursionError, ValueError) as e:
        raise BodyError(f"invalid JSON: {e}" if isinstance(e, ValueError) else "the body is nested too deeply") from None
    return _whole_characters(value) if "\\ud" in text.lower() else value


def _whole_characters(value: Any) -> Any:
    """Half of a surrogate pair, written as `\\ud800`, is no character: U+FFFD, as the other programs of the suite read it."""
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, list):
        return [_whole_characters(entry) for entry in value]
    if isinstance(value, dict):
        return {_whole_characters(key): _whole_characters(entry) for key, entry in value.items()}
    return value


def _no_constant(name: str) -> NoReturn:
    raise BodyError(f"invalid JSON: {name} is no JSON value")


def shaped(value: Any, type_: Any, strict: bool = False) -> Any:
    """`value` with the keys that the Structs of `type_` have: other spellings put right, nulls left out where they are no value,
    unknown keys left out, or refused if `strict`."""
    struct, item = _structure(type_)
    if struct is not None and isinstance(value, dict):
        return _shaped_struct(value, struct, strict)
    if item is not None:
        if isinstance(value, dict):
            return {key: shaped(entry, item, strict) for key, entry in value.items()}
        if isinstance(value, list):
            return [shaped(entry, item, strict) for entry in value]
    return value


def _shaped_struct(value: dict[str, Any], struct: type[msgspec.Struct], strict: bool) -> dict[str, Any]:
    known = _keys(struct)
    by_case = _folded(struct)
    result: dict[str, Any] = {}
    exact: set[str] = set()
    for key, entry in value.items():
        name = key if key in known else by_case.get(key.casefold())
        if name is None:
            if strict:
                raise BodyError(f'json: unknown field "{key[:200]}"')
            continue
        if name != key and name in exact:
            continue
        if name == key:
            exact.add(name)
        type_, nullable = known[name]
        if entry is None and not nullable:
            result.pop(name, None)
        else:
            result[name] = shaped(entry, type_, strict)
    return result


@cache
def _keys(struct: type[msgspec.Struct]) -> Mapping[str, tuple[Any, bool]]:
    """JSON key → (type, takes null)."""
    hints = get_type_hints(struct)
    return {f.encode_name: (hints[f.name], _takes_null(hints[f.name])) for f in msgspec.structs.fields(struct)}


@cache
def _folded(struct: type[msgspec.Struct]) -> Mapping[str, str]:
    return {key.casefold(): key for key in _keys(struct)}


def _takes_null(type_: Any) -> bool:
    return type_ is Any or type_ is msgspec.Raw or (get_origin(type_) in (Union, types.UnionType) and type(None) in get_args(type_))


@cache
def _structure(type_: Any) -> tuple[type[msgspec.Struct] | None, Any]:
    """(Struct, type of the entries) of a field's type; at most one of them is given."""
    if isinstance(type_, type) and issubclass(type_, msgspec.Struct):
        return type_, None
    origin, args = get_origin(type_), get_args(type_)
    if origin in (Union, types.UnionType):
        return next((found for arg in args if (found := _structure(arg)) != (None, None)), (None, None))
    if origin in (list, dict, tuple) and args:
        return None, args[-1] if origin is dict else args[0]
    return None, None


@cache
def _exact(type_: Any) -> bool:
    """Whether the fast path is safe: all Structs inside refuse keys that they do not know."""
    struct, item = _structure(type_)
    if struct is not None:
        return bool(struct.__struct_config__.forbid_unknown_fields) and all(_exact(t) for t, _ in _keys(struct).values())
    return item is None or _exact(item)
