"""Other people's CWL through the API: what the standard allows, in a table of documents, inputs and outcomes.

The same documents and inputs are given to the bare cwltool, whose outputs have to be the same.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from hpcwaas.engines.cwl.inputs.job import dump_order
from tests.engines.cwl_outputs import downloaded, of_bare, run_bare
from tests.service import Client, as_user, make_settings, serving

DATA = Path(__file__).parent.parent / "data" / "conformance"
CATALOGUE = DATA / "catalogue"
CASES: list[dict[str, Any]] = yaml.safe_load((DATA / "cases.yaml").read_text("utf-8"))


@dataclass(frozen=True)
class Results:
    """What came of the cases: for each the answer that refused it, or the execution."""

    client: Client
    operator: Client
    answers: tuple[Any, ...]


def _content(given: Any) -> bytes:
    """Content of an upload: as written, so many bytes, or a zip archive of these members."""
    if isinstance(given, int):
        return b"x" * given
    if isinstance(given, str):
        return given.encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in given.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _with_uploads(value: Any, replace: Callable[[str], Any]) -> Any:
    """Puts something in place of each `upload:NAME`."""
    if isinstance(value, Mapping):
        return {name: _with_uploads(item, replace) for name, item in value.items()}
    if isinstance(value, list):
        return [_with_uploads(item, replace) for item in value]
    if isinstance(value, str) and value.startswith("upload:"):
        return replace(value.removeprefix("upload:"))
    return value


def _run(client: Client, case: Mapping[str, Any]) -> Any:
    uploads = {name: client.upload(name, _content(content)) for name, content in case.get("uploads", {}).items()}
    inputs = _with_uploads(case.get("inputs", {}), uploads.__getitem__)
    answer = client("POST", f"/workflows/{case['workflow']}", json={"inputs": inputs})
    if answer.status_code != 201:
        return answer
    return client.finished(answer.headers["Location"], within=100)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Results]:
    settings = make_settings(
        tmp_path_factory.mktemp("conformance"),
        cwl={"catalogue": CATALOGUE, "max_running": 4, "limits": {"cores": 2}},
        # Some strings here are longer than inputs may be by default.
        limits={"requests": None, "executions": None, "inputs": 1 << 20},
    )
    with serving(settings) as url, ThreadPoolExecutor(8) as pool:
        client = as_user(url, "alice")
        yield Results(client, as_user(url, "root"), tuple(pool.map(lambda case: _run(client, case), CASES)))


def _like(expected: Any, found: Any) -> Any:
    """What was found, with `*` for the names that nobody can foretell."""
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        return [_like(*pair) for pair in zip(expected, found, strict=True)]
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        found = {name: _like(expected.get(name), item) for name, item in found.items()}
        return found | ({"basename": "*"} if expected.get("basename") == "*" else {})
    return found


def _name(number: int) -> str:
    return f"{number}-{CASES[number]['workflow']}"


@pytest.mark.parametrize("number", range(len(CASES)), ids=_name)
def test_outcome(results: Results, number: int) -> None:
    case, answer = CASES[number], results.answers[number]
    if "refused" in case:
        assert answer.status_code == 400
        for pattern in case["refused"]:
            assert re.search(pattern, answer.json()["detail"]), answer.text
        return
    assert isinstance(answer, dict), answer.text
    if "fails" in case:
        assert answer["status"] == "FAILED"
        assert re.search(case["fails"], answer["reason"]), answer["reason"]
        return
    assert answer["status"] == "SUCCEEDED", answer["reason"]
    assert all(step["status"] in ("SUCCEEDED", "SKIPPED") for step in answer["steps"])
    found = downloaded(results.client, answer["outputs"])
    assert _like(case["outputs"], found) == case["outputs"]
    if "warns" in case:
        log = results.client("GET", f"/executions/{answer['id']}/logs", params={"from": 0, "size": -1, "timeout": "0"})
        assert any(re.search(case["warns"], entry["content"]) for entry in log.json()["logs"]), log.text


@pytest.mark.parametrize("workflow", sorted({case["workflow"] for case in CASES}))
def test_schemas_fit_what_is_accepted_and_what_comes_out(results: Results, workflow: str) -> None:
    details = results.client("GET", f"/workflows/{workflow}").json()
    Draft202012Validator.check_schema(details["inputs"])
    inputs = Draft202012Validator(details["inputs"])
    outputs = {output["name"]: output["schema"] for output in details["outputs"]}
    for case, answer in zip(CASES, results.answers, strict=True):
        if case["workflow"] == workflow and isinstance(answer, dict):
            inputs.validate(answer["inputs"])
            if answer["status"] == "SUCCEEDED":
                assert set(answer["outputs"]) == set(outputs)
                for name, value in answer["outputs"].items():
                    if value is not None:  # JSON's only word for NaN
                        Draft202012Validator(outputs[name]).validate(value)


def test_what_cannot_run_is_not_published(results: Results) -> None:
    checks = {check["name"]: check for check in results.operator("GET", "/health/ready").json()["checks"]}
    assert checks["catalogue"]["problems"] == [
        f"{problem}; the workflow is not published"
        for problem in (
            "operation.cwl: an Operation is abstract and can't be run",
            "unknown-requirement.cwl:4: 'http://example.org/Impossible' is not a class of CWL",
            "with-operation.cwl:6: an Operation is abstract and can't be run",
        )
    ]


def test_an_update_in_place_leaves_the_upload_as_it_was(results: Results) -> None:
    client = results.client
    upload = client.upload("f.txt", b"once\n")

    for _ in range(2):
        execution = client.finished(client.trigger("in-place", file=upload))
        assert client("GET", execution["outputs"]["result"]["location"]).text == "once\nmore\nmore\n"


@pytest.mark.parametrize(("length", "status"), [(100_000, "SUCCEEDED"), (200_000, "FAILED")])
def test_very_long_strings(results: Results, length: int, status: str) -> None:
    client = results.client
    long = "ü" * (length // 2)

    kept = client.finished(client.trigger("exact", given={long: long}))
    said = client.finished(client.trigger("echo", text=long))

    assert kept["outputs"] == {"same": {long: long}}
    assert said["status"] == status  # Linux takes no longer argument than 128 KiB
    assert status == "SUCCEEDED" or "Argument list too long" in said["reason"]


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the plain cwltool makes of each case, in a folder of the case's number."""
    root = tmp_path_factory.mktemp("bare")
    jobs: dict[int, tuple[Path, Path]] = {}
    for number, case in enumerate(CASES):
        if not _comparable(case):
            continue
        folder = root / f"in-{number}"
        folder.mkdir()
        for name, content in case.get("uploads", {}).items():
            (folder / name).write_bytes(_content(content))
        order = _located(case.get("inputs", {}), folder)
        (folder / "job.json").write_text(dump_order(order), "utf-8")
        document = CATALOGUE / f"{case['workflow']}.cwl"
        if not document.exists():
            document = CATALOGUE / case["workflow"] / "main.cwl"
        jobs[number] = document, folder / "job.json"
    run_bare(root, jobs)
    return root


def _comparable(case: Mapping[str, Any]) -> bool:
    return "refused" not in case and case.get("bare", True)


def _located(value: Any, folder: Path) -> Any:
    """Inputs as cwltool takes them."""
    if isinstance(value, Mapping):
        located = {name: _located(item, folder) for name, item in value.items()}
        if isinstance(located.get("location"), Mapping):
            return located["location"] | {name: item for name, item in located.items() if name != "location"}
        return located
    if isinstance(value, list):
        return [_located(item, folder) for item in value]
    return _with_uploads(value, lambda name: {"class": "File", "location": (folder / name).as_uri()})


@pytest.mark.parametrize("number", [number for number, case in enumerate(CASES) if _comparable(case)], ids=_name)
def test_the_plain_cwltool_does_the_same(bare: Path, number: int) -> None:
    case, folder = CASES[number], bare / str(number)
    if "fails" in case or case.get("bare") == "fails":
        assert (folder / "status").read_text() != "0"
        return
    found = of_bare(folder)
    assert _like(case["outputs"], found) == case["outputs"]
