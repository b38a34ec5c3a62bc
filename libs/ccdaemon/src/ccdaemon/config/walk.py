"""From a file to typed sections, all mistakes at once."""

from __future__ import annotations

import difflib
import enum
import operator
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec

from ..errors import ConfigErrors
from .jsonc import Node, parse
from .types import Bytes, Duration, Port, Position, Problem, Secret

T = TypeVar("T")


class Section(msgspec.Struct, frozen=True):
    """One top-level key. `from_file` = key that names a file to read this section from (`ui-file`); `<name>-file` always does.

    `legacy_keys`: keys of this section that older files have at top level; they are taken into it with a warning.
    """

    type: Any
    required: bool = False
    from_file: str | None = None
    missing_file_is_warning: bool = False
    legacy_keys: tuple[str, ...] = ()


class Loaded(msgspec.Struct):
    """`sections[name]` is an instance of the section's type, or None where it is absent (and not required)."""

    sections: dict[str, Any]
    nodes: dict[str, Node]
    warnings: list[Problem]


def load(path: Path, sections: Mapping[str, Section]) -> Loaded:
    """Read a configuration file made of sections. Raises ConfigErrors with every mistake of the file and its includes."""
    root = read(path)
    if isinstance(root, Problem):
        raise ConfigErrors([root])
    if not isinstance(root.value, dict):
        raise ConfigErrors([Problem("", root.at, f"expected an object, not {_kind(root.value)}", "write { … } around the sections")])
    problems: list[Problem] = []
    nodes = _section_nodes(path, root, sections, problems)
    values: dict[str, Any] = {}
    for name, section in sections.items():
        node = nodes.get(name)
        values[name] = None
        if node is not None:
            values[name], found = convert(node, section.type, name)
            problems += found
        elif section.required and not any(p.path in (name, f"{name}-file", section.from_file) and p.fatal for p in problems):
            problems.append(Problem(name, root.at, "this section is missing", f'add "{name}": {{ … }} or "{name}-file": "FILE"'))
    return Loaded(values, nodes, _raise_fatal(problems))


def load_flat(path: Path, type_: type[T]) -> tuple[T, list[Problem]]:
    """Read a file that is one structure (adapter, collector's main file). Raises ConfigErrors."""
    root = read(path)
    if isinstance(root, Problem):
        raise ConfigErrors([root])
    value, problems = convert(root, type_, "")
    warnings = _raise_fatal(problems)
    assert value is not None
    return value, warnings


def read(path: Path) -> Node | Problem:
    """A file as a tree with positions, or the one problem why not."""
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        return Problem("", None, f"{path} is no UTF-8 text (byte {error.start})", "save it as UTF-8")
    except OSError as error:
        return Problem("", None, f"cannot read {path}: {error.strerror}", "check the name and the permissions")
    return parse(text, path)


def convert(node: Node, type_: Any, at: str) -> tuple[Any, list[Problem]]:
    """One node to a typed value, with all problems (plug-in sections of the collector, `-check-config`). None if fatal."""
    walk = _Walk([])
    value = walk.value(node, type_, at, strict=False)
    if value is _BAD or any(p.fatal for p in walk.problems):
        return None, _ordered(walk.problems)
    return value, _ordered(walk.problems)


def _raise_fatal(problems: Sequence[Problem]) -> list[Problem]:
    ordered = _ordered(problems)
    warnings = [p for p in ordered if not p.fatal]
    if len(warnings) < len(ordered):
        raise ConfigErrors([p for p in ordered if p.fatal], warnings)
    return warnings


def _ordered(problems: Iterable[Problem]) -> list[Problem]:
    return sorted(problems, key=lambda p: (str(p.at.file), p.at.line, p.at.column) if p.at else ("", 0, 0))


# Sections and included files


