import os
import signal
import socket
import subprocess
import sys
import textwrap
import time

import pytest
from ccdaemon.app import Address, Application, guarded, parse_address
from ccdaemon.config.types import Position, Problem
from ccdaemon.errors import ConfigErrors, OperatorError

PRELUDE = """
import asyncio, os, sys, time, signal
from ccdaemon.app import *
from ccdaemon.errors import *
from ccdaemon.log import make_log
class P:
    def __init__(self, name, fail=None, slow=0.0): self.name, self.fail, self.slow = name, fail, slow
    async def start(self):
        print("start", self.name, flush=True)
        if self.fail: raise self.fail
    async def stop(self, deadline):
        await asyncio.sleep(self.slow)
        print("stop", self.name, flush=True)
class Ready:
    name = "ready"
    async def start(self): print("READY", flush=True)
    async def stop(self, deadline): pass
log = make_log("t", level="info")
app = Application("cc-test", log=log, stop_deadline=1.0)
"""


class Daemon:
    def __init__(self, body, env=None):
        code = PRELUDE + textwrap.dedent(body)
        self.process = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **(env or {})}
        )

    def until(self, text):
        seen = []
        for line in self.process.stdout:
            seen.append(line.strip())
            if line.strip() == text:
                return seen
        raise AssertionError((seen, self.process.stderr.read()))

    def end(self, timeout=15):
        out, err = self.process.communicate(timeout=timeout)
        return self.process.returncode, out.split("\n")[:-1], err


def test_order_of_start_and_stop():
    daemon = Daemon("""
        app.add(P("listener"), Phase.INTAKE); app.add(P("nats"), Phase.LINK); app.add(P("wal"), Phase.KEEP)
        app.add(P("timer"), Phase.WORK); app.add(P("engine"), Phase.KEEP); app.add(Ready(), Phase.INTAKE)
        sys.exit(app.run())
    """)
    assert daemon.until("READY") == [f"start {x}" for x in ("nats", "wal", "engine", "timer", "listener")] + ["READY"]
    daemon.process.send_signal(signal.SIGTERM)
    code, out, err = daemon.end()
    assert (code, out) == (0, [f"stop {x}" for x in ("listener", "timer", "engine", "wal", "nats")]), err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        ("OperatorError('no space', 'free some')", 1, "<2>[CRITICAL] no space: free some\n"),
        ("PeerError('slurm', 'down')", 1, "<2>[CRITICAL] slurm: down\n"),
        ("KeyError('x')", 70, "Traceback"),
    ],
)
def test_a_failed_start_is_one_message_and_stops_what_runs(error, code, words):
    got, out, err = Daemon(f"""
        app.add(P("a"), Phase.LINK); app.add(P("b", fail={error}), Phase.KEEP); app.add(P("c"), Phase.INTAKE)
        sys.exit(app.run())
    """).end()
    assert (got, out) == (code, ["start a", "start b", "stop b", "stop a"]) and words in err
    assert ("Traceback" in err) == (code == 70)


def test_deadline_is_shared_and_a_late_part_does_not_hold_up_the_others():
    daemon = Daemon("""
        app.add(P("nats"), Phase.LINK); app.add(P("stuck", slow=60), Phase.KEEP); app.add(Ready(), Phase.INTAKE)
        sys.exit(app.run())
    """)
    daemon.until("READY")
    began = time.monotonic()
    daemon.process.send_signal(signal.SIGTERM)
    code, out, err = daemon.end()
    assert (code, out) == (0, ["stop nats"]) and "part.late part=stuck" in err
    assert time.monotonic() - began < 5


def test_second_signal_stops_now():
    daemon = Daemon("""
        app.stop_deadline = 60
        app.add(P("stuck", slow=60), Phase.KEEP); app.add(Ready(), Phase.INTAKE)
        sys.exit(app.run())
    """)
    daemon.until("READY")
    daemon.process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert daemon.process.poll() is None
    daemon.process.send_signal(signal.SIGTERM)
    code, _, err = daemon.end(5)
    assert code == 1 and "stop.now" in err


def test_r10_hanging_threads_and_name_servers_do_not_hold_up_the_exit():
    daemon = Daemon("""
        class Hang(Ready):
            async def start(self):
                import socket
                socket.getaddrinfo = lambda *a, **k: time.sleep(60)
                asyncio.ensure_future(asyncio.get_running_loop().getaddrinfo("example.invalid", 1))
                asyncio.get_running_loop().run_in_executor(None, time.sleep, 60)
                await asyncio.sleep(0.1)
                await super().start()
        app.add(Hang(), Phase.LINK)
        sys.exit(app.run())
    """)
    daemon.until("READY")
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.end(8)[0] == 0


@pytest.mark.slow
def test_a_blocking_stop_ends_by_the_last_resort(tmp_path):
    daemon = Daemon("""
        class Block(Ready):
            async def stop(self, deadline): time.sleep(60)
        app.add(Block(), Phase.LINK)
        sys.exit(app.run())
    """)
    daemon.until("READY")
    daemon.process.send_signal(signal.SIGTERM)
    code, _, err = daemon.end(12)
    assert code == 1 and "stop.hangs" in err


