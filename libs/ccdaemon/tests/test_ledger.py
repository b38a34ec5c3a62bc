import math
import threading

import pytest
from ccdaemon.ledger import Registry


def test_sums_close_under_threads():
    ledger = Registry("cc-x").ledger("router")

    def work():
        for _ in range(1000):
            ledger.took(5)
            ledger.gave(3)
            ledger.refused("no hostname", 1, "n1")

    threads = [threading.Thread(target=work) for _ in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert ledger.totals() == (20000, 12000, 4000)
    assert ledger.held() == 4000
    assert ledger.offenders() == {("no hostname", "n1"): 4000}


def test_offenders_are_bounded():
    ledger = Registry().ledger("s")
    for i in range(3000):
        ledger.refused("unknown", 1, f"m{i}")
    assert len(ledger.offenders()) <= 1001
    assert sum(ledger.offenders().values()) == 3000


def test_exposition_is_read_by_prometheus():
    parser = pytest.importorskip("prometheus_client.parser")
    registry = Registry("cc-metric-store")
    registry.ledger("ingest").took(7)
    registry.ledger("ingest").refused('bad "line"\n', 2)
    registry.gauge("hosts", "Known hosts.", lambda: 3)
    registry.gauge("broken", "Raises.", lambda: 1 / 0)
    registry.gauge("depth", "Queue.", lambda: 1, {"sink": "a"})
    registry.gauge("depth", "Queue.", lambda: 2, {"sink": "b"})
    registry.counter("requests", "Requests.", lambda: 9)
    lateness = registry.histogram("lateness_seconds", "Loop lateness.", (0.001, 0.1))
    for v in (0.0005, 0.05, 0.05, 5.0):
        lateness.observe(v)
    found = {}
    for family in parser.text_string_to_metric_families(registry.exposition().decode()):
        for sample in family.samples:
            found[sample.name, tuple(sample.labels.values())] = sample.value
    p = "cc_metric_store_"
    assert found[p + "taken_total", ("ingest",)] == 7
    assert found[p + "refused_total", ("ingest", 'bad "line"\n')] == 2
    assert found[p + "held", ("ingest",)] == 5
    assert found[p + "depth", ("b",)] == 2
    assert math.isnan(found[p + "broken", ()])
    assert found[p + "requests_total", ()] == 9
    assert found[p + "lateness_seconds_bucket", ("+Inf",)] == 4
    assert found[p + "lateness_seconds_count", ()] == 4
    assert lateness.quantile(0.5) == 0.1 and lateness.quantile(1.0) == math.inf