def _section_nodes(path: Path, root: Node, sections: Mapping[str, Section], problems: list[Problem]) -> dict[str, Node]:
    assert isinstance(root.value, dict)
    direct = {name.lower(): name for name in sections}
    included = {f"{name}-file".lower(): name for name in sections}
    included |= {s.from_file.lower(): name for name, s in sections.items() if s.from_file}
    legacy = {key.lower(): (name, key) for name, s in sections.items() for key in s.legacy_keys}
    nodes: dict[str, Node] = {}
    came_from: dict[str, str] = {}
    moved: list[tuple[str, str, Position, Node]] = []
    problems += [_repeated(key, at, "") for key, at in root.repeated]
    for key, node in root.value.items():
        at, low = root.keys[key], key.lower()
        name = direct.get(low) or included.get(low)
        if name is None:
            if low in legacy:
                moved.append((*legacy[low], at, node))
            else:
                problems.append(_unknown_section(key, at, sections))
            continue
        if node.value is None:
            continue
        if name in nodes or name in came_from:
            problems.append(Problem(key, at, f'"{came_from[name]}" gives the same section', "keep one of the two"))
            continue
        came_from[name] = key
        content = node if low in direct and not _old_path(node, sections[name], key, at, problems) else None
        content = content or _include(path, key, node, sections[name], problems)
        if content is not None:
            nodes[name] = content
    for name, key, at, node in moved:
        _move(name, key, at, node, nodes, problems)
    return nodes


def _old_path(node: Node, section: Section, key: str, at: Position, problems: list[Problem]) -> bool:
    """Old files give the path of a section's file as the section's value."""
    if not isinstance(node.value, str) or section.type is str:
        return False
    problems.append(Problem(key, at, "a path as value of a section is the old form", f'write "{key}-file": "{node.value}"', fatal=False))
    return True


def _include(path: Path, key: str, node: Node, section: Section, problems: list[Problem]) -> Node | None:
    if not isinstance(node.value, str) or not node.value:
        problems.append(Problem(key, node.at, f"expected the path of a file, not {_kind(node.value)}", "write it in double quotes"))
        return None
    tried = list(dict.fromkeys([path.parent / node.value, Path(node.value)]))
    found = next((file for file in tried if file.exists()), None)
    if found is None:
        soft = section.missing_file_is_warning
        names = " nor ".join(str(file) for file in tried)
        remedy = "the defaults apply" if soft else "correct the path or create the file"
        problems.append(Problem(key, node.at, f"there is no {names}", remedy, fatal=not soft))
        return None
    content = read(found)
    if isinstance(content, Problem):
        problems.append(Problem(key, content.at or node.at, content.text, content.remedy))
        return None
    return content


def _move(name: str, key: str, at: Position, node: Node, nodes: dict[str, Node], problems: list[Problem]) -> None:
    into = nodes.setdefault(name, Node({}, at, {}, []))
    problems.append(Problem(key, at, "at top level this is the old form", f'move it into the section "{name}"', fatal=False))
    if isinstance(into.value, dict) and key not in into.value:
        into.value[key] = node
        into.keys[key] = at


def _unknown_section(key: str, at: Position, sections: Mapping[str, Section]) -> Problem:
    for name, section in sections.items():
        if isinstance(section.type, type) and issubclass(section.type, msgspec.Struct) and key.lower() in _Fields(section.type).by_name:
            return Problem(key, at, "this is no section and is ignored", f'it belongs into the section "{name}"', fatal=False)
    strict = {name for name, s in sections.items() if getattr(s.type, "strict", False)}
    return _unknown(key, at, key, list(sections), strict, all_strict=False, what="section")


# Values


class _Bad:
    """No value: problems were reported."""


_BAD = _Bad()


class _Fields:
    """The keys of a Struct, as the walker looks them up."""

    def __init__(self, type_: type[msgspec.Struct]) -> None:
        self.fields = msgspec.structs.fields(type_)
        self.metas = {f.name: _metas(f.type) for f in self.fields}
        self.extras = {f.name: _extra(self.metas[f.name]) for f in self.fields}
        self.by_name: dict[str, msgspec.structs.FieldInfo] = {}
        self.removed: dict[str, str] = {k.lower(): v for k, v in getattr(type_, "removed_keys", {}).items()}
        for f in self.fields:
            for old in self.extras[f.name].get("removed", ()):
                self.removed[old.lower()] = f'use "{f.encode_name}"'
            for alias in self.extras[f.name].get("aliases", ()):
                self.by_name.setdefault(alias.lower(), f)
        for f in self.fields:
            self.by_name[f.encode_name.lower()] = f
        self.strict = {f.encode_name for f in self.fields if self.extras[f.name].get("strict") or _is_strict(f.type)}


def _metas(type_: Any) -> list[msgspec.Meta]:
    return [m for m in get_args(type_)[1:] if isinstance(m, msgspec.Meta)] if get_origin(type_) is Annotated else []


