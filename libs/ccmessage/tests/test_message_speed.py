"""Budgets of CPU time on the way of a sample, with room for slow and busy machines: this one needs a third of them."""

import random
import statistics
import time

from ccmessage.decode import decode
from ccmessage.encode import Encoder
from ccmessage.message import Message, head, refusal
from ccmessage.processor import Processor, ProcessorOptions
from ccmessage.processor.options import SetRule

SAMPLES = 1300
NOW = 1_700_000_000 * 10**9
HEADS = [
    head(f"metric_{at % 20}", {"type": "hwthread", "type-id": str(at // 20), "hostname": "n1"}, {"unit": "MB", "group": "x"})
    for at in range(SAMPLES)
]
RULES = ProcessorOptions(
    drop_messages_if=["tags.type == 'socket'"],
    add_tags_if=[SetRule(key="cluster", value="c", condition="true")],
    rename_messages={"metric_3": "third"},
    change_unit_prefix={"name == 'metric_4'": "G"},
    normalize_units=True,
)


def median_ms(work, runs=40):
    """CPU time of this process, after a first run that compiles the plans."""
    taken = []
    for run in range(runs + 1):
        begin = time.process_time()
        work(NOW + run * 10**9)
        taken.append((time.process_time() - begin) * 1e3)
    return statistics.median(taken[1:])


def test_building_checking_processing_and_encoding_1300_samples():
    values = [random.Random(1).uniform(0, 1e6) for _ in HEADS]  # with all their digits
    processor, encoder = Processor.compile(RULES), Encoder("s")

    def work(time_ns):
        for head_, value in zip(HEADS, values, strict=True):
            m = Message(head_, {"value": value}, time_ns)
            assert refusal(m) is None
            m = processor.apply(m)
            assert m.__class__ is Message
            encoder.add(m)
        assert encoder.take().lines == SAMPLES

    assert median_ms(work) < 3


def test_decoding_1300_lines():
    body = b"".join(
        b"metric_%d,hostname=n1,type=hwthread,type-id=%d value=%r 1700000000\n" % (at % 20, at // 20, at * 1.1) for at in range(SAMPLES)
    )

    def work(_):
        assert sum(m.__class__ is Message for m in decode(body, precision="s", default_ns=None)) == SAMPLES

    assert median_ms(work) < 5
