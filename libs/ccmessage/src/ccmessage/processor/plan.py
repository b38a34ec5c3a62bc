"""The processor: rules once compiled, and per head a plan of what they do to it.

A plan is possible while only name, tags, meta and the kind of the message decide, but for conditions on values that only drop: these
are asked for each message. Where another rule looks at values or time, every message of that head goes through the rules one by one. Plans live in the head's `notes`, so they go when the head goes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import NamedTuple

from ..expr import EvalError, RuleError
from ..message import Head, Kind, Message, is_metric, message_type, text_form
from .options import STAGES, ProcessorOptions
from .scale import scaled
from .stages import Compilation, Rule, add_missing_tag
from .work import OF_HEAD, Work, of_values


class RuleErrors(Exception):
    """Rules that cannot be compiled, all of them."""

    def __init__(self, errors: list[RuleError]) -> None:
        super().__init__("; ".join(f"{e.path}: {e.text}" for e in errors))
        self.errors = errors


class Dropped(NamedTuple):
    """A message that a rule dropped, as it was when the rule hit."""

    message: Message
    rule: str


class Failure(NamedTuple):
    """The first failure of a rule: its condition, why, and the message that broke it."""

    rule: str
    condition: str
    error: str
    message: str


class Guard(NamedTuple):
    """A condition on values that drops the message; head and variables as they are where the rule stands."""

    rule: Rule
    head: Head
    env: dict[str, object]


class Plan(NamedTuple):
    """head None: unchanged. by_values: no plan is possible, go through the rules."""

    head: Head | None
    factors: tuple[float, ...]
    dropped: str
    failures: tuple[tuple[Rule, str], ...]
    guards: tuple[Guard, ...] = ()
    by_values: bool = False


_BY_VALUES = Plan(None, (), "", (), (), True)
_WHOLE_MESSAGE = frozenset(["msg", "message", "$env"])
_PLAIN_METRIC = (Kind.METRIC, True)  # kind and is-metric of nearly all messages


class Processor:
    """Use `compile`. dropped: messages by rule; failed: rules that could not be evaluated, by rule; `on_failure` is called once per rule."""

    def __init__(self, rules: list[Rule], constants: Mapping[str, object]) -> None:
        self._rules = rules
        self._constants = dict(constants)
        self._plans = object()  # key of the plans in a head's notes
        self._head_only = frozenset(constants) | OF_HEAD
        self.dropped: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.on_failure: Callable[[Failure], None] | None = None

    @classmethod
    def compile(cls, options: ProcessorOptions, missing: Mapping[str, str] | None = None) -> Processor:
        """missing: tags set where they are absent, after all other rules of add_tag, or at the end where that stage does not run.

        RuleErrors has every bad rule.
        """
        compilation = Compilation(options)
        stages = options.stage_order or STAGES
        unknown = [(at, name) for at, name in enumerate(stages) if name not in STAGES]
        remedy = f"the stages are {', '.join(STAGES)}"
        errors = [RuleError(f"stage_order[{at}]", f"invalid stage {name} at index {at}", remedy) for at, name in unknown]
        compiled = {name: compilation.stage(name) for name in STAGES}  # all, so that a mistake in an unused stage is named too
        compiled["add_tag"] += [Rule(f"missing tag {key}", None, add_missing_tag(key, value)) for key, value in (missing or {}).items()]
        errors += compilation.errors
        if errors:
            raise RuleErrors(errors)
        rules = [rule for name in stages for rule in compiled[name]]
        if "add_tag" not in stages:
            rules += [rule for rule in compiled["add_tag"] if rule.path.startswith("missing tag ")]
        return cls(rules, compilation.constants)

    def apply(self, m: Message) -> Message | Dropped:
        """What the rules make of a message; the message itself where nothing changes. A failing rule is passed over and counted."""
        # The usual case, a float metric whose head is all that changes, is decided by one look at the head's notes.
        fields = m.fields
        outcome = m.head.notes.get(self)
        if outcome is not None and fields.get("value").__class__ is float:
            return m if outcome is True else Message(outcome, fields, m.time_ns)
        return self._apply(m)

    def _apply(self, m: Message) -> Message | Dropped:
        plans: dict[tuple[Kind, bool], Plan] | None = m.head.notes.get(self._plans)
        if plans is None:
            plans = m.head.notes[self._plans] = {}
        fields = m.fields
        sign = _PLAIN_METRIC if fields.get("value").__class__ is float else (message_type(m), is_metric(m))
        plan = plans.get(sign)
        if plan is None:
            plan = plans[sign] = self._plan(m, sign)
            if sign == _PLAIN_METRIC and plan[1:] == Plan(None, (), "", ())[1:]:
                m.head.notes[self] = True if plan.head is None else plan.head
        if plan.by_values:
            return self._run(m, sign)
        if plan.guards and (rule := self._guarded(plan.guards, m)) is not None:
            return rule
        if plan.failures:
            self._count_failures(plan.failures, m)
        head = m.head if plan.head is None else plan.head
        if plan.factors:
            fields = {**fields, "value": _times(fields["value"], plan.factors)}
        elif plan.head is None and not plan.dropped:
            return m
        changed = Message(head, fields, m.time_ns)
        if plan.dropped:
            self.dropped[plan.dropped] += 1
            return Dropped(changed, plan.dropped)
        return changed

    def _guarded(self, guards: tuple[Guard, ...], m: Message) -> Dropped | None:
        values = of_values(m.fields, m.time_ns)
        for rule, head, env in guards:
            assert rule.condition is not None
            try:
                hit = rule.condition.holds({**env, **values})
            except EvalError as e:
                self._count_failures(((rule, str(e)),), m)
                continue
            if hit:
                self.dropped[rule.path] += 1
                return Dropped(Message(head, m.fields, m.time_ns), rule.path)
        return None

    def _plan(self, m: Message, sign: tuple[Kind, bool]) -> Plan:
        work = Work(m, sign[0], plan=True)
        work.env.update(self._constants)
        failures: list[tuple[Rule, str]] = []
        guards: list[Guard] = []
        for rule in self._rules:
            if rule.condition is not None and not rule.condition.uses <= self._head_only:
                if not rule.drops or work.factors or not rule.condition.uses.isdisjoint(_WHOLE_MESSAGE):
                    return _BY_VALUES
                guards.append(Guard(rule, work.head(), work.of_head()))
                continue
            try:
                if rule.condition is None or rule.condition.holds(work.env):
                    if rule.on_fields:
                        return _BY_VALUES
                    rule.act(work)
            except EvalError as e:
                failures.append((rule, str(e)))
            if work.dropped:
                break
        head = work.head()
        return Plan(None if head is m.head else head, tuple(work.factors), work.dropped, tuple(failures), tuple(guards))

    def _run(self, m: Message, sign: tuple[Kind, bool]) -> Message | Dropped:
        work = Work(m, sign[0], plan=False)
        work.env.update(self._constants)
        for rule in self._rules:
            error = _step(rule, work)
            if error is not None:
                self._count_failures(((rule, error),), m)
            if work.dropped:
                self.dropped[work.dropped] += 1
                return Dropped(work.message(), work.dropped)
        return work.message()

    def _count_failures(self, failures: tuple[tuple[Rule, str], ...], m: Message) -> None:
        for rule, error in failures:
            self.failed[rule.path] += 1
            if self.failed[rule.path] == 1 and self.on_failure is not None:
                condition = "true" if rule.condition is None else rule.condition.text
                self.on_failure(Failure(rule.path, condition, error, text_form(m)))


def _step(rule: Rule, work: Work) -> str | None:
    """Apply one rule; the text of its failure, if it failed: then it did nothing."""
    try:
        if rule.condition is None or rule.condition.holds(work.env):
            rule.act(work)
    except EvalError as e:
        return str(e)
    return None


def _times(value: float | str, factors: tuple[float, ...]) -> float | str:
    for factor in factors:
        value = scaled(value, factor)
    return value
