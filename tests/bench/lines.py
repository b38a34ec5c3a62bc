"""Line protocol as a node of 72 hardware threads sends it: 18 metrics per thread and 4 of the node, 1,300 lines a tick."""

from __future__ import annotations

import random

THREADS = 72
THREAD_METRICS = [f"metric_{n:02d}" for n in range(18)]
NODE_METRICS = ["cpu_load", "mem_used", "net_bw", "power"]
METRICS = [*THREAD_METRICS, *NODE_METRICS]
STEP = 60
LINES = len(THREAD_METRICS) * THREADS + len(NODE_METRICS)
VARIANTS = 16
_TIME = "@"


def host_name(n: int) -> str:
    return f"f{n:04d}"


def samples(host: str, rng: random.Random) -> list[tuple[str, dict[str, str], float]]:
    """(name, tags, value) of one tick, in the order a collector has."""
    of_node = [(name, {"cluster": "fritz", "hostname": host, "type": "node"}, _value(rng)) for name in NODE_METRICS]
    of_threads = [
        (name, {"cluster": "fritz", "hostname": host, "type": "hwthread", "type-id": str(thread)}, _value(rng))
        for name in THREAD_METRICS
        for thread in range(THREADS)
    ]
    return of_node + of_threads


def _value(rng: random.Random) -> float:
    return round(rng.lognormvariate(5, 2), 3)


def write_plain(values: list[tuple[str, dict[str, str], float]], when: int | str) -> str:
    """The plainest correct writer for names without special characters."""
    return "".join(f"{name},{','.join(f'{k}={v}' for k, v in tags.items())} value={value!r} {when}\n" for name, tags, value in values)


def read_plain(body: bytes) -> list[tuple[str, dict[str, str], float, int]]:
    """The plainest reader, right for lines without escapes and with one field."""
    found = []
    for text in body.decode().splitlines():
        key, field, when = text.split(" ")
        name, *tags = key.split(",")
        found.append((name, dict(tag.split("=") for tag in tags), float(field[6:]), int(when)))
    return found


class Ticks:
    """Bodies of many ticks without building each line anew: texts with a gap for the time, a few sets of values by turns."""

    def __init__(self, hosts: int, seed: int = 1) -> None:
        rng = random.Random(seed)
        self.hosts = hosts
        self._texts = [[write_plain(samples(host_name(h), rng), _TIME) for _ in range(VARIANTS)] for h in range(hosts)]
        self._rng = rng

    def shuffle(self) -> None:
        """Every set of values in an order of its own, so that no line predicts the next."""
        self._texts = [[self._shuffled(text) for text in texts] for texts in self._texts]

    def _shuffled(self, text: str) -> str:
        parts = text.splitlines(keepends=True)
        self._rng.shuffle(parts)
        return "".join(parts)

    def bodies(self, when: int, lines: int = LINES) -> list[bytes]:
        """One tick of all hosts, cut into bodies of that many lines."""
        found = []
        for texts in self._texts:
            text = texts[when // STEP % VARIANTS].replace(_TIME, str(when))
            if lines >= LINES:
                found.append(text.encode())
            else:
                parts = text.splitlines(keepends=True)
                found += ["".join(parts[at : at + lines]).encode() for at in range(0, len(parts), lines)]
        return found
