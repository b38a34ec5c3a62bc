"""What a person reads: all problems as text, and the reference page of a section, made from its Struct."""

from __future__ import annotations

import enum
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TextIO, Union, get_args, get_origin

import msgspec

from ..errors import ConfigErrors, OperatorError
from .types import Bytes, Duration, Port, Problem, Secret


def text(problems: Iterable[Problem]) -> str:
    """One line each, a warning marked as such."""
    return "".join(f"{'' if p.fatal else 'warning: '}{p}\n" for p in problems)


def check(load: Callable[[], Sequence[Problem]], out: TextIO, *, file: Path) -> int:
    """`-check-config`: print every problem, or that there is none; exit code 0 or 1. `load` gives warnings, raises ConfigErrors."""
    try:
        warnings = load()
    except ConfigErrors as errors:
        found = len(errors.problems)
        out.write(text([*errors.warnings, *errors.problems]) + f"{file}: {found} mistake{'s' if found > 1 else ''}\n")
        return 1
    except OperatorError as error:
        out.write(f"{error}\n")
        return 1
    out.write(text(warnings) + f"{file}: no mistakes" + (f", {len(warnings)} warnings\n" if warnings else "\n"))
    return 0


def reference(type_: type[msgspec.Struct], title: str, *, level: int = 2) -> str:
    """A Markdown section with a table of keys; Structs inside follow as sections of their own."""
    lines = [f"{'#' * level} {title}", ""]
    about = (type_.__doc__ or "").strip().partition("\n")[0]
    lines += [about, ""] if about and not about.startswith(f"{type_.__name__}(") else []
    if getattr(type_, "strict", False):
        lines += ["Strict: an unknown key is an error.", ""]
    lines += ["| Key | Type | Default | Meaning |", "|---|---|---|---|"]
    inner: list[str] = []
    for f in msgspec.structs.fields(type_):
        metas = [m for m in get_args(f.type)[1:] if isinstance(m, msgspec.Meta)] if get_origin(f.type) is Annotated else []
        kind = get_args(f.type)[0] if get_origin(f.type) is Annotated else f.type
        words = [m.description for m in metas if m.description] + [x for x in map(_bounds, metas) if x] + _aliases(metas)
        lines.append(f"| `{f.encode_name}` | {_type_name(kind)} | {_default(f)} | {_cell(' '.join(words))} |")
        inner += [reference(s, f"`{f.encode_name}`", level=level + 1) for s in _structs(kind)]
    return "\n".join(lines) + "\n" + "".join(f"\n{section}" for section in inner)


def _cell(words: str) -> str:
    return words.replace("|", "\\|").replace("\n", " ")


def _aliases(metas: Iterable[msgspec.Meta]) -> list[str]:
    names = [name for m in metas for name in (m.extra or {}).get("aliases", ())]
    return [f"Also `{'`, `'.join(names)}`."] if names else []


def _bounds(meta: msgspec.Meta) -> str:
    words = (("at least", meta.ge), ("more than", meta.gt), ("at most", meta.le), ("less than", meta.lt))
    parts = [f"{word} {limit:g}" for word, limit in words if limit is not None]
    return f"({', '.join(parts)})" if parts else ""


def _type_name(kind: Any) -> str:
    names = {
        bool: "bool", int: "integer", float: "number", str: "string", Secret: "string, secret", Path: "path", Duration: "duration",
        Port: "port", Bytes: "size", Any: "any", object: "any", type(None): "null",
    }  # fmt: skip
    if get_origin(kind) is Annotated:
        return _type_name(get_args(kind)[0])
    if isinstance(kind, typing.Hashable) and kind in names:
        return names[kind]
    args, origin = get_args(kind), get_origin(kind)
    if origin in (Union, types.UnionType):
        return " or ".join(_type_name(a) for a in args if a is not type(None))
    if origin is Literal:
        return " or ".join(f"`{a}`" for a in args)
    if origin in (dict, Mapping):
        return f"object of {_type_name(args[1])}"
    if origin in (list, tuple, set, frozenset, Sequence):
        return f"list of {_type_name(args[0])}"
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return " or ".join(f"`{m.value}`" for m in kind)
    return "object" if isinstance(kind, type) and issubclass(kind, msgspec.Struct) else "any"


def _default(f: msgspec.structs.FieldInfo) -> str:
    if f.required:
        return "**required**"
    value = f.default_factory() if f.default is msgspec.NODEFAULT else f.default
    if value is None or (isinstance(value, Sequence | Mapping) and not value) or isinstance(value, msgspec.Struct):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return f"`{value}`"


def _structs(kind: Any) -> list[type[msgspec.Struct]]:
    """The Structs inside a type; not those that a Struct of the same type contains (that would not end)."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return [kind]
    return [s for arg in get_args(kind) for s in _structs(arg)]
