"""What operators may write about a site, and what they are told of what they may not."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from hpcwaas.engines.site_settings import SiteId, SiteSettings

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILhY+EMoLvkkwwW6Rb+74pTGU2WBvJm6HL7EclF6PRz5"


def site(**settings: Any) -> SiteSettings:
    return SiteSettings(**{"host": "login.example.org", "host_keys": [ED25519], **settings})


def problem(**settings: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        site(**settings)
    return str(caught.value)


@pytest.mark.parametrize("given", ["mare", "m", "mare-2", "9", "a" * 32])
def test_ids_are_accepted(given: str) -> None:
    assert TypeAdapter(SiteId).validate_python(given) == given


@pytest.mark.parametrize(
    "given", ["", "Mare", "-mare", "mare-", "m/a", "m a", "a" * 33, "märe", "m.a", "m:a", "mare\n"]
)
def test_ids_that_might_be_taken_for_something_else_are_refused(given: str) -> None:
    with pytest.raises(ValidationError, match="lower-case letters, digits and hyphens"):
        TypeAdapter(SiteId).validate_python(given)


def test_no_site_is_called_like_the_machine_of_the_service() -> None:
    with pytest.raises(ValidationError, match=r"the service's own machine"):
        TypeAdapter(SiteId).validate_python("local")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("login.example.org", "login.example.org:22"),
        ("login.example.org:2222", "login.example.org:2222"),
        ("10.0.0.7", "10.0.0.7:22"),
        ("[2001:db8::1]", "[2001:db8::1]:22"),
        ("[2001:db8::1]:2222", "[2001:db8::1]:2222"),
    ],
)
def test_hosts_have_a_port(given: str, expected: str) -> None:
    assert site(host=given).host == expected


@pytest.mark.parametrize(
    "given",
    [
        "",
        ":22",
        "host:0",
        "host:65536",
        "host:ssh",
        "user@host",
        "ssh://host",
        "2001:db8::1",
        "ho st",
        "host\n",
        "[]:22",
    ],
)
def test_hosts_that_are_none_are_refused(given: str) -> None:
    assert "expected HOST or HOST:PORT" in problem(host=given)


def test_a_host_key_may_stand_as_tools_print_it() -> None:
    assert site(host_keys=[f"{ED25519} root@login1", f"  {ED25519}\n"]).host_keys == (ED25519, ED25519)


@pytest.mark.parametrize(
    "given",
    [
        "",
        "ssh-ed25519",
        "ssh-ed25519 AAAA…",
        "AAAAC3NzaC1lZDI1NTE5AAAAILhY+EMoLvkkwwW6Rb+74pTGU2WBvJm6HL7EclF6PRz5",
        f"login.example.org {ED25519}",
        ED25519.replace("ssh-ed25519", "ssh-rsa"),
        ED25519[:-8],
        ED25519 + "AAAA",
        "ssh-dss AAAAB3NzaC1kc3MAAACBAAAA",
        "ssh-ed25519 " + base64.b64encode(b"\0\0\0\x0bssh-ed25519").decode(),
        "-----BEGIN OPENSSH PRIVATE KEY-----",
    ],
)
def test_host_keys_that_are_none_are_refused(given: str) -> None:
    found = problem(host_keys=[given])
    assert "expected a public host key as `ssh-keyscan` prints it" in found


def test_a_wrong_host_key_is_one_problem() -> None:
    assert "1 validation error" in problem(host_keys=["SHA256:x"])


def test_a_site_needs_a_host_key() -> None:
    assert "host_keys" in problem(host_keys=[])


@pytest.mark.parametrize("given", ["01:00:00", "1-00:00:00", "90", "100:00:00", "0:30:00"])
def test_times_are_written_as_slurm_writes_them(given: str) -> None:
    assert site(slurm={"time": given}).slurm.time == given


@pytest.mark.parametrize(
    "given", ["", "1h", "01:60:00", "00:00:00", "0", "1-", "-1", "01:00:00\n", "UNLIMITED", "1-0", 3600]
)
def test_times_that_slurm_would_read_otherwise_or_not_at_all_are_refused(given: object) -> None:
    problem(slurm={"time": given})


def test_a_runner_in_a_job_needs_a_scheduler() -> None:
    assert "needs a scheduler" in problem(leader="job", scheduler="none")


@pytest.mark.parametrize("command", [[], [""], ["toil-cwl-runner", ""]])
def test_a_runner_without_a_name(command: list[str]) -> None:
    assert "runner.command" in problem(runner={"command": command})


def test_containers_are_named_once() -> None:
    assert "--podman in the runner's arguments" in problem(runner={"arguments": ["--podman"]}, containers="udocker")
    assert "for cwltool and Toil" in problem(runner={"command": ["other"]}, containers="none")


@pytest.mark.parametrize("changes", [{}, {"leader": "job", "runner": {"command": ["/opt/cwltool"]}}])
def test_a_time_for_a_job_that_there_is_not(changes: dict[str, Any]) -> None:
    slurm = {"leader_time": "1-00:00:00"}
    assert "`slurm.leader_time` is of no use" in problem(slurm=slurm, **changes)
    assert site(leader="job", slurm=slurm).slurm.leader_time == "1-00:00:00"


@pytest.mark.parametrize(
    "given", ["relative/dir", "~/dir", "{home}/../x", "{ho me}/x", "/x\ny", "{home", "", "{home}/it's", "/a!", "/a\\b"]
)
def test_work_directories_that_mean_nothing_certain_are_refused(given: str) -> None:
    assert "work_dir" in problem(work_dir=given)


@pytest.mark.parametrize("given", ["{home}/.hpcwaas", "/scratch/{user}/waas", "{scratch}/x", "{PROJECT_DIR}/x"])
def test_work_directories_may_hold_variables(given: str) -> None:
    assert site(work_dir=given).work_dir == given


@pytest.mark.parametrize(
    "given", [{"time": "10:00:00", "max_time": "01:00:00"}, {"partition": "a b"}, {"account": "x;y"}]
)
def test_defaults_that_nobody_may_have_are_refused(given: dict[str, object]) -> None:
    assert "slurm" in problem(slurm=given)
