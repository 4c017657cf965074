"""`waas_cli.api` does the whole job with a running service, synchronously and by asyncio."""

from __future__ import annotations

import asyncio
import importlib
import re
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from waas_cli.api import AsyncWaas, Waas, answers, calls
from waas_cli.errors import NotFound, Unauthorized, Unreachable, UsageError

from tests.e2e.processes import eventually
from tests.service import PASSWORDS, Client

T = TypeVar("T")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the machine's own user."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("HW_API_URL", "HW_USER", "HW_ACCESS_TOKEN", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def waas(alice: Client) -> Iterator[Waas]:
    with Waas(alice.url, user=f"alice:{PASSWORDS['alice']}") as found:
        yield found


@pytest.fixture
def by_asyncio(alice: Client) -> Callable[[Callable[[AsyncWaas], Awaitable[T]]], T]:
    def run(act: Callable[[AsyncWaas], Awaitable[T]]) -> T:
        async def whole() -> T:
            async with AsyncWaas(alice.url, user=f"alice:{PASSWORDS['alice']}") as found:
                return await act(found)

        return asyncio.run(whole())

    return run


def test_the_whole_job(waas: Waas, tmp_path: Path) -> None:
    given = tmp_path / "given.txt"
    given.write_text("some text\n")
    assert "values" in [workflow["id"] for workflow in waas.workflows()]
    assert waas.workflow("values")["inputs"]["properties"].keys() == {"file"}
    execution_id = waas.trigger("values", {"file": given})
    ended = waas.wait(execution_id)
    assert ended["status"] == "SUCCEEDED"
    assert execution_id in [each["id"] for each in waas.executions(workflow="values", statuses=["SUCCEEDED"])]
    fetched = waas.download(execution_id, tmp_path / "results")
    assert sorted(path.name for path in fetched) == ["copy.bin", "one.dat", "tree", "two.dat"]
    assert (tmp_path / "results" / "copy.bin").read_text() == "some text\n"
    assert (tmp_path / "results" / "tree" / "sub" / "b.txt").read_text() == "b\n"
    # An output is an input as it stands.
    again = waas.trigger("values", {"file": (ended.get("outputs") or {})["copy"]})
    assert waas.wait(again)["status"] == "SUCCEEDED"
    assert [path.name for path in waas.download(again, tmp_path / "more", ["copy"])] == ["copy.bin"]
    with pytest.raises(NotFound, match="no output nothing"):
        waas.download(again, tmp_path / "more", ["nothing"])
    waas.delete(again)
    eventually(lambda: again not in [each["id"] for each in waas.executions(workflow="values")])


def test_the_whole_job_by_asyncio(
    by_asyncio: Callable[[Callable[[AsyncWaas], Awaitable[Any]]], Any], tmp_path: Path
) -> None:
    given = tmp_path / "given.txt"
    given.write_text("some text\n")

    async def job(waas: AsyncWaas) -> tuple[list[answers.Execution], list[Path]]:
        uploaded = await waas.upload(given)
        ids = await asyncio.gather(
            waas.trigger("values", {"file": given}), waas.trigger("values", {"file": uploaded["id"]})
        )
        ended = await asyncio.gather(*map(waas.wait, ids))
        fetched = await waas.download(ids[0], tmp_path / "results")
        listed = [each["id"] async for each in waas.executions(workflow="values")]
        assert set(ids) <= set(listed)
        assert "values" in [workflow["id"] for workflow in await waas.workflows()]
        await waas.delete(ids[1])
        return ended, fetched

    ended, fetched = by_asyncio(job)
    assert [each["status"] for each in ended] == ["SUCCEEDED", "SUCCEEDED"]
    assert (tmp_path / "results" / "copy.bin").read_text() == "some text\n"
    assert sorted(path.name for path in fetched) == ["copy.bin", "one.dat", "tree", "two.dat"]


