"""The hook client as slurmctld runs it: exit codes, message, limits, and how little it imports."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from cc_slurm_adapter.hook import NAMES, parse_address, plain_json

PROGRAM = [sys.executable, "-m", "cc_slurm_adapter"]
JOB = {"SLURM_JOB_ID": "4711", "SLURM_CLUSTER_NAME": "alpha", "SLURM_SCRIPT_CONTEXT": "prolog_slurmctld"}


def hook(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    plain = {k: v for k, v in os.environ.items() if not k.startswith("SLURM_")}
    return subprocess.run([*PROGRAM, *arguments], env=plain | (JOB if env is None else env), capture_output=True, text=True, timeout=30)


def config(tmp_path: Path, address: str) -> str:
    path = tmp_path / "config.json"
    path.write_text('{ // ours\n "prepSockConnectPath": ' + json.dumps(address) + ",\n}")
    return str(path)


def test_message_is_all_39_variables_in_order(tmp_path: Path) -> None:
    received: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen()

        def take() -> None:
            connection, _ = server.accept()
            with connection:
                while chunk := connection.recv(65536):
                    received.append(chunk)

        thread = threading.Thread(target=take)
        thread.start()
        assert hook("-config", config(tmp_path, str(tmp_path / "s"))).returncode == 0
        thread.join(5)
    message = json.loads(b"".join(received))
    assert list(message) == NAMES
    assert len(NAMES) == 39
    assert message["SLURM_JOB_ID"] == "4711"
    assert message["SLURM_WCKEY"] == ""


def test_daemon_absent_is_exit_0_with_one_line(tmp_path: Path) -> None:
    done = hook("-config", config(tmp_path, str(tmp_path / "nobody")))
    assert done.returncode == 0
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("text", ["{", "[1]", ""])
def test_broken_configuration_is_no_wrong_usage(tmp_path: Path, text: str) -> None:
    path = tmp_path / "c.json"
    path.write_text(text)
    assert hook("-config", str(path)).returncode == 0


def test_full_backlog_gives_up_within_its_limit(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen(0)
        held = [socket.socket(socket.AF_UNIX) for _ in range(3)]
        for s in held:
            s.setblocking(False)
            s.connect_ex(str(tmp_path / "s"))
        began = time.monotonic()
        done = hook("-config", config(tmp_path, str(tmp_path / "s")))
        assert done.returncode == 0
        assert time.monotonic() - began < 6
        for s in held:
            s.close()


@pytest.mark.parametrize(
    ("arguments", "env", "code"),
    [
        ((), {}, 1),
        ((), {**JOB, "SLURM_SCRIPT_CONTEXT": "prolog_slurmd"}, 1),
        (("-prolog",), JOB, 2),
        (("-debug", "x"), JOB, 2),
        (("-config",), JOB, 2),
        (("-daemon=false", "--debug=5"), JOB, 0),
    ],
)
def test_exit_codes(arguments: tuple[str, ...], env: dict[str, str], code: int) -> None:
    assert hook(*arguments, env=env).returncode == code


def test_hook_imports_the_standard_library_only() -> None:
    script = "import sys; from cc_slurm_adapter.__main__ import main; main([]); print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], env={**os.environ, **JOB}, capture_output=True, text=True, check=True)
    modules = set(done.stdout.split())
    assert not modules & {"asyncio", "typing", "dataclasses", "logging", "msgspec", "aiohttp", "nats", "pathlib", "ccdaemon", "ccschema"}
    assert {m for m in modules if m.startswith("cc")} <= {"cc_slurm_adapter", "cc_slurm_adapter.__main__", "cc_slurm_adapter.hook"}


@pytest.mark.parametrize(
    "text",
    [
        '{"a": "// no comment /* */ ,}", "b": [1, 2,], /* c */ "d": {"e": 1 , },}',
        '// head\n{"a": 1}// tail',
        '{"a": "\\"", "b": "\\\\",}',
        '{"a": "http://x/*y", /**/ "b": []}',
    ],
)
def test_comments_and_commas_as_the_daemons_loader(text: str, tmp_path: Path) -> None:
    from ccdaemon.config.jsonc import Node, parse

    theirs = parse(text, tmp_path / "f")
    assert isinstance(theirs, Node)
    assert json.loads(plain_json(text)) == theirs.plain()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/run/x.sock", (socket.AF_UNIX, "/run/x.sock")),
        ("unix:/a:b", (socket.AF_UNIX, "/a:b")),
        ("tcp:127.0.0.1:12345", (socket.AF_INET, ("127.0.0.1", 12345))),
        ("TCP4::7", (socket.AF_INET, ("", 7))),
        ("tcp::7", (socket.AF_INET6, ("::", 7))),
    ],
)
def test_addresses(text: str, expected: object) -> None:
    assert parse_address(text) == expected


@pytest.mark.parametrize("text", ["udp:1:2", "tcp:host", "tcp:127.0.0.1:x"])
def test_wrong_addresses(text: str) -> None:
    with pytest.raises(ValueError, match="address"):
        parse_address(text)
