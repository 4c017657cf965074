"""The head of a request: refused when it is too large, or when a proxy might understand it in another way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MAX_HEAD = 32 * 1024
"""Bytes that the request line and all headers together may have."""

_MAX_FIELDS = 100
_MAX_TARGET = 24 * 1024


class RefusedError(Exception):
    """What came can't become a request.

    Args:
        status: of the answer.
        detail: what is wrong.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


@dataclass(slots=True)
class Head:
    """What matters of a head before it is a request.

    Attributes:
        forwarded: `X-Forwarded-For`; empty without it.
        scheme: `X-Forwarded-Proto`; likewise.
        prefix: `X-Forwarded-Prefix`; likewise.
        body: whether one follows.
    """

    forwarded: str = ""
    scheme: str = ""
    prefix: str = ""
    body: bool = False


def too_large() -> RefusedError:
    """A head has more than `MAX_HEAD` bytes."""
    return RefusedError(431, f"The head of the request has more than {MAX_HEAD} bytes.")


def read(version: str, target: bytes, fields: Sequence[tuple[bytes, bytes]], *, upgrade: bool) -> Head:
    """Looks at a head, of which llhttp has refused what isn't HTTP at all.

    Args:
        fields: names in lower case, and values.
        upgrade: whether the client wants to go on with another protocol; llhttp then takes no body.

    Raises:
        RefusedError: it can't become a request.
    """
    _check_size(version, target, fields)
    head = Head()
    hosts = 0
    for name, value in fields:
        if name == b"host":
            hosts += 1
        elif name in (b"content-length", b"transfer-encoding"):  # llhttp lets one of them through, once
            head.body = value != b"0"
            if name == b"transfer-encoding":
                _check_encoding(version, value)
        elif name == b"x-forwarded-for":  # of several, each proxy's own is the last
            head.forwarded = f"{head.forwarded},{value.decode('latin-1')}"
        elif name == b"x-forwarded-proto":
            head.scheme = value.decode("latin-1").strip().lower()
        elif name == b"x-forwarded-prefix":
            head.prefix = value.decode("latin-1").strip()
    if hosts > 1 or (hosts == 0 and version == "1.1"):
        raise RefusedError(400, "A request needs the header `Host` exactly once.")
    if upgrade and head.body:
        raise RefusedError(
            501, "This service speaks HTTP only: send a request with a body without the header `Upgrade`."
        )
    return head


def _check_size(version: str, target: bytes, fields: Sequence[tuple[bytes, bytes]]) -> None:
    if version not in ("1.0", "1.1"):
        raise RefusedError(505, "This service speaks HTTP/1.1.")
    if len(target) > _MAX_TARGET:
        raise RefusedError(414, f"The target of the request has more than {_MAX_TARGET} bytes.")
    if len(fields) > _MAX_FIELDS:
        raise RefusedError(431, f"The request has more than {_MAX_FIELDS} headers.")
    if sum(len(name) + len(value) for name, value in fields) > MAX_HEAD:
        raise too_large()


def _check_encoding(version: str, value: bytes) -> None:
    if version == "1.0":
        raise RefusedError(400, "A request in HTTP/1.0 can't have the header `Transfer-Encoding`.")
    if value.lower() != b"chunked":
        raise RefusedError(501, "The only `Transfer-Encoding` that this service accepts is `chunked`.")
