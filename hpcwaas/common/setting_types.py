"""What several sections are made of: kinds of values, and how a section treats what it is given."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

_SIZE = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[kMGT]i?)?B?")
SECRET_PARAMETER = re.compile(r"passw|pwd|secret|token|\bkey$", re.IGNORECASE)
"""Of names of parameters in a URL whose values are nobody's business."""
_LONGEST_SOCKET = 100
"""Bytes, with `unix:` and less than systems can take."""

_UNITS = {None: 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def _size(value: object) -> object:
    """Turns `512 MiB`, `1GB`, `100` into bytes; leaves anything else to the type check."""
    if not isinstance(value, str):
        return value
    match = _SIZE.fullmatch(value.strip())
    if not match:
        raise ValueError("expected a number of bytes, or one with a unit: 500kB, 64MiB, 2GiB")
    return int(float(match["number"]) * _UNITS[match["unit"]])


def _address(value: str) -> str:
    if value.startswith("unix:"):
        if not value.startswith("unix:/") or value.endswith("/") or len(value.encode()) > _LONGEST_SOCKET:
            raise ValueError(
                f"expected unix:/PATH of at most {_LONGEST_SOCKET} bytes, for instance unix:/run/hpcwaas/http.sock"
            )
        return value
    host, separator, port = value.rpartition(":")
    if not separator or not port.isdecimal() or int(port) > 65535 or (":" in host and not host.startswith("[")):
        raise ValueError("expected HOST:PORT, for instance 127.0.0.1:9090 or [::1]:9090, or unix:/PATH")
    return value


def _kept_from_others(value: str) -> str:
    if not re.fullmatch("0[67][0-7]0", value):
        raise ValueError("expected '0660' or '0600': whoever can connect is trusted as a proxy")
    return value


def _network(value: str) -> str:
    try:
        ipaddress.ip_network(value)
    except ValueError as error:
        raise ValueError("expected an IP address or network, for instance 10.0.0.7 or 10.0.0.0/24") from error
    return value


def is_prefix(value: str) -> bool:
    """Whether this is a path below which a proxy can show the service: `/workflows-api`, `/hpc/waas`."""
    return re.fullmatch(r"(/(?!\.\.?(/|$))[A-Za-z0-9._~-]+)+", value) is not None


def _prefix(value: str) -> str:
    if value and not is_prefix(value):
        raise ValueError("expected a path without a slash at its end, for instance /workflows-api")
    return value


def _origin(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or f"{parts.scheme}://{parts.netloc}" != value:
        raise ValueError(
            "expected the origin of a web page as browsers send it, for instance https://portal.example.org"
        )
    if parts.username is not None or value != value.lower():
        raise ValueError("expected small letters and no credentials, for instance https://portal.example.org")
    return value


Size = Annotated[int, BeforeValidator(_size), Field(gt=0)]
Address = Annotated[str, AfterValidator(_address)]
Mode = Annotated[str, AfterValidator(_kept_from_others)]
Network = Annotated[str, AfterValidator(_network)]
Prefix = Annotated[str, AfterValidator(_prefix)]
Origin = Annotated[str, AfterValidator(_origin)]

COMMAND = object()
Command = Annotated[tuple[str, ...], COMMAND]
"""A program and arguments. A path to the program is relative to the file that names it."""


class Section(BaseModel):
    """A section: frozen, and nothing in it that isn't known."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def _url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("expected a URL such as https://host.example.org:8088")
    if parts.username is not None:
        raise ValueError("contains credentials: use the settings for them instead")
    return value.rstrip("/")


def _origin_url(value: str) -> str:
    """A URL that secrets are sent to: https, or this machine."""
    parts = urlsplit(_url(value))
    if parts.scheme != "https" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
        raise ValueError(
            "must be https, because tokens are sent there; http is accepted only for this machine (localhost)"
        )
    return value


Url = Annotated[str, AfterValidator(_url)]
SecureUrl = Annotated[str, AfterValidator(_origin_url)]


def _mount_path(value: str) -> str:
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)*", value) or {".", ".."} & set(value.split("/")):
        raise ValueError("expected a path such as secret or teams/hpc, without a slash at its ends")
    return value


MountPath = Annotated[str, AfterValidator(_mount_path)]