def _extra(metas: Iterable[msgspec.Meta]) -> dict[str, Any]:
    return {key: value for meta in metas for key, value in (meta.extra or {}).items()}


def _is_strict(type_: Any) -> bool:
    """A secret, or a Struct that says so, also behind Annotated and `| None`."""
    if get_origin(type_) is Annotated or get_origin(type_) in (Union, types.UnionType):
        return any(_is_strict(arg) for arg in get_args(type_) if not isinstance(arg, msgspec.Meta))
    return type_ is Secret or (isinstance(type_, type) and bool(getattr(type_, "strict", False)))


def _kind(value: object) -> str:
    if value is None:
        return "null"
    names = {bool: "true or false", int: "a number", float: "a number", str: "a string", list: "a list", dict: "an object"}
    return names[type(value)]


def _unknown(key: str, at: Position, path: str, known: Sequence[str], strict: set[str], *, all_strict: bool, what: str = "key") -> Problem:
    near = _nearest(key, known)
    fatal = all_strict or near in strict
    text = f"unknown {what}" if fatal else f"unknown {what}, ignored"
    return Problem(path, at, text, f'did you mean "{near}"?' if near else "remove it", fatal=fatal)


def _nearest(key: str, known: Iterable[str]) -> str | None:
    names = {_folded(name): name for name in known}
    close = difflib.get_close_matches(_folded(key), list(names), n=1, cutoff=0.7)
    return names[close[0]] if close else None


def _folded(key: str) -> str:
    return re.sub(r"[-_ ]", "", key).lower()


def _repeated(key: str, at: Position, path: str) -> Problem:
    return Problem(f"{path}.{key}" if path else key, at, "this key stands again below, where its value counts", "remove one", fatal=False)


