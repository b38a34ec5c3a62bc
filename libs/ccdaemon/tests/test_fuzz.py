"""Each parser of the package against rubbish: it answers, or raises what it promises, within a bounded time.

A few hundred inputs each in the usual run; `FUZZ_SECONDS=60` gives each parser a minute of random mutations of good inputs.
"""

import contextlib
import io
import os
import random
import time
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import pytest
from ccdaemon.config.jsonc import Node, parse
from ccdaemon.config.types import Bytes, Duration, Port, Problem, Secret
from ccdaemon.config.walk import convert
from ccdaemon.env import parse_env
from ccdaemon.errors import InputError, OperatorError
from ccdaemon.flags import parse_flags
from ccdaemon.journal import JournalError, Reader, Writer
from ccdaemon.listen import split_address
from ccdaemon.net.body import BadBody, whole_body
from ccdaemon.net.clientip import client_address, contains, networks
from ccdaemon.net.http_client import HttpClient
from ccdaemon.net.nats import NatsConfig, addresses
from ccdaemon.tokens import TokenError, Verifier, load_private_key, load_public_key, make_token, new_key_pair

SECONDS = float(os.environ.get("FUZZ_SECONDS", "0"))
TOKENS = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    '"',
    "'",
    "\\",
    "//",
    "/*",
    "*/",
    "\n",
    "\r\n",
    "\0",
    "\ud800",
    "$A",
    "${",
    "=",
    "#",
    "-",
    "1e999",
    "🙂",
]


class Inner(msgspec.Struct, rename="kebab"):
    mode: Literal["delete", "archive"] = "delete"
    every: Duration = Duration(1)

    def check(self):
        if self.mode == "archive":
            yield "mode", "no", "yes"


class Shape(msgspec.Struct, rename="kebab"):
    addr: str
    key: Secret = Secret("")
    workers: Annotated[int, msgspec.Meta(ge=1, le=9)] = 1
    port: Port = Port(1)
    size: Bytes = Bytes(0)
    ratio: float = 0.5
    names: tuple[str, ...] = ()
    inner: Inner | None = None
    more: dict[str, list[Inner] | bool] = {}


CONFIG = """{ // comment
 "addr": ":80", "key": "k\\u00e9", "workers": 3, "port": "8080", "size": "1.5GiB", "ratio": 1e-3, /* x */ "names": ["a", "b",],
 "inner": {"mode": "delete", "every": "1h30m.5s"}, "more": {"x": [{"mode": "archive"}], "y": true}, "Workers": 1, "unknown": null,
}"""


class Flags(msgspec.Struct):
    config: str = "x"
    n: int = 1
    every: Duration = Duration(1)
    on: bool = False
    args: tuple[str, ...] = ()


def configuration(text):
    node = parse(text, Path("c.json"))
    if isinstance(node, Problem):
        assert node.at is not None and node.at.line >= 1 and node.at.column >= 1 and str(node)
        return
    node.plain()
    for type_ in (Shape, NatsConfig):
        value, problems = convert(node, type_, "main")
        assert isinstance(node, Node) and (value is not None) != any(p.fatal for p in problems)
        assert all(str(p) and p.at is not None for p in problems)


def values(text):
    for read in (Duration.parse, Bytes.parse, Port.parse):
        with contextlib.suppress(ValueError):
            str(read(text))


def env(text):
    with contextlib.suppress(InputError):
        parse_env(text)


def flags(text):
    with contextlib.suppress(SystemExit), contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        parse_flags(Flags, text.split(" "), prog="p", version="1", about="")


def network(text):
    with contextlib.suppress(OperatorError):
        split_address(text, "addr")
    with contextlib.suppress(InputError):
        networks(text.split(","))
    trusted = networks(["10.0.0.0/8", "::1"])
    contains(trusted, text)
    client_address("10.0.0.1", [text, text], trusted)
    list(NatsConfig(address=text).check())
    addresses(text)
    with contextlib.suppress(OperatorError):
        HttpClient(text)


def tokens(public, private):
    verifier = Verifier((load_public_key(public),), strict=True)

    def judge(text):
        with contextlib.suppress(TokenError):
            verifier.verify(text)
        for load in (load_public_key, load_private_key):
            with contextlib.suppress(OperatorError):
                load(text)

    return judge, make_token(load_private_key(private), {"sub": "a", "roles": ["api"], "exp": 1e10, "nbf": 1})


