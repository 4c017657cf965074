"""Texts that Yorc would evaluate, or take for nothing. What go-yaml 2 makes of each was seen with go-yaml 2.4."""

from __future__ import annotations

import base64
import time

import pytest

from hpcwaas.core.models import JSON
from hpcwaas.engines.orchestrated.yorc_texts import unfit

SECRET = '[/secret/data/ssh-credentials/of-somebody-else, "data=privateKey"]'
HIDDEN = base64.b64encode(b"get_secret").decode()


@pytest.mark.parametrize(
    "text",
    [
        f"get_secret: {SECRET}",
        f"{{get_secret: {SECRET}}}",
        '{"get_secret": ["/secret/data/x"]}',
        "{'get_input': who}",
        "get_attribute: [Greeter, greeting]",
        "get_property: [SELF, credentials]",
        "get_operation_output: [SELF, custom, hello, GREETING]",
        f"concat: [a, {{get_secret: {SECRET}}}]",
        f"   \n\t get_secret : {SECRET}",
        f"\ufeffget_secret: {SECRET}",
        f"# only a comment\nget_secret: {SECRET}",
        f"%YAML 1.1\n---\nget_secret: {SECRET}",
        f"--- {{get_secret: {SECRET}}}",
        f"get_secret: {SECRET}\n--- [not even YAML",
        f"&x get_secret: {SECRET}",
        f"!!map {{get_secret: {SECRET}}}",
        f"!!str get_secret: {SECRET}",
        f"!!binary {HIDDEN}: {SECRET}",
        f"{{!!binary {HIDDEN}: {SECRET}}}",
        f"%TAG !e! tag:yaml.org,2002:\n---\n!e!binary {HIDDEN}: {SECRET}",
        f'"get\\x5fsecret": {SECRET}',
        f'{{"\\u0067et_secret": {SECRET}}}',
        f'"\\U00000067et_secret": {SECRET}',
        f'? "get_\\\n  secret"\n: {SECRET}',
        f"? get_secret\n: {SECRET}",
        f"? |-\n  get_secret\n: {SECRET}",
        f"{{? get_secret : {SECRET}}}",
        f"<<: {{get_secret: {SECRET}}}",
        f'{{"<<": [{{get_secret: {SECRET}}}]}}',
        "{get_secret}",
        "{get_secret,}",
        "? concat",
        f"{{\n # a comment\n get_secret\n : {SECRET}}}",
    ],
)
def test_what_yorc_takes_for_a_function(text: str) -> None:
    assert "TOSCA function" in (unfit(text) or "")


@pytest.mark.parametrize(
    "text",
    ["", " ", "\n\t", "# a comment", "#ff0000", "null", "~", "~ # none", "---", "...", "\ufeff", "!!null", "null\n..."],
)
def test_what_yorc_takes_for_nothing(text: str) -> None:
    assert "Failed to parse TOSCA function" in (unfit(text) or "")


@pytest.mark.parametrize(
    "value",
    [
        "{{ lookup('pipe', 'id') }}",
        '{{secret "/secret/data/ssh-credentials/of-somebody-else" "data=privateKey" | print}}',
        "{% for x in range(9) %}x{% endfor %}",
        "{# nothing to see #}",
        "in the middle of a {{text}}",
        ["a", {"b": "{{ c }}"}],
        {"{{ name }}": 1},
    ],
)
def test_templates(value: JSON) -> None:
    assert "template" in (unfit(value) or "")


def test_nul() -> None:
    assert "NUL" in (unfit("a\0b") or "")
    assert "NUL" in (unfit({"a": ["\0"]}) or "")


@pytest.mark.parametrize(
    "value",
    [{"get_secret": ["x"]}, [{"get_input": "x"}], {"a": {"concat": ["x", "y"]}}],
    ids=["itself", "item", "member"],
)
def test_objects_that_are_functions(value: JSON) -> None:
    assert "TOSCA function" in (unfit(value) or "")


@pytest.mark.parametrize(
    "value",
    [
        *("concat", "get_input.txt", "concat the files: all of them", "I use concat: yes", "Which one? concat"),
        *("https://example.org/a?b=c#d", "~/data", "C:\\data\\x", "a: b", "- a\n- b", "-----BEGIN KEY-----\nabc\n"),
        *(", x", ":smile:", "]", "...and so on: x", "! wow", "!important", "nullable", "null and void", "&&", "%d: x"),
        *("{a: {b: c}}", '{"a": 1}', '{"mode": "concat"}', '["concat"]', "1.10", "$HOME", "zoé\nligne2 \"q\" 'x'"),
        *("{ {a} }", "}}", "{}", "[]", "token: x", "* all", "@home: y", "# heading\ntext"),
        *({"mode": "concat"}, {"concat": 1, "other": 2}, ["get_input"], 7, True, {}, []),
    ],
)
def test_what_arrives_as_it_is(value: JSON) -> None:
    assert unfit(value) is None


@pytest.mark.parametrize(
    "piece", ["#", "# ", "&", "\n", "{", "---", "? ", "%", "\\x", "? get_secre", ", {", "&a ", "#\n", '"', "\\\n "]
)
def test_no_text_takes_long(piece: str) -> None:
    began = time.process_time()
    unfit(piece * (1_000_000 // len(piece)) + ":")
    assert time.process_time() - began < 30  # seconds; without an end, if it grew with the square of the length
