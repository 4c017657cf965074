"""Ids of documents whose names hold what an id can't have."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hpcwaas.engines.cwl.workflows.ids import id_part
from tests.unit.test_cwl_layouts import ids, known, lay, look, reasons


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("colon:test", "colon-test"),
        ("my tool", "my-tool"),
        ("größe", "gro-e"),
        ("cafe\N{COMBINING ACUTE ACCENT}", "cafe"),
        ("a+b", "a-b"),
        ("a -- b", "a-b"),
        ("(My) tool (v2)", "My-tool-v2"),
        ("%2e%2e", "2e-2e"),
        ("new\nline", "new-line"),
        ("a\N{RIGHT-TO-LEFT OVERRIDE}b", "a-b"),
        ("..\N{FULLWIDTH SOLIDUS}etc", "..-etc"),
        ("\N{FULLWIDTH LATIN SMALL LETTER X}\N{SUPERSCRIPT TWO}", "x2"),
        ("_a b", "_a-b"),
        ("-+a", "-a"),
        ("a\udcff", "a"),
    ],
)
def test_what_an_id_cannot_have_is_replaced(name: str, part: str) -> None:
    assert id_part(name) == part


@pytest.mark.parametrize("name", ["", "a", "A--b", "x-", "_x", "a..b", "-", "1.0", "a_-._b", "مرحبا", "::", " "])
def test_a_name_that_an_id_can_have_stays_and_so_does_one_of_which_it_can_have_nothing(name: str) -> None:
    assert id_part(name) == name


def test_documents_and_folders_of_any_names_are_published(tmp_path: Path) -> None:
    lay(tmp_path, "colon:test.cwl", "my tools/a (1).cwl", "my tools/é.cwl", "ü/main.cwl", "a/b c/x.cwl", "%2e%2e.cwl")
    found = look(tmp_path)
    assert ids(found) == {
        "2e-2e": "%2e%2e.cwl",
        "a.b-c": "a/b c/x.cwl",
        "colon-test": "colon:test.cwl",
        "my-tools.a-1": "my tools/a (1).cwl",
        "my-tools.e": "my tools/é.cwl",
        "u": "ü/main.cwl",
    }
    assert all(entry.made for entry in found.entries)
    assert reasons(found) == []
    assert ids(look(tmp_path, known(found))) == ids(found)


@pytest.mark.parametrize("name", ["_a b.cwl", "-a b.cwl", "مرحبا.cwl", "::.cwl", "x/مرحبا.cwl", "مرحبا/x.cwl"])
def test_a_name_that_gives_no_id_is_refused(tmp_path: Path, name: str) -> None:
    lay(tmp_path, name, "x/y.cwl", "x/z.cwl")
    found = look(tmp_path)
    assert list(ids(found)) == ["x.y", "x.z"]
    [reason] = reasons(found)
    assert reason.startswith((f"{name}: the name becomes", "مرحبا/: the name becomes"))


def test_long_and_hidden_names_are_not_published(tmp_path: Path) -> None:
    lay(tmp_path, f"{'ö' * 101}.cwl", f"{'a ' * 60}/{'b' * 90}/{'c' * 90}.cwl", "..cwl", ". .cwl")
    found = look(tmp_path)
    assert ids(found) == {}
    assert all("have 100 characters at most; rename it, or give it an id" in reason for reason in reasons(found))
    assert len(found.unusable) == 2
    assert [item.path for item in found.ignored] == [". .cwl", "..cwl"]


def test_what_is_not_utf8_is_refused_and_nothing_else(tmp_path: Path) -> None:
    lay(tmp_path, "a.cwl")
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/bad\xff.cwl"))).touch()
    found = look(tmp_path)
    assert ids(found) == {"a": "a.cwl"}
    assert reasons(found) == ["bad\N{REPLACEMENT CHARACTER}.cwl: the name holds what isn't UTF-8; rename it"]


def test_a_name_as_it_stands_wins_a_clash(tmp_path: Path) -> None:
    lay(tmp_path, "a b.cwl", "t/é.cwl", "t/e.cwl")
    before = look(tmp_path)
    assert ids(before) == {"a-b": "a b.cwl", "t.e": "t/e.cwl"}
    lay(tmp_path, "a-b.cwl")
    found = look(tmp_path, known(before))
    assert ids(found) == {"a-b": "a-b.cwl", "t.e": "t/e.cwl"}
    assert reasons(found)[0] == (
        "a b.cwl: would have the id a-b, which is also that of a-b.cwl; rename it, or give it an id in catalogue.yaml: "
        '`workflows: [{document: "a b.cwl", id: a-b-2}]`'
    )
    lay(tmp_path, **{"a-b.meta.yaml": "nonsense: 1"})
    assert ids(look(tmp_path)) == {"t.e": "t/e.cwl"}


def test_of_two_that_get_one_id_none_is_published_until_one_is_given_another(tmp_path: Path) -> None:
    lay(tmp_path, "a b.cwl", "a+b.cwl")
    found = look(tmp_path)
    assert ids(found) == {}
    assert [reason.partition(";")[0] for reason in reasons(found)] == [
        "a b.cwl: would have the id a-b, which is also that of a+b.cwl",
        "a+b.cwl: would have the id a-b, which is also that of a b.cwl",
    ]
    lay(tmp_path, **{"catalogue.yaml": reasons(found)[0].split("`")[1]})
    assert ids(look(tmp_path)) == {"a-b": "a+b.cwl", "a-b-2": "a b.cwl"}


def test_of_many_that_get_one_id_some_are_named(tmp_path: Path) -> None:
    lay(tmp_path, *(f"a{each}b#.cwl" for each in "+:;,!"))
    [first, *_] = reasons(look(tmp_path))
    assert first.endswith("and 1 more; rename it")  # catalogue.yaml can't name what has a `#`


def test_ids_of_the_catalogue_file_are_made_of_such_names_too(tmp_path: Path) -> None:
    lay(tmp_path, "my tools/a b.cwl", "my tools/c.cwl", "d e.cwl", "x/d-e.cwl", "x/f.cwl")
    listed = '{document: "my tools/*.cwl", id: "{folder}_{name}"}, {document: x/d-e.cwl, id: "{name}"}'
    lay(tmp_path, **{"catalogue.yaml": f"workflows: [{listed}]"})
    found = look(tmp_path)
    assert ids(found) == {
        "d-e": "x/d-e.cwl",
        "my-tools_a-b": "my tools/a b.cwl",
        "my-tools_c": "my tools/c.cwl",
        "x.f": "x/f.cwl",
    }
    assert [item.source for item in found.unusable] == ["d e.cwl"]


@pytest.mark.parametrize("name", ["colon-test.meta.yaml", "Colon-Test.meta.yml", "colon-test.yaml"])
def test_metadata_that_are_called_like_the_id_leave_nothing_open(tmp_path: Path, name: str) -> None:
    lay(tmp_path, "colon:test.cwl", **{name: "authorized_users: [alice]"})
    found = look(tmp_path)
    assert ids(found) == {}
    assert (
        f"{name}: looks like metadata of colon:test.cwl, which are read from colon:test.meta.yaml" in reasons(found)[-1]
    )


def test_metadata_called_like_the_file_are_read(tmp_path: Path) -> None:
    lay(tmp_path, "é.cwl", **{"é.meta.yaml": "authorized_users: [alice]"})
    [entry] = look(tmp_path).entries
    assert (entry.id, entry.authorized_users) == ("e", ("alice",))
