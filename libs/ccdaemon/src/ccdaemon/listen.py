"""Listening sockets, and messages for what hinders them."""

from __future__ import annotations

import errno
import os
import socket

from .errors import OperatorError


def split_address(text: str, of: str) -> tuple[str, int]:
    """`"0.0.0.0:8080"`, `":8080"`, `"[::1]:8080"` → (host, port); OperatorError names the key `of`."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise OperatorError(f"{of}: {text!r} is no address", 'write an IPv6 address in brackets: "[::1]:8080"')
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65535 or any(c.isspace() for c in host):
        raise OperatorError(f"{of}: {text!r} is no address", 'write "host:port", for example "0.0.0.0:8080"')
    return host, int(port)


def bound_socket(host: str, port: int, of: str) -> socket.socket:
    """A listening socket; an empty host listens on all addresses, IPv6 and IPv4. OperatorError."""
    try:
        if host in ("", "*"):
            sock = _everywhere(port)
        else:
            family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
            sock = _listening(family, kind, proto, address)
    except socket.gaierror as error:
        raise OperatorError(f"{of}: the name {host!r} has no address ({error.strerror})", "use an address of this machine") from None
    except OSError as error:
        raise OperatorError(f"{of}: {_what(error, host, port)}", _remedy(error, port)) from None
    return sock


def _everywhere(port: int) -> socket.socket:
    try:
        return _listening(socket.AF_INET6, socket.SOCK_STREAM, 0, ("::", port), dual=True)
    except OSError as error:
        if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT):
            raise
        return _listening(socket.AF_INET, socket.SOCK_STREAM, 0, ("0.0.0.0", port))  # noqa: S104 - the key asks for all addresses


def _listening(family: int, kind: int, proto: int, address: object, *, dual: bool = False) -> socket.socket:
    sock = socket.socket(family, kind, proto)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual else 1)
        sock.bind(address)  # type: ignore[arg-type]
        sock.listen(1024)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def _what(error: OSError, host: str, port: int) -> str:
    where = f"port {port}" + (f" of {host}" if host else "")
    texts = {
        errno.EADDRINUSE: f"{where} is in use by another process",
        errno.EACCES: f"no right to listen on {where}",
        errno.EADDRNOTAVAIL: f"{host} is no address of this machine",
    }
    return texts.get(error.errno or 0, f"cannot listen on {where}: {os.strerror(error.errno or 0)}")


def _remedy(error: OSError, port: int) -> str:
    remedies = {
        errno.EADDRINUSE: f"find it with: ss -ltnp 'sport = :{port}', stop it or choose another port",
        errno.EACCES: 'start as root and set "user" and "group", or give the unit AmbientCapabilities=CAP_NET_BIND_SERVICE',
        errno.EADDRNOTAVAIL: "use 0.0.0.0 for all addresses or one that `ip addr` shows",
    }
    return remedies.get(error.errno or 0, "")
