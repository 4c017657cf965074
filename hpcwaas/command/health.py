"""The command `hpcwaas-api health`. Light: it is run every half a minute."""

from __future__ import annotations

import http.client
import os
import re
import socket
import ssl
import sys
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

import click

from hpcwaas.command.common import given, read_settings, reporting, settings_flags

PATIENCE = 4
"""Seconds; fewer than whoever asks has."""
_UNIX = "unix:"


@click.command()
@settings_flags
def health() -> None:
    """Ask the running service of this data directory whether it is alive.

    It is asked at the address at which it listens, whichever that is. Exits with 0 when it answers, with 1 when it
    doesn't, or when none was started. Of several that share a directory, the one that was started last is asked.
    """
    with reporting():
        directory = given("--data_dir") or os.environ.get("HWA_DATA_DIR") or read_settings().settings.data_dir
    try:
        record = Path(directory, "hpcwaas-api.lock").read_text(encoding="utf-8")
    except OSError as error:
        _fail(f"no service was started with the data directory {directory} ({error.strerror})")
    found = re.fullmatch(r"process \d+, (\S+)\n", record)
    if found is None:
        _fail("the service is starting")
    connection = _connection(found[1])
    try:
        connection.request("GET", "/health/live", headers={"Connection": "close"})
        answer = connection.getresponse()
        text = answer.read(1000).decode(errors="replace")
    except OSError as error:
        _fail(f"{found[1]} doesn't answer: {error}")
    finally:
        connection.close()
    if answer.status != http.HTTPStatus.OK:
        _fail(f"{found[1]} answers {answer.status}: {text}")
    click.echo(text.strip())


def _fail(sentence: str) -> NoReturn:
    click.echo(f"hpcwaas-api: {sentence}", err=True)
    sys.exit(1)


class _ByUnixSocket(http.client.HTTPConnection):
    """A connection to the socket whose path is the host."""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(self._path)

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=PATIENCE)
        self._path = path


def _connection(url: str) -> http.client.HTTPConnection:
    if url.startswith(_UNIX):
        return _ByUnixSocket(url.removeprefix(_UNIX))
    parts = urlsplit(url)
    if parts.scheme == "https":
        # The certificate is for the name that users know. Nothing secret is sent, and nothing is believed but that it
        # is alive.
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=PATIENCE, context=context)
    return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE)
