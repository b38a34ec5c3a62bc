"""Go flag syntax: `-name value`, `-name=value`, one or two dashes, `-help`, bad usage exits with 2.

A command line is a msgspec Struct: a field `check_config: bool = False` is the flag `-check-config`; the sentence in
`Meta(description=…)` is its help text. Field types: bool, int, float, str, `Duration` (each also `| None`), and `args: tuple[str, ...]`
for what stands behind the flags (ignored without such a field, as in Go).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar, get_args, get_origin

import msgspec

from .config.types import Duration

T = TypeVar("T")
_TRUE, _FALSE = ("1", "t", "T", "true", "TRUE", "True"), ("0", "f", "F", "false", "FALSE", "False")


class _Usage(Exception):
    """Wrong command line."""


class _Flag(msgspec.Struct):
    name: str
    field: str
    type: Any
    default: Any
    help: str


def parse_flags(type_: type[T], argv: Sequence[str], *, prog: str, version: str, about: str) -> T:
    """Parse; on `-help`/`-h` print usage and exit 0; on a wrong flag print what is wrong and usage to stderr, exit 2.

    `argv` is without the program's name. `-version` prints `version` and exits 0 where the Struct has no field of that name.
    """
    flags = {flag.name: flag for flag in _flags(type_)}
    try:
        values, rest = _parse(argv, flags)
    except _Usage as error:
        sys.stderr.write(f"{error}\n{usage(type_, prog=prog, about=about)}")
        raise SystemExit(2) from None
    if "help" in values:
        sys.stderr.write(usage(type_, prog=prog, about=about))
        raise SystemExit(0)
    if "version" in values and "version" not in flags:
        sys.stdout.write(version.rstrip("\n") + "\n")
        raise SystemExit(0)
    if any(f.name == "args" for f in _fields(type_)):
        values["args"] = tuple(rest)
    return type_(**values)


def usage(type_: type[object], *, prog: str, about: str) -> str:
    """The help text, one line per flag with its default."""
    lines = [f"Usage of {prog}:"]
    flags = _flags(type_)
    if not any(flag.name == "version" for flag in flags):
        flags.append(_Flag("version", "version", bool, False, "Print the version and exit"))
    for flag in sorted(flags, key=lambda f: f.name):
        kind = {bool: "", int: " int", float: " float", Duration: " duration"}.get(flag.type, " string")
        shown = f'"{flag.default}"' if isinstance(flag.default, str) else str(flag.default)
        default = f" (default {shown})" if flag.default else ""
        lines += [f"  -{flag.name}{kind}", f"    \t{flag.help}{default}"]
    return "\n".join(lines) + "\n" + (f"\n{about}\n" if about else "")


def _fields(type_: type[object]) -> tuple[msgspec.structs.FieldInfo, ...]:
    assert issubclass(type_, msgspec.Struct)
    return msgspec.structs.fields(type_)


def _flags(type_: type[object]) -> list[_Flag]:
    flags = []
    for f in _fields(type_):
        if f.name == "args":
            continue
        inner, help_ = f.type, ""
        if get_origin(inner) is Annotated:
            metas = [m for m in get_args(inner)[1:] if isinstance(m, msgspec.Meta)]
            help_ = next((m.description for m in metas if m.description), "")
            inner = get_args(inner)[0]
        members = [m for m in get_args(inner) if m is not type(None)]
        inner = members[0] if len(members) == 1 and get_origin(inner) is not tuple else inner
        name = f.encode_name if f.encode_name != f.name else f.name.replace("_", "-")
        flags.append(_Flag(name, f.name, inner, None if f.default is msgspec.NODEFAULT else f.default, help_))
    return flags


def _parse(argv: Sequence[str], flags: dict[str, _Flag]) -> tuple[dict[str, Any], list[str]]:
    values: dict[str, Any] = {}
    rest = list(argv)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        word = rest.pop(0)
        if word == "--":
            break
        name, equals, text = word.removeprefix("-").removeprefix("-").partition("=")
        if not name or name.startswith("-"):
            raise _Usage(f"bad flag syntax: {word}")
        flag = flags.get(name)
        if flag is None and name in ("h", "help"):
            return {"help": True}, []
        if flag is None and name == "version":
            flag = _Flag("version", "version", bool, False, "")
        if flag is None:
            raise _Usage(f"flag provided but not defined: -{name}")
        if flag.type is bool:
            text = text if equals else "true"
        elif not equals:
            if not rest:
                raise _Usage(f"flag needs an argument: -{name}")
            text = rest.pop(0)
        values[flag.field] = _value(flag, text)
    return values, rest


def _value(flag: _Flag, text: str) -> Any:
    readers: dict[Any, Callable[[str], Any]] = {bool: _bool, int: int, float: float, Duration: Duration.parse}
    try:
        return readers.get(flag.type, str)(text)
    except ValueError:
        kind = {bool: "boolean ", int: "int ", float: "float ", Duration: "duration "}.get(flag.type, "")
        raise _Usage(f'invalid {kind}value "{text}" for flag -{flag.name}') from None


def _bool(text: str) -> bool:
    if text not in _TRUE + _FALSE:
        raise ValueError(text)
    return text in _TRUE
