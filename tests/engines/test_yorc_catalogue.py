"""What is published of a simulated Yorc: the list, details, and what is told of what isn't published."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from hpcwaas.common.cached import in_a_thread
from hpcwaas.core.models import Workflow
from hpcwaas.core.publication_models import Access
from hpcwaas.engines.orchestrated.kept_listing import KeptListing
from hpcwaas.engines.yorc.access import read_access
from hpcwaas.engines.yorc.client import YorcClient
from hpcwaas.engines.yorc.publications import Publications
from hpcwaas.engines.yorc.published import PublishedWorkflows
from hpcwaas.engines.yorc.settings import YorcSettings
from hpcwaas.engines.yorc.transport import Transport
from hpcwaas.errors import NotFound, ServiceError
from hpcwaas.store.database import Database
from hpcwaas.store.listings import ListingStore
from tests.simulators.faults import Fault
from tests.simulators.yorc import Simulator
from tests.simulators.yorc_worlds import demo, failed, jobs
from tests.waiting import until

Entry: TypeAlias = dict[str, Any]
Make: TypeAlias = Callable[..., PublishedWorkflows]

HELLO: Entry = {"deployments": ["demo-*"], "workflows": ["hello"]}
UNKNOWN = ("demo-Environment@nope", "nope@hello", "demo-Environment@fail", "a@b@c", "x", "demo-Environment@install")


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failures are asked about anew, and an unknown id is looked for anew, at once; what takes long is waited for."""
    for place in ("common.cached", "engines.orchestrated.published"):
        monkeypatch.setattr(f"hpcwaas.{place}.PATIENCE", 60)
    monkeypatch.setattr("hpcwaas.common.cached._FAILURE_COUNTS", 0)
    monkeypatch.setattr("hpcwaas.engines.orchestrated.reach._PROBE_EVERY", 0.1)
    monkeypatch.setattr("hpcwaas.engines.orchestrated.published._LOOK_AGAIN", 0)


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator([demo(), demo("demo-2"), jobs(), failed("bad4")]) as simulator:
        yield simulator


@pytest.fixture
def make(simulator: Simulator, database: Database) -> Iterator[Make]:
    transports: list[Transport] = []
    with ThreadPoolExecutor(8) as pool:

        def make(*publish: Entry, fresh: float = 1e-9, kept: bool = False) -> PublishedWorkflows:
            transports.append(Transport(settings(simulator, *publish)))
            entries = YorcSettings.model_validate({"publish": publish}).publish
            listing = KeptListing(ListingStore(database), "yorc") if kept else None
            client = YorcClient(transports[-1])
            return PublishedWorkflows(client, Publications(entries), fresh, in_a_thread, pool, listing)

        yield make
    for transport in transports:
        transport.close()


def settings(simulator: Simulator, *publish: Entry) -> YorcSettings:
    return YorcSettings.model_validate({"address": simulator.url, "publish": publish})


def ids(published: PublishedWorkflows) -> list[str]:
    return [workflow.id for workflow in published.workflows()]


def when_kept(database: Database) -> None:
    until(lambda: KeptListing(ListingStore(database), "yorc").load() is not None)


def nobody(_workflow: Workflow) -> bool:
    return False


def test_the_list(make: Make) -> None:
    published = make({"deployments": ["*"], "workflows": ["*"], "users": ["alice"]})
    assert ids(published) == [
        *(f"demo-2@{name}" for name in ("exec_job", "fail", "hello", "wait_long")),
        *(f"demo-Environment@{name}" for name in ("exec_job", "fail", "hello", "wait_long")),
        *("jobs@cancellable", "jobs@plain"),
    ]
    assert {it.authorized_users for it in published.workflows()} == {frozenset({"alice"})}
    assert published.problems == (
        "yorc.publish[0]: bad4 is DEPLOYMENT_FAILED; its workflows aren't published until it is DEPLOYED",
    )
    assert published.stale_since() is None


