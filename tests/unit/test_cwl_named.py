"""What the catalogue file names: which documents, by which ids, for whom, and how it goes with metadata beside them."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest

from hpcwaas.engines.cwl.workflows.entries import Found, find_entries, permitted_by, read_stamps
from hpcwaas.engines.cwl.workflows.metadata import Entry, Limits, Unusable
from tests.unit.test_cwl_layouts import ALICE, ids, known, lay, reasons


def look(directory: Path, manifest: str = "", known: Collection[tuple[str, str]] = ()) -> Found:
    if manifest:
        (directory / "catalogue.yaml").write_text(manifest)
    return find_entries(directory, read_stamps(directory), known)


def only(found: Found) -> Entry:
    [entry] = found.entries
    return entry


def refused(found: Found) -> Unusable:
    [item] = found.unusable
    assert item.entry is None
    return item


def test_documents_are_named_beside_the_convention(tmp_path: Path) -> None:
    lay(tmp_path, "workflows/align.cwl", "workflows/call.cwl", "tools/t.cwl", "tools/u.cwl", "top.cwl")
    manifest = f"workflows:\n- document: workflows/*.cwl\n  id: '{{name}}'\n  {ALICE}\n  limits: {{cores: 2}}\n"
    found = look(tmp_path, manifest)
    assert ids(found) == {
        "align": "workflows/align.cwl",
        "call": "workflows/call.cwl",
        "tools.t": "tools/t.cwl",
        "tools.u": "tools/u.cwl",
        "top": "top.cwl",
    }
    align = found.entries[0]
    assert (align.authorized_users, align.limits, align.source) == (("alice",), Limits(cores=2), "catalogue.yaml")
    assert align.metadata == "catalogue.yaml:2"
    found = look(tmp_path, f"convention: false\n{manifest}")
    assert list(ids(found)) == ["align", "call"]
    assert {item.path for item in found.ignored} == {"tools/t.cwl", "tools/u.cwl", "top.cwl"}
    assert reasons(found) == []


@pytest.mark.parametrize(
    ("document", "template", "expected"),
    [
        ("a/b/x.cwl", None, ["a.b.x"]),
        ("a/b/x.cwl", "plain", ["plain"]),
        ("./a//b/x.cwl", "{folder}-{name}", ["a.b-x"]),
        ("a/b/*.cwl", None, ["a.b.x", "a.b.y"]),
        ("a/**/*.cwl", "{path}", ["a.b.x", "a.b.y", "a.c.x"]),
        ("**/x.cwl", "{name}.{folder}", ["x.a.b", "x.a.c"]),
        ("**", None, ["a.b.x", "a.b.y", "a.c"]),
        ("*/?/[xz].cwl", None, ["a.b.x", "a.c"]),
        ("a/c/x.cwl", None, ["a.c"]),
        ("a/b/w.CWL", None, ["a.b.w"]),
        ("a/b/v.yaml", None, ["a.b.v"]),
        ("a/b/*.yaml", None, ["a.b.v"]),
        ("a/b/x.cwl#tool", None, ["a.b.x.tool"]),
        ("a/b/*.cwl#tool", "{name}", ["x", "y"]),
    ],
)
def test_paths_and_patterns(tmp_path: Path, document: str, template: str | None, expected: list[str]) -> None:
    lay(tmp_path, "a/b/x.cwl", "a/b/y.cwl", "a/c/x.cwl", "a/b/w.CWL", "a/b/v.yaml", "a/b/r.txt", "a/.h/x.cwl")
    line = f"- {{document: '{document}'" + (f", id: '{template}'}}" if template else "}")
    found = look(tmp_path, f"convention: false\nworkflows:\n{line}\n")
    assert list(ids(found)) == expected
    assert reasons(found) == []
    assert {entry.fragment for entry in found.entries} == {"tool" if "#" in document else None}


def test_processes_of_one_document_are_workflows_of_their_own(tmp_path: Path) -> None:
    lay(tmp_path, "packed.cwl")
    found = look(
        tmp_path, "workflows:\n- {document: packed.cwl#sort}\n- {document: packed.cwl#count, id: count, name: Count}\n"
    )
    assert [(entry.id, entry.fragment) for entry in found.entries] == [("count", "count"), ("packed.sort", "sort")]
    assert reasons(found) == []


def test_what_is_ignored_is_not_published_unless_its_path_is_named(tmp_path: Path) -> None:
    lay(tmp_path, "tests/a.cwl", "tests/deep/b.cwl", "x/archive/old.cwl", "x/a.cwl", "x/b.cwl", "w/main.cwl")
    manifest = (
        "ignore: [tests/**, '*/archive/*.cwl', w]\nworkflows:\n- document: '**/a.cwl'\n- document: tests/deep/b.cwl\n"
    )
    found = look(tmp_path, manifest)
    assert list(ids(found)) == ["tests.deep.b", "x.a", "x.b"]
    assert {item.path: item.reason for item in found.ignored if "ignores" in item.reason} == {
        "tests/a.cwl": "catalogue.yaml ignores tests/**",
        "x/archive/old.cwl": "catalogue.yaml ignores */archive/*.cwl",
        "w/main.cwl": "catalogue.yaml ignores w",
    }


def test_entries_that_name_nothing_are_told(tmp_path: Path) -> None:
    lay(tmp_path, "w/align.cwl", "w/b.cwl", ".h/x.cwl")
    found = look(
        tmp_path, "workflows:\n- document: w/aling.cwl\n- document: x/*.cwl\n- document: .h/x.cwl\n- document: w\n"
    )
    assert found.problems == ["catalogue.yaml:3: no document matches x/*.cwl"]
    assert sorted(item.reason for item in found.unusable) == [
        "catalogue.yaml:2: there is no file w/aling.cwl; did you mean w/align.cwl?",
        "catalogue.yaml:4: .h/x.cwl is hidden: what begins with a dot is not published",
        "catalogue.yaml:5: there is no file w",
    ]
    # The last version of what is gone stays for those whom the file permits.
    assert all(item.entry is not None for item in found.unusable)


def test_a_document_is_named_once(tmp_path: Path) -> None:
    lay(tmp_path, "a.cwl", "b.cwl", "c.cwl")
    found = look(
        tmp_path,
        f"workflows:\n- {{document: '[ab].cwl', {ALICE}}}\n- document: '*.cwl'\n- {{document: b.cwl, id: bee}}\n",
    )
    assert ids(found) == {"bee": "b.cwl", "c": "c.cwl"}
    assert {item.reason for item in found.unusable} == {
        "catalogue.yaml:2: catalogue.yaml:3 names a.cwl too: name it once",
        "catalogue.yaml:3: catalogue.yaml:2 names a.cwl too: name it once",
    }
    assert [item.entry for item in found.unusable] == [None, None]
    found = look(tmp_path, "workflows:\n- {document: a.cwl, id: x}\n- {document: a.cwl, id: y}\n")
    assert [item.id for item in found.unusable] == ["x", "y"]


def test_two_of_one_id_permit_nothing(tmp_path: Path) -> None:
    lay(tmp_path, "a/x.cwl", "a/y.cwl", "top.cwl")
    found = look(tmp_path, f"workflows:\n- {{document: a/*.cwl, id: 'same{{folder}}', {ALICE}}}\n")
    assert list(ids(found)) == ["top"]
    assert [(item.id, item.entry) for item in found.unusable] == [("samea", None), ("samea", None)]
    found = look(tmp_path, "workflows:\n- {document: a/x.cwl, id: top}\n")
    assert {item.source for item in found.unusable} == {"catalogue.yaml", "top.cwl"}
    assert list(ids(found)) == ["a.y"]


@pytest.mark.parametrize(
    ("beside", "said", "users"),
    [
        ("name: A", ALICE, ("alice",)),
        (ALICE, "", ("alice",)),
        (ALICE, ALICE, ("alice",)),
        ("authorized_users: [bob, alice]", "authorized_users: [alice, bob]", ("bob", "alice")),
        (ALICE, "authorized_users: [bob]", None),
        (ALICE, "authorized_users: [alice, bob]", None),
        (ALICE, "authorized_users: everybody", None),
        ("authorized_users: everybody", ALICE, None),
        (ALICE, "authorized_groups: [climate]", None),
        ("authorized_groups: [climate]", f"{ALICE}, authorized_groups: [climate]", None),
        ("authorised_users: [alice]", ALICE, None),
        ("", ALICE, None),
    ],
)
@pytest.mark.parametrize("meta", ["w/x.meta.yaml", "w/meta.yaml"])
def test_metadata_beside_it_and_the_catalogue_file_have_to_permit_the_same(
    tmp_path: Path, meta: str, beside: str, said: str, users: tuple[str, ...] | None
) -> None:
    lay(tmp_path, "w/x.cwl", "w/y.cwl", **{meta: beside})
    found = look(
        tmp_path, f"convention: false\nworkflows:\n- {{document: w/x.cwl, id: x, {said}}}\n".replace(", }", "}")
    )
    if users is None:
        assert refused(found).id == "x"
    else:
        assert set(only(found).authorized_users or ()) == set(users)
        assert permitted_by(only(found), "everybody")[0] == frozenset(users)


def test_parts_of_a_restricted_folder_stay_restricted_when_a_pattern_names_them(tmp_path: Path) -> None:
    content = f"main: main.cwl\nname: W\nssh_keys: [key]\nsites: [mare]\n{ALICE}"
    lay(tmp_path, "w/main.cwl", "w/sub/x.cwl", "w/sub/y.cwl", "v/a.cwl", "v/b.cwl", **{"w/meta.yaml": content})
    found = look(tmp_path, "workflows:\n- document: '**/*.cwl'\n")
    assert list(ids(found)) == ["v.a", "v.b", "w", "w.sub.x", "w.sub.y"]
    by_id = {entry.id: entry for entry in found.entries}
    assert [by_id[name].authorized_users for name in ("w", "w.sub.x", "w.sub.y", "v.a")] == [("alice",)] * 3 + [None]
    assert [by_id[name].sites for name in ("w", "w.sub.x")] == [("mare",)] * 2
    assert (by_id["w"].name, by_id["w"].ssh_keys) == ("W", ("key",))
    assert (by_id["w.sub.x"].name, by_id["w.sub.x"].ssh_keys) == (None, ())
    (tmp_path / "w/meta.yaml").write_text("authorised_users: []")
    assert list(ids(look(tmp_path))) == ["v.a", "v.b"]
    (tmp_path / "w/meta.yaml").rename(tmp_path / "w/Meta.yaml")
    assert list(ids(look(tmp_path))) == ["v.a", "v.b"]


@pytest.mark.parametrize(
    "name",
    ["w/x.meta.yml", "w/x.yml", "w/X.meta.yaml", "w/metadata.yaml", "w.meta.yaml", "w/x/meta.yaml", "w/t.meta.yaml"],
)
@pytest.mark.parametrize("document", ["x.cwl", "x.CWL", "x.json"])
def test_what_looks_like_metadata_of_a_named_document_closes_it(tmp_path: Path, name: str, document: str) -> None:
    lay(tmp_path, f"w/{document}", "w/a.cwl", "w/b.cwl")
    manifest = f"workflows:\n- {{document: w/{document}, id: x, authorized_users: everybody}}\n"
    assert "x" in ids(look(tmp_path, manifest))
    lay(tmp_path, **{name: ALICE})
    found = look(tmp_path)
    if name == "w/t.meta.yaml":  # of something else
        assert "x" in ids(found)
    else:
        assert "x" not in ids(found)
        assert any(item.id == "x" and item.entry is None and name in item.reason for item in found.unusable)


def test_a_process_may_be_named_in_one_place_only(tmp_path: Path) -> None:
    lay(tmp_path, "x.cwl", **{"x.meta.yaml": "main: '#a'"})
    assert only(look(tmp_path, "workflows: [{document: x.cwl}]")).fragment == "a"
    assert only(look(tmp_path, "workflows: [{document: x.cwl#a, id: x}]")).fragment == "a"
    assert "main names another process" in refused(look(tmp_path, "workflows: [{document: x.cwl#b, id: x}]")).reason


def test_what_looks_like_metadata_and_is_none_can_be_excused_by_its_path(tmp_path: Path) -> None:
    lay(tmp_path, "w/a.cwl", "w/b.cwl", "w/metadata.yaml", "w/a.yml", "b.cwl", "b.meta.yml")
    assert list(ids(look(tmp_path))) == []
    found = look(tmp_path, "ignore: ['**/*.yml', '**/*.yaml']")
    assert list(ids(found)) == []  # a pattern might mean something else
    assert list(ids(look(tmp_path, "ignore: [w/metadata.yaml, '**/*.yml']"))) == ["w.a", "w.b"]
    assert list(ids(look(tmp_path, "ignore: [w/metadata.yaml, '**/*.yml', b.meta.yml]"))) == ["b", "w.a", "w.b"]
    lay(tmp_path, **{"w/a.meta.yaml": ALICE})  # real metadata are read, whatever is ignored
    found = look(tmp_path, "ignore: [w/metadata.yaml, '**/*.yml', b.meta.yml, w/a.meta.yaml, '**/*.meta.yaml']")
    assert next(entry for entry in found.entries if entry.id == "w.a").authorized_users == ("alice",)


MISTAKES = {
    "unknown": "workflow: []",
    "half": "workflows:\n- document: a.cwl\n  authorized_users: [al",
    "empty": "",
    "double": "convention: true\nconvention: true",
}


@pytest.mark.parametrize("content", MISTAKES.values(), ids=MISTAKES)
def test_a_catalogue_file_that_is_not_understood_permits_nothing(tmp_path: Path, content: str) -> None:
    lay(tmp_path, "a.cwl", "w/b.cwl", "w/c.cwl")
    lay(tmp_path, **{"catalogue.yaml": content})
    found = look(tmp_path)
    assert (found.entries, found.unusable) == ([], [])
    assert found.frozen is not None
    assert found.frozen.startswith("catalogue.yaml")
    assert list(found.problems) == [found.frozen]
    published = look(tmp_path, known={("a.cwl", "a")})
    assert [entry.id for entry in published.entries] == ["a"]


@pytest.mark.parametrize(
    "name",
    [
        "catalog.yaml",
        "catalogue.yml",
        "Catalogue.yaml",
        "CATALOGUE.YAML",
        "catalogue.yaml~",
        "catalogue.yaml.bak",
        ".catalogue.yaml",
        ".catalogue.yaml.swp",
        "#catalogue.yaml#",
        "catalogue",
        "catalogue.json",
        "catalogues.yaml",
        "catalouge.yaml",
        "catalogue.yaml.txt",
    ],
)
def test_what_looks_like_a_catalogue_file_permits_nothing(tmp_path: Path, name: str) -> None:
    lay(tmp_path, "a.cwl", "w/b.cwl", "w/c.cwl")
    content = f"workflows:\n- document: a.cwl\n  {ALICE}\n"
    lay(tmp_path, **{name: content})
    found = look(tmp_path)
    assert found.entries == []
    assert f"{name}: looks like a catalogue file" in str(found.frozen)
    found = look(tmp_path, "convention: true")
    left = name.lstrip(".#").startswith("catalogue.yaml") and name != "catalogue.yaml.txt" and name != ".catalogue.yaml"
    assert bool(found.entries) == (left or name == ".catalogue.yaml")


@pytest.mark.parametrize("name", ["catalog.json", "catalog.yaml", "catalogue.txt", "catalogue.md", "catalogue/x.txt"])
def test_other_things_that_are_called_so_do_no_harm(tmp_path: Path, name: str) -> None:
    lay(tmp_path, "a.cwl", "b/main.cwl", "b/catalogue.yaml")
    lay(tmp_path, **{name: '{"stac_version": "1.0.0", "type": "Catalog", "links": []}'})
    found = look(tmp_path)
    assert list(ids(found)) == ["a", "b"]
    assert found.frozen is None


def test_a_catalogue_file_of_another_folder_is_no_permission(tmp_path: Path) -> None:
    lay(tmp_path, "repo/a.cwl", "repo/b.cwl", "z.cwl")
    lay(tmp_path, **{"repo/catalogue.yaml": f"workflows: [{{document: a.cwl, {ALICE}}}]"})
    found = look(tmp_path)
    assert list(ids(found)) == ["z"]
    assert {item.id for item in found.unusable} == {"repo.a", "repo.b"}


def test_what_a_folder_was_ends_when_its_documents_are_named(tmp_path: Path) -> None:
    lay(tmp_path, "w/a.cwl")
    first = look(tmp_path)
    lay(tmp_path, "w/b.cwl")
    assert refused_sources(look(tmp_path, known=known(first))) == ["w/"]
    found = look(tmp_path, "workflows: [{document: 'w/*.cwl'}]", known(first))
    assert list(ids(found)) == ["w.a", "w.b"]
    assert reasons(found) == []


def refused_sources(found: Found) -> list[str]:
    return [item.source for item in found.unusable]
