"""Fixtures of the tests of signing in; a test module names this one in `pytest_plugins`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.signing_in import Service, sso_service
from tests.simulators.oidc import OIDCSimulator


@pytest.fixture(scope="session")
def sso_provider() -> Iterator[OIDCSimulator]:
    """An identity provider."""
    with OIDCSimulator() as simulator:
        yield simulator


@pytest.fixture(scope="session")
def sso_running(sso_provider: OIDCSimulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with single sign-on."""
    with sso_service(sso_provider, tmp_path_factory.mktemp("sso")) as service:
        yield service


@pytest.fixture
def idp(sso_provider: OIDCSimulator) -> Iterator[OIDCSimulator]:
    """The provider; what a test makes wrong is right again after it."""
    yield sso_provider
    sso_provider.error = None
    sso_provider.id_claims = {}
    sso_provider.heal()


@pytest.fixture
def sso(sso_running: Service, idp: OIDCSimulator) -> Iterator[Service]:
    """The service; what a test counted is forgotten after it."""
    yield sso_running
    sso_running.sql("DELETE FROM counters")