def test_details(make: Make) -> None:
    published = make({**HELLO, "ssh_keys": ["who"]})
    for found in (published.details("demo-2@hello"), published.details_now("demo-2@hello")):
        assert found.workflow.id == "demo-2@hello"
        assert found.inputs["properties"]["who"] == {"type": "string", "x-ssh-key": True, "x-type": "string"}
        assert [step.name for step in found.steps] == ["Greeter_say_hello", "Greeter_greeted"]
        assert [output.name for output in found.outputs] == ["greeting"]


@pytest.mark.parametrize("workflow", UNKNOWN)
def test_what_is_not_published_is_not_there(make: Make, workflow: str) -> None:
    published = make(HELLO, {"deployments": ["demo-Environment"], "workflows": ["nope", "run"]})
    for ask in (published.workflow, published.details, published.details_now):
        with pytest.raises(NotFound, match="There is no such workflow"):
            ask(workflow)


def test_what_is_not_permitted_costs_no_more_than_what_is_unknown(simulator: Simulator, make: Make) -> None:
    published = make(HELLO)
    simulator.forget_calls()
    for ask in (published.workflow, published.details, published.details_now):
        with pytest.raises(NotFound, match="There is no such workflow"):
            ask("demo-2@hello", nobody)
        with pytest.raises(NotFound, match="There is no such workflow"):
            ask("other@hello", nobody)
    assert simulator.call_count() == 0


def test_what_is_undeployed_or_gone_is_found_out_at_once(simulator: Simulator, make: Make) -> None:
    published = make(HELLO, fresh=600)
    assert ids(published) == ["demo-2@hello", "demo-Environment@hello"]
    simulator.undeploy("demo-2")
    simulator.remove("demo-Environment")
    for workflow in ("demo-2@hello", "demo-Environment@hello"):
        with pytest.raises(NotFound):
            published.details_now(workflow)


def test_a_start_asks_twice_at_the_same_time(simulator: Simulator, make: Make) -> None:
    published = make(HELLO)
    simulator.forget_calls()
    published.details_now("demo-2@hello")
    assert sorted(call.path for call in simulator.calls()) == [
        "/deployments/demo-2",
        "/deployments/demo-2/workflows/hello",
    ]


def test_only_what_the_settings_name_is_asked_about(simulator: Simulator, make: Make) -> None:
    published = make({"deployments": ["jobs"], "workflows": ["*"]})
    assert ids(published) == ["jobs@cancellable", "jobs@plain"]
    assert [call.path for call in simulator.calls()] == ["/deployments", "/deployments/jobs/workflows"]


@pytest.mark.parametrize(
    "fault",
    [Fault("trace", "demo-2/workflows$"), Fault("html", "demo-2/workflows$"), Fault("close", "demo-2/workflows$")],
)
def test_a_deployment_that_cannot_be_asked_takes_no_others_away(simulator: Simulator, make: Make, fault: Fault) -> None:
    published = make(HELLO)
    simulator.fault(fault)
    assert ids(published) == ["demo-Environment@hello"]
    (problem,) = published.problems
    assert problem.startswith("demo-2: its workflows can't be read: ")
    assert published.stale_since() is None
    simulator.heal()
    assert ids(published) == ["demo-2@hello", "demo-Environment@hello"]
    assert published.problems == ()
    simulator.fault(fault)
    assert ids(published) == ["demo-2@hello", "demo-Environment@hello"]  # as it was before
    assert len(published.problems) == 1


def test_a_deployment_that_goes_between_two_calls(simulator: Simulator, make: Make) -> None:
    published = make(HELLO)
    simulator.fault(Fault("slow", "GET /deployments$", seconds=0.3, times=1))
    listing: list[str] = []
    thread = threading.Thread(target=lambda: listing.extend(ids(published)))
    thread.start()
    simulator.remove("demo-2")
    thread.join()
    assert listing == ["demo-Environment@hello"]


def test_the_list_is_served_while_yorc_is_down(simulator: Simulator, make: Make, database: Database) -> None:
    published = make(HELLO, kept=True)
    before = published.workflows()
    when_kept(database)
    simulator.down()
    assert published.workflows() == before
    assert published.stale_since() is not None
    later = make(HELLO, kept=True)
    assert later.workflows() == before
    with pytest.raises(ServiceError, match="Yorc"):
        later.details("demo-2@hello")
    with pytest.raises(ServiceError, match="Yorc"):
        later.details_now("demo-2@hello")


