"""Numbers reach what runs as their user wrote them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.service import Client, as_user, make_settings, serving
from tests.simulators.alien4cloud import Simulator
from tests.simulators.alien4cloud_launch import received
from tests.simulators.alien4cloud_state import Application, Environment, Input, Workflow, World
from tests.simulators.alien4cloud_worlds import ADMIN, WORKFLOWS

INPUTS = {
    "whole": Input(type="integer"),
    "float": Input(type="float"),
    "text": Input(),
    "flag": Input(type="boolean"),
    "list": Input(type="list", entry="float"),
    "map": Input(type="map"),
    "preset": Input(type="float", default="2.50"),
    "empty": Input(default=""),
}
CASES = [
    ("whole", "12345678", "12345678"),
    ("whole", '"12345678"', "12345678"),  # the old client sends texts only
    ("whole", "12345678901234567890", "12345678901234567890"),
    ("whole", "9007199254740993.0", "9007199254740993"),
    ("whole", "1e3", "1000"),
    ("whole", "-0", "-0"),
    ("float", "12345678", "12345678"),
    ("float", "12345678.0", "12345678.0"),
    ("float", "1e3", "1e3"),
    ("float", '"1e3"', "1e3"),
    ("float", "1.10", "1.10"),
    ("float", "1700000000.0", "1700000000.0"),
    ("float", "0.1000000000000000055511151231257827", "0.1000000000000000055511151231257827"),
    ("text", "12345678", "12345678"),
    ("flag", "true", "true"),
    ("flag", '"True"', "True"),
    ("list", "[12345678, 1.10, 1e3]", "[12345678 1.10 1e3]"),
    ("list", '"[12345678, 1.10]"', "[12345678 1.10]"),
    ("map", '{"a": 12345678, "b": [1.10], "c": "zwei"}', "map[a:12345678 b:[1.10] c:zwei]"),
]


@pytest.fixture(scope="module")
def before_alien4cloud(tmp_path_factory: pytest.TempPathFactory) -> Any:
    workflow = Workflow(name="count", inputs=INPUTS, duration=0.2)
    application = Application(
        id="Numbers", tags=((WORKFLOWS, "count"),), workflows=(workflow,), environments=[Environment(id="env")]
    )
    settings = {"cache_seconds": 30}
    with Simulator(World([application], [ADMIN]), lag=0.1) as simulator:
        data = tmp_path_factory.mktemp("numbers")
        with serving(make_settings(data, alien_config={"address": simulator.url, **settings})) as url:
            yield simulator, as_user(url, "alice")


def trigger(user: Client, inputs: str) -> Any:
    body = f'{{"inputs": {inputs}}}'
    return user("POST", "/workflows/Numbers@env@count", data=body, headers={"Content-Type": "application/json"})


@pytest.mark.parametrize(("name", "given", "delivered"), CASES)
def test_a_script_behind_alien4cloud(before_alien4cloud: Any, name: str, given: str, delivered: str) -> None:
    simulator, user = before_alien4cloud
    answer = trigger(user, f'{{"{name}": {given}}}')
    assert answer.status_code == 201, answer.text
    sent = list(simulator.executions.all.values())[-1].inputs
    assert received(sent[name]) == delivered
    assert sent["preset"] == "2.50"
    assert "empty" not in sent


def test_the_inputs_are_shown_as_they_were_given(before_alien4cloud: Any) -> None:
    _, user = before_alien4cloud
    answer = trigger(user, '{"float": 1.10, "list": [1e3]}')
    assert '"inputs":{"float":1.10,"list":[1e3]}' in user("GET", answer.headers["Location"]).text
    assert '"default":2.50' in user("GET", "/workflows/Numbers@env@count").text


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ('{"whole": 1.5}', "whole: 1.5 was given, expected a whole number"),
        ('{"whole": 9007199254740993.5}', "expected a whole number"),
        ('{"float": "1_0"}', "expected a number"),
        ('{"float": "1e"}', "expected a number"),
        ('{"float": 1e400}', "out of range"),
        ('{"text": ""}', "text: a text that is empty can't be given: Yorc takes it for nothing, and fails"),
        ('{"text": 1.10}', "text: 1.10 was given, expected a text"),
    ],
)
def test_what_cannot_be_sent_is_refused(before_alien4cloud: Any, given: str, words: str) -> None:
    _, user = before_alien4cloud
    answer = trigger(user, given)
    assert answer.status_code == 400
    assert words in answer.json()["detail"]


TOOL = """cwlVersion: v1.2
class: CommandLineTool
baseCommand: [echo, -n]
inputs:
  number: {type: double, inputBinding: {position: 1}}
  long: {type: long?, inputBinding: {position: 2}}
outputs: {text: {type: stdout}}
stdout: text.txt
"""


@pytest.fixture(scope="module")
def before_cwl(tmp_path_factory: pytest.TempPathFactory) -> Any:
    catalogue: Path = tmp_path_factory.mktemp("catalogue")
    catalogue.joinpath("echo.cwl").write_text(TOOL, encoding="utf-8")
    settings = make_settings(tmp_path_factory.mktemp("data"), cwl={"catalogue": catalogue, "max_running": 4})
    with serving(settings) as url:
        yield as_user(url, "alice")


@pytest.mark.parametrize(
    ("given", "delivered"),
    [
        ('{"number": 1.10}', "1.10"),
        ('{"number": "1.10"}', "1.10"),
        ('{"number": 1e3}', "1000"),
        ('{"number": 1e-7}', "0.0000001"),
        ('{"number": 12345678901234567890}', "12345678901234567890"),
        ('{"number": 0.5, "long": 9007199254740993.0}', "0.5 9007199254740993"),
    ],
)
def test_a_command_line_of_cwl(before_cwl: Client, given: str, delivered: str) -> None:
    body = f'{{"inputs": {given}}}'
    answer = before_cwl("POST", "/workflows/echo", data=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 201, answer.text
    path = answer.headers["Location"]
    assert before_cwl.finished(path)["status"] == "SUCCEEDED"
    assert before_cwl("GET", f"{path}/outputs/text").text == delivered
