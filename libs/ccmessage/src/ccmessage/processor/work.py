"""The message under way: what rules read and change."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..expr.functions import to_text
from ..expr.times import Time
from ..message import (
    FieldValue,
    Head,
    Kind,
    Message,
    is_control,
    is_event,
    is_log,
    is_metric,
    is_query,
    text_form,
)
from ..message import head as make_head
from .scale import scaled

ENV_TYPES: Mapping[str, str] = {
    "name": "string",
    "messagetype": "string",
    "msgtype": "string",
    "timestamp": "int",
    "time": "int",
    "tag": "map",
    "tags": "map",
    "meta": "map",
    "field": "map",
    "fields": "map",
    "msg": "message",
    "message": "message",
    "value": "any",
    "metric": "any",
    "event": "any",
    "control": "any",
    "log": "any",
    "msg.Name": "string",
    "msg.HasTag": "bool",
    "msg.GetTag": "any",
    "msg.HasMeta": "bool",
    "msg.GetMeta": "any",
    "msg.HasField": "bool",
    "msg.GetField": "any",
    "msg.IsMetric": "bool",
    "msg.IsEvent": "bool",
    "msg.IsLog": "bool",
    "msg.IsControl": "bool",
    "msg.IsQuery": "bool",
    "msg.Tags": "map",
    "msg.Meta": "map",
    "msg.Fields": "map",
    "msg.Time": "time",
    "msg.String": "string",
}
"""Variables of conditions; `time` is `timestamp`, in seconds; `value`, `metric`, `event`, `log`, `control` are the fields' values."""

OF_HEAD = frozenset(
    [
        "name",
        "tag",
        "tags",
        "meta",
        "messagetype",
        "msgtype",
        "msg",
        "message",
        "msg.Name",
        "msg.HasTag",
        "msg.GetTag",
        "msg.HasMeta",
        "msg.GetMeta",
        "msg.Tags",
        "msg.Meta",
    ]
)
"""What a head and the kind of the message settle: conditions on these alone are decided once per head."""


class View(Mapping[str, Any]):
    """Tags, meta or fields as conditions see them: keys with `type-id` are called `typeid`; an unknown key is nil."""

    __slots__ = ("of",)

    def __init__(self, of: Mapping[str, Any]) -> None:
        self.of = of

    def __getitem__(self, key: str) -> Any:
        if key in self.of:
            return self.of[key]
        return self.of[key.replace("typeid", "type-id")]

    def __contains__(self, key: object) -> bool:
        return key in self.of or (isinstance(key, str) and key.replace("typeid", "type-id") in self.of)

    def __iter__(self) -> Iterator[str]:
        return (key.replace("type-id", "typeid") for key in self.of)

    def __len__(self) -> int:
        return len(self.of)


def of_values(fields: Mapping[str, FieldValue], time_ns: int) -> dict[str, object]:
    """Variables that values and time settle."""
    view = View(fields)
    get = fields.get
    value, seconds = get("value"), time_ns // 10**9
    return {
        "field": view, "fields": view, "value": value, "metric": value, "event": get("event"), "control": get("control"),
        "log": get("log"), "timestamp": seconds, "time": seconds,
    }  # fmt: skip


class Work:
    """One message in the processor. factors: what `value` is multiplied by, collected instead of done while a plan is made."""

    def __init__(self, m: Message, kind: Kind, *, plan: bool) -> None:
        self.source = m
        self.name = m.head.name
        self.tags, self.meta = dict(m.head.tags), dict(m.head.meta)
        self.fields: dict[str, FieldValue] = dict(m.fields)
        self.kind = kind
        self.planning = plan
        self.factors: list[float] = []
        self.metric = is_metric(m)
        self.dropped = ""
        self.env: dict[str, object] = {"name": self.name, "msg": self, "message": self}
        self.env["messagetype"] = self.env["msgtype"] = "unknown" if kind in (Kind.INVALID, Kind.QUERY) else str(kind)
        self.env["tag"] = self.env["tags"] = View(self.tags)
        self.env["meta"] = View(self.meta)
        self.env.update(of_values(self.fields, m.time_ns))

    def of_head(self) -> dict[str, object]:
        """Variables of name, tags and meta as they are now; later changes do not show."""
        tags, meta = View(dict(self.tags)), View(dict(self.meta))
        return {**self.env, "name": self.name, "tag": tags, "tags": tags, "meta": meta}

    # ---- what conditions call

    def method(self, name: str) -> object:
        """KeyError: there is none of this name."""
        if name in ("HasTag", "GetTag"):
            return _has(View(self.tags)) if name == "HasTag" else View(self.tags).get
        if name in ("HasMeta", "GetMeta"):
            return _has(View(self.meta)) if name == "HasMeta" else View(self.meta).get
        if name in ("HasField", "GetField"):
            return _has(View(self.fields)) if name == "HasField" else View(self.fields).get
        return _METHODS[name](self)

    # ---- what rules do

    def rename(self, new: str) -> None:
        self.meta["oldname"], self.name = self.name, new
        self.env["name"] = new

    def scale(self, factor: float) -> None:
        if self.planning:
            self.factors.append(factor)
        elif "value" in self.fields:
            self.fields["value"] = scaled(self.fields["value"], factor)
            self.env["value"] = self.env["metric"] = self.fields["value"]

    def move(self, source: dict[str, Any], target: dict[str, Any], key: str, new: str) -> None:
        """Nothing where the key is missing; values become text outside of the fields."""
        if key in source:
            value = source.pop(key)
            target[new] = value if target is self.fields else to_text(value)

    def head(self) -> Head:
        """The source's head itself where nothing has changed."""
        old = self.source.head
        if self.name == old.name and self.tags == old.tags and self.meta == old.meta:
            return old
        return make_head(self.name, self.tags, self.meta)

    def is_metric(self) -> bool:
        """As the fields are now; while a plan is made fields never change."""
        return self.metric if self.planning else is_metric(Message(self.source.head, self.fields, 0))

    def message(self) -> Message:
        return Message(self.head(), self.fields, self.source.time_ns)


def _has(view: View) -> object:
    return lambda key: key in view


_METHODS: Mapping[str, Callable[[Work], object]] = {
    "Name": lambda w: lambda: w.name,
    "IsMetric": lambda w: lambda: is_metric(w.message()),
    "IsEvent": lambda w: lambda: is_event(w.message()),
    "IsLog": lambda w: lambda: is_log(w.message()),
    "IsControl": lambda w: lambda: is_control(w.message()),
    "IsQuery": lambda w: lambda: is_query(w.message()),
    "Tags": lambda w: lambda: View(w.tags),
    "Meta": lambda w: lambda: View(w.meta),
    "Fields": lambda w: lambda: View(w.fields),
    "Time": lambda w: lambda: Time(w.source.time_ns),
    "String": lambda w: lambda: text_form(w.message()),
}
