"""Stages: options → rules. A rule is a condition and a small function that changes the message under way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from ccschema.units import Prefix, Unit, parse_prefix, parse_unit, to_prefix

from ..expr import CONDITION, EvalError, Expression, RuleError, compile_expression
from .options import STAGES, DeleteRule, ProcessorOptions, SetRule
from .work import ENV_TYPES, Work

Act = Callable[[Work], None]


class Rule(NamedTuple):
    """path: place in the options. condition None: always. on_fields: the act reads or changes fields, so no head settles it.
    drops: all that it does is to drop the message."""

    path: str
    condition: Expression | None
    act: Act
    on_fields: bool = False
    drops: bool = False


class Compilation:
    """Compiles the rules of all stages; `errors` has every bad one."""

    def __init__(self, options: ProcessorOptions) -> None:
        self.options = options
        self.errors: list[RuleError] = []
        self.constants, self.types = self._constants()

    def _constants(self) -> tuple[dict[str, object], dict[str, str]]:
        """Constants never hide the predefined names."""
        constants: dict[str, object] = {}
        types: dict[str, str] = dict(ENV_TYPES)
        for name, value in self.options.add_base_env.items():
            kind = _constant_kind(value)
            if kind is None:
                self.errors.append(
                    RuleError(f"add_base_env.{name}", "a constant is a number, a text, a truth value or an object of these", "")
                )
            elif name not in ENV_TYPES:
                constants[name], types[name] = value, kind
        return constants, types

    def condition(self, text: str, path: str) -> Expression | None:
        """None for `true`, and for a bad condition, which is noted."""
        if text.strip() == "true":
            return None
        made = compile_expression(text, self.types, CONDITION, wants="bool")
        if isinstance(made, Expression):
            return made
        for error in made:
            self.errors.append(RuleError(path, f"failed to create condition evaluable of {text!r}: {error.text}", _remedy(text, error)))
        return None

    def key(self, text: str, path: str) -> str:
        if not text.strip():
            self.errors.append(RuleError(path, "the key is empty", "give a key"))
        return text

    def stage(self, name: str) -> list[Rule]:
        return list(_STAGES[name](self))

    # ---- stages

    def drop_by_name(self) -> Iterator[Rule]:
        names = {name: f"drop_messages[{at}]" for at, name in enumerate(self.options.drop_messages)}
        if names:
            yield Rule("drop_messages", None, lambda w: setattr(w, "dropped", names.get(w.name, "")))

    def drop_by_type(self) -> Iterator[Rule]:
        for at, kind in enumerate(self.options.drop_by_message_type):
            path = f"drop_by_message_type[{at}]"
            if kind not in ("metric", "event", "control", "log"):
                self.errors.append(RuleError(path, f"invalid message type {kind}", "use metric, event, control or log"))
            yield Rule(path, None, _drop_kind(kind, path))

    def drop_if(self) -> Iterator[Rule]:
        for at, text in enumerate(self.options.drop_messages_if):
            path = f"drop_messages_if[{at}]"
            yield Rule(path, self.condition(text, path), _drop(path), drops=True)

    def sets(self, option: str, act: Callable[[str, str], Act], on_fields: bool = False) -> Iterator[Rule]:
        rules: list[SetRule] = getattr(self.options, option)
        for at, rule in enumerate(rules):
            path = f"{option}[{at}]"
            self.key(rule.key, f"{path}.key")
            yield Rule(path, self.condition(rule.condition, f"{path}.if"), act(rule.key, rule.value), on_fields)

    def deletes(self, option: str, act: Callable[[str], Act], on_fields: bool = False) -> Iterator[Rule]:
        rules: list[DeleteRule] = getattr(self.options, option)
        for at, rule in enumerate(rules):
            path = f"{option}[{at}]"
            yield Rule(path, self.condition(rule.condition, f"{path}.if"), act(self.key(rule.key, f"{path}.key")), on_fields)

    def rename(self) -> Iterator[Rule]:
        names = self.options.rename_messages
        for old, new in names.items():
            self.key(new, f"rename_messages.{old}")
        if names:
            yield Rule("rename_messages", None, lambda w: w.rename(names[w.name]) if w.name in names else None)

    def rename_if(self) -> Iterator[Rule]:
        for text, new in self.options.rename_messages_if.items():
            path = f"rename_messages_if[{text!r}]"
            self.key(new, path)
            yield Rule(path, self.condition(text, path), _rename(new))

    def change_unit_prefix(self) -> Iterator[Rule]:
        for text, word in self.options.change_unit_prefix.items():
            path = f"change_unit_prefix[{text!r}]"
            prefix = parse_prefix(word)
            if prefix is not None:  # an unknown prefix is ignored, as in the reference
                yield Rule(path, self.condition(text, path), _change_prefix(prefix))

    def normalize_unit(self) -> Iterator[Rule]:
        if self.options.normalize_units:
            yield Rule("normalize_units", None, _normalize)


def _constant_kind(value: object) -> str | None:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "int" if isinstance(value, int) else "float"
    if isinstance(value, str):
        return "string"
    if isinstance(value, Mapping) and all(_constant_kind(entry) is not None for entry in value.values()):
        return "map"
    return None


def _remedy(text: str, error: RuleError) -> str:
    if "match(" in text:
        return "there is no function match: write name matches '…'"
    if "metric.Name()" in text:
        return "write name, or msg.Name()"
    return error.remedy


def _drop(path: str) -> Act:
    return lambda w: setattr(w, "dropped", path)


def _drop_kind(kind: str, path: str) -> Act:
    return lambda w: setattr(w, "dropped", path) if w.kind == kind else None


def _rename(new: str) -> Act:
    return lambda w: w.rename(new)


def _add_tag(key: str, value: str) -> Act:
    return lambda w: w.tags.__setitem__(key, value)


def _add_meta(key: str, value: str) -> Act:
    return lambda w: w.meta.__setitem__(key, value)


def _add_field(key: str, value: str) -> Act:
    return lambda w: w.fields.__setitem__(key, value)


def add_missing_tag(key: str, value: str) -> Act:
    """The router's host name: set where it is absent."""
    return lambda w: None if key in w.tags else w.tags.__setitem__(key, value)


