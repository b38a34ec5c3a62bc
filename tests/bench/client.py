"""A client in a process of its own that costs little itself: raw sockets, prepared requests, one request under way per connection.

python -m tests.bench.client        commands and answers are JSON, one a line
"""

from __future__ import annotations

import json
import re
import selectors
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.bench.lines import LINES, STEP, Ticks

ROOT = Path(__file__).parents[2]
_LENGTH = re.compile(rb"\r\nContent-Length: *(\d+)", re.IGNORECASE)
_SUBJECT = "bench"


def request(method: str, path: str, body: bytes, headers: dict[str, str] | None = None) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: bench", f"Content-Length: {len(body)}", *(f"{k}: {v}" for k, v in (headers or {}).items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _whole(answer: bytearray) -> bool:
    end = answer.find(b"\r\n\r\n")
    if end < 0:
        return False
    length = _LENGTH.search(answer, 0, end)
    if length is None:
        return b" 204 " in answer[:20] or answer.endswith(b"0\r\n\r\n")
    return len(answer) >= end + 4 + int(length[1])


def send_all(port: int, requests: list[bytes], connections: int) -> dict[str, Any]:
    """All requests over that many connections; seconds, statuses with their number, latencies in ms, bytes of the last answer."""
    statuses: Counter[int] = Counter()
    latencies: list[float] = []
    waiting = iter(requests)
    size = 0
    with selectors.DefaultSelector() as watched:
        sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(min(connections, len(requests)))]
        began = time.perf_counter()
        for s in sockets:
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            watched.register(s, selectors.EVENT_READ, [bytearray(), time.perf_counter()])
            s.sendall(next(waiting))
        while len(latencies) < len(requests):
            for key, _ in watched.select(30):
                s, state = key.fileobj, key.data
                assert isinstance(s, socket.socket)
                piece = s.recv(1 << 18)
                if not piece:
                    raise ConnectionError(f"the server closed a connection after {len(latencies)} answers")
                state[0] += piece
                if not _whole(state[0]):
                    continue
                now = time.perf_counter()
                latencies.append((now - state[1]) * 1e3)
                statuses[int(state[0][9:12])] += 1
                size = len(state[0])
                following = next(waiting, None)
                if following is not None:
                    state[0], state[1] = bytearray(), now
                    s.sendall(following)
        seconds = time.perf_counter() - began
        for s in sockets:
            s.close()
    return {"seconds": seconds, "statuses": dict(statuses), "latencies": latencies, "bytes": size}


def publish(port: int, bodies: list[bytes]) -> dict[str, Any]:
    """All bodies as NATS messages as fast as the server takes them."""
    frames = [b"PUB %s %d\r\n%s\r\n" % (_SUBJECT.encode(), len(body), body) for body in bodies]
    with socket.create_connection(("127.0.0.1", port)) as s:
        s.recv(1 << 16)  # INFO
        began = time.perf_counter()
        s.sendall(b'CONNECT {"verbose":false}\r\n')
        for at in range(0, len(frames), 64):
            s.sendall(b"".join(frames[at : at + 64]))
        s.sendall(b"PING\r\n")
        held = b""
        while b"PONG" not in held:
            held = s.recv(1 << 16)
        return {"seconds": time.perf_counter() - began}


def serve() -> None:
    """Commands: ticks (of which hosts), post and publish (a range of times), send (requests as given)."""
    ticks = Ticks(1)
    for text in sys.stdin:
        asked = json.loads(text)
        if asked["op"] == "ticks":
            ticks = Ticks(asked["hosts"])
            answer: dict[str, Any] = {}
        elif asked["op"] == "send":
            answer = send_all(asked["port"], [r.encode() for r in asked["requests"]], asked["connections"])
        else:
            times = range(asked["from"], asked["to"], STEP)
            bodies = [body for when in times for body in ticks.bodies(when, asked["lines"])]
            if asked["op"] == "post":
                answer = send_all(asked["port"], [request("POST", asked["path"], body) for body in bodies], 8)
            else:
                answer = publish(asked["port"], bodies)
            answer["lines"] = len(times) * ticks.hosts * LINES
            answer["requests"] = len(bodies)
        print(json.dumps(answer), flush=True)


class Client:
    """The other end: one command, one answer."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self._child = child

    def ask(self, op: str, **what: object) -> dict[str, Any]:
        assert self._child.stdin is not None and self._child.stdout is not None
        self._child.stdin.write(json.dumps({"op": op, **what}) + "\n")
        self._child.stdin.flush()
        text = self._child.stdout.readline()
        if not text:
            raise RuntimeError("the client of the benchmark ended; its message stands above")
        return dict(json.loads(text))


@contextmanager
def client() -> Iterator[Client]:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.bench.client"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            yield Client(child)
        finally:
            child.kill()


if __name__ == "__main__":
    serve()