class _Walk:
    """One conversion; collects problems, `_BAD` stands for a value that could not be made."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems

    def bad(self, path: str, at: Position, text: str, remedy: str = "") -> _Bad:
        self.problems.append(Problem(path, at, text, remedy))
        return _BAD

    def mismatch(self, node: Node, path: str, expected: str, remedy: str = "") -> _Bad:
        return self.bad(path, node.at, f"expected {expected}, not {_kind(node.value)}", remedy)

    def value(self, node: Node, type_: Any, path: str, strict: bool) -> Any:
        origin = get_origin(type_)
        if origin is Annotated:
            inner, *_ = get_args(type_)
            return self.limits(node, self.value(node, inner, path, strict), _metas(type_), path)
        if isinstance(type_, typing.NewType):
            return self.value(node, type_.__supertype__, path, strict)
        if type_ in (Any, object):
            return node.plain()
        if type_ is Node:
            return node
        if origin in (Union, types.UnionType):
            return self.union(node, get_args(type_), path, strict)
        if origin is Literal:
            return self.choice(node, {str(a): a for a in get_args(type_)}, path)
        if origin in _SEQUENCES or type_ in _SEQUENCES:
            return self.sequence(node, type_, path, strict)
        if origin in (dict, Mapping) or type_ in (dict, Mapping):
            return self.mapping(node, type_, path, strict)
        if isinstance(type_, type) and issubclass(type_, msgspec.Struct):
            return self.struct(node, type_, path, strict)
        if isinstance(type_, type) and issubclass(type_, enum.Enum):
            return self.choice(node, {str(m.value): m for m in type_}, path)
        if type_ in _SCALARS:
            return _SCALARS[type_](self, node, path)
        raise TypeError(f"{path}: the walker knows no type {type_!r}")

    def struct(self, node: Node, type_: type[msgspec.Struct], path: str, strict: bool) -> Any:
        if not isinstance(node.value, dict):
            return self.mismatch(node, path, "an object")
        strict = strict or bool(getattr(type_, "strict", False))
        info = _Fields(type_)
        prefix = f"{path}." if path else ""
        found = self.keys(node, info, prefix, strict)
        values: dict[str, Any] = {}
        complete = True
        for f in info.fields:
            if f.name in found:
                key, child = found[f.name]
                value = self.value(child, f.type, prefix + key, strict)
                if value is _BAD:
                    complete = False
                else:
                    values[f.name] = value
            elif f.required:
                example = info.extras[f.name].get("example")
                example = example if example is not None else "…"
                self.bad(prefix + f.encode_name, node.at, "is missing", f'add "{f.encode_name}": {example}')
                complete = False
        return self.made(node, type_, values, path, found) if complete else _BAD

    def keys(self, node: Node, info: _Fields, prefix: str, strict: bool) -> dict[str, tuple[str, Node]]:
        """Attribute name → (key as written, node): the exact key wins over one in other case, that over an alias; null is absent."""
        assert isinstance(node.value, dict)
        self.problems += [_repeated(key, at, prefix.rstrip(".")) for key, at in node.repeated]
        found: dict[str, tuple[str, Node]] = {}
        ranks: dict[str, int] = {}
        for key, child in node.value.items():
            f = info.by_name.get(key.lower())
            if f is None:
                self.strange(key, node.keys[key], info, prefix, strict)
                continue
            if child.value is None:
                continue
            rank = 2 if key == f.encode_name else 1 if key.lower() == f.encode_name.lower() else 0
            if rank >= ranks.get(f.name, -1):
                found[f.name], ranks[f.name] = (key, child), rank
        return found

    def strange(self, key: str, at: Position, info: _Fields, prefix: str, strict: bool) -> None:
        remedy = info.removed.get(key.lower())
        if remedy is not None:
            self.problems.append(Problem(prefix + key, at, "this key has no effect any more", remedy, fatal=False))
        else:
            known = [f.encode_name for f in info.fields]
            self.problems.append(_unknown(key, at, prefix + key, known, info.strict, all_strict=strict))

    def made(self, node: Node, type_: type[msgspec.Struct], values: dict[str, Any], path: str, found: dict[str, tuple[str, Node]]) -> Any:
        try:
            made = type_(**values)
        except ValueError as error:
            return self.bad(path, node.at, str(error))
        check: Callable[[], Iterable[tuple[str, str, str]]] | None = getattr(made, "check", None)
        fine = True
        for name, text, remedy in check() if check else ():
            key, child = found.get(name, (name.replace("_", "-") if "-" in "".join(type_.__struct_encode_fields__) else name, node))
            self.bad(f"{path}.{key}" if path else key, child.at, text, remedy)
            fine = False
        return made if fine else _BAD

    def union(self, node: Node, members: tuple[Any, ...], path: str, strict: bool) -> Any:
        """The member that fits; the complaints of the one that came nearest otherwise."""
        if node.value is None and type(None) in members:
            return None
        nearest: _Walk | None = None
        for member in (m for m in members if m is not type(None)):
            trial = _Walk([])
            value = trial.value(node, member, path, strict)
            if value is not _BAD:
                self.problems += trial.problems
                return value
            deep = any(p.path != path or not p.text.startswith("expected ") for p in trial.problems)
            if nearest is None or deep:
                nearest = trial
        assert nearest is not None
        self.problems += nearest.problems
        return _BAD

    def choice(self, node: Node, values: Mapping[str, Any], path: str) -> Any:
        if not isinstance(node.value, dict | list) and not isinstance(node.value, bool) and str(node.value) in values:
            return values[str(node.value)]
        allowed = ", ".join(f'"{v}"' for v in values)
        near = _nearest(str(node.value), values) if isinstance(node.value, str) else None
        seen = f'"{node.value}"' if isinstance(node.value, str) else _kind(node.value)
        return self.bad(path, node.at, f"{seen} is none of {allowed}", f'did you mean "{near}"?' if near else "use one of them")

    def sequence(self, node: Node, type_: Any, path: str, strict: bool) -> Any:
        if not isinstance(node.value, list):
            return self.mismatch(node, path, "a list", "write [ … ]")
        args = get_args(type_)
        item = args[0] if args else Any
        items = [self.value(child, item, f"{path}[{i}]", strict) for i, child in enumerate(node.value)]
        if any(x is _BAD for x in items):
            return _BAD
        return _SEQUENCES[get_origin(type_) or type_](items)

    def mapping(self, node: Node, type_: Any, path: str, strict: bool) -> Any:
        if not isinstance(node.value, dict):
            return self.mismatch(node, path, "an object")
        args = get_args(type_)
        item = args[1] if args else Any
        self.problems += [_repeated(key, at, path) for key, at in node.repeated]
        values = {key: self.value(child, item, f"{path}.{key}", strict) for key, child in node.value.items()}
        return _BAD if any(x is _BAD for x in values.values()) else values

    def limits(self, node: Node, value: Any, metas: Iterable[msgspec.Meta], path: str) -> Any:
        if value is _BAD or value is None:
            return value
        for meta in metas:
            text = _broken_limit(value, meta)
            if text:
                return self.bad(path, node.at, text)
        return value


def _broken_limit(value: Any, meta: msgspec.Meta) -> str | None:
    if isinstance(value, int | float):
        bounds: list[tuple[str, int | float | None, Callable[[Any, Any], bool]]] = [
            ("at least", meta.ge, operator.ge),
            ("more than", meta.gt, operator.gt),
            ("at most", meta.le, operator.le),
            ("less than", meta.lt, operator.lt),
        ]
        for words, limit, holds in bounds:
            if limit is not None and not holds(value, limit):
                shown = Duration(limit) if isinstance(value, Duration) else limit
                return f"{value} is out of range: must be {words} {shown}"
        return None
    if isinstance(value, str | list | tuple | dict | set | frozenset):
        if meta.min_length is not None and len(value) < meta.min_length:
            return "must not be empty" if meta.min_length == 1 else f"is too short: at least {meta.min_length}"
        if meta.max_length is not None and len(value) > meta.max_length:
            return f"is too long: at most {meta.max_length}"
        if meta.pattern is not None and isinstance(value, str) and not re.search(meta.pattern, value):
            return f"{str(value)!r} does not have the form {meta.pattern}"
    return None


def _bool(walk: _Walk, node: Node, path: str) -> Any:
    return node.value if isinstance(node.value, bool) else walk.mismatch(node, path, "true or false", "without quotes")


def _int(walk: _Walk, node: Node, path: str) -> Any:
    if isinstance(node.value, int) and not isinstance(node.value, bool):
        return node.value
    if isinstance(node.value, float):
        return walk.bad(path, node.at, f"expected a whole number, not {node.value}", "write it without fraction and exponent")
    remedy = "without quotes" if isinstance(node.value, str) else ""
    return walk.mismatch(node, path, "a whole number", remedy)


def _float(walk: _Walk, node: Node, path: str) -> Any:
    if isinstance(node.value, int | float) and not isinstance(node.value, bool):
        return float(node.value)
    return walk.mismatch(node, path, "a number", "without quotes" if isinstance(node.value, str) else "")


def _str(walk: _Walk, node: Node, path: str) -> Any:
    remedy = "write it in double quotes" if isinstance(node.value, int | float) else ""
    return node.value if isinstance(node.value, str) else walk.mismatch(node, path, "a string", remedy)


def _secret(walk: _Walk, node: Node, path: str) -> Any:
    text = _str(walk, node, path)
    return text if text is _BAD else Secret(text)


def _path(walk: _Walk, node: Node, path: str) -> Any:
    text = _str(walk, node, path)
    if text is _BAD:
        return _BAD
    return walk.bad(path, node.at, "a path cannot hold a NUL character") if "\0" in text else Path(text)


def _duration(walk: _Walk, node: Node, path: str) -> Any:
    remedy = 'write it as "30s", "1m30s" or "48h"'
    if node.value == 0 and not isinstance(node.value, bool | float):
        return Duration(0)
    if not isinstance(node.value, str):
        return walk.mismatch(node, path, "a duration as string", remedy)
    try:
        return Duration.parse(node.value)
    except ValueError as error:
        return walk.bad(path, node.at, str(error), remedy)


def _parsed(parser: Callable[[str | int], Any], expected: str, remedy: str) -> Callable[[_Walk, Node, str], Any]:
    def read_value(walk: _Walk, node: Node, path: str) -> Any:
        if isinstance(node.value, bool) or not isinstance(node.value, str | int):
            return walk.mismatch(node, path, expected, remedy)
        try:
            return parser(node.value)
        except ValueError as error:
            return walk.bad(path, node.at, str(error), remedy)

    return read_value


_SEQUENCES: dict[Any, Callable[[list[Any]], Any]] = {
    list: list, tuple: tuple, set: set, frozenset: frozenset, Sequence: tuple,
}  # fmt: skip
_SCALARS: dict[Any, Callable[[_Walk, Node, str], Any]] = {
    bool: _bool,
    int: _int,
    float: _float,
    str: _str,
    Secret: _secret,
    Path: _path,
    Duration: _duration,
    Port: _parsed(Port.parse, "a port", "use a number from 1 to 65535"),
    Bytes: _parsed(Bytes.parse, "a size", 'write it as number of bytes, "512MB" or "1GiB"'),
}
