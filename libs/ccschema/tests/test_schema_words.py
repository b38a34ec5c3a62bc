"""Scopes, ids, numbers, units, host lists, patterns: the vectors of the specification as data."""

import math

import pytest
from ccschema.hostlist import NodeList, expand
from ccschema.ids import ResourceId, level_names, natural_key, pci_address, same_device, split_level
from ccschema.numbers import nan_from_none, round2
from ccschema.patterns import compile_pattern
from ccschema.scopes import Scope, coarser
from ccschema.units import convert, parse_prefix, parse_unit, to_prefix
from hypothesis import given
from hypothesis import strategies as st


def test_scopes_are_ordered_from_coarse_to_fine():
    assert [s.rank for s in Scope] == [10, 5, 4, 3, 2, 1]
    assert coarser(Scope.CORE, Scope.SOCKET) is Scope.SOCKET
    assert Scope.of("memoryDomain") is Scope.MEMORY_DOMAIN and Scope.of("memorydomain") is None


@pytest.mark.parametrize(
    ("id_", "names"),
    [
        (ResourceId("hwthread", "12"), ("hwthread12",)),
        (ResourceId("node", None), ()),
        (ResourceId("node", "0"), ()),  # PITFALL: type=node,type-id=0 is the host level
        (ResourceId("node", None, "filesystem", "work"), ()),
        (ResourceId("socket", None), ("socket",)),
        (ResourceId("", "7"), ("7",)),
        (ResourceId("", None, "x", "1"), ()),
        (ResourceId("accelerator", "00000000:49:00.0", "mem", "1"), ("accelerator00000000:49:00.0", "mem1")),
    ],
)
def test_level_names(id_, names):
    assert level_names(id_) == names


@pytest.mark.parametrize("name", ["hwthread12", "memoryDomain0", "accelerator00000000:49:00.0", "cpu3", "socket", "7"])
def test_split_level_is_the_inverse_of_level_names(name):
    assert level_names(split_level(name)) == (name,)


@pytest.mark.parametrize("text", ["00000000:CE:00.0", "0000:ce:00.0", "ce:00.0", " 0000:CE:00.0 "])
def test_pci_addresses_have_one_form(text):
    assert pci_address(text) == "00000000:CE:00.0"
    assert same_device(text, "00000000:CE:00.0")


@pytest.mark.parametrize("text", ["", "CE", "0000:CE:00", "0000:CE:00.9", "GPU-1234", "00000:CE:00.0", "٠٠:00.0"])
def test_a_text_that_is_no_pci_address_is_named(text):
    with pytest.raises(ValueError) as e:
        pci_address(text)
    assert repr(text) in str(e.value)


def test_natural_order():
    assert sorted(["n10", "n2", "n02", "a", "n"], key=natural_key) == ["a", "n", "n02", "n2", "n10"]


@given(st.text(), st.text())
def test_natural_keys_of_any_names_compare(a, b):
    assert (natural_key(a) == natural_key(b)) == (a == b)
    assert (natural_key(a) < natural_key(b)) or (natural_key(a) >= natural_key(b))


@pytest.mark.parametrize(
    ("x", "want"), [(2.125, 2.13), (-2.125, -2.13), (0.125, 0.13), (1.004, 1.0), (0.0, 0.0), (2.5, 2.5), (1e300, 1e300)]
)
def test_round2_goes_away_from_zero(x, want):
    """PITFALL: Python's `round` goes to the even neighbour."""
    assert round2(x) == want


@given(st.floats())
def test_round2_never_fails(x):
    y = round2(x)
    assert (math.isnan(x) and math.isnan(y)) or x == y or abs(y - x) <= 0.005 + abs(x) * 1e-12


def test_null_is_nan_on_reading():
    assert math.isnan(nan_from_none(None)) and nan_from_none(1.5) == 1.5


UNITS = {
    "kB": "KB", "kb": "KB", "KBytes": "KB", "kByte": "KB", "mb": "MB", "MB": "MB", "MBytes": "MB", "GByte": "GB", "GB": "GB",
    "bytes/sec": "B/s", "B/s": "B/s", "MFLOP/s": "MFlops/s", "MHz": "MHz", "mHz": "mHz", "percent": "%", "K%": "%", "sec": "s",
    "seconds": "s", "mW": "mW", "MW": "MW", "watts": "W", "pkts": "packets", "packets/s": "packets/s", "reqs": "requests",
    "MiB": "MiB", "EB": "EB", "PB": "PB", "TB": "TB", "ZB": "ZB", "MByte/s": "MB/s", "F/B": "Flops/B", "flop/byte": "Flops/B",
    "hertz": "Hz", "degC": "degC", "°C": "degC", "ms": "ms", "Joules": "J", "kevents/s": "Kevents/s", "cycles": "cyc",
}  # fmt: skip
NO_UNITS = [
    "mib", "KIB", "us", "ns", "IPC", "CPI", "Volts", "C", "iops", "threads", "", "load", "1/s", "page/s",
    # PITFALL: taken for units by the reference
    "Mbit/s", "files", "switches/s", "msgs/s", "Wh", "B/hour", "B/s/s", "i", "K",
]  # fmt: skip


@pytest.mark.parametrize(("text", "short"), UNITS.items())
def test_units(text, short):
    unit = parse_unit(text)
    assert unit is not None and unit.short == short
    assert parse_unit(short) == unit


@pytest.mark.parametrize("text", NO_UNITS)
def test_other_texts_are_left_alone(text):
    assert parse_unit(text) is None


