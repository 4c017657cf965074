"""The relying party: everything that this service is towards its identity provider."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from hpcwaas.core.models import Check
from hpcwaas.identity.oidc.bearer import Admit, OIDCBearer
from hpcwaas.identity.oidc.claims import ClaimsReader
from hpcwaas.identity.oidc.discovery import Discovery
from hpcwaas.identity.oidc.endpoints import Endpoints
from hpcwaas.identity.oidc.provider import OIDCProvider
from hpcwaas.identity.oidc.provider_keys import ProviderKeys
from hpcwaas.identity.oidc.upstream import Upstream
from hpcwaas.identity.settings import AuthSettings

_PATIENCE = 2.0
"""Seconds that the health check waits for a provider that hasn't been asked before."""


class RelyingParty:
    """Puts the parts together. Nothing is asked before it is needed, so the service starts while the provider is down.

    Args:
        clock: gives seconds since 1970.
        steady: gives seconds that nobody sets back.
        timeouts: seconds to wait for a connection and for an answer.

    Raises:
        ConfigurationError: a setting that `sso` needs is missing or can't work.
    """

    def __init__(
        self,
        settings: AuthSettings,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
        timeouts: tuple[float, float] = (5.0, 10.0),
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._upstream = Upstream(settings.ca_file, timeouts)
        self._discovery = Discovery(settings, self._upstream, steady)
        self._endpoints = Endpoints(settings, self._discovery, self._upstream, steady)
        self._keys = ProviderKeys(self._discovery, self._upstream, steady)
        self._reader = ClaimsReader(settings)
        self.provider = OIDCProvider(settings, self._discovery, self._endpoints, self._keys, self._reader, clock)

    def method(self, admit: Admit) -> OIDCBearer:
        """The way to sign in with the provider's access tokens."""
        return OIDCBearer(
            self._settings, self._discovery, self._endpoints, self._keys, self._reader, admit, self._clock
        )

    def checks(self) -> Sequence[Check]:
        """State of the provider, where it can be discovered. Never worse than degraded: who has signed in goes on."""
        if self._discovery.explicit:
            return ()
        started = time.perf_counter()
        problem = self._discovery.problem(_PATIENCE) or self._keys.problem(_PATIENCE)
        return (
            Check(
                "identity provider",
                "degraded" if problem else "ok",
                time.perf_counter() - started,
                (f"Users can't sign in by it: {problem}",) if problem else (),
            ),
        )

    def close(self) -> None:
        """Closes the connections."""
        self._upstream.close()
