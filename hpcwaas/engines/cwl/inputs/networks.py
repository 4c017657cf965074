"""Which addresses on the network files may be fetched from."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import psutil

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = tuple(map(ipaddress.IPv6Network, ("64:ff9b::/96", "64:ff9b:1::/48")))
_UNICAST = ipaddress.IPv6Network("2000::/3")
"""What of IPv6 is the public internet; all the rest is of some machine or site, or means an older address."""


@dataclass(frozen=True, slots=True)
class Networks:
    """Networks that may be spoken to.

    Attributes:
        allowed: these alone, private ones among them; when there are none, the public internet.
        denied: never these.
    """

    allowed: tuple[str, ...] = ()
    denied: tuple[str, ...] = ()

    def permit(self, address: str) -> bool:
        """Whether an IP address may be spoken to, and wherever an address inside it leads as well. Never one of this
        machine's, nor one that means something on this link only.

        Raises:
            ValueError: it is no IP address.
        """
        outer = ipaddress.ip_address(address.partition("%")[0])
        own = _own_addresses()
        for ip in _all_meant(outer):
            if ip.is_loopback or ip.is_link_local or ip.is_unspecified or ip.is_multicast or ip in own:
                return False
            if _among(ip, self.denied):
                return False
        inner = list(_all_meant(outer))[-1]
        return _among(inner, self.allowed) if self.allowed else _public(inner)


def _public(ip: _Address) -> bool:
    return ip.is_global and (ip.version == 4 or ip in _UNICAST)


def _all_meant(ip: _Address) -> Iterator[_Address]:
    """An address and those inside it, the one that is spoken to last."""
    yield ip
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo or (None, None))[1]
        if any(ip in network for network in _NAT64):
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            yield inner


def _among(ip: _Address, networks: Sequence[str]) -> bool:
    return any(ip in ipaddress.ip_network(network) for network in networks)


def _own_addresses() -> set[_Address]:
    """The addresses of all interfaces of this machine, as they are now."""
    return {
        ipaddress.ip_address(address.address.partition("%")[0])
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family in (socket.AF_INET, socket.AF_INET6)
    }