@given(st.text(max_size=12))
def test_unit_parsing_never_fails(text):
    parse_unit(text)
    parse_prefix(text)


@pytest.mark.parametrize(
    ("source", "prefix", "factor"), [("kB", "", 1000), ("kB", "Ki", 1000 / 1024), ("MiB", "M", 1.048576), ("MB", "G", 1e-3)]
)
def test_prefix_conversion(source, prefix, factor):
    got, unit = to_prefix(parse_unit(source), parse_prefix(prefix))
    assert got == pytest.approx(factor, rel=1e-15) and unit.short == prefix + "B"


def test_percent_takes_no_prefix():
    assert to_prefix(parse_unit("%"), parse_prefix("M")) == (1.0, parse_unit("%"))


def test_conversion_between_units():
    assert convert(100, parse_unit("degC"), parse_unit("degF")) == 212
    assert convert(212, parse_unit("degF"), parse_unit("degC")) == 100
    with pytest.raises(ValueError, match="invalid measures in in and out Unit"):
        convert(1, parse_unit("B"), parse_unit("B/s"))


EXPANSIONS = {
    "n[1-2]-p,n[1,2]-q": "n1-p n1-q n2-p n2-q",
    " n09, n[01-04,06-07,09] , , n10,n04": "n01 n02 n03 n04 n06 n07 n09 n10",
    "n[08-12]": "n08 n09 n10 n11 n12",
    "n[8-12]": "n10 n11 n12 n8 n9",
    "n[1-2]n3": "n1n3 n2n3",
    "a b": "a b",
    "n[1,002]": "n002 n1",
    "": "",
    # PITFALLs
    "n1,": "n1",
    " n1 , n2 ": "n1 n2",
    "n[0-10]": "n0 n1 n10 n2 n3 n4 n5 n6 n7 n8 n9",
    "r[1-2]n[01-02]": "r1n01 r1n02 r2n01 r2n02",
    "n_1.example": "n_1.example",
}


@pytest.mark.parametrize(("text", "names"), EXPANSIONS.items())
def test_host_lists(text, names):
    assert expand(text) == names.split()


@pytest.mark.parametrize(
    ("text", "why"),
    [("n@", "not a hostlist: n@"), ("n[1-2-2,3]", "not a hostlist"), ("n[2-1]", "single range start is greater than end: 2-1"),
     ("n[1-002]", "single range without padding is used but start or end use padding: 1-002"), ("n[]", "not a hostlist"),
     ("n[1-2", "not a hostlist"), ("[1-2]", "not a hostlist"), ("n[1-2,]", "not a hostlist"),
     ("n[1-99999999]", "more than 1000000 names"), ("a[1-1000]b[1-1000]c[1-1000]", "more than 1000000 names"),
     ("n[1-" + "9" * 5000 + "]", "more than 18 digits")],
)  # fmt: skip
def test_texts_that_are_no_host_list(text, why):
    """PITFALL: huge ranges exhaust the memory in the reference."""
    with pytest.raises(ValueError) as e:
        expand(text)
    assert why in str(e.value) and len(str(e.value)) < 300


@given(st.text(alphabet="ab1-90[],_. @\n", max_size=20))
def test_host_list_parsers_raise_nothing_but_value_errors(text):
    for parse in (lambda t: expand(t, limit=1000), lambda t: NodeList(t).names(1000)):
        try:
            parse(text)
        except ValueError:
            pass


@pytest.mark.parametrize(
    ("text", "count", "member", "stranger"),
    [("node01,node02", 2, "node01", "node1"), ("a[1000-2000,2010-2090]", 1082, "a2042", "a2005"),
     ("cn-0010,cn0011,cn-00[13-18,22-24]", 11, "cn-0015", "cn-0020"), ("w11[27-45,49-63,69-72]", 38, "w1150", "w1146"),
     ("[005-500]", 496, "005", "5"), ("a[1-9]", 9, "a5", "a10"), ("r[1-2]n[1-3]x", 6, "r2n3x", "r2n3"), ("a,,b", 2, "b", ""), ("", 0, None, "a"),
     ("[1-9,10-20]", 20, "15", "21"), ("a[1-3],a[2-4]", 4, "a4", "a5")],
)  # fmt: skip
def test_node_lists(text, count, member, stranger):
    """PITFALLs: the reference expands only the first bracket and drops suffixes (`r[1-2]n[1-3]x`), and an empty term crashes it."""
    nodes = NodeList(text)
    assert len(nodes) == count == len(nodes.names())
    assert member is None or (member in nodes and member in nodes.names())
    assert stranger not in nodes


def test_the_star_matches_everything_and_counts_nothing():
    """PITFALL: the node count of `*` is an error in the reference."""
    assert "anything.at-all" in NodeList("*") and len(NodeList("*")) == 0


@pytest.mark.parametrize(
    "text", ["a[1-2", "a[01,03]", "a[1-10]", "a[-1]", "a[x-y]", "a_1", "a.b", "a b", "-a", "a[1-2]-b", "a,*", "a[1-9999999999]"]
)
def test_wrong_node_lists(text):
    with pytest.raises(ValueError, match="node list"):
        NodeList(text)


def test_patterns_are_re2():
    assert compile_pattern(r"^m\d+$").matches("m12")
    assert not compile_pattern("a$").matches("a\n")  # `$` is the very end
    assert compile_pattern("a", ignore_case=True).matches("A")
    for wrong in ("(", "(?=a)", r"(a)\1", "a" * 20_000, "((a{1,1000}){1,1000})"):
        with pytest.raises(ValueError):
            compile_pattern(wrong)
