"""`GET /workflows/problems`: what operators are told of what isn't published."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hpcwaas.api.application import Services
from hpcwaas.app import assemble
from hpcwaas.core.people import Principal
from hpcwaas.errors import NotFound
from tests.engines.cwl_documents import tool
from tests.service import make_settings

OPERATOR = Principal("olga", "olga", roles=frozenset({"user", "operator"}))


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Services]:
    catalogue = tmp_path / "catalogue"
    catalogue.mkdir()
    (catalogue / "good.cwl").write_text(tool())
    (catalogue / "bad.cwl").write_text("cwlVersion: v1.2\nclass: Workflow\ninputs: [\n")
    (catalogue / "odd.cwl").write_text(tool())
    (catalogue / "odd.meta.yaml").write_text("authorized_users: [bob, bob]\nsites: [mare]")
    found = assemble(make_settings(tmp_path, cwl={"catalogue": catalogue, "confinement": "none"}))
    yield found
    found.close()


def test_operators_are_told_what_is_wrong(parts: Services) -> None:
    found = {item.id: item for item in parts.catalogue.problems(OPERATOR)}
    assert found.keys() == {None, "bad", "odd"}
    assert not found["bad"].published
    assert str(found["bad"].problem).startswith("bad.cwl:")
    assert found["odd"].published
    assert found["odd"].warnings == ("odd.meta.yaml: authorized_users has bob more than once",)
    assert "name the site mare" in str(found[None].problem)


def test_for_everybody_else_it_is_a_workflow_that_there_is_not(parts: Services) -> None:
    with pytest.raises(NotFound, match=r"^There is no such workflow\.$"):
        parts.catalogue.problems(Principal("alice", "alice"))
