"""What a user may not run isn't there for them: neither answers nor what is done for them tell."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hpcwaas.api.application import Services
from hpcwaas.app import assemble
from hpcwaas.core.people import Principal
from hpcwaas.errors import NotFound
from tests.service import make_settings
from tests.simulators.alien4cloud import Simulator
from tests.simulators.alien4cloud_worlds import recorded

ALICE, EVE = Principal("alice", "alice"), Principal("eve", "eve")


@pytest.fixture
def alien4cloud() -> Iterator[Simulator]:
    with Simulator(recorded()) as simulator:
        yield simulator


@pytest.fixture
def parts(alien4cloud: Simulator, tmp_path: Path) -> Iterator[Services]:
    found = assemble(make_settings(tmp_path, alien_config={"address": alien4cloud.url, "cache_seconds": 30}))
    yield found
    found.close()


@pytest.mark.parametrize("just_listed", [True, False])
def test_alien4cloud_is_asked_the_same_about_what_is_hidden_and_what_is_unknown(
    parts: Services, alien4cloud: Simulator, just_listed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpcwaas.engines.orchestrated.published._LOOK_AGAIN", 600 if just_listed else 0)
    every = {workflow.id for workflow in parts.catalogue.page(ALICE, None, None, None)[0].workflows}
    (hidden,) = every - {workflow.id for workflow in parts.catalogue.page(EVE, None, None, None)[0].workflows}
    calls = []
    for workflow_id in (hidden, hidden.replace("RecApp", "NonApp")):
        parts.catalogue.page(EVE, None, None, None)
        alien4cloud.forget_calls()
        with pytest.raises(NotFound, match=r"^There is no such workflow\.$"):
            parts.catalogue.details(EVE, workflow_id)
        calls.append([(call.method, call.path) for call in alien4cloud.calls()])
    assert calls[0] == calls[1]
    assert bool(calls[0]) is not just_listed
    assert parts.catalogue.details(ALICE, hidden).workflow.id == hidden


@pytest.mark.parametrize("listed", [True, False])
def test_alien4cloud_is_asked_the_same_when_either_is_to_be_started(
    parts: Services, alien4cloud: Simulator, listed: bool
) -> None:
    hidden = "RecApp2@eaf6541e-fc9a-4de2-8911-9daa95490038@exec_job"
    parts.executions.dry_run(ALICE, hidden, {"user_id": "alice"})  # what it needs is at hand
    if not listed:
        alien4cloud.world.applications["RecApp2"].tags = ()
    calls = []
    for workflow_id in (hidden, hidden.replace("RecApp2", "NonApp2")):
        alien4cloud.forget_calls()
        with pytest.raises(NotFound, match=r"^There is no such workflow\.$"):
            parts.executions.dry_run(EVE, workflow_id, {"user_id": "eve"})
        calls.append(sorted((call.method, call.path.replace("NonApp2", "RecApp2")) for call in alien4cloud.calls()))
    assert calls[0] == calls[1]
    assert len(calls[0]) == 2
