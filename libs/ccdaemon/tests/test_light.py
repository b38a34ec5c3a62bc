import subprocess
import sys

import pytest

HEAVY = {"aiohttp", "cryptography", "nats", "jwt", "nkeys", "numpy", "ccschema", "sqlalchemy", "msgpack"}


def loaded_by(module):
    code = f"import sys, {module}\nprint(*{{m.partition('.')[0] for m in sys.modules}})"
    return set(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split())


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        *(
            (f"ccdaemon.{m}", set())
            for m in ("config.walk", "config.report", "flags", "log", "errors", "env", "ledger", "app", "executors")
        ),
        *(
            (f"ccdaemon.{m}", set())
            for m in ("journal", "files", "retry", "cache", "privileges", "systemd", "tls", "listen", "net.clientip")
        ),
        ("ccdaemon.net.http_server", {"aiohttp"}),
        ("ccdaemon.net.http_client", {"aiohttp"}),
        ("ccdaemon.tokens", {"jwt", "cryptography"}),
    ],
)
def test_each_module_imports_alone_and_light(module, allowed):
    assert loaded_by(module) & HEAVY <= allowed


def test_net_never_pulls_tokens():
    assert "jwt" not in loaded_by("ccdaemon.net.nats, ccdaemon.net.http_server, ccdaemon.net.http_client")


def test_config_needs_no_asyncio():
    assert "asyncio" not in loaded_by("ccdaemon.config.walk, ccdaemon.flags, ccdaemon.log")
