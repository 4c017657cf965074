"""Git repositories whose workflows are published, by the real program `git`."""

from __future__ import annotations

import http.server
import json
import shutil
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from hpcwaas.command.main import main
from hpcwaas.core.models import Workflow
from hpcwaas.engines.cwl.workflows.catalogue import Catalogue
from hpcwaas.engines.cwl.workflows.repositories.published import _look
from tests.certificates import identity
from tests.engines.cwl_documents import tool
from tests.service import Client, as_user, make_settings, serving
from tests.system.git_repository import Repository
from tests.waiting import until

WORKFLOW = """cwlVersion: v1.2
class: Workflow
inputs: {message: string}
outputs: {said: {type: File, outputSource: say/said}}
steps: {say: {run: ../tools/say.cwl, in: {message: message}, out: [said]}}
"""
SAY = """cwlVersion: v1.2
class: CommandLineTool
baseCommand: [echo, VERSION]
inputs: {message: {type: string, inputBinding: {}}}
outputs: {said: stdout}
stdout: said.txt
"""


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    found = Repository(tmp_path / "theirs" / "workflows")
    found.commit("v1", workflows__greet_dot_cwl=WORKFLOW, tools__say_dot_cwl=SAY.replace("VERSION", "one"))
    return found


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HWA_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("HWA_CWL_CATALOGUE", str(tmp_path / "catalogue"))
    monkeypatch.setattr("hpcwaas.configuration.load.SYSTEM_FILE", tmp_path / "etc.yml")


pytestmark = pytest.mark.system


def publish(tmp_path: Path, *entries: str) -> None:
    """Writes the catalogue file."""
    (tmp_path / "catalogue").mkdir(exist_ok=True)
    lines = "".join(f"  - {entry}\n" for entry in entries)
    (tmp_path / "catalogue" / "catalogue.yaml").write_text(f"workflows:\n{lines}" if entries else "{}")


def command(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["catalogue", *arguments])


def update(status: int = 0) -> list[dict[str, Any]]:
    result = command("update", "-o", "json")
    assert result.exit_code == status, result.output
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


def access() -> dict[str | None, dict[str, Any]]:
    return {item["id"]: item for item in json.loads(command("access", "-o", "json").stdout)}


def test_a_tag_is_published_when_it_was_fetched(tmp_path: Path, repository: Repository) -> None:
    commit = repository.git("rev-parse", "HEAD")
    publish(tmp_path, f"{{git: {repository.directory}, tag: v1, path: workflows, authorized_users: [alice]}}")
    assert "hasn't been fetched yet" in access()[None]["problem"]

    (found,) = update()
    assert found == {
        "url": str(repository.directory), "reference": "tag v1", "before": None, "commit": commit, "problem": None,
    }  # fmt: skip
    assert {name: item["users"] for name, item in access().items()} == {"workflows": ["alice"]}
    assert update()[0]["before"] == commit
    assert "unchanged" in command("update").output


@pytest.mark.parametrize(
    ("form", "reference"),
    [("{0}", "branch: main"), ("file://{0}", "tag: v1"), ("../theirs/workflows", "commit: '{commit}'")],
)
def test_every_reference_and_every_local_address(
    tmp_path: Path, repository: Repository, form: str, reference: str
) -> None:
    commit = repository.git("rev-parse", "HEAD")
    where = form.format(repository.directory)
    publish(tmp_path, f"{{git: '{where}', {reference.format(commit=commit)}, prefix: ours.}}")
    assert update()[0]["commit"] == commit
    assert set(access()) == {"ours.tools", "ours.workflows"}


def test_an_older_commit_is_fetched_from_who_gives_none_by_itself(tmp_path: Path, repository: Repository) -> None:
    older = repository.git("rev-parse", "HEAD")
    repository.commit(tools__more_dot_cwl=tool())
    repository.git("config", "uploadpack.allowReachableSHA1InWant", "false")
    publish(tmp_path, f"{{git: {repository.directory}, commit: {older}}}")
    assert update()[0]["commit"] == older
    assert set(access()) == {"tools", "workflows"}


