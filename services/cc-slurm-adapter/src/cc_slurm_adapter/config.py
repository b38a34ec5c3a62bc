"""The adapter's configuration: one flat object (spec slurm-adapter 3.2)."""

from __future__ import annotations

import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
from ccdaemon.config.types import Problem, Secret
from ccdaemon.config.walk import load_flat
from ccdaemon.errors import ConfigErrors
from ccschema.patterns import Pattern, compile_pattern
from msgspec import Meta

DEFAULT_PATH = Path("/etc/cc-slurm-adapter/config.json")
RUN = "/run/cc-slurm-adapter"


class Config(msgspec.Struct, rename="camel"):
    """Keys of the configuration file; times in seconds."""

    cc_rest_url: Annotated[str, Meta(description="Base URL of cc-backend; /api/… is appended. Required.")] = ""
    cc_rest_jwt: Annotated[Secret, Meta(description="API token, sent as X-Auth-Token. Required.")] = Secret("")
    cc_rest_submit_jobs: Annotated[bool, Meta(description="false: starts and stops by NATS only.")] = True
    cc_poll_interval: Annotated[int, Meta(description="How often the running jobs of cc-backend are compared with ours, in s.")] = 21600
    pid_file_path: Annotated[str, Meta(description="PID file, locked while the daemon lives.")] = f"{RUN}/daemon.pid"
    prep_sock_listen_path: Annotated[str, Meta(description="Where the daemon listens for the hook: a path, unix:path, tcp:host:port.")] = (
        f"{RUN}/daemon.sock"
    )
    prep_sock_connect_path: Annotated[str, Meta(description="Where the hook client connects to.")] = f"{RUN}/daemon.sock"
    last_run_path: Annotated[str, Meta(description="Its modification time is the last completed poll; the outbox lies beside it.")] = (
        "/var/lib/cc-slurm-adapter/lastrun"
    )
    slurm_poll_interval: Annotated[int, Meta(description="Time between full polls, in s; at least 1.")] = 60
    slurm_query_delay: Annotated[int, Meta(description="Pause between a hook event and its query, in s; at least 1.")] = 1
    slurm_query_max_span: Annotated[int, Meta(description="How far back a poll may look, in s.")] = 604800
    slurm_max_retries: Annotated[int, Meta(description="Retries of the query for a hook event.")] = 10
    slurm_max_concurrent: Annotated[int, Meta(description="Slurm commands that run at the same time, at most.")] = 10
    gpu_pci_addrs: Annotated[
        dict[str, list[str]], Meta(description="Regular expression for hosts → PCI addresses in NVML order; the first that matches counts.")
    ] = {}
    ignore_hosts: Annotated[str, Meta(description="Regular expression; a job whose hosts all match is not reported.")] = ""
    nats_server: Annotated[str, Meta(description="Host, or tls://host; empty: no NATS.")] = ""
    nats_port: Annotated[int, Meta(ge=0, le=65535, description="Port of the NATS server.")] = 4222
    nats_subject: Annotated[str, Meta(description="Subject of job events: subject-job-event of cc-backend.")] = "jobs"
    nats_user: Annotated[str, Meta(description="User name.")] = ""
    nats_password: Annotated[Secret, Meta(description="Password.")] = Secret("")
    nats_creds_file: Annotated[str, Meta(description="Credentials file (JWT and NKey).")] = ""
    nats_n_key_seed_file: Annotated[str, Meta(description="File with an NKey seed.")] = ""
    nats_tls_ca_file: Annotated[str, Meta(description="CA of the server's certificate.")] = ""
    nats_tls_cert_file: Annotated[str, Meta(description="Client certificate; with natsTlsKeyFile.")] = ""
    nats_tls_key_file: Annotated[str, Meta(description="Client key; with natsTlsCertFile.")] = ""
    metrics_address: Annotated[str, Meta(description="Loopback host:port of /metrics; empty: off.")] = ""


class Rules(msgspec.Struct):
    """The configuration's patterns, compiled."""

    ignored: Callable[[str], bool]
    addresses: Callable[[str], Sequence[str] | None]


def read(path: Path | None) -> tuple[Config, Rules, list[Problem]]:
    """Configuration, patterns, warnings. ConfigErrors with all mistakes. Without a path the default file, which may be missing."""
    if path is None and not DEFAULT_PATH.exists():
        config, warnings = Config(), list[Problem]()
    else:
        config, warnings = load_flat(path or DEFAULT_PATH, Config)
    problems = list(_check(config))
    rules = _rules(config, problems)
    warnings += [p for p in problems if not p.fatal] + _open_file(path or DEFAULT_PATH)
    if fatal := [p for p in problems if p.fatal]:
        raise ConfigErrors(fatal)
    config.cc_rest_url = config.cc_rest_url.rstrip("/")
    for key in ("slurm_poll_interval", "slurm_query_delay", "slurm_max_concurrent", "cc_poll_interval"):
        setattr(config, key, max(1, getattr(config, key)))
    return config, rules, warnings


def _check(c: Config) -> list[Problem]:
    def wrong(path: str, text: str, remedy: str, fatal: bool = True) -> Problem:
        return Problem(path, None, text, remedy, fatal)

    found = []
    if not c.cc_rest_url:
        found.append(wrong("ccRestUrl", "is missing", "give the base URL of cc-backend, for example https://monitoring.example"))
    elif not c.cc_rest_url.startswith(("http://", "https://")):
        found.append(wrong("ccRestUrl", f"{c.cc_rest_url!r} is no URL", "it begins with http:// or https://"))
    if not c.cc_rest_jwt:
        found.append(wrong("ccRestJwt", "is missing", "make a token with: cc-backend -jwt USER, for a user with the role api"))
    if not c.cc_rest_submit_jobs and not c.nats_server:
        found.append(wrong("natsServer", "is missing although ccRestSubmitJobs is false", "name a NATS server or let jobs go by REST"))
    if bool(c.nats_tls_cert_file) != bool(c.nats_tls_key_file):
        found.append(
            wrong("natsTlsCertFile", "certificate and key go together", "give natsTlsCertFile and natsTlsKeyFile, or none of them")
        )
    for key, value in (("slurmPollInterval", c.slurm_poll_interval), ("slurmQueryDelay", c.slurm_query_delay)):
        if value < 1:
            found.append(wrong(key, f"{value} is below 1", "1 is used", fatal=False))
    return found


def _rules(c: Config, problems: list[Problem]) -> Rules:
    def compiled(path: str, text: str) -> Pattern | None:
        try:
            return compile_pattern(text)
        except ValueError as e:
            problems.append(Problem(path, None, f"{text!r} is no regular expression (RE2): {e}", "mend the expression", True))
            return None

    ignore = compiled("ignoreHosts", c.ignore_hosts) if c.ignore_hosts else None
    groups = [(compiled(f"gpuPciAddrs[{text!r}]", text), addresses) for text, addresses in c.gpu_pci_addrs.items()]

    def ignored(host: str) -> bool:
        return ignore is not None and ignore.search(host) is not None

    def addresses(host: str) -> Sequence[str] | None:
        return next((found for pattern, found in groups if pattern is not None and pattern.search(host)), None)

    return Rules(ignored, addresses)


def _open_file(path: Path) -> list[Problem]:
    """The file holds secrets: a warning if everybody can read it."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return []
    if mode & stat.S_IROTH:
        return [Problem("", None, f"{path} holds secrets and is readable by all users", f"chmod 0640 {path}", False)]
    return []
