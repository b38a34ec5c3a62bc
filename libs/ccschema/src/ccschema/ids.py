"""Names of the parts of a node: tags on the wire ⇄ levels of the store, PCI addresses, order of names.

Collector, adapter, store and backend agree about a device because nobody else formats or splits an id.
"""

from __future__ import annotations

import re

import msgspec

LEVEL_TYPES = ("node", "socket", "die", "memoryDomain", "llc", "core", "hwthread", "accelerator")
"""Types of the suite. The store takes any other word as well (metric-store 2.2)."""

# Digits and letters of a PCI bus id; the domain has four (sysfs, Slurm) or eight digits (NVML).
_PCI = re.compile(r"(?:([0-9a-fA-F]{4}|[0-9a-fA-F]{8}):)?([0-9a-fA-F]{2}):([0-9a-fA-F]{2})\.([0-7])", re.ASCII)
_DIGITS = re.compile(r"([0-9]+)", re.ASCII)


class ResourceId(msgspec.Struct, frozen=True):
    """One part of a node as the tags `type`, `type-id`, `stype`, `stype-id` name it."""

    type: str
    id: str | None
    stype: str | None = None
    stype_id: str | None = None


NODE = ResourceId("node", None)


def level_names(r: ResourceId) -> tuple[str, ...]:
    """Levels below the host: `hwthread` + `12` → ("hwthread12",); node → (). The sub-type counts only below a type level.

    `type=node` is the host level whatever its id says (metric-store 2.2).
    """
    level = "" if r.type == "node" else r.type + (r.id or "")
    if not level:
        return ()
    below = (r.stype or "") + (r.stype_id or "")
    return (level, below) if below else (level,)


def split_level(name: str) -> ResourceId:
    """Inverse of one level name: `hwthread12` → hwthread, 12; `accelerator00000000:49:00.0` → accelerator, that address.

    A name without a known type is split before its trailing digits.
    """
    for type_ in LEVEL_TYPES:
        if type_ != "node" and name.startswith(type_):
            return ResourceId(type_, name[len(type_) :] or None)
    word = name.rstrip("0123456789")
    return ResourceId(word, name[len(word) :] or None)


def pci_address(text: str) -> str:
    """The one normal form of a PCI address, that of NVML and the tutorial: `00000000:CE:00.0`.

    Takes domains of four or eight digits or none, in either case. ValueError names the text.
    """
    found = _PCI.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"not a PCI address: {text!r}; expected a form like 00000000:CE:00.0")
    domain, bus, device, function = found.groups()
    return f"{(domain or '0').upper():0>8}:{bus.upper()}:{device.upper()}.{function}"


def same_device(a: str, b: str) -> bool:
    """Whether two accelerator ids mean the same device: equal as PCI addresses, or equal texts."""
    try:
        return pci_address(a) == pci_address(b)
    except ValueError:
        return a == b


def natural_key(name: str) -> tuple[tuple[int, str, str], ...]:
    """Sort key under which `n2` stands before `n10`; equal numbers of different width stand by their text."""
    key = []
    for at, part in enumerate(_DIGITS.split(name)):
        number = part.lstrip("0") if at % 2 else ""
        key.append((len(number), number, part))
    return tuple(key)
