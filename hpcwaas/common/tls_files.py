"""Files with certificates and their keys: what is wrong with them, in words of an operator."""

from __future__ import annotations

import ssl
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Literal


def unreadable(path: Path) -> str | None:
    """Why a file can't be read, if it can't."""
    try:
        with path.open("rb") as file:
            file.read(1)
    except FileNotFoundError:
        return f"there is no file {path}"
    except IsADirectoryError:
        return f"{path} is a directory"
    except OSError as error:
        return f"{path} can't be read: {error.strerror}"
    return None


def without_certificate(path: Path) -> str | None:
    """Whether a file that can be read holds no certificate."""
    try:
        context = ssl.create_default_context(cafile=str(path))
    except (ssl.SSLError, OSError):
        context = None
    if context is None or not context.cert_store_stats()["x509"]:
        return f"{path} holds no certificate that can be read; expected PEM"
    return None


def wrong_identity(certificate: Path, key: Path) -> Iterator[tuple[Literal["certificate", "key"], str]]:
    """What is wrong with a certificate and its key, both of which can be read."""
    if key.stat().st_mode & stat.S_IRWXO:
        yield "key", f"everybody on this machine can read {key} or write it; `chmod o-rwx {key}`"
    if problem := without_certificate(certificate):
        yield "certificate", problem
        return
    locked = False

    def passphrase() -> str:  # OpenSSL would ask on the terminal
        nonlocal locked
        locked = True
        return ""

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key, passphrase)
    except (ssl.SSLError, OSError, ValueError) as error:
        if locked:
            yield "key", f"{key} has a passphrase, for which nobody can be asked: remove it from the key"
        elif "MISMATCH" in str(getattr(error, "reason", "")):
            yield "key", f"{key} isn't the key of the certificate in {certificate}"
        else:
            yield "key", f"{key} holds no private key that can be read; expected PEM"