def test_signal_during_start():
    daemon = Daemon("""
        class Slow(Ready):
            async def start(self):
                print("starting", flush=True)
                await asyncio.sleep(60)
            async def stop(self, deadline): print("stopped", flush=True)
        app.add(Slow(), Phase.KEEP); app.add(P("never"), Phase.INTAKE)
        sys.exit(app.run())
    """)
    daemon.until("starting")
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.end()[:2] == (0, ["stopped"])


def test_systemd_hears_of_everything(tmp_path):
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(path)
        server.settimeout(10)
        daemon = Daemon(
            """
            async def again(): print("again", flush=True)
            async def broken(): raise OperatorError("bad certificate")
            app.on_reload(broken); app.on_reload(again)
            app.add(Ready(), Phase.INTAKE)
            sys.exit(app.run())
            """,
            {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "300000"},
        )
        assert server.recv(999) == b"READY=1\nSTATUS=running"
        assert server.recv(999) == b"WATCHDOG=1"
        daemon.process.send_signal(signal.SIGHUP)
        daemon.until("again")
        rest = [x for x in (server.recv(999) for _ in range(5)) if x != b"WATCHDOG=1"]
        assert rest[0].startswith(b"RELOADING=1\nMONOTONIC_USEC=") and rest[1].startswith(b"READY=1")
        daemon.process.send_signal(signal.SIGTERM)
        last = server.recv(999)
        while last == b"WATCHDOG=1":
            last = server.recv(999)
        assert last == b"STOPPING=1\nSTATUS=Shutting down ..."
        assert "bad certificate" in daemon.end()[2]


def test_abstract_notify_socket():
    from ccdaemon.systemd import Notifier

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(f"\0ccdaemon-test-{os.getpid()}")
        server.settimeout(5)
        Notifier({"NOTIFY_SOCKET": f"@ccdaemon-test-{os.getpid()}"}).status("a\nb")
        assert server.recv(99) == b"STATUS=a b"
    Notifier({"NOTIFY_SOCKET": "/nonexistent/socket"}).ready()
    Notifier({}).ready()
    assert Notifier({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}).watchdog_every is None
    assert Notifier({"WATCHDOG_USEC": "3000000"}).watchdog_every == 1.0


def test_lateness_is_measured():
    out = Daemon("""
        class Late(Ready):
            async def start(self):
                await asyncio.sleep(0.1)
                time.sleep(0.8)
                await asyncio.sleep(0.1)
                print(app.lateness.quantile(1.0))
                app.stop()
        app.add(Late(), Phase.LINK)
        sys.exit(app.run())
    """).end()[1]
    assert float(out[0]) in (0.5, 1.0)
    assert b"cc_test_loop_lateness_seconds_bucket" in _exposition()


def _exposition():
    from ccdaemon.log import make_log

    return Application("cc-test", log=make_log("t")).registry.exposition()


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0.0.0.0:8080", ("0.0.0.0", 8080)), (":80", ("", 80)), ("[::1]:8080", ("::1", 8080)), ("localhost:1", ("localhost", 1))],
)
def test_addresses(text, expected):
    address = parse_address(text, "main.addr")
    assert (address.host, address.port, address.of) == (*expected, "main.addr")


@pytest.mark.parametrize("text", ["", "8080", "a:b", "::1:80", "a:70000", "a b:80", "a:-1"])
def test_bad_addresses_name_their_key(text):
    with pytest.raises(OperatorError, match="metrics_address: .* no .*address"):
        parse_address(text, "metrics_address")


def test_bind_names_key_and_remedy(log):
    app = Application("cc-test", log=log)
    (first,) = app.bind([Address("127.0.0.1", 0)])
    port = first.getsockname()[1]
    with pytest.raises(OperatorError, match=rf"main.addr: port {port} of 127.0.0.1 is in use by another process: find it with: ss"):
        app.bind([Address("127.0.0.1", 0, "other"), Address("127.0.0.1", port)])
    with pytest.raises(OperatorError, match="no address of this machine"):
        app.bind([Address("192.0.2.1", 0)])
    first.close()
    (everywhere,) = app.bind([Address("", 0)])
    with socket.create_connection(("127.0.0.1", everywhere.getsockname()[1]), 5):
        pass
    everywhere.close()


def test_guarded_gives_exit_codes(log, capsys):
    def fails(error):
        def f():
            raise error

        return f

    problems = [Problem("main.x", Position(__import__("pathlib").Path("c"), n, 1), "bad", "mend it") for n in (1, 2)]
    assert guarded(log, lambda: 3) == 3
    assert guarded(log, fails(ConfigErrors(problems))) == 1
    err = capsys.readouterr().err
    assert "<2>[CRITICAL] c:1:1: main.x: bad, mend it\n<2>[CRITICAL] c:2:1:" in err and "Traceback" not in err
    assert guarded(log, fails(RuntimeError("x"))) == 70