def test_the_log_comes_as_it_grows(waas: Waas) -> None:
    execution_id = waas.trigger("slow", {"seconds": 60})
    seen = []
    for entry in waas.logs(execution_id, follow=True):
        seen.append(entry["content"])
        if "second 0" in entry["content"]:
            waas.cancel(execution_id)
    assert any("second 0" in line for line in seen)
    assert waas.wait(execution_id)["status"] == "CANCELLED"
    assert [entry["content"] for entry in waas.logs(execution_id)] == seen
    assert [entry["content"] for entry in waas.logs(execution_id, start=1)] == seen[1:]


def test_many_are_waited_for_without_threads(
    by_asyncio: Callable[[Callable[[AsyncWaas], Awaitable[Any]]], Any],
) -> None:
    async def job(waas: AsyncWaas) -> None:
        execution_id = await waas.trigger("slow", {"seconds": 60})
        before = {thread for thread in threading.enumerate() if "asyncio" in thread.name}
        waits = [asyncio.create_task(waas.wait(execution_id)) for _ in range(50)]
        async for entry in waas.logs(execution_id, follow=True):
            if "second 0" in entry["content"]:
                break
        assert {thread for thread in threading.enumerate() if "asyncio" in thread.name} == before
        assert not any(task.done() for task in waits)
        waits.pop().cancel()  # that ends one of them, and nothing else
        await waas.cancel(execution_id)
        assert {each["status"] for each in await asyncio.gather(*waits)} == {"CANCELLED"}

    by_asyncio(job)


def test_waiting_may_be_bounded(waas: Waas, by_asyncio: Callable[[Callable[[AsyncWaas], Awaitable[Any]]], Any]) -> None:
    execution_id = waas.trigger("slow", {"seconds": 60})
    with pytest.raises(TimeoutError, match=execution_id):
        waas.wait(execution_id, timeout=0.2)

    async def bounded(there: AsyncWaas) -> None:
        await there.wait(execution_id, timeout=0.2)

    with pytest.raises(TimeoutError, match=execution_id):
        by_asyncio(bounded)
    waas.cancel(execution_id)


def test_refusals_are_the_same_errors(
    waas: Waas, by_asyncio: Callable[[Callable[[AsyncWaas], Awaitable[Any]]], Any], tmp_path: Path
) -> None:
    def both(act: Callable[[Any], Any], error: type[Exception], words: str) -> None:
        async def later(there: AsyncWaas) -> None:
            await act(there)

        with pytest.raises(error, match=words):
            act(waas)
        with pytest.raises(error, match=words):
            by_asyncio(later)

    both(lambda there: there.execution("nothing"), NotFound, "no such execution")
    both(lambda there: there.trigger("values", {}), UsageError, "file")
    both(lambda there: there.trigger("values", {"file": tmp_path / "missing"}), UsageError, "missing")
    both(lambda there: there.call(calls.list_tokens(owner="bob")), Unauthorized, "operator")
    before = [each["id"] for each in waas.call(calls.list_files())["files"]]
    both(lambda there: there.trigger("slow", {"seconds": Path(__file__)}), UsageError, "seconds")
    assert [each["id"] for each in waas.call(calls.list_files())["files"]] == before, "uploads are taken back"


def test_a_service_that_is_not_there_is_said_to_be() -> None:
    async def ask() -> None:
        async with AsyncWaas("http://127.0.0.1:9", access_token="x") as found:
            await found.workflows()

    with pytest.raises(Unreachable, match="connection refused"):
        asyncio.run(ask())
    with Waas("http://127.0.0.1:9", access_token="x") as found, pytest.raises(Unreachable, match="connection refused"):
        found.workflows()


def test_what_asyncio_needs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx", None)
    monkeypatch.delitem(sys.modules, "waas_cli.api.asynchronous")
    with pytest.raises(ImportError, match=re.escape("pip install 'waas[async]'")):
        importlib.import_module("waas_cli.api").__getattr__("AsyncWaas")


def test_a_start_with_a_key_of_ones_own_happens_once(waas: Waas) -> None:
    first = waas.trigger("echo", {"message": "x"}, idempotency_key="mine")
    assert waas.trigger("echo", {"message": "x"}, idempotency_key="mine") == first
    waas.wait(first)