class Stream:
    """What `whole_body` asks of aiohttp's reader."""

    def __init__(self, data):
        self.data = data

    async def iter_any(self):
        for at in range(0, len(self.data), 7):
            yield self.data[at : at + 7]


def body(data):
    with contextlib.suppress(BadBody), contextlib.suppress(StopIteration):
        whole_body(Stream(data), "gzip", 5000).send(None)


def journal(path):
    def read(data):
        path.write_bytes(data)
        with contextlib.suppress(JournalError), Reader(path, b"test") as reader:
            frames = [(f.offset, f.end, bytes(f.payload)) for f in reader]
            assert all(a[1] <= b[0] for a, b in zip(frames, frames[1:], strict=False))
        with contextlib.suppress(JournalError):
            writer, _ = Writer.resume(path, b"test")
            writer.append(b"more")
            writer.close()
            with Reader(path, b"test") as reader:
                assert [bytes(f.payload) for f in reader][-1] == b"more"

    return read


def mutated(rng, seed):
    """A copy of `seed` (str or bytes) with parts cut, doubled, swapped or replaced."""
    text = seed
    for _ in range(rng.randint(1, 6)):
        a, b = sorted(rng.randint(0, len(text)) for _ in range(2))
        piece = rng.choice(TOKENS) if isinstance(seed, str) else rng.randbytes(rng.randint(0, 5))
        kind = rng.randint(0, 4)
        if kind == 0:
            text = text[:a] + text[min(b, a + 8) :]
        elif kind == 1:
            text = text[:b] + text[a:b] + text[b:]
        elif kind == 2:
            text = text[:a] + piece + text[a + len(piece) :]
        elif kind == 3:
            text = text[:a] + piece * rng.randint(1, 200) + text[a:]
        else:
            text = text[:a] + text[a:b][::-1] + text[b:]
        text = text[:20_000]
    return text


def cases(tmp_path):
    import gzip

    writer = Writer.create(tmp_path / "seed", b"test", head=b"h")
    writer.append(b"one", b"", b"three" * 20)
    writer.close()
    judge, token = tokens(*new_key_pair())
    return {
        "configuration": (configuration, [CONFIG, "[]", '{"address": "nats://a:b@h:4222,tls://h", "password": "x", "nkey-file": "f"}']),
        "values": (values, ["1h30m0.5s", "-1.5ms", "0", "512MB", "1.5 GiB", "65535", "9223372036854775807ns"]),
        "env": (env, ["A=b\nexport B: 'c'\nC=\"x${A}\\n$B\" # d\nD=$A#x"]),
        "flags": (flags, ["-config a --n=3 -every 1h -on=false -- x", "-n x"]),
        "network": (
            network,
            ["127.0.0.1:80", "[::1]:8080", "10.0.0.0/8,fe80::1%eth0", '"[2001:db8::1]:99", 1.1.1.1:5', "nats://[::1]:4222,h:1"],
        ),
        "tokens": (judge, [token, new_key_pair()[1]]),
        "body": (body, [gzip.compress(b"m value=1\n" * 100), gzip.compress(b"")]),
        "journal": (journal(tmp_path / "fuzzed"), [(tmp_path / "seed").read_bytes()]),
    }


@pytest.mark.timeout(SECONDS + 60)
@pytest.mark.parametrize("name", ["configuration", "values", "env", "flags", "network", "tokens", "body", "journal"])
def test_each_parser_answers_rubbish_or_raises_what_it_promises(name, tmp_path):
    parser, seeds = cases(tmp_path)[name]
    start = random.randrange(1 << 30)
    end, count = time.monotonic() + SECONDS, 0
    while count < 300 or time.monotonic() < end:
        value = mutated(random.Random(start + count), seeds[count % len(seeds)])
        began = time.process_time()
        try:
            parser(value)
        except Exception as error:
            raise AssertionError(f"seed {start + count}: {value!r}") from error
        assert time.process_time() - began < 1, f"seed {start + count}: {len(value)} characters took too long: {value[:200]!r}"
        count += 1
    for seed in seeds:
        parser(seed)
