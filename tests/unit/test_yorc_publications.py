"""What the settings publish of what Yorc has deployed."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from hpcwaas.engines.yorc.documents import Deployment
from hpcwaas.engines.yorc.publications import Listing, Publications
from hpcwaas.engines.yorc.settings import PublicationSettings, YorcSettings

WORKFLOWS = ["hello", "fail", "train_big", "install", "uninstall", "run", "start"]


def entry(deployments: str | list[str] = "demo-*", workflows: str | list[str] = "*", **rest: Any) -> dict[str, Any]:
    return {
        "deployments": [deployments] if isinstance(deployments, str) else deployments,
        "workflows": [workflows] if isinstance(workflows, str) else workflows,
        **rest,
    }


def listing(*entries: dict[str, Any], names: dict[str, list[str]] | None = None, **statuses: str) -> Listing:
    """What is published when `demo-a` and `demo-b` are deployed, or what the statuses say."""
    there = [
        Deployment(name.replace("_", "-"), status)
        for name, status in (statuses or {"demo_a": "DEPLOYED", "demo_b": "UPDATED"}).items()
    ]
    publications = Publications([PublicationSettings.model_validate(it) for it in entries])
    wanted = publications.wanted(there)
    return publications.listing(there, {it: (names or {}).get(it, WORKFLOWS) for it in wanted})


def ids(found: Listing) -> list[str]:
    return list(found.workflows)


def test_nothing_is_published_by_itself() -> None:
    with pytest.raises(ValidationError, match="publish"):
        YorcSettings.model_validate({})
    with pytest.raises(ValidationError, match="at least 1"):
        YorcSettings.model_validate({"publish": []})


def test_patterns() -> None:
    found = listing(entry(workflows=["hello", "train_*"]))
    assert ids(found) == ["demo-a@hello", "demo-a@train_big", "demo-b@hello", "demo-b@train_big"]
    assert found.problems == ()
    assert ids(listing(entry("demo-a", "h?llo"))) == ["demo-a@hello"]
    assert ids(listing(entry("demo-[b-z]", "hello"))) == ["demo-b@hello"]


@pytest.mark.parametrize("pattern", ["HELLO", "Train_*", "hell"])
def test_names_are_compared_exactly(pattern: str) -> None:
    found = listing(entry("demo-a", pattern))
    assert ids(found) == []
    assert found.problems == (f"yorc.publish[0]: no workflow of demo-a matches {pattern!r}",)


def test_no_pattern_publishes_what_every_deployment_has() -> None:
    assert ids(listing(entry("demo-a"))) == ["demo-a@fail", "demo-a@hello", "demo-a@train_big"]
    found = listing(entry("demo-a", "*install"))
    assert ids(found) == []
    assert "install, uninstall would, but Yorc's own workflows are published only where they are named" in str(
        found.problems
    )
    names = {"demo-a": ["Install", "RUN", "Cancel", "pre_update", "post_update", "stop", "runs"]}
    assert ids(listing(entry("demo-a"), names=names, demo_a="DEPLOYED")) == ["demo-a@runs"]


def test_those_that_are_named_are_published_but_for_what_undeploys() -> None:
    assert ids(listing(entry("demo-a", ["run", "start"]))) == ["demo-a@run", "demo-a@start"]
    for name in ("install", "uninstall", "Uninstall"):
        with pytest.raises(ValidationError, match=f"{name} would deploy or undeploy"):
            PublicationSettings.model_validate(entry(workflows=["hello", name]))


def test_who_may_run_it() -> None:
    everybody = listing(entry("demo-a", "hello")).workflows["demo-a@hello"]
    assert (everybody.authorized_users, everybody.authorized_groups) == (None, None)
    some = listing(entry("demo-a", "hello", users=["alice"], groups=["physics"])).workflows["demo-a@hello"]
    assert (some.authorized_users, some.authorized_groups) == (frozenset({"alice"}), frozenset({"physics"}))
    nobody = listing(entry("demo-a", "hello", users=[])).workflows["demo-a@hello"]
    assert (nobody.authorized_users, nobody.authorized_groups) == (frozenset(), None)


@pytest.mark.parametrize("who", ["users", "groups"])
def test_a_lost_list_of_users_lets_nobody_in(who: str) -> None:
    with pytest.raises(ValidationError, match="has nothing in it"):
        PublicationSettings.model_validate(entry() | {who: None})


@pytest.mark.parametrize("key", ["users", "groups", "deployments", "workflows", "ssh_keys", "secret_inputs"])
@pytest.mark.parametrize("name", ["", " alice", "alice ", "\talice"])
def test_names_with_blanks_around_them_stop_the_start(key: str, name: str) -> None:
    with pytest.raises(ValidationError, match="is no name"):
        PublicationSettings.model_validate(entry() | {key: ["fine", name]})


def test_unknown_keys_stop_the_start() -> None:
    with pytest.raises(ValidationError, match="user\n"):
        PublicationSettings.model_validate(entry(user=["alice"]))


def test_titles() -> None:
    found = listing(entry("demo-a", "hello", title="{workflow} on {deployment}", description="Greets {who}."))
    workflow = found.workflows["demo-a@hello"]
    assert (workflow.label, workflow.description) == ("hello on demo-a", "Greets {who}.")
    assert (workflow.name, workflow.application_id, workflow.engine) == ("hello", "demo-a", "yorc")
    assert listing(entry("demo-a", "hello")).workflows["demo-a@hello"].label is None


@pytest.mark.parametrize(
    "other",
    [{}, {"users": ["bob"]}, {"groups": ["physics"]}, {"users": []}, {"ssh_keys": ["key"]}, {"secret_inputs": ["a"]}],
)
def test_entries_that_differ_publish_nothing_that_both_match(other: dict[str, Any]) -> None:
    found = listing(entry("demo-a", "*", users=["alice"]), entry("*", "hello", **other))
    assert ids(found) == ["demo-a@fail", "demo-a@train_big", "demo-b@hello"]
    (problem,) = found.problems
    assert problem.startswith(
        "demo-a: the workflow 'hello' isn't published, because yorc.publish[0] and yorc.publish[1]"
    )


def test_of_entries_that_agree_the_first_gives_the_title() -> None:
    found = listing(
        entry("demo-a", "hello", title="First", users=["alice", "bob"]),
        entry("demo-*", "hell*", title="Second", users=["bob", "alice"]),
    )
    assert [it.label for it in found.workflows.values()] == ["First", "Second"]
    assert found.problems == ()


@pytest.mark.parametrize(
    "status",
    ["INITIAL", "DEPLOYMENT_IN_PROGRESS", "UNDEPLOYMENT_IN_PROGRESS", "UNDEPLOYED", "DEPLOYMENT_FAILED", "new"],
)
def test_what_is_not_deployed_publishes_nothing_and_that_is_told(status: str) -> None:
    found = listing(entry("demo-a", "hello"), demo_a=status)
    assert ids(found) == []
    assert found.problems == (
        f"yorc.publish[0]: demo-a is {status}; its workflows aren't published until it is DEPLOYED",
    )


def test_a_failed_one_is_told_beside_others_and_one_that_is_undeployed_is_not() -> None:
    found = listing(
        entry("demo-*", "hello"), demo_a="DEPLOYED", demo_b="UNDEPLOYED", demo_c="UPDATE_FAILURE", demo_d="INITIAL"
    )
    assert ids(found) == ["demo-a@hello"]
    assert found.problems == (
        "yorc.publish[0]: demo-c is UPDATE_FAILURE; its workflows aren't published until it is DEPLOYED",
    )


def test_patterns_that_match_nothing_are_told() -> None:
    found = listing(entry(["demo-a", "Demo-*", "test*"], ["hello", "nope", "n*"]))
    assert ids(found) == ["demo-a@hello"]
    assert found.problems == (
        "yorc.publish[0]: no deployment matches 'Demo-*'; it publishes nothing",
        "yorc.publish[0]: no deployment matches 'test*'; it publishes nothing",
        "yorc.publish[0]: no workflow of demo-a matches 'nope'",
        "yorc.publish[0]: no workflow of demo-a matches 'n*'",
    )
    assert listing(entry(), entry("x"), demo_a="DEPLOYED").problems == (
        "yorc.publish[1]: no deployment matches 'x'; it publishes nothing",
    )


@pytest.mark.parametrize("name", ["a@b", "a/b", "..", "a\nb", "a\u202eb"])
def test_a_name_that_makes_no_id_is_told(name: str) -> None:
    found = listing(entry("demo-a"), names={"demo-a": ["hello", name]})
    assert ids(found) == ["demo-a@hello"]
    assert found.problems == (
        f"demo-a: the workflow {name!r} isn't published, because its name can't be a part of an id",
    )


def test_the_examples_in_the_manual() -> None:
    page = (Path(__file__).parents[2] / "docs/how-to/yorc.md").read_text(encoding="utf-8")
    examples = [yaml.safe_load(dedent(text)) for text in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]
    sections = [example["yorc"] for example in examples if "yorc" in example]
    found = [entry for section in sections for entry in YorcSettings.model_validate(section).publish]
    assert [entry.ssh_keys for entry in found] == [(), ("key_id",), ()]
