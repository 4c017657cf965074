"""Fixtures that the tests of single sign-on share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.relying import Relying, relying
from tests.simulators.oidc import OIDCSimulator


@pytest.fixture
def idp() -> Iterator[OIDCSimulator]:
    """An identity provider."""
    with OIDCSimulator() as found:
        yield found


@pytest.fixture
def party(idp: OIDCSimulator) -> Iterator[Relying]:
    """This service as its relying party."""
    with relying(idp) as found:
        yield found
