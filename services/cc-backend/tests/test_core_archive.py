"""File archive: what comes out is what went in, whole or not at all; paths stay inside."""

from __future__ import annotations

import gzip
import json
import os

import pytest
from cc_backend.archive import JobKey, Missing
from cc_backend.archive.codec import edited_meta
from cc_backend.archive.file import FileArchive
from ccdaemon.errors import InputError, OperatorError
from ccschema.jobs import Tag

KEY = JobKey("alpha", 1034871, 1768978339)
SMALL, LARGE = b"{}" + b" " * 1998, b"{}" + b" " * 1999


@pytest.fixture
def archive(archive_dir):
    return FileArchive(archive_dir)


def tree(root):
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_path_of_a_job(archive, archive_dir):
    archive.write(KEY, b"{}", b"{}")
    assert (archive_dir / "alpha/1034/871/1768978339/meta.json").is_file()
    assert JobKey("alpha", 5, 7).parts() == ("alpha", "0", "005", "7")


@pytest.mark.parametrize(("data", "name"), [(SMALL, "data.json"), (LARGE, "data.json.gz")])
def test_compression_rule_is_above_2000_bytes(archive, archive_dir, data, name):
    archive.write(KEY, b'{"a":1}\n', data)
    directory = archive_dir / "alpha/1034/871/1768978339"
    assert sorted(p.name for p in directory.iterdir()) == sorted(["meta.json", name])
    assert archive.read_data(KEY) == data
    assert archive.read_meta(KEY) == b'{"a":1}\n'


def test_written_twice_is_the_same_bytes(archive, archive_dir):
    archive.write(KEY, b"{}", LARGE)
    first = tree(archive_dir)
    archive.write(KEY, b"{}", LARGE)
    assert tree(archive_dir) == first


@pytest.mark.parametrize(("old", "new"), [(LARGE, SMALL), (SMALL, LARGE)])
def test_the_other_form_is_removed(archive, archive_dir, old, new):
    """Pitfall: an old .gz stays and wins on reading."""
    archive.write(KEY, b"{}", old)
    archive.write(KEY, b"{}", new)
    assert archive.read_data(KEY) == new
    assert len([name for name in tree(archive_dir) if "data.json" in name]) == 1


def test_a_failed_write_leaves_nothing(archive, archive_dir, monkeypatch):
    before = tree(archive_dir)
    real = os.fsync

    def full(fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError):
        archive.write(KEY, b"{}", LARGE)
    monkeypatch.setattr(os, "fsync", real)
    assert tree(archive_dir) == before
    assert not archive.exists(KEY)
    assert list(archive.keys()) == []


def test_modes_are_not_for_the_world(archive, archive_dir):
    old = os.umask(0)
    try:
        archive.write(KEY, b"{}", b"{}")
    finally:
        os.umask(old)
    directory = archive_dir / "alpha/1034/871/1768978339"
    assert directory.stat().st_mode & 0o027 == 0
    assert (directory / "meta.json").stat().st_mode & 0o137 == 0


def test_missing_parts(archive):
    for read in (archive.read_meta, archive.read_data):
        with pytest.raises(Missing):
            read(KEY)
    with pytest.raises(Missing):
        archive.write_meta(KEY, b"{}")


def test_keys_and_delete(archive, archive_dir):
    keys = {JobKey("alpha", 1001, 5), JobKey("alpha", 1001, 6), JobKey("beta", 12_345_678_901, 7)}
    for key in keys:
        archive.write(key, b"{}", b"{}")
    (archive_dir / "alpha/1/001/.5.abcd.tmp").mkdir()  # of a process that was killed while it wrote
    assert set(archive.keys()) == keys
    assert set(archive.keys("beta")) == {JobKey("beta", 12_345_678_901, 7)}
    gone = [JobKey("alpha", 1001, 5), JobKey("alpha", 4, 4)]
    assert list(archive.delete(gone)) == gone  # also what was not there: its row may go
    assert set(archive.keys()) == keys - set(gone)


@pytest.mark.parametrize("cluster", ["..", ".", "", "a/b", "../alpha", "a\\b", "a\0b", "a\nb"])
def test_names_that_leave_the_archive(archive, cluster):
    for use in (archive.exists, archive.read_meta, lambda key: archive.write(key, b"{}", b"{}"), lambda key: list(archive.delete([key]))):
        with pytest.raises(InputError):
            use(JobKey(cluster, 1, 1))


def test_negative_numbers_have_no_path():
    with pytest.raises(InputError):
        JobKey("alpha", -1, 5).parts()


class TestOpening:
    def test_empty_directory_becomes_an_archive(self, tmp_path):
        (tmp_path / ".hidden").touch()
        assert FileArchive(tmp_path).clusters() == {}
        assert (tmp_path / "version.txt").read_text() == "3\n"

    @pytest.mark.parametrize(
        ("version", "says"), [("2\n", "unsupported version 2, need 3"), ("x", "does not hold a number"), ("4", "unsupported version 4")]
    )
    def test_other_versions(self, tmp_path, version, says):
        (tmp_path / "version.txt").write_text(version)
        with pytest.raises(OperatorError, match=says):
            FileArchive(tmp_path)

    def test_foreign_directory(self, tmp_path):
        (tmp_path / "stuff").touch()
        with pytest.raises(OperatorError, match=r"no version\.txt"):
            FileArchive(tmp_path)

    def test_missing_directory(self, tmp_path):
        with pytest.raises(OperatorError, match="no directory"):
            FileArchive(tmp_path / "nope")


def test_stray_directories_are_no_clusters(archive_dir):
    """Pitfall: lost+found stops the program."""
    (archive_dir / "lost+found").mkdir()
    (archive_dir / ".git").mkdir()
    warnings = []
    assert list(FileArchive(archive_dir, warnings.append).clusters()) == ["alpha", "beta"]
    assert len(warnings) == 1
    assert "lost+found" in warnings[0]


def test_edited_meta_keeps_what_it_does_not_know():
    old = b'{"jobId":5,"stopTime":9,"tags":[{"type":"a","name":"b","scope":"global","id":4}],"metaData":null}'
    new = json.loads(edited_meta(old, [Tag(type="x", name="<y>", scope="anna", id=77)], {"jobName": "é"}))
    assert new == {
        "jobId": 5,
        "stopTime": 9,
        "tags": [{"type": "x", "name": "<y>", "scope": "anna", "id": 0}],
        "metaData": {"jobName": "é"},
    }
    assert "tags" not in json.loads(edited_meta(old, [], {}))


def test_reference_gzip_is_read(archive, archive_dir):
    directory = archive_dir / "alpha/1034/871/1768978339"
    directory.mkdir(parents=True)
    (directory / "data.json.gz").write_bytes(gzip.compress(b'{"x":{}}', mtime=12345))
    assert archive.read_data(KEY) == b'{"x":{}}'
