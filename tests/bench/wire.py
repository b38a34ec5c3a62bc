"""The wire: ccmessage against a plain reader and a plain writer, and what a router does to a batch."""

from __future__ import annotations

import random
from collections.abc import Iterator

from ccmessage.decode import decode
from ccmessage.encode import Encoder
from ccmessage.message import Message, head, message
from ccmessage.processor import Processor, ProcessorOptions
from ccmessage.processor.options import SetRule

from tests.bench.lines import LINES, host_name, read_plain, samples, write_plain
from tests.bench.table import Row, alternate

NOW = 1_700_000_040
RULES = ProcessorOptions(
    drop_messages_if=["name startsWith 'swap_' || name == 'num_cpus'"],
    add_tags_if=[SetRule(key="cluster", value="fritz", condition="true")],
    move_tag_to_meta_if=[SetRule(key="unit", condition="tag.type == 'node'")],
    rename_messages={"metric_03": "flops_any"},
    change_unit_prefix={"name == 'mem_used'": "G"},
)


def rows(quick: bool) -> Iterator[Row]:
    rounds = 15 if quick else 60
    values = samples(host_name(1), random.Random(7))
    body = write_plain(values, NOW).encode()
    ours, plain = alternate(lambda: list(decode(body, precision="s", default_ns=None)), lambda: read_plain(body), rounds=rounds)
    yield Row("wire: decode, 1,300 lines", "k lines/s", LINES / ours / 1e3, LINES / plain / 1e3, "split() and dict")
    messages = [Message(head(name, tags), {"value": value}, NOW * 10**9) for name, tags, value in values]
    encoder = Encoder("s")

    def encode() -> bytes:
        for m in messages:
            encoder.add(m)
        return encoder.take().body

    ours, plain = alternate(encode, lambda: write_plain(values, NOW).encode(), rounds=rounds)
    yield Row("wire: encode, 1,300 lines", "k lines/s", LINES / ours / 1e3, LINES / plain / 1e3, "f-strings")
    yield from _batch(values, encoder, rounds)


def _batch(values: list[tuple[str, dict[str, str], float]], encoder: Encoder, rounds: int) -> Iterator[Row]:
    heads = [(head(name, tags, {"unit": "B"}), value) for name, tags, value in values]
    rules = Processor.compile(RULES)

    def work() -> bytes:
        for known, value in heads:
            m = rules.apply(message(known, {"value": value}, NOW * 10**9))
            if isinstance(m, Message):
                encoder.add(m)
        return encoder.take().body

    (seconds,) = alternate(work, rounds=rounds)
    yield Row("wire: build, validate, five rules, encode, 1,300 samples", "ms", seconds * 1e3, lower=True)
