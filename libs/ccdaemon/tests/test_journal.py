import errno
import os
import pathlib
import struct
import zlib

import pytest
from ccdaemon.journal import MARK, START, Full, JournalError, Reader, Writer
from hypothesis import given, settings
from hypothesis import strategies as st

KIND = b"test"
RECORDS = st.lists(st.one_of(st.binary(max_size=50), st.just(MARK * 3), st.just(b"")), max_size=8)


def write(path, records):
    """The frames' (offset, end) of a new journal with these records."""
    path.unlink(missing_ok=True)
    writer = Writer.create(path, KIND, head=b"part 7")
    for r in records:
        writer.append(r)
    writer.close()
    with Reader(path, KIND) as reader:
        return [(f.offset, f.end) for f in reader]


def read(path):
    with Reader(path, KIND) as reader:
        return [bytes(f.payload) for f in reader], list(reader.damage), reader.header


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("journal") / "a.wal"


@given(RECORDS)
def test_reads_what_was_written(file, records):
    write(file, records)
    got, damage, header = read(file)
    assert (got, damage, header.head) == (records, [], b"part 7")


@given(RECORDS, st.data())
def test_a_cut_costs_only_the_records_behind_it(file, records, data):
    frames = write(file, records)
    size = file.stat().st_size
    cut = data.draw(st.integers(START // 2, size))
    os.truncate(file, cut)
    whole = [r for r, (_, end) in zip(records, frames, strict=True) if end <= cut]
    assert read(file)[0] == whole
    writer, _ = Writer.resume(file, KIND)
    writer.append(b"behind the cut")
    writer.close()
    got, damage, header = read(file)
    assert (got, damage, header.head) == ([*whole, b"behind the cut"], [], b"part 7")


@given(RECORDS, st.data())
@settings(max_examples=300)
def test_a_flipped_bit_costs_only_its_record(file, records, data):
    frames = write(file, records)
    content = bytearray(file.read_bytes())
    bit = data.draw(st.integers(0, len(content) * 8 - 1))
    content[bit // 8] ^= 1 << bit % 8
    file.write_bytes(content)
    expected = [r for r, (begin, end) in zip(records, frames, strict=True) if not begin <= bit // 8 < end]
    got, damage, header = read(file)
    assert got == expected and header.head == b"part 7"
    assert len(damage) == len(records) - len(expected)
    writer, _ = Writer.resume(file, KIND)
    writer.append(b"more")
    writer.close()
    assert read(file)[0] == [*expected, b"more"]


def test_a_cut_at_each_byte_is_resumed(file):
    records = [b"one", b"", MARK + b"three" * 9]
    frames = write(file, records)
    content = file.read_bytes()
    for cut in range(START // 2, len(content) + 1):
        file.write_bytes(content[:cut])
        writer, _ = Writer.resume(file, KIND)
        writer.append(b"behind")
        writer.close()
        assert read(file)[0] == [r for r, (_, end) in zip(records, frames, strict=True) if end <= cut] + [b"behind"], cut


def test_a_cut_inside_the_first_header_copy_is_named(tmp_path):
    path = tmp_path / "a"
    write(path, [])
    os.truncate(path, 63)
    with pytest.raises(JournalError, match="damaged"):
        Writer.resume(path, KIND)


def test_a_frame_inside_a_damaged_record_is_not_taken_for_one(tmp_path):
    inner, path = tmp_path / "inner", tmp_path / "outer"
    write(inner, [b"x", b"y"])
    frames = write(path, [inner.read_bytes(), b"last"])
    content = bytearray(path.read_bytes())
    content[frames[0][0] + 5] ^= 1  # its length
    path.write_bytes(content)
    assert read(path)[0] == [b"last"]


def test_other_kinds_and_versions_are_refused(tmp_path):
    Writer.create(tmp_path / "a", b"spool", version=2).close()
    with pytest.raises(JournalError, match="spool"):
        Reader(tmp_path / "a", b"wal")
    with pytest.raises(JournalError, match="version 2"):
        Reader(tmp_path / "a", b"spool")
    (tmp_path / "b").write_bytes(b"something else" * 20)
    with pytest.raises(JournalError):
        Reader(tmp_path / "b", b"wal")
    (tmp_path / "empty").touch()
    with pytest.raises(JournalError):
        Reader(tmp_path / "empty", b"wal")


def test_limit_and_start_offset(tmp_path):
    writer = Writer.create(tmp_path / "a", KIND, limit=START + 40)
    end = writer.append(b"0123456789")
    with pytest.raises(Full):
        writer.append(b"x" * 20)
    writer.append(b"ab")
    writer.close()
    with Reader(tmp_path / "a", KIND, start=end) as reader:
        assert [bytes(f.payload) for f in reader] == [b"ab"]


def test_failed_write_is_cut_back(tmp_path, monkeypatch):
    writer = Writer.create(tmp_path / "a", KIND)
    writer.append(b"one")
    real = os.pwrite

    def short(fd, data, offset):
        real(fd, bytes(data)[:5], offset)
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "pwrite", short)
    with pytest.raises(OSError, match="full"):
        writer.append(b"two")
    monkeypatch.undo()
    assert (tmp_path / "a").stat().st_size == writer.size and not writer.broken
    writer.append(b"three", b"four")
    writer.close()
    assert read(tmp_path / "a")[0] == [b"one", b"three", b"four"]


def test_golden_file_of_version_1_is_read():
    path = pathlib.Path(__file__).parent / "golden" / "journal-v1"
    with Reader(path, b"golden", versions=(2, 3)) as reader:
        assert reader.header.head == b"\x07part" and reader.header.version == 3
        assert [bytes(f.payload) for f in reader] == [b"first", b"", b"x" * 1000, "ünïcode".encode()]
        assert reader.damage == []


def test_golden_file_is_what_the_page_says():
    """docs/formats/journal.md, byte by byte, without the module's own reader."""
    data = (pathlib.Path(__file__).parent / "golden" / "journal-v1").read_bytes()
    block = data[:64]
    assert data[64:128] == block and block[:8] == b"CCjrnl\r\n"
    assert struct.unpack("<HH8s", block[8:20]) == (1, 3, b"golden\0\0")
    assert block[28] == 5 and block[29:34] == b"\x07part" and struct.unpack("<I", block[60:]) == (zlib.crc32(block[:60]),)
    mark, length, checksum = struct.unpack("<4sII", data[128:140])
    assert (mark, length, data[140:145]) == (b"\xcc\x4a\x9e\x5b", 5, b"first")
    assert checksum == zlib.crc32(b"first", zlib.crc32(struct.pack("<QI", 128, 5), zlib.crc32(block[20:28])))
