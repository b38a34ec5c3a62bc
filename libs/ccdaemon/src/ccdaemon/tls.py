"""TLS contexts of servers and clients; certificates are read again on reload without dropping connections."""

from __future__ import annotations

import ssl
from pathlib import Path

from .errors import OperatorError


class ServerTls:
    """`context` for a Listener. `reload` takes a renewed pair for new connections, or keeps the old one and raises."""

    def __init__(self, cert_file: str, key_file: str) -> None:
        """OperatorError: a file without the other, unreadable, or not belonging together."""
        _both(cert_file, key_file)
        self._pair = (cert_file, key_file)
        self.context = _server_context(cert_file, key_file)

    def reload(self) -> None:
        """OperatorError when the new files are not usable; the old certificate stays in use then."""
        _server_context(*self._pair)  # a broken pair must not leave half of it in the context that serves
        self.context.load_cert_chain(*self._pair)


def server_tls(cert_file: str, key_file: str) -> ServerTls | None:
    """None where neither is configured. OperatorError where only one is."""
    return ServerTls(cert_file, key_file) if cert_file or key_file else None


def client_context(ca_file: str = "", cert_file: str = "", key_file: str = "") -> ssl.SSLContext:
    """Verifies the server's certificate and name, against `ca_file` or the system's authorities. OperatorError."""
    if ca_file:
        _readable(ca_file, "CA file")
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except (ssl.SSLError, OSError) as error:
        raise OperatorError(f"{ca_file} holds no certificates ({_reason(error)})", "it must be a PEM file") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if cert_file or key_file:
        _both(cert_file, key_file)
        _load_pair(context, cert_file, key_file)
    return context


def _server_context(cert_file: str, key_file: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")  # TLS 1.2; those of 1.3 are all fine
    context.options |= ssl.OP_NO_RENEGOTIATION
    _load_pair(context, cert_file, key_file)
    return context


def _load_pair(context: ssl.SSLContext, cert_file: str, key_file: str) -> None:
    _readable(cert_file, "certificate file")
    _readable(key_file, "key file")

    def no_password() -> str:
        raise OperatorError(f"the key file {key_file} is encrypted", "store the key without passphrase (openssl pkey)")

    try:
        context.load_cert_chain(cert_file, key_file, no_password)
    except (ssl.SSLError, OSError) as error:
        remedy = "both must be PEM, the certificate first in its file, then its chain"
        raise OperatorError(f"certificate {cert_file} and key {key_file} cannot be used ({_reason(error)})", remedy) from None


def _both(cert_file: str, key_file: str) -> None:
    if not cert_file or not key_file:
        missing, there = ("certificate", key_file) if not cert_file else ("key", cert_file)
        raise OperatorError(f"{there} is configured without its {missing} file", "configure both or none")


def _readable(file: str, what: str) -> None:
    try:
        with Path(file).open("rb"):
            pass
    except OSError as error:
        raise OperatorError(f"cannot read the {what} {file}: {error.strerror}", "correct the path or its permissions") from None


def _reason(error: OSError) -> str:
    return str(getattr(error, "reason", None) or error.strerror or error).replace("_", " ").lower()
