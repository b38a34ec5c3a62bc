"""The hook client: hands the environment of PrologSlurmctld or EpilogSlurmctld to the daemon.

It runs inside slurmctld's job path, so it imports a few modules of the standard library only, waits at most 2 s for each step, and
exits 0 whatever happens to daemon, socket or network; wrong usage alone is answered otherwise (2 unknown flag, 1 not a hook).
The message is one JSON object of 39 strings without framing; the end of the stream is its end (spec slurm-adapter 5.2).
"""

from __future__ import annotations

import json
import os
import socket
import sys

TYPE_CHECKING = False  # `typing` itself would cost the hook 3 ms
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

DEFAULT_CONFIG = "/etc/cc-slurm-adapter/config.json"
DEFAULT_SOCKET = "/run/cc-slurm-adapter/daemon.sock"
LIMIT = 2.0  # seconds for connect and for write
CONTEXTS = ("prolog_slurmctld", "epilog_slurmctld")
NAMES = [
    "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE",
    "CUDA_VISIBLE_DEVICES",
    "GPU_DEVICE_ORDINAL",
    "SLURM_ARRAY_JOB_ID",
    "SLURM_ARRAY_TASK_COUNT",
    "SLURM_ARRAY_TASK_ID",
    "SLURM_ARRAY_TASK_MAX",
    "SLURM_ARRAY_TASK_MIN",
    "SLURM_ARRAY_TASK_STEP",
    "SLURM_CLUSTER_NAME",
    "SLURM_JOB_ACCOUNT",
    "SLURM_JOB_COMMENT",
    "SLURM_JOB_CONSTRAINTS",
    "SLURM_JOB_CPUS_PER_NODE",
    "SLURM_JOB_DERIVED_EC",
    "SLURM_JOB_END_TIME",
    "SLURM_JOB_EXIT_CODE",
    "SLURM_JOB_EXIT_CODE2",
    "SLURM_JOB_EXTRA",
    "SLURM_JOB_GID",
    "SLURM_JOB_GROUP",
    "SLURM_JOB_ID",
    "SLURM_JOB_LICENSES",
    "SLURM_JOB_NAME",
    "SLURM_JOB_NODELIST",
    "SLURM_JOB_NUM_NODES",
    "SLURM_JOB_OVERSUBSCRIBE",
    "SLURM_JOB_PARTITION",
    "SLURM_JOB_RESERVATION",
    "SLURM_JOB_RESTART_COUNT",
    "SLURM_JOB_START_TIME",
    "SLURM_JOB_STDERR",
    "SLURM_JOB_STDIN",
    "SLURM_JOB_STDOUT",
    "SLURM_JOB_UID",
    "SLURM_JOB_USER",
    "SLURM_JOB_WORK_DIR",
    "SLURM_SCRIPT_CONTEXT",
    "SLURM_WCKEY",
]


def run(config_path: str, environ: Mapping[str, str]) -> int:
    """Send one message; the exit code."""
    if "SLURM_JOB_ID" not in environ:
        say("SLURM_JOB_ID is not set: without -daemon this program is the hook of PrologSlurmctld and EpilogSlurmctld; see -help")
        return 1
    if environ.get("SLURM_SCRIPT_CONTEXT") not in CONTEXTS:
        say("SLURM_SCRIPT_CONTEXT must be prolog_slurmctld or epilog_slurmctld, not {!r}".format(environ.get("SLURM_SCRIPT_CONTEXT", "")))
        return 1
    message = json.dumps({name: environ.get(name, "") for name in NAMES}, separators=(",", ":")).encode("utf-8", "replace")
    address = connect_path(config_path)
    try:
        family, where = parse_address(address)
        with socket.socket(family, socket.SOCK_STREAM) as s:
            s.settimeout(LIMIT)
            s.connect(where)
            s.sendall(message)
    except (OSError, ValueError) as e:
        say(f"the daemon was not reached at {address} ({e}); its next poll finds the job")
    return 0


def say(text: str) -> None:
    print("cc-slurm-adapter: " + text, file=sys.stderr)


def connect_path(config_path: str) -> str:
    """`prepSockConnectPath` of the configuration, or the default where the file is missing, unreadable or broken."""
    try:
        with open(config_path or DEFAULT_CONFIG, encoding="utf-8") as f:  # noqa: PTH123  (pathlib costs the hook 5 ms)
            config = json.loads(plain_json(f.read()))
        named = [v for k, v in config.items() if k.lower() == "prepsockconnectpath" and isinstance(v, str)]
        return named[-1] if named else DEFAULT_SOCKET
    except (OSError, ValueError, AttributeError) as e:
        if config_path:
            say(f"{config_path}: {e}; using {DEFAULT_SOCKET}")
        return DEFAULT_SOCKET


def plain_json(text: str) -> str:
    """Take comments and trailing commas out; strings stay as they are. The daemon's loader accepts the same (design T2)."""
    out: list[str] = []
    i, n = 0, len(text)
    while i < n:
        c = text[i]
        if c == '"':
            j = i + 1
            while j < n and text[j] != '"':
                j += 2 if text[j] == "\\" else 1
            out.append(text[i : j + 1])
            i = j + 1
        elif text.startswith("//", i):
            i = text.find("\n", i) if "\n" in text[i:] else n
        elif text.startswith("/*", i):
            i = text.find("*/", i) + 2 if "*/" in text[i + 2 :] else n
        else:
            if c in "]}":  # a comma before this one, perhaps with blanks between, is a trailing one
                k = len(out) - 1
                while k >= 0 and out[k].isspace():
                    k -= 1
                if k >= 0 and out[k] == ",":
                    out[k] = " "
            out.append(c)
            i += 1
    return "".join(out)


def parse_address(text: str) -> tuple[int, Any]:
    """(family, address) of `path`, `unix:path`, `tcp:host:port`, `tcp4:…`, `tcp6:…` (spec 3.3); ValueError names what is wrong."""
    network, colon, rest = text.partition(":")
    if not colon:
        return socket.AF_UNIX, text
    network = network.lower()
    if network == "unix":
        return socket.AF_UNIX, rest
    if network not in ("tcp", "tcp4", "tcp6"):
        raise ValueError(f"unknown network {network!r} in address {text!r}: use unix, tcp, tcp4 or tcp6")
    host, _, port = rest.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"address {text!r} has no port")
    host = host.strip("[]")
    wanted = {"tcp": 0, "tcp4": socket.AF_INET, "tcp6": socket.AF_INET6}[network]
    if not host:
        return (socket.AF_INET, ("", int(port))) if wanted == socket.AF_INET else (socket.AF_INET6, ("::", int(port)))
    family, _, _, _, where = socket.getaddrinfo(host, int(port), wanted, socket.SOCK_STREAM)[0]
    return family, where


def main(argv: list[str]) -> int:
    """Flags of the hook mode; anything that belongs to the daemon is not seen here. The exit code."""
    config_path = ""
    i = 0
    while i < len(argv) and argv[i].startswith("-") and argv[i] not in ("-", "--"):
        name, equals, value = argv[i].lstrip("-").partition("=")
        if name == "daemon":
            i += 1
            continue
        if name not in ("config", "debug"):
            say(f"unknown flag -{name}; see -help")
            return 2
        if not equals:
            i += 1
            if i == len(argv):
                say(f"flag -{name} needs a value")
                return 2
            value = argv[i]
        if name == "config":
            config_path = value
        elif not value.lstrip("-").isdecimal():
            say(f"-debug needs a number, not {value!r}")
            return 2
        i += 1
    return run(config_path, os.environ)
