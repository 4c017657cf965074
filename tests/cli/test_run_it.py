"""The line that `waas workflows show` gives to run a workflow, and the file that it gives to fill in, work: for every
workflow that the tests and the examples publish."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from waas_cli import globs

from tests.service import PASSWORDS, as_user, make_settings, serving
from tests.waiting import until

TESTS = Path(__file__).parents[1]
PLACES = ("tests/data/conformance/catalogue", "tests/data/cwl", "examples")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, list[str]]]:
    """A service that publishes all of it, and the ids."""
    top = tmp_path_factory.mktemp("run-it")
    for place in PLACES:
        shutil.copytree(TESTS.parent / place, top / "catalogue", dirs_exist_ok=True)
    settings = make_settings(
        top / "data", cwl={"catalogue": top / "catalogue", "runner": {"command": ["true"]}, "limits": {"cores": 2}}
    )
    with serving(settings) as url:
        alice = as_user(url, "alice")
        answer: dict[str, Any] = {}

        def whole() -> bool:
            """Whether all of it has been read: until then the list has a warning."""
            answer.update(warnings=None, next_cursor=None)
            answer.update(alice("GET", "/workflows", params={"limit": "500"}).json())
            return not answer["warnings"]

        until(whole)
        assert not answer["next_cursor"]
        yield url, [each["id"] for each in answer["workflows"]]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Puts files in place of the words of a workflow, by its schema."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "DIRECTORY").mkdir()
    (tmp_path / "DIRECTORY" / "member").write_text("m")

    def put(schema: Any) -> None:
        patterns: list[str] = []
        endings = [""]

        def look(own: Any) -> None:
            if isinstance(own, dict):
                patterns.extend(own.get("x-secondaryFiles", ()))
                endings.extend(own.get("x-format-endings", ()))
                for each in own.values():
                    look(each)
            elif isinstance(own, list):
                for each in own:
                    look(each)

        look(schema)
        for ending in endings:
            (tmp_path / f"FILE{ending}").write_text("f")
            for pattern in (each for each in patterns if not globs.is_expression(each)):
                (tmp_path / globs.companion_name(pattern, f"FILE{ending}")).write_text("c")

    return put


def _tried(waas: Any, *words: str) -> Any:
    """What comes of a dry run, after files are there that expressions of the workflow name."""
    result = waas(*words, "--dry-run")
    for names in re.findall(r"needs (.*) beside", result.err):
        for name in names.split(" and "):
            Path(name).write_text("c")
    return waas(*words, "--dry-run") if " beside " in result.err else result


def test_the_line_works_for_every_workflow(
    published: tuple[str, list[str]], waas: Any, files: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, ids = published
    monkeypatch.setenv("HW_API_URL", url)
    monkeypatch.setenv("HW_USER", f"alice:{PASSWORDS['alice']}")
    wrong = []
    for one in ids:
        files(waas("workflows", "show", one, "-o", "json").json["inputs"])
        shown = waas("workflows", "show", one).out
        line = shown.splitlines()[-1].strip()
        made, _, run = line.rpartition(" && ")
        if made:
            words, _, target = made.rpartition(" > ")
            Path(target).write_text(waas(*shlex.split(words)[1:]).out)
        result = _tried(waas, *[word for word in shlex.split(run)[1:] if word != "--follow"])
        if result.code != 0 or "The inputs are right" not in result.out:
            wrong.append((line, result.err))
    assert not wrong
    assert len(ids) > 50


def test_the_file_to_fill_in_works_for_every_workflow(
    published: tuple[str, list[str]], waas: Any, files: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, ids = published
    monkeypatch.setenv("HW_API_URL", url)
    monkeypatch.setenv("HW_USER", f"alice:{PASSWORDS['alice']}")
    wrong = []
    for one in ids:
        files(waas("workflows", "show", one, "-o", "json").json["inputs"])
        content = waas("workflows", "show", one, "--template").out
        (tmp_path / "job.yml").write_text(content)
        result = _tried(waas, "workflows", "trigger", one, "--inputs-file", "job.yml")
        if result.code != 0 or "The inputs are right" not in result.out:
            wrong.append((one, content, result.err))
    assert not wrong
