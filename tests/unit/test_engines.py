"""Ids of several engines' workflows, the list of all, and what the registry makes of entry points."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcwaas.core.engines import Engines
from hpcwaas.core.models import Workflow
from hpcwaas.core.workflow_ids import WorkflowIds
from hpcwaas.engines.registry import BUILT_IN, GROUP, Registry
from hpcwaas.errors import NotFound, ServiceError, Unavailable

FORMS = {"cwl": "[^@:]+", "alien4cloud": "[^@]+@[^@]+@[^@]+", "greet": None, "rough": ".*"}
ODD = st.text("abcwlgret@:4", max_size=12) | st.sampled_from([*FORMS]).map(lambda name: f"{name}:x@y@z")


@given(st.lists(st.tuples(st.sampled_from([*FORMS]), ODD), min_size=2, max_size=2, unique=True))
def test_ids_never_clash_whatever_engines_list(listed: list[tuple[str, str]]) -> None:
    ids = WorkflowIds(FORMS)
    known = [ids.known_as(engine, own) for engine, own in listed]
    assert known[0] != known[1]
    assert [ids.whose(it) for it in known] == listed


def test_ids_in_the_form_of_an_engine_stay_as_they_are() -> None:
    ids = WorkflowIds(FORMS)
    assert ids.known_as("cwl", "word-statistics") == "word-statistics"
    assert ids.known_as("alien4cloud", "App@env@run") == "App@env@run"
    assert ids.known_as("greet", "hello") == "greet:hello"
    assert [ids.clash(*it) for it in (("cwl", "a"), ("alien4cloud", "a@b@c"), ("greet", "hello"))] == [None] * 3
    assert ids.clash("rough", "hello") == (
        "The engine `rough` lists `hello`, which has the form of the ids of `cwl`: it is published as `rough:hello`."
    )
    assert [ids.whose(it) for it in ("cwl:a", "nobody@knows", "alien4cloud:a@b@c")] == [
        None,
        ("rough", "nobody@knows"),
        None,
    ]


class Listing:
    """An engine that only lists."""

    def __init__(self, name: str, *ids: str) -> None:
        self.name = name
        self.found = [Workflow(it, it, name, it, "e", "E") for it in ids]
        self.failure: ServiceError | None = None
        self.held = threading.Event()
        self.held.set()
        self.asked = 0

    def workflows(self) -> list[Workflow]:
        self.asked += 1
        self.held.wait(240)
        if self.failure is not None:
            raise self.failure
        return self.found

    def stale_since(self) -> None:
        return None

    def checks(self) -> list[Any]:
        return []

    def workflow(self, workflow_id: str, *_: object, **__: object) -> Any:
        raise NotFound(f"{self.name} hasn't {workflow_id}")

    def close(self) -> None:
        self.held.set()


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Engines, Listing, Listing]]:
    monkeypatch.setattr("hpcwaas.core.engines._PATIENCE", 0.2)
    monkeypatch.setattr("hpcwaas.core.engines._SHORT", 0.02)
    monkeypatch.setattr("hpcwaas.core.engines._WARM", 0.0)
    one, other = Listing("cwl", "a", "b"), Listing("rough", "b", "c@d")
    engines = Engines([one, other], FORMS)  # type: ignore[list-item]
    yield engines, one, other
    engines.close()


def test_a_list_that_changes_is_seen_at_once(two: tuple[Engines, Listing, Listing]) -> None:
    engines, first, _second = two
    for added in ("one", "two"):
        first.found.append(Workflow(added, added, first.name, added, "e", "E"))
        known = [workflow.id for workflow in engines.workflows().workflows]
        assert [it for it in known if it.rpartition(":")[2] == added] != []
    first.found.pop(0)
    assert len(engines.workflows().workflows) == len(known) - 1


def test_a_clash_is_told_and_hides_nothing(
    two: tuple[Engines, Listing, Listing], caplog: pytest.LogCaptureFixture
) -> None:
    engines = two[0]
    assert [it.id for it in engines.workflows().workflows] == ["a", "b", "rough:b", "c@d"]
    assert caplog.text.count("The engine `rough` lists `b`") == 1
    engines.workflows()
    assert caplog.text.count("The engine `rough` lists `b`") == 1
    (check,) = engines.sources()["workflow ids"]()
    assert (check.status, len(check.problems)) == ("degraded", 1)
    with pytest.raises(NotFound, match="rough hasn't b"):
        engines.workflow("rough:b")
    with pytest.raises(NotFound, match="cwl hasn't b"):
        engines.workflow("b")


def test_what_an_engine_listed_is_shown_while_it_fails_or_is_late(two: tuple[Engines, Listing, Listing]) -> None:
    engines, one, other = two
    other.failure = Unavailable("It is down.")
    found = engines.workflows()
    assert ([it.id for it in found.workflows], found.stale_since) == (["a", "b"], None)
    assert found.missing == ("The workflows of the engine `rough` are missing. It is down.",)
    other.failure = None
    assert engines.workflows().missing == ()
    for other.failure in (Unavailable("It is down."), None):
        if other.failure is None:
            other.held.clear()
        found = engines.workflows()
        assert ([it.id for it in found.workflows], found.missing) == (["a", "b", "rough:b", "c@d"], ())
        assert found.stale_since is not None
    asked = other.asked
    for _ in range(30):  # nobody's threads pile up behind it
        engines.workflows()
    assert other.asked - asked <= 8
    one.failure = Unavailable("It is down, too.")
    assert len(engines.workflows().workflows) == 4


def test_a_defect_of_one_engine_hides_nothing_of_the_other(two: tuple[Engines, Listing, Listing]) -> None:
    engines, one, other = two
    other.found = [None]  # type: ignore[list-item]
    found = engines.workflows()
    assert [it.id for it in found.workflows] == ["a", "b"]
    assert "rough" in found.missing[0]
    one.failure = Unavailable("It is down.")
    assert engines.workflows().stale_since is not None


def test_when_no_engine_answers_the_list_is_refused(two: tuple[Engines, Listing, Listing]) -> None:
    engines, one, other = two
    one.failure = other.failure = Unavailable("It is down.")
    with pytest.raises(Unavailable, match="It is down"):
        engines.workflows()


ENTRY = 'EngineEntry("{name}", "An engine.", settings="{settings}", factory="m:make"{more})'


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "third_settings.py").write_text(
        "from hpcwaas.engines.settings import EngineSettings\nclass Greeting(EngineSettings):\n    pass\n"
    )
    yield tmp_path / "third_entry.py"
    for name in ("third_entry", "third_settings"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("name", "entry", "problem"),
    [
        ("greet", "1 / 0", "can't be loaded: ZeroDivisionError: division by zero"),
        ("greet", "no_such_name", "can't be loaded: NameError"),
        ("greet", "'greet'", "names no `EngineEntry` of `hpcwaas.engines.registry`"),
        ("greet", ENTRY.format(name="Greet", settings="s:S", more=""), "calls itself `Greet`"),
        ("Greet", ENTRY.format(name="Greet", settings="s:S", more=""), "32 lower-case letters"),
        ("cwl", ENTRY.format(name="cwl", settings="s:S", more=""), "adds an engine that there is already"),
        ("greet", ENTRY.format(name="greet", settings="s:S", more=", section='cwl_limits'"), "can be taken for `cwl`"),
        ("greet", ENTRY.format(name="greet", settings="s:S", more=", section='9x'"), "has a section `9x`"),
        ("greet", ENTRY.format(name="greet", settings="s:S", more=", form='('"), "no regular expression"),
        ("greet", ENTRY.format(name="greet", settings="no_such:S", more=""), "settings that can't be loaded: Module"),
        ("greet", ENTRY.format(name="greet", settings="builtins:dict", more=""), "that are no `EngineSettings`"),
    ],
)
def test_an_entry_point_that_cannot_be_used_is_named(module: Path, name: str, entry: str, problem: str) -> None:
    module.write_text(f"from hpcwaas.engines.registry import EngineEntry\nENTRY = {entry}\n")
    registry = Registry([EntryPoint(name, "third_entry:ENTRY", GROUP)])
    assert {*registry.sections} == {"cwl", "alien_config", "yorc"}
    (error,) = registry.problems
    assert error.key == f"engine {name}"
    assert error.detail.startswith(f"the entry point `{name} = third_entry:ENTRY` in the group hpcwaas.engines ")
    assert problem in error.detail
    assert list(registry.entries) == list(BUILT_IN)


def test_two_packages_with_one_name(module: Path) -> None:
    entry = ENTRY.format(name="greet", settings="third_settings:Greeting", more="")
    module.write_text(f"from hpcwaas.engines.registry import EngineEntry\nENTRY = {entry}\nAGAIN = {entry}\n")
    points = [EntryPoint("greet", f"third_entry:{it}", GROUP) for it in ("ENTRY", "AGAIN")]
    registry = Registry(points)
    assert [entry.name for entry in registry.entries] == ["cwl", "alien4cloud", "yorc", "greet"]
    (error,) = registry.problems
    assert "adds an engine that there is already, by the entry point `greet = third_entry:AGAIN`" in error.detail


@pytest.mark.parametrize(
    ("factory", "problem"),
    [
        ("no_such:make", "`no_such:make` can't make it: ModuleNotFoundError"),
        ("third_settings:Greeting", "can't make it: TypeError"),
        ("builtins:divmod", "can't make it: TypeError"),
        ("builtins:isinstance", "can't make it: TypeError"),
        ("third_entry:make", "`third_entry.Half` is no `Engine`: it lacks "),
    ],
)
def test_a_factory_that_makes_no_engine_is_named(module: Path, factory: str, problem: str) -> None:
    module.write_text(
        "from hpcwaas.engines.registry import EngineEntry\n"
        f"ENTRY = EngineEntry('greet', 'x', settings='third_settings:Greeting', factory='{factory}')\n"
        "class Half:\n    name = 'greet'\n"
        "def make(settings, context):\n    return Half()\n"
    )
    registry = Registry([EntryPoint("greet", "third_entry:ENTRY", GROUP)])
    settings: Any = registry.sections["greet"]()
    with pytest.raises(Exception, match=r"^engine greet: ") as caught:
        registry.make("greet", settings, None)  # type: ignore[arg-type]
    assert problem in str(caught.value)
