"""The daemon's configuration file: sections main, metrics, metric-store, nats (metric-store 6)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import msgspec
from ccdaemon.app import parse_address
from ccdaemon.config.types import Problem, Secret
from ccdaemon.config.walk import Section, load
from ccdaemon.errors import OperatorError
from ccdaemon.net.nats import NatsConfig
from ccdaemon.tokens import load_public_key
from ccstore.server.config import Debug, StoreConfig
from msgspec import Meta

STRICT = {"strict": True}


class Main(msgspec.Struct, rename="kebab", kw_only=True):
    """`main`: the HTTP server, who may use it, and as whom it runs."""

    addr: Annotated[str, Meta(description="Address and port to listen on.", extra={"example": '"0.0.0.0:8082"'})]
    jwt_public_key: Annotated[str, Meta(description="Base64 of the Ed25519 public key that tokens are checked with.", extra=STRICT)] = ""
    allow_unauthenticated: Annotated[
        bool, Meta(description="Run without a key: anybody who reaches the port may write, read and free.", extra=STRICT)
    ] = False
    https_cert_file: Annotated[str, Meta(description="Certificate; with https-key-file the port speaks HTTPS.", extra=STRICT)] = ""
    https_key_file: Annotated[str, Meta(description="Key of the certificate.", extra=STRICT)] = ""
    user: Annotated[str, Meta(description="User to become after the port is bound.", extra=STRICT)] = ""
    group: Annotated[str, Meta(description="Group to become after the port is bound.", extra=STRICT)] = ""
    backend_url: Annotated[str, Meta(description="URL of cc-backend: which hosts have running jobs, and the metric list.")] = ""
    backend_token: Annotated[Secret, Meta(description="Token (role api) for cc-backend.")] = Secret("")
    debug: Annotated[Debug, Meta(description="Accepted, without effect.")] = msgspec.field(default_factory=Debug)

    def check(self) -> Iterator[tuple[str, str, str]]:
        try:
            parse_address(self.addr, "main.addr")
        except OperatorError as e:
            yield "addr", e.text, e.remedy or 'for example "0.0.0.0:8082"'
        if self.jwt_public_key:
            try:
                load_public_key(self.jwt_public_key)
            except OperatorError as e:
                yield "jwt_public_key", e.text, e.remedy
        elif not self.allow_unauthenticated:
            yield "jwt_public_key", "is missing", 'add the public key, or "allow-unauthenticated": true to run without any check'
        if bool(self.https_cert_file) != bool(self.https_key_file):
            missing = "https_key_file" if self.https_cert_file else "https_cert_file"
            yield missing, "is missing: certificate and key belong together", "configure both or none"


class Metric(msgspec.Struct, rename="kebab", kw_only=True):
    """One entry of `metrics`."""

    frequency: Annotated[int, Meta(gt=0, description="Seconds between two samples.", extra={"example": "60"})]
    aggregation: Annotated[str | None, Meta(description="sum, avg, or null: no value for coarser scopes.")] = None


class Config(msgspec.Struct):
    """The whole file. metrics None: the section is absent. warnings: what the file has that does not stop the start."""

    main: Main
    store: StoreConfig
    metrics: Mapping[str, Metric] | None
    nats: NatsConfig | None
    warnings: list[Problem]


SECTIONS = {
    "main": Section(Main, required=True, legacy_keys=("jwt-public-key",)),
    "metrics": Section(dict[str, Metric]),
    "metric-store": Section(StoreConfig, required=True, legacy_keys=("checkpoints", "retention-in-memory")),
    "nats": Section(NatsConfig),
}


def read_config(path: Path) -> Config:
    """ConfigErrors: every mistake of the file and its includes."""
    loaded = load(path, SECTIONS)
    sections = loaded.sections
    return Config(sections["main"], sections["metric-store"], sections["metrics"], sections["nats"], loaded.warnings)
