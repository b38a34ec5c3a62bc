"""The command line as administrators and scripts use it: a real process each."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sqlite3
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture
def cc_backend(tmp_path):
    def run(*flags, stdin="", **env):
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("JWT_", "SESSION_"))}
        return subprocess.run(
            [sys.executable, "-m", "cc_backend", *flags], cwd=tmp_path, env=clean | env, capture_output=True, text=True, input=stdin
        )

    return run


def users(tmp_path):
    with contextlib.closing(sqlite3.connect(tmp_path / "var/job.db")) as conn:
        return {row[0]: row[1:] for row in conn.execute("SELECT username, roles, password FROM hpc_user")}


def test_version(cc_backend):
    result = cc_backend("-version")
    assert result.returncode == 0
    assert re.search(r"^SQL db version:\t\d+$", result.stdout, re.M)
    assert re.search(r"^Job archive version:\t3$", result.stdout, re.M)


def test_wrong_flag(cc_backend):
    assert cc_backend("-nonsense").returncode == 2
    assert cc_backend("--version").returncode == 0


def test_init_and_users(cc_backend, tmp_path):
    result = cc_backend("-init")
    assert result.returncode == 0, result.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == [".env", "config.json", "var"]
    assert (tmp_path / ".env").stat().st_mode & 0o077 == 0
    assert (tmp_path / "var/job-archive/version.txt").read_text() == "3\n"
    # Pitfall: every installation gets the same, published keys.
    env = (tmp_path / ".env").read_text()
    assert "kzfYrYy" not in env
    assert "already exists" in cc_backend("-init").stdout
    assert cc_backend("-check-config").returncode == 0

    result = cc_backend("-add-user", "demo:admin,api:de:mo", "-jwt", "demo")
    assert result.returncode == 0, result.stderr
    token = re.search(r"(?<=JWT: Successfully generated JWT for user 'demo': ).*", result.stdout)[0]
    assert token.count(".") == 2
    assert result.stdout.endswith("No errors, server flag not set. Exiting cc-backend.\n")
    assert json.loads(users(tmp_path)["demo"][0]) == ["admin", "api"]
    assert users(tmp_path)["demo"][1].startswith("$2b$10$")
    assert cc_backend("-add-user", "anna:user:-", stdin="from stdin\n").returncode == 0
    assert cc_backend("-del-user", "anna").returncode == 0
    assert cc_backend("-del-user", "nobody").returncode == 0
    assert set(users(tmp_path)) == {"demo"}
    for wrong, says in (
        ("demo", "invalid user format"),
        (":user:x", "invalid user format"),
        ("demo:user:x", "exists already"),
        ("x:root:y", "'root' is no role"),
        ("x:user:" + "y" * 73, "73 bytes"),
        ("admin:user:y", "tag scope"),
    ):
        result = cc_backend("-add-user", wrong)
        assert result.returncode == 1
        assert says in result.stderr
        assert "Traceback" not in result.stderr
    assert "no user 'nobody'" in cc_backend("-jwt", "nobody").stderr


def test_init_overwrites_nothing(cc_backend, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    assert cc_backend("-init").returncode == 1
    assert (tmp_path / "config.json").read_text() == "{}"
    assert not (tmp_path / "var").exists()


def test_database_messages(cc_backend, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    result = cc_backend("-migrate-db")
    assert result.returncode == 1
    assert "no directory" in result.stderr
    (tmp_path / "var/job-archive").mkdir(parents=True)
    result = cc_backend("-server")
    assert result.returncode == 1
    assert "-migrate-db" in result.stderr
    result = cc_backend("-migrate-db")
    assert re.fullmatch(r"MigrateDB Success: Migrated SQLite database at 'var/job.db' to version \d+\.\n", result.stdout)
    assert cc_backend("-optimize-db").stdout.endswith("OptimizeDB Success: Database 'var/job.db' optimized (VACUUM + ANALYZE).\n")


def test_check_config(cc_backend, tmp_path):
    (tmp_path / "config.json").write_text('{"main": {"addr": 5}, "cron": {"duration-worker": "x"}}')
    result = cc_backend("-check-config")
    assert result.returncode == 1
    assert "main.addr" in result.stdout
    assert "cron.duration-worker" in result.stdout
    (tmp_path / "config.json").write_text('{"archive": {"kind": "s3", "bucket": "b"}}')
    result = cc_backend("-check-config")
    assert result.returncode == 0
    assert "not in this version: archive.kind" in result.stdout
    result = cc_backend("-server")
    assert result.returncode == 1
    assert "archive.kind" in result.stderr
    assert "Traceback" not in result.stderr


def test_missing_configuration(cc_backend):
    result = cc_backend("-server")
    assert result.returncode == 1
    assert "config.json" in result.stderr


def test_keys_that_do_not_belong_together(cc_backend, tmp_path):
    from ccdaemon.tokens import new_key_pair

    assert cc_backend("-init").returncode == 0
    result = cc_backend("-server", JWT_PUBLIC_KEY=new_key_pair()[0], JWT_PRIVATE_KEY=new_key_pair()[1])
    assert result.returncode == 1
    assert "do not belong together" in result.stderr
