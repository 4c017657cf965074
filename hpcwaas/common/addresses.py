"""Where requests come from."""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Sequence

_REMEMBERED = 4096


def network(address: str) -> str:
    """What counts as one address: of IPv6 the network, in which anybody has as many addresses as they like."""
    return address if address.count(".") == 3 and ":" not in address else _network(address)


@functools.lru_cache(_REMEMBERED)
def _network(address: str) -> str:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:  # a client on a Unix socket has none
        return address
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is None:
        return str(ipaddress.ip_network((int(ip), 64), strict=False))
    return str(getattr(ip, "ipv4_mapped", None) or ip)


class Proxies:
    """The reverse proxies that are believed when they say whose request they pass on.

    Args:
        trusted: addresses and networks.
    """

    def __init__(self, trusted: Sequence[str]) -> None:
        networks = [ipaddress.ip_network(text) for text in trusted]

        @functools.lru_cache(_REMEMBERED)
        def trusts(address: str) -> bool:
            ip = _ip(address)
            return ip is not None and any(ip in network for network in networks)

        @functools.lru_cache(_REMEMBERED)
        def origin(forwarded: str) -> str | None:
            found = None
            for text in reversed(forwarded.split(",")):
                ip = _ip(_without_port(text.strip()))
                if ip is None:
                    break
                found = str(ip)
                if not trusts(found):
                    break
            return found

        self.trusts = trusts
        """Whether there is such a proxy at an address."""

        self.origin = origin
        """Whose request a trusted proxy passes on, by its `X-Forwarded-For`: each proxy adds whom it got the request
        from at the end, and what stands before the first that isn't trusted anybody may have written. None when it
        can't be told."""


def _ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        ip = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(ip, "ipv4_mapped", None) or ip


def _without_port(text: str) -> str:
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text
