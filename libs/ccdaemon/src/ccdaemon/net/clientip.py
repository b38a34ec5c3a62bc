"""Who a request comes from, when proxies that we trust stand in front."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

from ..errors import InputError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Addresses (`10.0.0.1`) and networks (`10.0.0.0/8`); InputError names the wrong one."""
    found = []
    for text in texts:
        try:
            found.append(ipaddress.ip_network(text.strip(), strict=False))
        except ValueError:
            raise InputError("is no IP address or network", text) from None
    return tuple(found)


def contains(nets: Sequence[Network], address: str) -> bool:
    """False for what is no address. An IPv4 address in IPv6 clothes counts as IPv4."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return any(ip in net for net in nets)


def client_address(peer: str, forwarded: Sequence[str], trusted: Sequence[Network]) -> str:
    """The nearest address that is no trusted proxy: `peer`, then the `X-Forwarded-For` values from right to left.

    `forwarded` = all header lines in order. Without trusted proxies the header is a claim of the sender and not looked at.
    """
    address = peer
    hops = [hop.strip() for line in forwarded for hop in line.split(",")]
    while contains(trusted, address) and hops:
        hop = _bare(hops.pop())
        if hop is None:
            return address  # not an address: whoever wrote it is the last one we know
        address = hop
    return address


def _bare(hop: str) -> str | None:
    """`1.2.3.4`, `1.2.3.4:567`, `[::1]:567` → the address."""
    text = hop.strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None
