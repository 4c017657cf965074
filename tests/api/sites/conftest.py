"""A service whose engine has sites, for the tests of a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from hpcwaas.core.engines import Engines
from tests.api.sites.place import FORMS, Place
from tests.service import Client
from tests.simulators.site_engine import SiteEngine, There


@pytest.fixture(scope="module")
def shared_place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Place, Callable[[str], Client]]]:
    place = Place(tmp_path_factory.mktemp("sites"), There())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hpcwaas.app._engines", lambda *_: Engines([SiteEngine(place.there)], FORMS))
        with place.service() as service:
            yield place, service


@pytest.fixture
def place(shared_place: tuple[Place, Callable[[str], Client]]) -> Place:
    """As at first, with accounts of nobody."""
    place, service = shared_place
    place.there.sites, place.there.points, place.there.before_start = (
        There().sites,
        There().points,
        There().before_start,
    )
    for name in ("alice", "bob", "carol", "root"):
        for site in ("mare", "lumi", "swan"):
            service(name)("DELETE", f"/sites/{site}/account")
    return place


@pytest.fixture
def there(place: Place) -> There:
    return place.there


@pytest.fixture
def service(place: Place, shared_place: tuple[Place, Callable[[str], Client]]) -> Callable[[str], Client]:
    return shared_place[1]


@pytest.fixture
def alice(service: Callable[[str], Client]) -> Client:
    return service("alice")


@pytest.fixture
def bob(service: Callable[[str], Client]) -> Client:
    return service("bob")
