"""Formats of files: what an ending stands for, and which ones an input accepts."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpcwaas.engines.cwl.workflows import formats
from hpcwaas.engines.cwl.workflows.ontologies import Ontologies
from tests.unit.cwl_world import World

EDAM = "http://edamontology.org/format_"
FASTA, FASTQ, BAM = f"{EDAM}1929", f"{EDAM}1930", f"{EDAM}2572"
CSV = "https://www.iana.org/assignments/media-types/text/csv"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.fa", FASTA),
        ("A.FASTQ", FASTQ),
        ("a.fastq.gz", FASTQ),
        ("a.csv", CSV),
        ("a.txt", None),
        ("a", None),
        (".fa", None),
    ],
)
def test_an_ending_stands_for_a_format(name: str, expected: str | None) -> None:
    assert formats.of_name(name, [FASTA, FASTQ, CSV]) == expected


def test_an_ending_of_two_formats_stands_for_none() -> None:
    assert formats.of_name("a.csv", [CSV, f"{EDAM}3752"]) is None


def world(tmp_path: Path, **declared: object) -> World:
    found = World(tmp_path, [{"name": "threads", "type": "int"}, {"name": "seq", "type": "File", **declared}])
    found.upload("u", "x.fq")
    return found


def test_the_format_follows_from_the_ending_or_is_asked_for(tmp_path: Path) -> None:
    made = world(tmp_path, formats=[FASTA, FASTQ])
    assert made.order(seq="u")["seq"]["format"] == FASTQ
    [problem] = made.problems(seq={"class": "File", "location": "u", "basename": "x.odd"})
    assert (problem.input, problem.expected) == ("seq.format", f"one of {FASTA}, {FASTQ}")


def test_a_format_that_an_ontology_calls_a_kind_of_the_declared_one_is_accepted(tmp_path: Path) -> None:
    given = {"class": "File", "location": "u", "format": BAM}
    assert world(tmp_path, formats=[FASTA], narrower=[BAM]).order(seq=given)["seq"]["format"] == BAM
    assert world(tmp_path, formats=[FASTA], narrower=None).order(seq=given)["seq"]["format"] == BAM
    assert world(tmp_path, formats=[FASTA]).problems(seq=given)[0].input == "seq.format"


XML = """<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:owl="http://www.w3.org/2002/07/owl#"
 xmlns:rdfs="http://www.w3.org/2000/01/rdf-schema#">
<owl:Class rdf:about="x:b"><rdfs:subClassOf rdf:resource="x:a"/></owl:Class>
<owl:Class rdf:about="x:c"><rdfs:subClassOf rdf:resource="x:b"/><owl:equivalentClass rdf:resource="x:d"/></owl:Class>
</rdf:RDF>"""
TURTLE = """@prefix owl: <http://www.w3.org/2002/07/owl#> . @prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
<x:b> rdfs:subClassOf <x:a> . <x:c> rdfs:subClassOf <x:b> ; owl:equivalentClass <x:d> ."""


@pytest.mark.parametrize("text", [XML, TURTLE], ids=["xml", "turtle"])
def test_ontologies_say_which_formats_are_kinds_of_others(tmp_path: Path, text: str) -> None:
    file = tmp_path / "ontology"
    file.write_text(text)
    found = Ontologies([file.as_uri()])
    assert found.narrower(["x:a"]) == ["x:b", "x:c", "x:d"]
    assert found.narrower(["x:d"]) == ["x:c"]
    assert found.narrower(["x:c", "x:d"]) == []


@pytest.mark.parametrize("text", ["", "no ontology", "<rdf"])
def test_what_is_no_ontology_forbids_nothing(tmp_path: Path, text: str) -> None:
    file = tmp_path / "ontology"
    file.write_text(text)
    assert Ontologies([file.as_uri()]).narrower(["x:a"]) in ([], None)
    assert Ontologies([(tmp_path / "missing").as_uri()]).narrower(["x:a"]) is None


def test_sizes_and_digests_of_files_are_checked(tmp_path: Path) -> None:
    made = world(tmp_path)
    right = {"size": 1, "checksum": "sha1$11f6ad8ec52a2984abaafd7c3b516503785c2072"}  # of "x"
    assert made.order(
        seq={"class": "File", "location": "u", **right, "nameroot": "x", "nameext": ".fq", "dirname": "/d"}
    )
    wrong = {"class": "File", "location": "u", "size": 2, "checksum": "sha1$" + "0" * 40}
    assert [problem.input for problem in made.problems(seq=wrong)] == ["seq.size", "seq.checksum"]
    text = {"class": "File", "contents": "x", "basename": "x"}
    assert made.order(seq=text | right)
    assert [problem.input for problem in made.problems(seq=text | {"size": -1})] == ["seq.size"]
    fetched = {"class": "File", "location": "https://example.org/x", "size": 1}
    assert "Leave it out" in made.problems(True, seq=fetched)[0].detail
