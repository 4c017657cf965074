"""Certificates: the authorities to trust, and the client's own."""

from __future__ import annotations

import ssl
import warnings
from collections.abc import Callable
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import InsecureRequestWarning

from .config import Config
from .errors import UsageError


class _Adapter(HTTPAdapter):
    """Uses one TLS context, so that the given authorities are the only ones that are trusted."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._context, **options)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        return super().proxy_manager_for(proxy, ssl_context=self._context, **options)

    def cert_verify(self, *_: Any) -> None:
        """Does nothing: it would add the authorities that come with requests."""


def secure(session: requests.Session, config: Config, note: Callable[[str], None]) -> bool | str | None:
    """Sets up the session's TLS.

    Returns:
        what every request must be given as `verify`: to REQUESTS_CA_BUNDLE the session's own value, and True, yield.

    Raises:
        UsageError: a certificate file can't be used.
    """
    if config.cert_file:
        session.cert = (str(config.cert_file), str(config.key_file)) if config.key_file else str(config.cert_file)
    if config.skip_tls_verify:
        if config.api_url.startswith("https:"):
            note(
                "WARNING: the service's certificate is NOT checked (skip_tls_verify): "
                "anybody between you and the service can read and change everything, your credentials included."
            )
        # Said once above; urllib3 would repeat it for every request.
        warnings.simplefilter("ignore", InsecureRequestWarning)
        return False
    if config.ca_file or config.ca_path:
        session.mount("https://", _Adapter(context_of(config)))
        return str(config.ca_file or config.ca_path)
    return None


def context_of(config: Config) -> ssl.SSLContext:
    """The TLS context in which the authorities of `ca_file` and `ca_path`, one of which is given, are trusted alone.

    Raises:
        UsageError: a certificate file can't be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    files = [config.ca_file] if config.ca_file else []
    if config.ca_path:
        files += sorted(file for file in config.ca_path.iterdir() if file.is_file())
    loaded = 0
    for file in files:
        try:
            context.load_verify_locations(cafile=file)
            loaded += 1
        except (ssl.SSLError, OSError) as error:
            # Directories of certificates hold other files as well.
            if file == config.ca_file:
                raise UsageError(f"ca_file names {file}, which holds no usable certificate: {error}.") from None
    if not loaded:
        raise UsageError(f"ca_path names {config.ca_path}, which holds no certificate.")
    if config.cert_file:
        try:
            context.load_cert_chain(config.cert_file, config.key_file)
        except (ssl.SSLError, OSError) as error:
            raise UsageError(f"cert_file and key_file can't be used: {error}.") from None
    return context
