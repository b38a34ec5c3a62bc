"""ibstat on a recorded tree."""

from __future__ import annotations

import pytest
from cc_metric_collector.base import SourceMissing
from cc_metric_collector.collectors.ibstat import Ibstat
from ccmessage.message import U64

NOW = 1_700_000_000_123_456_789
COUNTERS = {"port_rcv_data": 1000, "port_xmit_data": 2000, "port_rcv_packets": 30, "port_xmit_packets": 40}


@pytest.fixture
def port(node):
    """port(device, number, lid, counter=value …): its directory of counters."""

    def make(device="mlx5_0", number="1", lid="0x12", **changes):
        directory = node / "sys/class/infiniband" / device / "ports" / number
        (directory / "counters").mkdir(parents=True)
        (directory / "lid").write_text(f"{lid}\n")
        for name, value in {**COUNTERS, **changes}.items():
            (directory / "counters" / name).write_text(f"{value}\n")
        return directory / "counters"

    return make


def test_counters(opened, port, selected):
    port()
    messages = opened(Ibstat).read(NOW, 0)
    assert selected(messages) == {"ib_recv": 4000, "ib_xmit": 8000, "ib_recv_pkts": 30, "ib_xmit_pkts": 40}
    assert {type(v) for v in selected(messages).values()} == {U64}
    assert dict(messages[0].head.tags) == {"type": "node", "device": "mlx5_0", "port": "1", "lid": "0x12"}
    assert dict(messages[0].head.meta) == {"source": "InfinibandCollector", "group": "Network", "unit": "bytes"}


def test_rates_and_totals(opened, port, selected, clock):
    counters = port()
    collector = opened(Ibstat, send_derived_values=True, send_total_values=True)
    (counters / "port_rcv_data").write_text("1500")
    (counters / "port_xmit_packets").write_text("60")
    clock.now += 2
    messages = collector.read(NOW, 0)
    values = selected(messages)
    assert values["ib_recv_bw"] == 1000.0 and values["ib_xmit_bw"] == 0.0 and values["ib_xmit_pkts_bw"] == 10.0
    assert values["ib_total"] == 14000 and values["ib_total_pkts"] == 90
    assert values["ib_total_bw"] == 1000.0 and values["ib_total_pkts_bw"] == 10.0 and len(values) == 12
    units = {m.head.name: m.head.meta["unit"] for m in messages}
    assert units["ib_total_bw"] == "bytes/sec" and units["ib_recv_pkts_bw"] == "packets/sec"


def test_totals_alone_follow_the_selection(opened, port, selected, clock):
    port()
    collector = opened(Ibstat, send_abs_values=False, send_total_values=True)
    clock.now += 1
    assert collector.read(NOW, 0) == []


def test_wrap_around_at_64_bits(opened, port, selected, clock):
    counters = port(port_rcv_data=2**64 - 100)
    collector = opened(Ibstat, send_derived_values=True)
    (counters / "port_rcv_data").write_text("150")
    clock.now += 1
    values = selected(collector.read(NOW, 0))
    assert values["ib_recv_bw"] == 1000.0 and values["ib_recv"] == 600


def test_pitfall_a_reset_is_no_gigantic_rate(opened, port, selected, clock):
    counters = port(port_rcv_data=10**12)
    collector = opened(Ibstat, send_derived_values=True)
    (counters / "port_rcv_data").write_text("5")
    clock.now += 1
    values = selected(collector.read(NOW, 0))
    assert "ib_recv_bw" not in values and values["ib_recv"] == 20 and "ib_xmit_bw" in values


def test_a_counter_that_cannot_be_read_has_no_rate_until_two_good_reads(opened, port, selected, clock):
    counters = port()
    collector = opened(Ibstat, send_derived_values=True, send_total_values=True)
    (counters / "port_rcv_data").unlink()
    clock.now += 1
    values = selected(collector.read(NOW, 0))
    assert "ib_recv" not in values and values["ib_total"] == 8000 and "ib_recv_bw" not in values
    (counters / "port_rcv_data").write_text("1000")
    clock.now += 1
    values = selected(collector.read(NOW, 0))
    assert values["ib_recv"] == 4000 and "ib_recv_bw" not in values
    clock.now += 1
    assert selected(collector.read(NOW, 0))["ib_recv_bw"] == 0.0


def test_pitfall_a_port_with_a_bad_counter_costs_only_itself(opened, port, log_text):
    (port("mlx5_1") / "port_rcv_data").unlink()
    port("mlx5_0")
    assert {m.head.tags["device"] for m in opened(Ibstat).read(NOW, 0)} == {"mlx5_0"}
    assert "mlx5_1" in log_text.getvalue()


def test_ports_that_are_none(opened, port):
    port("roce", lid="0x0")
    port("mlx5_0")
    with pytest.raises(SourceMissing):
        opened(Ibstat, exclude_devices=["mlx5_0"])
    assert {m.head.tags["device"] for m in opened(Ibstat).read(NOW, 0)} == {"mlx5_0"}


def test_no_infiniband(opened):
    with pytest.raises(SourceMissing):
        opened(Ibstat)
