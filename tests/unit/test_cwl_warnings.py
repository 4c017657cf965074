"""What other programs say of documents, in words and places for their authors."""

from __future__ import annotations

from pathlib import Path

from schema_salad.exceptions import ValidationException

from hpcwaas.engines.cwl.workflows.mistakes import problem, warnings_in

ROOT = Path("/srv/cwl/catalogue")


def test_each_warning_of_several_has_its_place() -> None:
    message = (
        "Workflow checker warning:\n"
        f"{ROOT}/a.cwl:12:7:  'x' is not an input parameter of file://{ROOT}/tools/b.cwl,\n     expected y\n"
        f"{ROOT}/a.cwl:15:11: Source 'out' of type \"string\" may be\n     incompatible\n"
        f"{ROOT}/a.cwl:19:5:    with sink 'in' of type \"int\""
    )
    assert warnings_in(message, "a.cwl", ROOT) == [
        "a.cwl:12: 'x' is not an input parameter of tools/b.cwl, expected y",
        "a.cwl:15: Source 'out' of type \"string\" may be incompatible with sink 'in' of type \"int\"",
    ]
    gone = f"{ROOT}/a.cwl:9:7: Warning: Field 'path' contains undefined reference to\n  'file://{ROOT}/b.txt'"
    assert warnings_in(gone, "a.cwl", ROOT) == ["a.cwl:9: b.txt does not exist"]
    assert warnings_in("of no place", "a.cwl", ROOT) == ["a.cwl: of no place"]


def test_a_type_is_named_without_where_the_catalogue_lies() -> None:
    name = "srv.cwl.catalogue.types.some.yml.flags"
    reason = f"Type property '{name}' not a valid Avro schema: Could not make an Avro Schema object from {name}."
    assert problem(ValidationException(f"{ROOT}/a.cwl:6:1: {reason}"), "a.cwl", ROOT, None) == (
        "a.cwl:6: the type flags is no record and no enum of SchemaDefRequirement: cwltool knows no others by their "
        "names"
    )