def test_who_may_run_it_is_up_to_the_catalogue_file_alone(
    tmp_path: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    meta = "authorized_users: everybody\nname: Greetings"
    repository.commit("v2", workflows__meta_dot_yaml=meta, tools__meta_dot_yaml=meta)
    monkeypatch.setenv("HWA_CWL_WITHOUT_METADATA", "nobody")
    publish(tmp_path, f"{{git: {repository.directory}, tag: v2, authorized_groups: [climate]}}")
    update()
    assert {(tuple(item["users"]), tuple(item["groups"])) for item in access().values()} == {((), ("climate",))}
    publish(tmp_path, f"{{git: {repository.directory}, tag: v2}}")
    update()
    assert not any(item["everybody"] or item["users"] or item["groups"] for item in access().values())


@pytest.mark.parametrize(
    ("path", "ids"),
    [
        ("", {"p.tools", "p.workflows"}),
        ("tools", {"p.tools"}),
        ("tools/say.cwl", {"p.say"}),
        ("*/*.cwl", {"p.say", "p.greet"}),
    ],
)
def test_parts_of_a_repository(tmp_path: Path, repository: Repository, path: str, ids: set[str]) -> None:
    template = ", id: '{name}'" if ".cwl" in path else ""
    publish(
        tmp_path,
        f"{{git: {repository.directory}, tag: v1, path: '{path}', prefix: p.{template}}}".replace("path: '', ", ""),
    )
    update()
    assert set(access()) == ids


def test_a_name_that_an_id_can_have_wins_a_clash_with_one_of_a_repository(
    tmp_path: Path, repository: Repository
) -> None:
    (repository.directory / "say it.cwl").write_text(tool())
    repository.commit("v2")
    publish(tmp_path, f"{{git: {repository.directory}, tag: v2, path: say it.cwl}}")
    update()
    assert access()["say-it"]["published"]
    (tmp_path / "catalogue" / "say-it.cwl").write_text(tool())
    found = json.loads(command("check", "-o", "json").stdout)["workflows"]
    assert {(item["source"], item["published"]) for item in found} == {("say-it.cwl", True), ("catalogue.yaml", False)}
    (problem,) = (item["problem"]["detail"] for item in found if item["problem"])
    assert problem == (
        "another entry has the id say-it too: say it.cwl and say-it.cwl; give one of them another `id` or `prefix` in "
        "catalogue.yaml"
    )


def test_submodules_come_along(tmp_path: Path, repository: Repository) -> None:
    tools = Repository(tmp_path / "theirs" / "tools")
    tools.commit(say_dot_cwl=SAY.replace("VERSION", "sub"))
    repository.git("rm", "-rq", "tools")
    repository.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", "../tools", "tools")
    repository.commit("v2")
    publish(tmp_path, f"{{git: {repository.directory}, tag: v2, path: workflows}}")
    update()
    assert set(access()) == {"workflows"}
    assert not list((tmp_path / "data").rglob(".git"))


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("{git: DIR, tag: v9}", "the repository has no tag v9"),
        ("{git: DIR, branch: nowhere}", "the repository has no branch nowhere"),
        ("{git: DIR, commit: '1111111111111111111111111111111111111111'}", "1111111111"),
        ("{git: DIR-gone, tag: v1}", "does not appear to be a git repository"),
        ("{git: 'ext::sh -c true', tag: v1}", "not fetched by ext"),
        ("{git: 'http://127.0.0.1/x.git', tag: v1}", "not fetched by http"),
        ("{git: 'https://bob:hunter2@127.0.0.1/x.git', tag: v1}", "holds a password"),
        ("{git: 'https://127.0.0.1:1/x.git', tag: v1}", "127.0.0.1"),
    ],
)
def test_what_cannot_be_fetched_is_told(tmp_path: Path, repository: Repository, entry: str, words: str) -> None:
    publish(tmp_path, entry.replace("DIR", str(repository.directory)))
    (found,) = update(1)
    assert words in found["problem"]
    assert found["commit"] is None
    told = command("update").output + command("access").output
    assert words in told
    assert "hunter2" not in told


