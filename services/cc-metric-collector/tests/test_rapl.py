"""rapl on recorded zones."""

from __future__ import annotations

import pytest
from cc_metric_collector.base import SourceMissing
from cc_metric_collector.collectors.rapl import Rapl

NOW = 1_700_000_000_123_456_789
ZONES = "sys/devices/virtual/powercap/intel-rapl"
RANGE = 262_143_328_850


@pytest.fixture
def zone(node):
    """zone(path, name, energy): a zone; its file energy_uj."""

    def make(path, name, energy):
        directory = node / ZONES / path
        directory.mkdir(parents=True)
        for file, text in {"name": name, "energy_uj": energy, "max_energy_range_uj": RANGE}.items():
            (directory / file).write_text(f"{text}\n")
        return directory / "energy_uj"

    return make


@pytest.fixture
def machine(zone):
    return {
        "package": zone("intel-rapl:0", "package-1", 1_000_000),
        "dram": zone("intel-rapl:0/intel-rapl:0:0", "dram", 1_000_000),
        "psys": zone("intel-rapl:1", "psys", RANGE - 1_000_000),
    }


def values(messages):
    return {m.head.tags["id"]: m.fields["value"] for m in messages}


def test_power_from_the_first_round_with_wrap_around(opened, machine, clock):
    collector = opened(Rapl)
    machine["package"].write_text("201000000")
    machine["psys"].write_text("1000000")  # wrapped at the range
    clock.now += 2
    messages = collector.read(NOW, 0)
    assert values(messages) == {"0": 100.0, "0:0": 0.0, "1": 1.0}
    assert dict(messages[0].head.meta) == {"source": "RAPLCollector", "group": "energy", "unit": "Watt"}
    assert {m.head.name for m in messages} == {"rapl_average_power"}


def test_pitfall_every_message_has_a_type(opened, machine, clock):
    collector = opened(Rapl)
    clock.now += 1
    tags = {m.head.tags["id"]: dict(m.head.tags) for m in collector.read(NOW, 0)}
    assert tags["0"] == {"type": "socket", "type-id": "1", "id": "0", "zone_name": "package-1"}
    assert tags["0:0"] == {"type": "socket", "type-id": "1", "id": "0:0", "zone_name": "package-1", "sub_zone_name": "dram"}
    assert tags["1"] == {"type": "node", "id": "1", "zone_name": "psys"}


def test_excluding_a_zone_leaves_its_sub_zones(opened, machine, clock):
    by_name = opened(Rapl, exclude_device_by_name=["package-1"])
    by_id = opened(Rapl, exclude_device_by_id=["0:0", "1"])
    clock.now += 1
    assert set(values(by_name.read(NOW, 0))) == {"0:0", "1"}
    assert set(values(by_id.read(NOW, 0))) == {"0"}


def test_a_zone_that_cannot_be_read(opened, machine, clock):
    collector = opened(Rapl)
    content = machine["dram"].read_text()
    machine["dram"].unlink()
    clock.now += 1
    assert set(values(collector.read(NOW, 0))) == {"0", "1"}
    machine["dram"].write_text(content)
    clock.now += 1
    assert set(values(collector.read(NOW, 0))) == {"0", "1"}  # a new base
    clock.now += 1
    assert set(values(collector.read(NOW, 0))) == {"0", "0:0", "1"}


def test_no_zone(opened, zone):
    (zone("intel-rapl:0", "package-0", 1)).unlink()
    with pytest.raises(SourceMissing, match="root"):
        opened(Rapl)
