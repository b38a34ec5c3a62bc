"""The page of the line protocol is held to the code."""

import re
from pathlib import Path

import pytest
from ccmessage.decode import decode
from ccmessage.encode import Encoder
from ccmessage.message import Message

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "line-protocol.md"


@pytest.fixture(scope="module")
def page():
    return PAGE.read_text()


def test_every_example_line_is_decoded_and_written_back(page):
    examples = [line for block in re.findall(r"```\n(.*?)```", page, re.DOTALL) for line in block.splitlines() if not line.startswith("<")]
    assert len(examples) == 2
    for line in examples:
        (m,) = decode(line.encode(), precision="auto", default_ns=None)
        assert isinstance(m, Message)
        encoder = Encoder("s" if line.endswith(" 1700000000") else "ns")
        encoder.add(m)
        assert encoder.take().body.decode() == line + "\n"


def test_every_example_value_is_decoded(page):
    values = re.findall(r"\| `([^`|]+)` \|$", page, re.MULTILINE)
    assert len(values) == 5
    for value in values:
        (m,) = decode(f"m value={value} 1".encode(), precision="s", default_ns=None)
        assert isinstance(m, Message), (value, m)


def test_the_limits_of_the_units_are_those_of_the_decoder(page):
    limits = [int(text.replace(" ", "")) for text in re.findall(r"\| up to ([0-9 ]+) \|", page)]
    for limit, factor, next_factor in zip(limits, (10**9, 10**6, 10**3), (10**6, 10**3, 1), strict=True):
        below, above = decode(f"m v=1 {limit}\nm v=1 {limit + 1}".encode(), precision="auto", default_ns=None)
        assert (below.time_ns, above.time_ns) == (limit * factor, (limit + 1) * next_factor)
