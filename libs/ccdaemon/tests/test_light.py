"""Each module imports alone, and pulls in only what its own work needs (architecture 2 and 4)."""

import pkgutil
import subprocess
import sys

import ccdaemon
import pytest

WATCHED = {"aiohttp", "cryptography", "jwt", "msgpack", "nacl", "nats", "nkeys", "numpy", "sqlalchemy"}
OURS = {"ccschema", "ccmessage", "ccclient", "ccstore", "cc_backend", "cc_metric_collector", "cc_metric_store", "cc_slurm_adapter"}
ALLOWED = {
    "ccdaemon.net.body": {"aiohttp"},
    "ccdaemon.net.http_server": {"aiohttp"},
    "ccdaemon.net.http_client": {"aiohttp"},
    "ccdaemon.net.selfmetrics": {"aiohttp"},
    "ccdaemon.net.nats": {"nats"},  # neither aiohttp nor nkeys: 12 MB of a collector
    "ccdaemon.net.nats_library": {"nats"},
    "ccdaemon.tokens": {"jwt", "cryptography"},
    "ccdaemon.keytools": {"jwt", "cryptography"},
}
MODULES = sorted(m.name for m in pkgutil.walk_packages(ccdaemon.__path__, "ccdaemon."))


def loaded_by(code):
    code = f"import sys\n{code}\nprint(*{{m.partition('.')[0] for m, loaded in sys.modules.items() if loaded}})"
    return set(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split())


@pytest.mark.parametrize("module", MODULES)
def test_each_module_imports_alone_and_light(module):
    assert loaded_by(f"import {module}") & (WATCHED | OURS) <= ALLOWED.get(module, set())


def test_config_needs_no_asyncio():
    assert "asyncio" not in loaded_by("import ccdaemon.config.walk, ccdaemon.flags, ccdaemon.log")


@pytest.mark.parametrize(
    "order", ["ccdaemon.net.nats, aiohttp", "aiohttp, ccdaemon.net.nats", "ccdaemon.net.nats, ccdaemon.net.http_client"]
)
def test_hiding_aiohttp_from_the_nats_library_hides_it_from_nobody_else(order):
    assert {"aiohttp", "nats"} <= loaded_by(f"import {order}\nimport aiohttp; aiohttp.ClientSession")