def test_a_moved_tag_is_taken_by_the_command_and_told(tmp_path: Path, repository: Repository) -> None:
    publish(tmp_path, f"{{git: {repository.directory}, tag: v1}}")
    first = update()[0]["commit"]
    second = repository.commit("v1", tools__say_dot_cwl=SAY.replace("VERSION", "two"))
    assert first != second
    result = command("update")
    assert f"changed from {first[:12]}" in result.output
    assert second in result.output


def test_a_link_out_of_the_repository_is_refused(tmp_path: Path, repository: Repository) -> None:
    (repository.directory / "tools" / "secret.cwl").symlink_to("/etc/passwd")
    repository.commit("v2")
    publish(tmp_path, f"{{git: {repository.directory}, tag: v2}}")
    assert "tools/secret.cwl is a link that leads out of the repository" in update(1)[0]["problem"]
    assert [
        path.name for path in (tmp_path / "data" / "cwl" / "catalogue" / "repositories").iterdir() if path.is_dir()
    ] == []


def test_what_runs_is_nothing_of_the_repository(tmp_path: Path, repository: Repository) -> None:
    mark = tmp_path / "ran"
    hooks = repository.directory / "hooks"
    hooks.mkdir()
    for name in ("post-checkout", "reference-transaction"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {mark}\n")
        (hooks / name).chmod(0o755)
    repository.commit(
        "v2", _dot_gitattributes="*.cwl filter=evil\n", _dot_gitconfig=f'[filter "evil"]\nsmudge=touch {mark}\n'
    )
    publish(tmp_path, f"{{git: {repository.directory}, tag: v2}}")
    update()
    assert not mark.exists()


def test_ids_that_clash_are_for_nobody(tmp_path: Path, repository: Repository) -> None:
    publish(tmp_path, f"{{git: {repository.directory}, tag: v1, path: tools}}")
    (tmp_path / "catalogue" / "tools.cwl").write_text(tool())
    update()
    assert access()["tools"]["published"] is False


@pytest.fixture
def web(tmp_path: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An https server that knows nothing of Git; its address, by a certificate of its own."""
    repository.git("update-server-info")
    mine = identity(tmp_path, "web")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(mine.certificate, mine.key)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(repository.directory / ".git"))

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("GIT_SSL_CAINFO", str(mine.certificate))
        yield f"https://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_by_https_from_whom_the_certificate_says(
    tmp_path: Path, repository: Repository, web: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(tmp_path, f"{{git: {web}, tag: v1, authorized_users: [alice]}}")
    assert update()[0]["commit"] == repository.git("rev-parse", "HEAD")
    monkeypatch.delenv("GIT_SSL_CAINFO")
    (found,) = update(1)
    assert "certificate" in found["problem"]
    assert found["commit"] == found["before"] == repository.git("rev-parse", "HEAD")


@pytest.fixture
def service(tmp_path: Path, repository: Repository) -> Iterator[Client]:
    publish(tmp_path, f"{{git: {repository.directory}, branch: main, path: workflows}}")
    settings = make_settings(
        tmp_path, cwl={"catalogue": tmp_path / "catalogue", "update_every": 1}, limits={"requests": None}
    )
    with serving(settings) as url:
        yield as_user(url, "root")


def test_the_service_follows_a_branch_and_keeps_what_works(service: Client, repository: Repository) -> None:
    first = repository.git("rev-parse", "HEAD")
    until(lambda: service("GET", "/workflows/workflows").status_code == 200)
    details = service("GET", "/workflows/workflows").json()
    assert (details["version"], details["commit"]) == (first, first)
    before = service.finished(service.trigger("workflows", message="x"))
    assert before["workflow_version"] == first
    assert service("GET", before["outputs"]["said"]["location"]).text == "one x\n"

    second = repository.commit(tools__say_dot_cwl=SAY.replace("VERSION", "two"))
    until(lambda: service("GET", "/workflows/workflows").json()["version"] == second)
    after = service.finished(service.trigger("workflows", message="x"))
    assert service("GET", after["outputs"]["said"]["location"]).text == "two x\n"
    assert (before["workflow_version"], after["workflow_version"]) == (first, second)

    repository.commit(tools__say_dot_cwl="class: [")
    until(lambda: "its last good version stays published" in service("GET", "/health/ready").text)
    assert service("GET", "/workflows/workflows").json()["version"] == second
    repository.directory.rename(repository.directory.with_name("gone"))
    until(lambda: "does not appear to be a git repository" in service("GET", "/health/ready").text)
    still = service.finished(service.trigger("workflows", message="y"))
    assert service("GET", still["outputs"]["said"]["location"]).text == "two y\n"


def test_a_check_looks_at_what_would_be_fetched(tmp_path: Path, repository: Repository) -> None:
    """Of any directory, and of the configured catalogue before its update; nothing of the service is changed."""
    entry = f"{{git: {repository.directory}, tag: v1, authorized_users: [alice]}}"
    publish(tmp_path, entry, f"{{git: {repository.directory}, tag: v9, prefix: x., authorized_users: []}}")
    for arguments in ((str(tmp_path / "catalogue"),), ()):
        result = command("check", "-o", "json", *arguments)
        found = json.loads(result.stdout)
        assert result.exit_code == 1
        (problem,) = found["problems"]
        assert (problem["file"], problem["line"]) == ("catalogue.yaml", 3)
        assert "the repository has no tag v9" in problem["detail"]
        published = {item["id"]: item for item in found["workflows"]}
        assert published.keys() == {"workflows", "tools"}
        assert published["workflows"]["version"] == repository.git("rev-parse", "HEAD")
        assert [each["name"] for each in published["workflows"]["inputs"]] == ["message"]
        unfetched = any("hasn't fetched this commit" in each["detail"] for each in published["tools"]["warnings"])
        assert unfetched is not bool(arguments)
    assert not (tmp_path / "data").exists()
    publish(tmp_path, entry)
    update()
    assert command("check", "--strict").exit_code == 0


def test_what_was_published_stays_when_its_checkout_is_lost(tmp_path: Path, repository: Repository) -> None:
    entry = f"{{git: {repository.directory}, tag: v1, path: workflows, authorized_users: [alice, carol]}}"
    publish(tmp_path, entry)
    update()
    directory, state = tmp_path / "catalogue", tmp_path / "data" / "cwl" / "catalogue"
    (before,) = published(directory, state)
    shutil.rmtree(next(path for path in (state / "repositories").iterdir() if path.is_dir()))
    _look.cache_clear()  # as in a service that is started again
    publish(tmp_path, entry.replace(", carol", ""))
    (lost,) = published(directory, state)
    assert (lost.id, lost.commit, lost.authorized_users) == (before.id, before.commit, frozenset({"alice"}))
    assert "its last good version stays published" in str(access()["workflows"]["problem"])
    update()
    assert access()["workflows"]["problem"] is None
    (part,) = state.glob("repositories/*/tools/say.cwl")
    part.unlink()
    _look.cache_clear()
    assert "files of it are missing or were changed" in str(access()["workflows"]["problem"])
    assert [each.id for each in published(directory, state)] == ["workflows"]
    update()
    assert part.is_file()
    assert access()["workflows"]["problem"] is None
    shutil.rmtree(state / "repositories")
    publish(tmp_path, entry)
    _look.cache_clear()
    assert [each.id for each in published(directory, state)] == ["workflows"]
    publish(tmp_path)
    assert published(directory, state) == []


def published(directory: Path, state: Path) -> list[Workflow]:
    catalogue = Catalogue(directory, state)
    try:
        return catalogue.workflows()
    finally:
        catalogue.close()
