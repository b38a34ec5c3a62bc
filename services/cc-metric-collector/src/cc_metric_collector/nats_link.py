"""Connection settings of the NATS sink and the NATS receiver."""

from __future__ import annotations

from pathlib import Path

from ccdaemon.config.types import Secret
from ccdaemon.errors import OperatorError
from ccdaemon.net.nats import NatsConfig


def nats_url(host: str, port: str, *, tls: bool) -> str:
    """`host` may be a URL (`nats://`, `tls://`), with or without port."""
    scheme, separator, rest = host.partition("://")
    if not separator:
        scheme, rest = ("tls" if tls else "nats"), host
    bare = rest.rpartition("@")[2]
    has_port = bare.rpartition("]")[2].count(":") == 1 if "[" in bare else bare.count(":") == 1
    return f"{scheme}://{rest}" if has_port else f"{scheme}://{rest}:{port}"


def nats_config(url: str, *, user: str, password: Secret, nkey_file: str, ca: str, cert: str, key: str) -> NatsConfig:
    """User and password if both are given, else the key file: a bare NKey seed or a `.creds` file. OperatorError."""
    by_password = bool(user and password)
    creds, seed = ("", "") if by_password or not nkey_file else key_kind(Path(nkey_file))
    return NatsConfig(
        address=url,
        username=user if by_password else "",
        password=password if by_password else Secret(""),
        creds_file_path=creds,
        nkey_file=seed,
        ca_file=ca,
        cert_file=cert,
        key_file=key,
    )


def key_kind(file: Path) -> tuple[str, str]:
    """(credentials file, seed file): one of them is the name of `file`, by its content."""
    try:
        text = file.read_text()
    except OSError as error:
        raise OperatorError(f"nkey_file: {error}", "it must hold an NKey seed or be a .creds file, readable for the collector") from None
    return (str(file), "") if "-----BEGIN NATS USER JWT-----" in text else ("", str(file))
