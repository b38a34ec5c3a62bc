"""Interval aggregates: what the messages of the last finished interval say together.

    {"name": "temp_max", "if": "match('temp_core_%d+', metric.Name())", "function": "max(values)",
     "tags": {"type": "node"}, "meta": {"unit": "<copy>"}}

At every tick each aggregate is evaluated over exactly the messages that collectors brought since the tick before, in processed form
(a dropped one as it was when the rule hit). The new message has the tick's time and goes through the router's rules; so it
is among the messages of the next interval. `<copy>` takes a tag or meta value from the last match that has it.

Names in `if`: `metric` (methods Name, HasTag, HasMeta, HasField, IsMetric), `name`, `tags`, `meta`, `value`; in `function`: `values`,
`metrics`; in both: `hostname`, `numHWThreads`, `numSockets`, `numNumaDomains`, `numDies`, `smtWidth`, `starttime`, `endtime` (seconds, of the
finished interval) and the functions of the topology.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from ccdaemon.log import Log
from ccmessage.expr import AGGREGATE, EvalError, Expression, RuleError, compile_expression
from ccmessage.message import U64, FieldValue, Head, Message, MessageError, head, is_metric, refusal

from .config import AggregateConfig
from .topology import NodeTopology

COPY = "<copy>"
SECOND = 1_000_000_000
LIMITS = ("numHWThreads", "numSockets", "numNumaDomains", "numDies", "smtWidth")
FUNCTIONS = (
    "getCpuCore",
    "getCpuSocket",
    "getCpuNuma",
    "getCpuDie",
    "getSockCpuList",
    "getNumaCpuList",
    "getDieCpuList",
    "getCoreCpuList",
    "getCpuList",
    "getCpuListOfType",
    "date",
)
COMMON_TYPES = (
    dict.fromkeys(LIMITS, "int") | dict.fromkeys(FUNCTIONS, "function") | {"hostname": "string", "starttime": "int", "endtime": "int"}
)
IF_TYPES = COMMON_TYPES | {
    "metric": "message",
    "msg.Name": "string",
    "msg.HasTag": "bool",
    "msg.HasMeta": "bool",
    "msg.HasField": "bool",
    "msg.IsMetric": "bool",
    "name": "string",
    "tags": "map",
    "meta": "map",
    "value": "any",
}
FUNCTION_TYPES = COMMON_TYPES | {"values": "array", "metrics": "array"}


class Aggregate(msgspec.Struct, frozen=True):
    """A compiled entry of `interval_aggregates`."""

    name: str
    condition: Expression
    function: Expression
    tags: Mapping[str, str]
    meta: Mapping[str, str]


class Asked:
    """A message as `metric` in a condition."""

    def __init__(self, message: Message) -> None:
        self.message = message

    def method(self, name: str) -> Callable[..., object]:
        m = self.message
        methods: dict[str, Callable[..., object]] = {
            "Name": lambda: m.head.name,
            "HasTag": lambda key: key in m.head.tags,
            "HasMeta": lambda key: key in m.head.meta,
            "HasField": lambda key: key in m.fields,
            "IsMetric": lambda: is_metric(m),
        }
        return methods[name]


def compile_aggregates(configs: Sequence[AggregateConfig]) -> tuple[list[Aggregate], list[RuleError]]:
    """All that compile, and what is wrong with the others. A later entry of the same name replaces an earlier one."""
    found: dict[str, Aggregate] = {}
    errors: list[RuleError] = []
    for at, config in enumerate(configs):
        condition = compile_expression(config.condition, IF_TYPES, AGGREGATE)
        function = compile_expression(config.function, FUNCTION_TYPES, AGGREGATE)
        if isinstance(condition, Expression) and isinstance(function, Expression):
            found[config.name] = Aggregate(config.name, condition, function, config.tags, config.meta)
        for key, compiled in (("if", condition), ("function", function)):
            if isinstance(compiled, list):
                errors += [RuleError(f"[{at}].{key}", error.text, error.remedy) for error in compiled]
    return list(found.values()), errors


class IntervalCache:
    """Messages of the running interval; `finish` closes it and evaluates. Without aggregates nothing is kept."""

    def __init__(self, aggregates: Sequence[Aggregate], topology: NodeTopology, hostname: str, log: Log) -> None:
        self._aggregates = aggregates
        self._constants = constants(topology, hostname)
        self._log = log
        self._messages: list[Message] = []
        self._began_ns = 0

    def remember(self, ms: Sequence[Message]) -> None:
        if self._aggregates:
            self._messages += ms

    def finish(self, tick_ns: int) -> list[Message]:
        """The aggregates of the interval that ends at this tick, stamped with it."""
        messages, self._messages = self._messages, []
        began, self._began_ns = self._began_ns or tick_ns, tick_ns
        env = self._constants | {"starttime": began // SECOND, "endtime": tick_ns // SECOND}
        made = (self._evaluate(aggregate, messages, env, tick_ns) for aggregate in self._aggregates)
        return [message for message in made if message is not None]

    def _evaluate(self, aggregate: Aggregate, messages: Sequence[Message], env: dict[str, object], tick_ns: int) -> Message | None:
        matches = [m for m in messages if self._matches(aggregate, m, env)]
        values = [v for m in matches if (v := m.fields.get("value")) is not None and not isinstance(v, str | bool)]
        if not values:
            return None
        try:
            result = aggregate.function(env | {"values": alike(values), "metrics": [Asked(m) for m in matches]})
            made = Message(head_of(aggregate, matches), {"value": field_value(result)}, tick_ns)
        except (EvalError, MessageError) as error:
            self._log.throttled(300, f"aggregate.failed.{aggregate.name}", aggregate=aggregate.name, error=str(error))
            return None
        return made if refusal(made) is None else None

    def _matches(self, aggregate: Aggregate, m: Message, env: dict[str, object]) -> bool:
        asked = {"metric": Asked(m), "name": m.head.name, "tags": m.head.tags, "meta": m.head.meta, "value": m.fields.get("value")}
        try:
            return aggregate.condition.holds(env | asked)
        except EvalError as error:
            self._log.throttled(
                300, f"aggregate.if_failed.{aggregate.name}", aggregate=aggregate.name, metric=m.head.name, error=str(error)
            )
            return False


def alike(values: Sequence[Any]) -> list[Any]:
    """Numbers of several kinds become floats when one of them is."""
    if any(isinstance(v, float) for v in values):
        return [float(v) for v in values]
    return list(values) if all(isinstance(v, U64) for v in values) else [int(v) for v in values]


def field_value(result: object) -> FieldValue:
    """EvalError for what is no value of a message: lists, null, truth values."""
    if isinstance(result, float | int | str) and not isinstance(result, bool):
        return result
    raise EvalError("the function gives neither a number nor a text")


def head_of(aggregate: Aggregate, matches: Sequence[Message]) -> Head:
    return head(
        aggregate.name,
        resolved(aggregate.tags, [m.head.tags for m in matches]),
        resolved(aggregate.meta, [m.head.meta for m in matches]),
    )


def resolved(wanted: Mapping[str, str], matches: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """`<copy>` is the value of the last match that has the key; without one the key is left out."""
    out = {}
    for key, value in wanted.items():
        found = value if value != COPY else next((m[key] for m in reversed(matches) if key in m), None)
        if found is not None:
            out[key] = found
    return out


def constants(topology: NodeTopology, hostname: str) -> dict[str, object]:
    """Numbers and functions of the node."""
    threads = {t.id: t for t in topology.threads}
    every = list(threads)
    sockets, domains = topology.sockets(), topology.memory_domains()
    dies = list(topology.dies().values())
    cores = list(topology.cores().values())

    def of(attribute: str) -> Callable[[object], int]:
        return lambda cpu: getattr(threads.get(number(cpu)), attribute, -1)

    def place(groups: Sequence[list[int]]) -> Callable[[object], int]:
        """Core and die ids repeat on each socket; their number here is their place on the node."""
        return lambda cpu: next((i for i, group in enumerate(groups) if number(cpu) in group), -1)

    def at(groups: Sequence[list[int]]) -> Callable[[object], list[int]]:
        return lambda i: groups[number(i)] if 0 <= number(i) < len(groups) else []

    def of_type(kind: object, id_: object) -> list[int]:
        i = number(id_)
        lists: dict[object, list[int]] = {
            "node": every,
            "socket": sockets.get(i, []),
            "numadomain": domains.get(i, []),
            "memoryDomain": domains.get(i, []),
            "core": at(cores)(i),
            "die": at(dies)(i),
            "hwthread": [i] if i in threads else [],
        }
        if kind not in lists:
            raise EvalError(f"getCpuListOfType: unknown type {kind!r}")
        return lists[kind]

    return {
        "hostname": hostname,
        "numHWThreads": len(every),
        "numSockets": len(sockets),
        "numNumaDomains": len(domains),
        "numDies": len(dies),
        "smtWidth": topology.smt_width(),
        "getCpuCore": place(cores),
        "getCpuDie": place(dies),
        "getCpuSocket": of("socket"),
        "getCpuNuma": of("memory_domain"),
        "getSockCpuList": lambda i: sockets.get(number(i), []),
        "getNumaCpuList": lambda i: domains.get(number(i), []),
        "getDieCpuList": at(dies),
        "getCoreCpuList": at(cores),
        "getCpuList": lambda: every,
        "getCpuListOfType": of_type,
        "date": lambda text: int(datetime.fromisoformat(str(text)).timestamp()),
    }


def number(value: object) -> int:
    """Integral floats count as integers: number literals of this language are floats."""
    if isinstance(value, int | float) and not isinstance(value, bool) and value == int(value):
        return int(value)
    raise EvalError(f"an integer is needed, not {value!r}")
