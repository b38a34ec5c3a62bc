import os
import stat

import pytest
from ccdaemon.errors import InputError, OperatorError
from ccdaemon.files import locked, quarantine, safe_name, write_atomic


def test_write_atomic_replaces_or_leaves(tmp_path):
    path = tmp_path / "state"
    write_atomic(path, b"one", mode=0o600)
    assert path.read_bytes() == b"one" and stat.S_IMODE(path.stat().st_mode) == 0o600
    write_atomic(path, b"two")
    with pytest.raises(TypeError):
        write_atomic(path, "no bytes")
    assert path.read_bytes() == b"two" and os.listdir(tmp_path) == ["state"]


def test_quarantine_keeps_every_damaged_file(tmp_path):
    for content in ("a", "b"):
        (tmp_path / "x.bin").write_text(content)
        quarantine(tmp_path / "x.bin")
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"x.bin.damaged": "a", "x.bin.damaged-2": "b"}


@pytest.mark.parametrize("bad", ["", ".", "..", "a/b", "/", "a\0", "x" * 256, "é" * 128, "\ud800"])
def test_unsafe_names(bad):
    with pytest.raises(InputError, match="host"):
        safe_name(bad, "host")


def test_safe_names():
    assert safe_name("...") == "..." and safe_name("é" * 127) == "é" * 127


def test_lock_excludes_others(tmp_path):
    with locked(tmp_path / "lock"), pytest.raises(OperatorError, match="in use"), locked(tmp_path / "lock"):
        pass
    with locked(tmp_path / "lock"):
        pass
