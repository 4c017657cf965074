"""`/executions`: following, listing, cancelling, outputs."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
import time
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests

from tests.service import as_user, make_settings, serving

UNKNOWN = "00000000-0000-4000-8000-000000000000"


def test_the_whole_way(alice: Any) -> None:
    path = alice.trigger("echo", message="hello", times=3)
    execution = alice.finished(path)

    assert execution["status"] == "SUCCEEDED"
    assert execution["inputs"] == {"message": "hello", "times": 3}
    assert (execution["owner"], execution["workflow_id"], execution["engine"]) == ("alice", "echo", "cwl")
    assert execution["workflow_version"] == alice("GET", "/workflows/echo").json()["version"]
    assert {step["name"]: step["status"] for step in execution["steps"]} == {"write": "SUCCEEDED", "count": "SUCCEEDED"}
    times = [execution["created_at"], execution["started_at"], execution["ended_at"]]
    assert times == sorted(times)
    assert all(step["started_at"] <= step["ended_at"] for step in execution["steps"])
    text = execution["outputs"]["text"]
    assert (text["class"], text["basename"], text["size"]) == ("File", "text.txt", 18)
    assert alice("GET", text["location"]).text == "hello\n" * 3


def test_the_old_client_gets_numbers_in_as_strings(alice: Any) -> None:
    execution = alice.finished(alice.trigger("echo", message="x", times="2"))
    assert alice("GET", execution["outputs"]["text"]["location"]).text == "x\nx\n"


def test_a_failure_says_why(alice: Any) -> None:
    execution = alice.finished(alice.trigger("fails"))
    assert execution["status"] == "FAILED"
    assert "unobtainium" in execution["reason"] or "3" in execution["reason"]
    assert "Traceback" not in execution["reason"]
    log = alice("GET", f"/executions/{execution['id']}/logs").json()
    assert any("unobtainium" in entry["content"] for entry in log["logs"])


def test_logs(alice: Any) -> None:
    path = alice.trigger("echo", message="logged")
    alice.finished(path)
    everything = alice("GET", f"{path}/logs?levels=15").json()
    assert everything["over"] is True
    assert everything["status"] == "SUCCEEDED"
    assert [entry["index"] for entry in everything["logs"]] == list(range(everything["total_results"]))
    assert all(datetime.fromisoformat(entry["timestamp"]).tzinfo == UTC for entry in everything["logs"])
    assert all(entry["timestamp"].endswith("Z") for entry in everything["logs"])
    part = alice("GET", f"{path}/logs?levels=15&from=2&size=3").json()
    assert part["logs"] == everything["logs"][2:5]
    assert (part["from"], part["total_results"]) == (2, everything["total_results"])
    none = alice("GET", f"{path}/logs?levels=15&size=0&timeout=0").json()
    assert (none["logs"], none["total_results"]) == ([], everything["total_results"])
    assert alice("GET", f"{path}/logs?size=-5").json() == alice("GET", f"{path}/logs").json()
    usual = [entry for entry in everything["logs"] if entry["level"] != "DEBUG"]
    assert alice("GET", f"{path}/logs").json()["logs"] == usual


def test_a_follower_of_an_ended_execution_is_told_at_once(alice: Any) -> None:
    path = alice.trigger("fails")
    alice.finished(path)
    started = time.monotonic()
    answer = alice("GET", f"{path}/logs?from=1000000&timeout=60s").json()
    assert time.monotonic() - started < 40
    assert (answer["logs"], answer["over"]) == ([], True)


def test_a_follower_gets_lines_as_they_come_and_then_the_end(alice: Any) -> None:
    path = alice.trigger("slow", seconds=300)
    seen: list[str] = []

    def follow() -> bool:
        page = alice("GET", f"{path}/logs?from={len(seen)}&timeout=60s").json()
        seen.extend(entry["content"] for entry in page["logs"])
        return bool(page["over"])

    for line in ("second 0", "second 1"):
        while not any(line in content for content in seen):
            assert not follow()
    alice("DELETE", path)
    while not follow():
        pass
    assert len(seen) == alice("GET", f"{path}/logs").json()["total_results"]


def test_waiting_ends_with_the_timeout(alice: Any) -> None:
    path = alice.trigger("slow", seconds=300)
    try:
        started = time.monotonic()
        answer = alice("GET", f"{path}/logs?from=1000&timeout=700ms").json()
        assert 0.6 < time.monotonic() - started < 40
        assert (answer["logs"], answer["over"]) == ([], False)
    finally:
        alice("DELETE", path)


def test_no_poll_lasts_longer_than_the_setting_says(tmp_path: Path) -> None:
    with serving(make_settings(tmp_path, server={"longest_poll": 1})) as url:
        alice = as_user(url, "alice")
        path = alice.trigger("slow", seconds=300)
        started = time.monotonic()
        answer = alice("GET", f"{path}/logs?from=1000&timeout=60s").json()
        assert 0.9 < time.monotonic() - started < 40
        assert (answer["logs"], answer["over"]) == ([], False)
        alice("DELETE", path)


@pytest.mark.parametrize(
    "query",
    [
        "from=-1",
        "from=abc",
        "from=",
        "from=1_0",
        "from=1.5",
        "from=99999999999999999999",
        "size=abc",
        "size=1.5",
        "timeout=abc",
        "timeout=5",
        "timeout=1d",
        "timeout=",
        "levels=256",
        "levels=-1",
        "levels=INFO",
        "levels=1,2",
        "levels=0x2",
        "levels=",
    ],
)
def test_bad_log_queries(alice: Any, query: str) -> None:
    answer = alice("GET", f"/executions/{UNKNOWN}/logs?{query}")
    assert answer.status_code == 400
    assert query.split("=")[0] in answer.json()["detail"]


def test_cancel(alice: Any) -> None:
    path = alice.trigger("slow", seconds=60)
    while not alice("GET", f"{path}/logs?timeout=5s").json()["logs"]:
        pass
    answer = alice("DELETE", path)
    assert (answer.status_code, answer.content) == (202, b"")
    assert alice("GET", path).json()["status"] in ("CANCELLING", "CANCELLED")
    assert alice.finished(path)["status"] == "CANCELLED"
    assert alice("DELETE", path).status_code == 202


def test_what_has_ended_by_itself_cannot_be_cancelled(alice: Any) -> None:
    path = alice.trigger("fails")
    alice.finished(path)
    answer = alice("DELETE", path)
    assert answer.status_code == 409
    assert "FAILED" in answer.json()["detail"]


def test_foreign_executions_are_like_unknown_ones(alice: Any, bob: Any) -> None:
    path = alice.trigger("echo", message="mine")
    alice.finished(path)
    for method, suffix in [("GET", ""), ("DELETE", ""), ("GET", "/logs"), ("GET", "/outputs/text")]:
        foreign, unknown = bob(method, path + suffix), bob(method, f"/executions/{UNKNOWN}{suffix}")
        assert foreign.status_code == unknown.status_code == 404
        assert foreign.json()["detail"] == unknown.json()["detail"]
    assert path.removeprefix("/executions/") not in bob("GET", "/executions?limit=1000").text


def test_listing_filters_and_pages(alice: Any) -> None:
    before = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    paths = [alice.trigger(name) for name in ("fails", "fails")] + [
        alice.trigger("echo", message="x") for _ in range(3)
    ]
    for path in paths:
        alice.finished(path)
    wanted = [path.removeprefix("/executions/") for path in reversed(paths)]

    def ids(query: str) -> list[str]:
        return [item["id"] for item in alice("GET", f"/executions?created_after={before}&{query}").json()["executions"]]

    assert ids("") == wanted
    assert ids("workflow=echo") == wanted[:3]
    assert ids("status=FAILED") == wanted[3:]
    assert ids("status=FAILED,SUCCEEDED") == wanted
    assert ids("status=RUNNING") == []
    assert ids(f"created_before={before}") == []
    assert ids(f"id={wanted[2]},unknown,{wanted[0]}") == [wanted[0], wanted[2]]
    assert ids(f"id={wanted[0]}&status=FAILED") == []

    page = alice("GET", f"/executions?created_after={before}&limit=2").json()
    found = [item["id"] for item in page["executions"]]
    alice.finished(alice.trigger("fails"))  # arrives between two pages and shifts nothing
    while page["next_cursor"]:
        page = alice("GET", f"/executions?created_after={before}&limit=2&cursor={page['next_cursor']}").json()
        found += [item["id"] for item in page["executions"]]
    assert found == wanted


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "status=NOPE",
        "status=",
        "id=",
        f"id={','.join('x' * 101)}",
        "created_after=yesterday",
        "created_after=2026-11-23",
        "created_before=2026-11-23T00:00:00",
        "cursor=x",
        "cursor=WyJhIl0",
    ],
)
def test_bad_list_queries(alice: Any, query: str) -> None:
    answer = alice("GET", f"/executions?{query}")
    assert answer.status_code == 400
    assert query.split("=")[0] in answer.json()["detail"]


@pytest.fixture(scope="module")
def values(service: Any) -> tuple[Any, Any, bytes]:
    """An ended execution with outputs of every kind, and the content of its `copy`."""
    client = service("alice")
    content = bytes(range(256)) * 4096
    execution = client.finished(client.trigger("values", file=client.upload("data in.bin", content)))
    assert execution["status"] == "SUCCEEDED", execution
    return client, execution, content


def test_a_file(values: tuple[Any, Any, bytes]) -> None:
    alice, execution, content = values
    copy = execution["outputs"]["copy"]
    answer = alice("GET", copy["location"])
    assert answer.content == content
    assert answer.headers["Content-Length"] == str(len(content))
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert "copy.bin" in answer.headers["Content-Disposition"]
    assert copy["checksum"] == "sha1$" + hashlib.sha1(content, usedforsecurity=False).hexdigest()
    etag = answer.headers["ETag"]
    assert alice("GET", copy["location"], headers={"If-None-Match": etag}).status_code == 304
    assert alice("GET", copy["location"], headers={"If-None-Match": '"x"'}).status_code == 200
    head = alice("HEAD", copy["location"])
    assert (head.status_code, head.content, head.headers["Content-Length"]) == (200, b"", str(len(content)))


@pytest.mark.parametrize(
    ("given", "start", "stop"), [("bytes=0-9", 0, 10), ("bytes=1000-", 1000, None), ("bytes=-7", -7, None)]
)
def test_parts_of_a_file(values: tuple[Any, Any, bytes], given: str, start: int, stop: int | None) -> None:
    alice, execution, content = values
    answer = alice("GET", execution["outputs"]["copy"]["location"], headers={"Range": given})
    assert answer.status_code == 206
    assert answer.content == content[start:stop]
    assert answer.headers["Content-Range"].endswith(f"/{len(content)}")


def test_a_part_that_is_not_there(values: tuple[Any, Any, bytes]) -> None:
    alice, execution, content = values
    answer = alice("GET", execution["outputs"]["copy"]["location"], headers={"Range": "bytes=99999999-"})
    assert answer.status_code == 416
    assert answer.headers["Content-Range"] == f"bytes */{len(content)}"
    assert answer.json()["errors"][0]["id"] == "range_not_satisfiable"


def test_lists_of_files(values: tuple[Any, Any, bytes]) -> None:
    alice, execution, _ = values
    parts = sorted(execution["outputs"]["parts"], key=lambda part: part["basename"])
    assert [alice("GET", part["location"]).text for part in parts] == ["1\n", "2\n"]
    listed = alice("GET", f"/executions/{execution['id']}/outputs/parts").json()
    assert [part["basename"] for part in listed] == [part["basename"] for part in execution["outputs"]["parts"]]


def test_directories(values: tuple[Any, Any, bytes]) -> None:
    alice, execution, _ = values
    location = execution["outputs"]["tree"]["location"]
    packed = alice("GET", location)
    assert packed.headers["Content-Type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(packed.content)) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")} == {
            "a.txt": b"a\n",
            "sub/b.txt": b"b\n",
        }
    with tarfile.open(fileobj=io.BytesIO(alice("GET", location, params={"archive": "tar"}).content)) as tar:
        assert "sub/b.txt" in tar.getnames()
    assert alice("GET", location, params={"path": "sub/b.txt"}).text == "b\n"


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("nope", None),
        ("copy", "x"),
        ("parts", "2"),
        ("parts", "-1"),
        ("parts", "x"),
        ("tree", "nope"),
        ("tree", "../copy.bin"),
        ("tree", "/etc/passwd"),
        ("tree", "sub/../../copy.bin"),
        ("tree", "a.txt/x"),
        ("%2e%2e", None),
    ],
)
def test_what_is_no_output(values: tuple[Any, Any, bytes], name: str, path: str | None) -> None:
    alice, execution, _ = values
    url = f"/executions/{execution['id']}/outputs/{quote(name)}"
    assert alice("GET", url, params={"path": path} if path else {}).status_code == 404


def test_no_output_has_a_nul_in_its_path(values: tuple[Any, Any, bytes]) -> None:
    alice, execution, _ = values
    answer = alice("GET", f"/executions/{execution['id']}/outputs/tree", params={"path": "\x00"})
    assert answer.status_code == 400
    assert "NUL" in answer.json()["detail"]


def test_outputs_of_a_running_execution(alice: Any) -> None:
    path = alice.trigger("slow", seconds=30)
    try:
        assert alice("GET", f"{path}/outputs/x").status_code == 409
    finally:
        alice("DELETE", path)


def test_followers_take_no_thread_and_are_all_told_of_the_end(alice: Any, bob: Any) -> None:
    path = alice.trigger("slow", seconds=60)
    answers: list[Any] = []

    def follow() -> None:
        answers.append(alice("GET", f"{path}/logs?from=1000&timeout=60s").json())

    followers = [threading.Thread(target=follow) for _ in range(200)]  # three times as many as there are threads
    try:
        for follower in followers:
            follower.start()
        time.sleep(2)
        started = time.monotonic()
        assert bob("GET", "/workflows").status_code == 200
        assert time.monotonic() - started < 40  # before the followers' time is over
    finally:
        alice("DELETE", path)
        for follower in followers:
            follower.join()
    assert len(answers) == 200
    assert all(answer["over"] and answer["status"] == "CANCELLED" for answer in answers)


def test_a_follower_that_goes_away_frees_its_place(alice: Any) -> None:
    path = alice.trigger("slow", seconds=30)
    try:
        for _ in range(3):
            with pytest.raises(requests.Timeout):
                requests.get(f"{alice.url}{path}/logs?from=1000&timeout=60s", headers=alice.headers, timeout=0.3)
        assert alice("GET", f"{path}/logs?from=1000&timeout=300ms").json()["logs"] == []
    finally:
        alice("DELETE", path)


def test_files_with_names_that_make_trouble(alice: Any) -> None:
    execution = alice.finished(alice.trigger("names"))
    assert execution["status"] == "SUCCEEDED", execution["reason"]
    unicode = alice("GET", execution["outputs"]["unicode"]["location"])
    assert unicode.text == "x"
    assert quote('grün 中 😀 "q".txt', safe="") in unicode.headers["Content-Disposition"]
    control = alice("GET", execution["outputs"]["control"]["location"])
    assert control.text == "y"
    assert "line_feed.dat" in control.headers["Content-Disposition"]


def test_conditions_and_odd_ranges(values: tuple[Any, Any, bytes]) -> None:
    alice, execution, content = values
    location = execution["outputs"]["copy"]["location"]
    etag = alice("HEAD", location).headers["ETag"]
    assert alice("GET", location, headers={"If-None-Match": etag, "Range": "bytes=0-1"}).status_code == 304
    assert alice("GET", location, headers={"If-Match": etag}).content == content
    changed = alice("GET", location, headers={"If-Match": '"x"'})
    assert (changed.status_code, changed.json()["errors"][0]["id"]) == (412, "precondition_failed")
    for ranges in ("lines=1-2", "bytes=0-1,5-6"):
        assert alice("GET", location, headers={"Range": ranges}).content == content
    assert alice("GET", location, headers={"Range": "bytes=0-1", "If-Range": '"x"'}).content == content
