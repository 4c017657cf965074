"""Repositories that are fetched by a real SSH server."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpcwaas.engines.cwl.settings import CWLSettings
from hpcwaas.engines.cwl.workflows.repositories.updating import update_repositories
from tests.engines.cwl_documents import tool
from tests.system.git_repository import Repository
from tests.system.ssh_server import Server

pytestmark = pytest.mark.system


@pytest.mark.parametrize("form", ["ssh://127.0.0.1:{port}{path}", "127.0.0.1:{path}"])
def test_by_ssh_from_a_host_whose_key_is_known(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    repository = Repository(tmp_path / "theirs")
    commit = repository.commit("v1", count_dot_cwl=tool())
    key, hosts = tmp_path / "key", tmp_path / "hosts"
    key.touch(0o600)
    key.write_text(server.key.private_key)
    hosts.touch()
    ssh = f"ssh -F /dev/null -i {key} -p {server.port} -o UserKnownHostsFile={hosts}"
    monkeypatch.setenv("GIT_SSH_COMMAND", ssh)
    url = form.format(port=server.port, path=repository.directory)
    settings = CWLSettings(catalogue=tmp_path / "catalogue")
    settings.catalogue.mkdir()
    (settings.catalogue / "catalogue.yaml").write_text(f"workflows: [{{git: '{url}', tag: v1}}]")

    (unknown,) = update_repositories(settings, tmp_path / "data")
    assert "Host key verification failed" in str(unknown.problem)

    hosts.write_text(f"[127.0.0.1]:{server.port} {server.host_key}\n")
    (found,) = update_repositories(settings, tmp_path / "data")
    assert (found.problem, found.commit) == (None, commit)
