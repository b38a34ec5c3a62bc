"""Units: how documents write them, parsing of unit texts, conversion (messages-and-lib 9).

A unit text is taken only when all of it is understood; `Mbit/s`, `files`, `Wh` are left alone.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec


class MetricUnit(msgspec.Struct, omit_defaults=True, frozen=True):
    """`{"base": "B/s", "prefix": "G"}` of cluster.json and archive documents; any text is allowed."""

    base: str = msgspec.field(default_factory=str)
    prefix: str = ""

    def __str__(self) -> str:
        return self.prefix + self.base


class Measure(NamedTuple):
    """What is counted. `word` matches all spellings, the whole word."""

    long: str
    short: str
    word: re.Pattern[str]


def _measure(long: str, short: str, word: str, *, any_case: bool = True) -> Measure:
    return Measure(long, short, re.compile(word, re.IGNORECASE if any_case else 0))


PERCENT = _measure("Percent", "%", "%|[Pp]ercent", any_case=False)
CELSIUS = _measure("DegreeC", "degC", "(?:deg|°)[cC]", any_case=False)
FAHRENHEIT = _measure("DegreeF", "degF", "(?:deg|°)[fF]", any_case=False)
BYTES = _measure("byte", "B", "b(?:ytes?)?")
FLOPS = _measure("Flops", "Flops", "f(?:lops?)?")
CYCLES = _measure("Cycles", "cyc", "cy(?:c(?:le)?s?)?")
REQUESTS = _measure("Requests", "requests", "req(?:uest)?s?")
PACKETS = _measure("Packets", "packets", "(?:pkt|packet)s?")
EVENTS = _measure("Events", "events", "ev(?:en)?ts?")
MEASURES = (
    BYTES,
    FLOPS,
    PERCENT,
    CELSIUS,
    FAHRENHEIT,
    _measure("RPM", "RPM", "rpm"),
    _measure("Hertz", "Hz", "h(?:ert)?z"),
    _measure("Seconds", "s", "s(?:ec(?:ond)?s?)?"),
    CYCLES,
    _measure("Watts", "W", "w(?:atts?)?"),
    _measure("Joules", "J", "j(?:oules?)?"),
    REQUESTS,
    PACKETS,
    EVENTS,
)
# A thousandth of these is never meant: `mb` is MB.
_NEVER_MILLI = (BYTES, FLOPS, PACKETS, EVENTS, CYCLES, REQUESTS)


class Prefix(NamedTuple):
    long: str
    short: str
    value: float


BASE = Prefix("", "", 1.0)
_DECIMAL = [
    Prefix(long, long[0], 10.0 ** (3 * (at + 1)))
    for at, long in enumerate(["Kilo", "Mega", "Giga", "Tera", "Peta", "Exa", "Zetta", "Yotta"])
]
_BINARY = [
    Prefix(long, long[0] + "i", 1024.0 ** (at + 1))
    for at, long in enumerate(["Kibi", "Mebi", "Gibi", "Tebi", "Pebi", "Exbi", "Zebi", "Yobi"])
]
MEGA, MILLI = _DECIMAL[1], Prefix("Milli", "m", 1e-3)
PREFIXES = (BASE, *_DECIMAL, MILLI, Prefix("Micro", "u", 1e-6), Prefix("Nano", "n", 1e-9), *_BINARY)
_BY_TEXT = {p.short: p for p in PREFIXES} | {
    p.short[0].lower() + p.short[1:]: p for p in (*_DECIMAL, *_BINARY) if p.short[0] != "M"
}  # M and m differ
_SPLIT = re.compile(r"([kKmMgGtTpPeEzZyY]?i?)(.*)", re.DOTALL)


class Unit(NamedTuple):
    """per: the denominator of a rate, which has no prefix."""

    prefix: Prefix
    measure: Measure
    per: Measure | None = None

    @property
    def short(self) -> str:
        return self.prefix.short + self.measure.short + (f"/{self.per.short}" if self.per else "")

    @property
    def long(self) -> str:
        return self.prefix.long + self.measure.long + (f"/{self.per.long}" if self.per else "")


def parse_prefix(text: str) -> Prefix | None:
    """`k` or `K` → Kilo, `Ki` → Kibi, "" → base, `m` → Milli, `u`, `n`; None: no prefix of ours."""
    return _BY_TEXT.get(text)


def parse_unit(text: str) -> Unit | None:
    """The unit that all of `text` names; None: leave the text alone."""
    amount, slash, denominator = text.partition("/")
    per = _find(denominator) if slash else None
    if slash and per is None:
        return None
    head, rest = _SPLIT.fullmatch(amount).groups()  # type: ignore[union-attr]  # matches every text
    prefix, measure = parse_prefix(head), _find(rest)
    if measure is None and head[:1] in ("p", "P", "e", "E"):  # `packets`, `percent`, `events`
        prefix, measure = BASE, _find(amount)
    if prefix is None or measure is None:
        return None
    if measure is PERCENT:
        prefix = BASE
    elif prefix is MILLI and measure in _NEVER_MILLI:
        prefix = MEGA
    return Unit(prefix, measure, per)


def _find(word: str) -> Measure | None:
    return next((m for m in MEASURES if m.word.fullmatch(word)), None) if word else None


def to_prefix(unit: Unit, prefix: Prefix) -> tuple[float, Unit]:
    """(factor for the values, unit with the new prefix); percent knows no prefix and stays."""
    if unit.measure is PERCENT:
        return 1.0, unit
    return unit.prefix.value / prefix.value, unit._replace(prefix=prefix)


def convert(value: float, source: Unit, target: Unit) -> float:
    """ValueError: the units measure different things."""
    if (source.measure, target.measure) == (CELSIUS, FAHRENHEIT):
        return value * 1.8 + 32
    if (source.measure, target.measure) == (FAHRENHEIT, CELSIUS):
        return (value - 32) / 1.8
    if source.measure != target.measure or source.per != target.per:
        raise ValueError("invalid measures in in and out Unit")
    return value * (source.prefix.value / target.prefix.value)
