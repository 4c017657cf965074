"""Workflows for groups, with both engines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.service import CATALOGUE, as_user, make_settings, serving
from tests.simulators.alien4cloud import Simulator
from tests.simulators.alien4cloud_state import Application, Environment, Workflow, World
from tests.simulators.alien4cloud_worlds import ADMIN

LISTS: dict[str, dict[str, list[str]]] = {
    "open": {},
    "climate": {"groups": ["climate"]},
    "alice-or-climate": {"users": ["alice"], "groups": ["climate"]},
    "alice": {"users": ["alice"]},
    "biology": {"groups": ["biology"]},
    "nobody": {"groups": []},
}
SEEN = {
    "alice": {"open", "alice-or-climate", "alice"},
    "bob": {"open"},
    "carol": {"open", "climate", "alice-or-climate"},
    "root": {"open"},  # an operator looks after executions; workflows are for whom they are published
}


def cwl(directory: Path) -> dict[str, Any]:
    catalogue = directory / "catalogue"
    catalogue.mkdir()
    for name, lists in LISTS.items():
        (catalogue / f"{name}.cwl").write_bytes((CATALOGUE / "echo.cwl").read_bytes())
        if lists:
            metadata = "".join(f"authorized_{kind}: {names}\n" for kind, names in lists.items())
            (catalogue / f"{name}.meta.yaml").write_text(metadata)
    return {"cwl": {"catalogue": catalogue}}


def world() -> World:
    def tags(lists: dict[str, list[str]]) -> tuple[tuple[str, str], ...]:
        named = ((f"hpcwaas-authorized-{kind}", " , ".join(names)) for kind, names in lists.items())
        return (("hpcwaas-workflows", "run"), *named)

    applications = [
        Application(
            id=name, tags=tags(lists), workflows=(Workflow(name="run"),), environments=[Environment(id=f"e-{name}")]
        )
        for name, lists in LISTS.items()
    ]
    return World(applications, [ADMIN])


@pytest.fixture(scope="module", params=["cwl", "alien4cloud"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    directory = tmp_path_factory.mktemp("service")
    if request.param == "cwl":
        with serving(make_settings(directory / "data", **cwl(directory))) as url:
            yield url
    else:
        with (
            Simulator(world()) as simulator,
            serving(make_settings(directory, alien_config={"address": simulator.url})) as url,
        ):
            yield url


@pytest.mark.parametrize("name", SEEN)
def test_users_see_what_is_for_them_or_for_a_group_of_theirs(url: str, name: str) -> None:
    user = as_user(url, name)
    workflows = {each["application_id"]: each["id"] for each in user("GET", "/workflows").json()["workflows"]}
    assert set(workflows) == SEEN[name]
    # The answers to what isn't for them are those to what there isn't.
    unknown = user("GET", f"/workflows/{workflows['open'].replace('open', 'no-such')}").json()
    for each in LISTS:
        workflow = workflows["open"].replace("open", each)
        shown = user("GET", f"/workflows/{workflow}")
        tried = user("POST", f"/workflows/{workflow}", params={"dry_run": "true"}, json={"inputs": {}})
        if each in SEEN[name]:
            assert shown.status_code == 200
            assert tried.status_code in (200, 400)
        else:
            assert (shown.status_code, tried.status_code) == (404, 404)
            assert shown.json()["detail"] == tried.json()["detail"] == unknown["detail"]
