"""The catalogue file: what it may say, and that it is understood completely or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpcwaas.engines.cwl.workflows.manifest import Manifest, read_manifest
from hpcwaas.engines.cwl.workflows.metadata import Limits
from hpcwaas.engines.cwl.workflows.strict_yaml import Unreadable

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def written(directory: Path, content: str) -> Manifest:
    (directory / "catalogue.yaml").write_text(content)
    return read_manifest(directory)


def test_without_one_nothing_is_said(tmp_path: Path) -> None:
    assert read_manifest(tmp_path) == Manifest()
    assert Manifest().convention


def test_all_that_it_may_say(tmp_path: Path) -> None:
    manifest = written(
        tmp_path,
        f"""
convention: false
ignore: ["tests/**"]
workflows:
- document: workflows/*.cwl
  id: "{{folder}}-{{name}}"
  authorized_groups: [climate]
  limits: {{cores: 4, memory: 8GiB, time: 3600}}
- document: packed.cwl#tool
  id: tool
  name: A tool
  sites: [mare]
  ssh_keys: [key]
  slurm: {{partition: main}}
- git: https://example.org/repo.git
  tag: v1.2
  path: workflows
  prefix: lab.
  authorized_users: [alice]
- {{git: ../repo, commit: {COMMIT}, authorized_users: everybody}}
""",
    )
    assert (manifest.convention, manifest.ignore) == (False, ("tests/**",))
    pattern, tool = manifest.workflows
    assert (pattern.document, pattern.fragment, pattern.id, pattern.line) == (
        "workflows/*.cwl",
        None,
        "{folder}-{name}",
        5,
    )
    assert pattern.entry.authorized_groups == ("climate",)
    assert pattern.entry.limits == Limits(4, 8 << 30, 3600.0)
    assert pattern.entry.metadata == "catalogue.yaml:5"
    assert (tool.document, tool.fragment, tool.id) == ("packed.cwl", "tool", "tool")
    assert (tool.entry.name, tool.entry.sites, tool.entry.ssh_keys) == ("A tool", ("mare",), ("key",))
    first, second = manifest.git
    assert (first.url, first.tag, first.commit, first.branch) == ("https://example.org/repo.git", "v1.2", None, None)
    assert (first.path, first.prefix, first.id, first.line) == ("workflows", "lab.", None, 15)
    assert first.entry.authorized_users == ("alice",)
    assert (second.url, second.commit, second.entry.everybody) == ("../repo", COMMIT, True)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "catalogue.yaml: expected a map with any of convention, ignore, workflows"),
        ("- document: a.cwl", "catalogue.yaml: expected a map"),
        ("workflows: [", "catalogue.yaml:1: "),
        ("\nworkflow: []", "catalogue.yaml:2: unknown key 'workflow'"),
        ("workflow: []", "did you mean workflows?"),
        ("convention: no way", "catalogue.yaml:1: convention must be true or false"),
        ("convention: true\nconvention: false", "catalogue.yaml:2: the key convention is given twice"),
        ("ignore: tests", "catalogue.yaml:1: ignore must be a list"),
        ("ignore: [1]", "ignore must be a list"),
        ("ignore: [../x]", "ignore must be a path below the catalogue"),
        ("workflows:", "catalogue.yaml:1: workflows must be a list of maps"),
        ("workflows: {document: a.cwl}", "workflows must be a list of maps"),
        ("workflows:\n- a.cwl", "catalogue.yaml:2: expected a map with document or git"),
        ("workflows:\n- id: a", "catalogue.yaml:2: an entry of workflows needs document or git"),
        ("workflows:\n- document: a.cwl\n  main: b.cwl", "catalogue.yaml:3: unknown key 'main'"),
        ("workflows:\n- document: a.cwl\n  authorised_users: []", "did you mean authorized_users?"),
        (
            "workflows:\n- document: a.cwl\n  authorized_users: []\n  authorized_users: [bob]",
            "catalogue.yaml:4: the key authorized_users is given twice (first in line 3)",
        ),
        ("workflows:\n- document: a.cwl\n  <<: {name: A}", "catalogue.yaml:3: `<<`"),
        ("workflows:\n- document: a.cwl\n  authorized_users: alice", "catalogue.yaml:3: authorized_users must be"),
        (
            "workflows:\n- document: a.cwl\n  authorized_users: everybody\n  authorized_groups: [climate]",
            "catalogue.yaml:2: everybody can't be combined",
        ),
        ("workflows:\n- document: /etc/a.cwl", "document must be a path below the catalogue"),
        ("workflows:\n- document: ../a.cwl", "document must be a path below the catalogue"),
        ("workflows:\n- document: '#tool'", "document must be a path below the catalogue"),
        ("workflows:\n- document: 5", "document must be a string"),
        ("workflows:\n- {document: a.cwl, id: '{nam}'}", "id has {nam}; expected any of {name}, {folder} and {path}"),
        ("workflows:\n- {document: a.cwl, limits: 4}", "limits must be a map with any of cores, memory, time"),
        ("workflows:\n- {document: a.cwl, limits: {core: 4}}", "did you mean cores?"),
        ("workflows:\n- {document: a.cwl, limits: {cores: 0}}", "cores must be a whole number above 0"),
        ("workflows:\n- {document: a.cwl, limits: {cores: true}}", "cores must be a whole number above 0"),
        ("workflows:\n- {document: a.cwl, limits: {memory: lots}}", "memory must be a number of bytes above 0"),
        ("workflows:\n- {document: a.cwl, limits: {memory: 0}}", "memory must be a number of bytes above 0"),
        ("workflows:\n- {document: a.cwl, limits: {time: -1}}", "time must be a number of seconds above 0"),
        ("workflows:\n- {git: /r}", "needs one of tag, commit and branch"),
        ("workflows:\n- {git: /r, tag: a, branch: b}", "needs one of tag, commit and branch"),
        ("workflows:\n- {git: /r, commit: 0123abc}", "commit must be the whole hash"),
        ("workflows:\n- {git: /r, tag: 1.0}", "tag must be a string without blanks at its ends (write it in quotes)"),
        ("workflows:\n- {git: /r, tag: a, path: ../x}", "path must be a path below the catalogue"),
        ("workflows:\n- {git: /r, tag: a, prefix: ' '}", "prefix must be a string"),
        ("workflows:\n- {git: /r, tag: a, prefix: a/b}", "prefix begins ids"),
        ("workflows:\n- {git: /r, tags: a}", "did you mean tag?"),
        ("workflows: &a [*a]", "expected a map with document or git"),
        ("a: &a [x]\nb: &b [*a, *a]\nc: &c [*b, *b]", "unknown key 'a'"),
        ("\x00", "can't be read"),
        (f"ignore: [{'[' * 5000}", "can't be read (RecursionError)"),
        (f"# {'x' * (1 << 20)}", "it is over 1 MiB"),
    ],
)
def test_what_is_not_understood_is_refused_with_its_line(tmp_path: Path, content: str, reason: str) -> None:
    with pytest.raises(Unreadable) as refusal:
        written(tmp_path, content)
    assert reason in str(refusal.value)
    assert str(refusal.value).startswith("catalogue.yaml:")


def test_it_has_to_be_a_file_that_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "catalogue.yaml").mkdir()
    with pytest.raises(Unreadable, match="this is not a file"):
        read_manifest(tmp_path)
    (tmp_path / "catalogue.yaml").rmdir()
    (tmp_path / "catalogue.yaml").symlink_to("nowhere")
    with pytest.raises(Unreadable, match="can't be read"):
        read_manifest(tmp_path)


def test_a_change_is_seen(tmp_path: Path) -> None:
    assert written(tmp_path, "convention: true").convention
    assert not written(tmp_path, "convention: false").convention