def _delete(part: Callable[[Work], dict[str, Any]]) -> Callable[[str], Act]:
    return lambda key: lambda w: part(w).pop(key, None)


def _delete_field(key: str) -> Act:
    def act(w: Work) -> None:
        if key in ("value", "event", "log", "control"):
            raise EvalError("cannot delete protected fields")
        w.fields.pop(key, None)

    return act


def _move(source: Callable[[Work], dict[str, Any]], target: Callable[[Work], dict[str, Any]]) -> Callable[[str, str], Act]:
    return lambda key, new: lambda w: w.move(source(w), target(w), key, new if new.strip() else key)


def _tags(w: Work) -> dict[str, Any]:
    return w.tags


def _meta(w: Work) -> dict[str, Any]:
    return w.meta


def _fields(w: Work) -> dict[str, Any]:
    return w.fields


def _unit(w: Work) -> tuple[dict[str, str], Unit | None]:
    """(where the unit stands, the unit): meta goes before tags."""
    where = w.meta if "unit" in w.meta else w.tags
    text = where.get("unit")
    return where, None if text is None else parse_unit(text)


def _change_prefix(prefix: Prefix) -> Act:
    def act(w: Work) -> None:
        where, unit = _unit(w)
        if unit is not None and w.is_metric():
            factor, changed = to_prefix(unit, prefix)
            where["unit"] = changed.short
            if factor != 1.0:
                w.scale(factor)

    return act


def _normalize(w: Work) -> None:
    where, unit = _unit(w)
    if unit is not None and w.is_metric():
        where["unit"] = unit.short


_STAGES: Mapping[str, Callable[[Compilation], Iterator[Rule]]] = {
    "drop_by_name": Compilation.drop_by_name,
    "drop_by_type": Compilation.drop_by_type,
    "drop_if": Compilation.drop_if,
    "add_tag": lambda c: c.sets("add_tags_if", _add_tag),
    "delete_tag": lambda c: c.deletes("delete_tags_if", _delete(_tags)),
    "move_tag_to_meta": lambda c: c.sets("move_tag_to_meta_if", _move(_tags, _meta)),
    "move_tag_to_fields": lambda c: c.sets("move_tag_to_field_if", _move(_tags, _fields), True),
    "add_meta": lambda c: c.sets("add_meta_if", _add_meta),
    "delete_meta": lambda c: c.deletes("delete_meta_if", _delete(_meta)),
    "move_meta_to_tags": lambda c: c.sets("move_meta_to_tag_if", _move(_meta, _tags)),
    "move_meta_to_fields": lambda c: c.sets("move_meta_to_field_if", _move(_meta, _fields), True),
    "add_field": lambda c: c.sets("add_field_if", _add_field, True),
    "delete_field": lambda c: c.deletes("delete_field_if", _delete_field, True),
    "move_field_to_tags": lambda c: c.sets("move_field_to_tag_if", _move(_fields, _tags), True),
    "move_field_to_meta": lambda c: c.sets("move_field_to_meta_if", _move(_fields, _meta), True),
    "rename": Compilation.rename,
    "rename_if": Compilation.rename_if,
    "change_unit_prefix": Compilation.change_unit_prefix,
    "normalize_unit": Compilation.normalize_unit,
}
assert tuple(_STAGES) == STAGES