def test_what_was_kept_is_shown_as_the_settings_are_now(simulator: Simulator, make: Make, database: Database) -> None:
    assert ids(make({**HELLO, "workflows": ["hello", "fail"]}, kept=True)) != []
    when_kept(database)
    simulator.down()
    (found,) = make({"deployments": ["demo-2"], "workflows": ["hello"], "users": ["bob"]}, kept=True).workflows()
    assert (found.id, found.authorized_users) == ("demo-2@hello", frozenset({"bob"}))


def test_nothing_to_serve_when_yorc_is_down(simulator: Simulator, make: Make) -> None:
    simulator.down()
    with pytest.raises(ServiceError, match="Yorc"):
        make(HELLO).workflows()


def test_no_deployments(simulator: Simulator, make: Make) -> None:
    for name in list(simulator.deployments):
        simulator.remove(name)
    published = make(HELLO)
    assert ids(published) == []
    assert published.problems == ("yorc.publish[0]: no deployment matches 'demo-*'; it publishes nothing",)


@pytest.mark.parametrize("setting", ["ssh_keys", "secret_inputs"])
def test_a_workflow_without_the_input_that_is_named_is_not_published(make: Make, setting: str) -> None:
    published = make({**HELLO, "workflows": ["hello", "fail"], setting: ["who"]})
    assert ids(published) == ["demo-2@hello", "demo-Environment@hello"]
    assert published.problems[0] == (
        "demo-2@fail isn't published: it has no input who, which the settings name in ssh_keys or secret_inputs"
    )
    for ask in (published.details, published.details_now):
        with pytest.raises(NotFound):
            ask("demo-2@fail")


def test_a_definition_that_cannot_be_read_takes_no_others_away(simulator: Simulator, make: Make) -> None:
    published = make({**HELLO, "ssh_keys": ["who"]}, {"deployments": ["jobs"], "workflows": ["plain"]})
    simulator.fault(Fault("trace", "demo-2/workflows/hello$"))
    assert ids(published) == ["demo-Environment@hello", "jobs@plain"]
    (problem,) = published.problems
    assert problem.startswith("demo-2@hello: its inputs can't be read: ")
    simulator.heal()
    assert ids(published) == ["demo-2@hello", "demo-Environment@hello", "jobs@plain"]
    simulator.fault(Fault("trace", "demo-2/workflows/hello$"))
    assert ids(published) == ["demo-2@hello", "demo-Environment@hello", "jobs@plain"]  # it had the input before
    assert len(published.problems) == 1
    with pytest.raises(ServiceError, match="Yorc"):
        published.details_now("demo-2@hello")


def test_operators_are_told_what_is_not_published(simulator: Simulator, make: Make) -> None:
    published = make({**HELLO, "deployments": ["demo-*", "nope"]})
    nothing = Access(
        None, published=False, problem="yorc.publish[0]: no deployment matches 'nope'; it publishes nothing"
    )
    assert published.withheld() == [nothing]
    simulator.fault(Fault("trace", ""))
    assert published.withheld() == [nothing], "of what was read a moment ago"
    (down,) = make(HELLO).withheld()
    assert not down.published
    assert "Yorc" in str(down.problem)


def test_who_may_run_what(simulator: Simulator) -> None:
    found = read_access(
        settings(
            simulator,
            {"deployments": ["jobs"], "workflows": ["plain"], "users": ["alice"], "groups": ["hpc"]},
            {"deployments": ["demo-2"], "workflows": ["hello"]},
            {"deployments": ["nope"], "workflows": ["hello"]},
        ),
        Path("/nowhere"),
    )
    assert list(found) == [
        Access("demo-2@hello"),
        Access("jobs@plain", frozenset({"alice"}), frozenset({"hpc"})),
        Access(None, published=False, problem="yorc.publish[2]: no deployment matches 'nope'; it publishes nothing"),
    ]
