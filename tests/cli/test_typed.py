"""What users type arrives as they typed it, or is refused by name with exit code 2."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from waas_cli import inputs, jobfile, literals, plain_yaml
from waas_cli.errors import UsageError

FILE = {"anyOf": [{"type": "string"}, {"type": "object"}]}
TEXTS = {"type": "array", "items": {"type": "string"}}
NUMBERS = {"type": "array", "items": {"type": "integer"}}
SCHEMA: dict[str, Any] = {
    "properties": {
        "f": {"anyOf": [FILE, {"type": "array", "items": FILE}], "x-type": "File | File[]"},
        "few": {"anyOf": [{"type": "integer"}, NUMBERS]},
        "few_or_none": {"anyOf": [{"type": "integer"}, NUMBERS, {"type": "null"}]},
        "word": {"anyOf": [{"type": "string"}, TEXTS]},
        "kinds": {"anyOf": [TEXTS, NUMBERS]},
        "mixed": {"anyOf": [{"type": "integer"}, TEXTS]},
        "matrix": {"type": "array", "items": NUMBERS},
        "any": {"type": ["boolean", "number", "string", "array", "object"], "x-type": "Any"},
        "record": {"anyOf": [{"type": "object"}, {"type": "array", "items": {"type": "object"}}]},
        "count": {"type": "integer"},
        "ratio": {"type": "number"},
        "text": {"type": "string"},
        "either": {"type": ["integer", "string"]},
        "src": {**FILE, "x-type": "File"},
        "d": {**FILE, "x-type": "Directory"},
    }
}


def upload(path: Path, kind: str) -> Any:
    return {"class": kind, "location": str(path)}


def parse(*arguments: str) -> Any:
    return inputs.values(inputs.split(arguments), SCHEMA, upload)


def sent(*arguments: str) -> str:
    return literals.encode(parse(*arguments)).decode()


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        (["few=1"], 1),
        (["few=1", "few=2"], [1, 2]),
        (["few=1,2"], [1, 2]),
        (["few_or_none=null"], None),
        (["few_or_none=1", "few_or_none=2"], [1, 2]),
        (["word=a"], "a"),
        (["word=a,b"], "a,b"),
        (["word=a", "word=b"], ["a", "b"]),
        (['word=["a","b"]'], ["a", "b"]),
        (["kinds=1", "kinds=2"], [1, 2]),
        (["kinds=1"], [1]),
        (["kinds=1", "kinds=x"], ["1", "x"]),
        (["mixed=1"], 1),
        (["mixed=1", "mixed=2"], ["1", "2"]),
        (["matrix=[1,2]", "matrix=[3]"], [[1, 2], [3]]),
        (["matrix=[[1,2],[3]]"], [[1, 2], [3]]),
        (["any=1", "any=b"], ["1", "b"]),
        (['record={"a":1}', 'record={"a":2}'], [{"a": 1}, {"a": 2}]),
    ],
)
def test_unions_that_hold_a_list(arguments: list[str], value: Any) -> None:
    assert list(parse(*arguments).values()) == [value]


def test_files_of_a_union(tmp_path: Path) -> None:
    one, two = tmp_path / "1.txt", tmp_path / "2.txt"
    for path in (one, two):
        path.touch()
    assert parse(f"f=@{one}") == {"f": upload(one, "File")}
    assert parse(f"f=@{one}", f"f=@{two}") == {"f": [upload(one, "File"), upload(two, "File")]}
    assert parse(f"f=@{one}", "f=file-7") == {"f": [upload(one, "File"), "file-7"]}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["count=1", "count=2"], "count is given 2 times, but takes one value"),
        (["count=1,count=2"], "count is given 2 times, but takes one value"),
        (["unknown=1", "unknown=2"], "unknown is given 2 times, but takes one value"),
        (["few:=[1]", "few=2"], "few is given 2 times. As JSON (few:=…) it can be given only once"),
        (["count:=1", "count:=2"], "count is given 2 times. As JSON (count:=…)"),
        (['any:={"a":1,"a":2}'], 'any: the key "a" is given twice'),
        (['any:={"x":[{"a":1,"a":1}]}'], 'any: the key "a" is given twice'),
        (['record={"a":1,"a":2}'], 'record: the key "a" is given twice'),
        (["any:=NaN"], "any: NaN isn't a number that JSON allows"),
        (["any:=[-Infinity]"], "any: -Infinity isn't a number"),
        (["any:=1e400"], "any: 1e400 is too large a number"),
        (["ratio=-1e400"], "ratio: -1e400 is too large a number"),
        (["count=" + "9" * 5000], "count: a number of 5000 digits is too long"),
        (["any:=" + "9" * 5000], "any: a number of 5000 digits is too long"),
        (["any:=" + "[" * 100_000], "any: it is nested too deeply"),
    ],
)
def test_what_would_be_lost_or_broken_is_named(arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=r"^--inputs ") as failure:
        parse(*arguments)
    assert message in failure.value.message


def test_an_older_service_gets_one_value_for_a_name() -> None:
    with pytest.raises(UsageError, match="a is given 2 times, but takes one value"):
        inputs.values(inputs.split(["a=1", "a=2"]), None, upload)


@pytest.mark.parametrize(
    "text",
    ["12345678", "1.10", "1e3", "1E3", "-0.0", "0.1000000000000000055511151231257827", "100000000000000000000.0", "5"],
)
def test_numbers_go_out_as_they_are_typed(text: str, tmp_path: Path) -> None:
    assert sent(f"ratio={text}") == f'{{"ratio":{text}}}'
    assert sent(f"any:=[{text}]") == f'{{"any":[{text}]}}'
    for name, content in (("job.json", f'{{"ratio": {text}}}'), ("job.yml", f"ratio: {text}\n")):
        (tmp_path / name).write_text(content)
        assert literals.encode(jobfile.read(str(tmp_path / name), upload)).decode() == f'{{"ratio":{text}}}'


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("count=007", '{"count":7}'),
        ("count=+5", '{"count":5}'),
        ("count=-0", '{"count":-0}'),
        ("ratio=.5", '{"ratio":0.5}'),
        ("either=007", '{"either":"007"}'),
        ("either=+5", '{"either":"+5"}'),
        ("either=7", '{"either":7}'),
        ("count=1_000", '{"count":"1_000"}'),
        ("count=\u0663", '{"count":"\u0663"}'),
        ("ratio=1_0.5", '{"ratio":"1_0.5"}'),
        ("either=1e400", '{"either":"1e400"}'),
        ("count=1e3", '{"count":"1e3"}'),
    ],
)
def test_what_may_be_another_thing_stays_text(argument: str, expected: str) -> None:
    assert sent(argument) == expected


def test_the_literal_is_in_the_request(alice: Any, service: Any, tmp_path: Path) -> None:
    (tmp_path / "job.yml").write_text("ratio: 1.10\nnumbers: [1e3, 12345678]\n")
    alice("workflows", "trigger", "word-statistics", "--inputs-file", str(tmp_path / "job.yml"), "-i", "z:=2.50")
    (request,) = service.sent("POST", "/workflows")
    assert b'"ratio":1.10,"numbers":[1e3,12345678],"z":2.50' in request.body


def test_homes_only_where_the_text_begins_with_them(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("~data", "~root", "~"):
        (tmp_path / name).mkdir()
    (home / "h.txt").touch()
    assert parse("d=@./~data") == {"d": upload(Path("~data"), "Directory")}
    assert parse("d=@./~root") == {"d": upload(Path("~root"), "Directory")}
    assert parse("d=@./~") == {"d": upload(Path("~"), "Directory")}
    assert parse("src=@~/h.txt") == {"src": upload(home / "h.txt", "File")}
    # As in a shell: no such user, so that is its name.
    assert parse("d=@~data") == {"d": upload(Path("~data"), "Directory")}
    with pytest.raises(UsageError, match="there is no file ~nobody-of-that-name/x"):
        parse("src=@~nobody-of-that-name/x")
    (tmp_path / "job.yml").write_text("d: {class: Directory, path: ./~root}\nl: {class: Directory, location: ./~root}")
    here = {"class": "Directory", "location": str(tmp_path / "~root")}
    assert jobfile.read(str(tmp_path / "job.yml"), upload) == {"d": here, "l": here}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a": 1, "a": 2}', 'the key "a" is given twice'),
        ('{"a": {"b": [{"c": 1, "c": 1}]}}', 'the key "c" is given twice'),
        ("a: 1\nb: 2\na: 3\n", 'line 3: the key "a" is given twice'),
        ("a:\n  b: 1\n  b: 2\n", 'line 3: the key "b" is given twice'),
        ("1: x\n'1': y\n", 'line 2: the key "1" is given twice'),
        ("a: &x [*x]\n", "line 1: an alias is a part of what it stands for"),
        ("a: !!binary aGk=\n", "line 1: a value of the kind !!binary can't be sent"),
        ("a: !!set {x}\n", "line 1: a value of the kind !!set can't be sent"),
        ("a: !!timestamp 2024-01-01\n", "line 1: a value of the kind !!timestamp can't be sent"),
        ("a: .nan\n", "line 1: .nan isn't a number that JSON allows"),
        ("a: -.inf\n", "line 1: -.inf isn't a number"),
        ("a: !!int x\n", "line 1: x isn't a number"),
        ("a: !!bool x\n", "line 1: true or false is expected"),
        ("a: 1e400\n", "line 1: 1e400 is too large a number"),
        ("a: " + "9" * 5000, "line 1: a number of 5000 digits"),
        ('a: "\\ud800"\n', "line 1: the text isn't valid Unicode"),
        ('{"a": NaN}', "NaN isn't a number that JSON allows"),
        ("? [a]\n: b\n", "line 1: a key must be text"),
        ("a: " + "[" * 2000, "it is nested too deeply"),
        ("[" * 2000, "it is nested too deeply"),
        ('{"a":' * 5000, "it is nested too deeply"),
    ],
)
def test_broken_words_in_a_file_are_named(alice: Any, service: Any, tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "job").write_text(content)
    result = alice("workflows", "trigger", "word-statistics", "--inputs-file", str(tmp_path / "job"))
    assert (result.code, result.out) == (2, "")
    assert f"job can't be used: {message}" in result.err
    assert service.sent("POST", "/") == []


def test_aliases_that_explode_are_refused_quickly() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    with pytest.raises(literals.Wrong, match="its aliases make it too large"):
        plain_yaml.load("\n".join(lines))


def test_yaml_without_surprises() -> None:
    text = "a: 2024-01-01\nb: 010\nc: yes\nd: 12:30:45\ne: 1_000\nf: 0x1F\ng: ~\nh: {<<: {x: 1, y: 1}, x: 2}\n8080: web"
    assert plain_yaml.load(text) == {
        "a": "2024-01-01",
        "b": 10,
        "c": "yes",
        "d": "12:30:45",
        "e": "1_000",
        "f": "0x1F",
        "g": None,
        "h": {"x": 2, "y": 1},
        "8080": "web",
    }
    assert plain_yaml.load('a: "\\ud83d\\ude00"') == {"a": "\U0001f600"}


def test_json_with_tabs_is_json(tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text('\ufeff{\n\t"a":\t1,\n\t"s": "\\ud83d\\ude00"\n}')
    assert jobfile.read(str(tmp_path / "job.json"), upload) == {"a": 1, "s": "\U0001f600"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-i", os.fsdecode(b"topic=\xff")], "text of topic isn't valid Unicode"),
        (["-i", 'topic:={"x": "\\ud800"}'], "text of x isn't valid Unicode"),
        (["-i", os.fsdecode(b"\xff=1")], r"\udcff isn't valid Unicode"),
        (["--idempotency-key", "a b"], "--idempotency-key: expected a word"),
        (["--idempotency-key", "a\nb"], "--idempotency-key: expected a word"),
        (["--inputs-file", "a", "--inputs-file", "b"], "--inputs-file is given 2 times"),
    ],
)
def test_words_that_cannot_be_sent(alice: Any, service: Any, words: list[str], message: str) -> None:
    result = alice("workflows", "trigger", "word-statistics", *words)
    assert (result.code, message in result.err) == (2, True), result.err
    assert service.sent("POST", "/workflows") == []


@pytest.mark.parametrize("arguments", [("workflows", "list", "-q"), ("executions", "list", "--workflow")])
def test_a_query_that_is_no_text(alice: Any, arguments: tuple[str, ...]) -> None:
    result = alice(*arguments, os.fsdecode(b"\xff"))
    assert (result.code, "isn't valid Unicode" in result.err) == (2, True)


def test_metadata_of_a_key_has_one_value_for_a_name(alice: Any, service: Any) -> None:
    result = alice("keys", "gen", "-m", "a=1", "-m", "a=2")
    assert (result.code, "--metadata a is given twice" in result.err) == (2, True)
    assert service.sent("POST", "/ssh_keys") == []


TOKEN = "hpcwaas_pat_abc"


@pytest.mark.parametrize("token", [f" {TOKEN}", f"{TOKEN}\n", f"\t{TOKEN} \r\n"])
def test_blanks_around_a_token_do_not_count(waas: Any, service: Any, home: Path, token: str) -> None:
    from waas_cli import config

    assert config.load({"access_token": token}, {}).access_token == TOKEN
    assert config.load({}, {"HW_ACCESS_TOKEN": token}).access_token == TOKEN


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("access_token", "s3cret\ns3cret"),
        ("access_token", "s3cret s3cret"),
        ("access_token", "s3cr\u00e9t"),
        ("access_token", os.fsdecode(b"s3cret\xff")),
        ("access_token", " \n"),
        ("user", os.fsdecode(b"alice:s3cret\xff")),
        ("user", "alice:s3cret\x00"),
        ("user", "alice:s3\ncret"),
        ("user", ":s3cret"),
        ("api_url", "http://ho st"),
        ("api_url", "http://ho\nst"),
        ("api_url", "http://host/a b"),
        ("api_url", "http://host\u202e"),
        ("api_url", "http://host:99999"),
        ("api_url", "http://host:0"),
        ("api_url", "http://alice:s3cret@host"),
        ("api_url", "http://alice:s3cret@[host"),
        ("api_url", "http://alice:s3cret@host:x"),
        ("api_url", "http://alice:s3cret\n@host"),
        ("api_url", os.fsdecode(b"http://h\xff")),
    ],
)
def test_words_of_the_configuration_are_named_and_secrets_not_shown(
    waas: Any, monkeypatch: pytest.MonkeyPatch, key: str, value: str
) -> None:
    if "\x00" not in value:
        monkeypatch.setenv(f"HW_{key.upper()}", value)
    words = ["--user", value] if "\x00" in value else []
    if key != "api_url":
        words += ["--api_url", "http://127.0.0.1:1"]
    result = waas("workflows", "list", *words)
    assert (result.code, result.out) == (2, "")
    assert f"(from the {'command line' if words[:1] == ['--user'] else 'environment'})" in result.err
    assert (key if key != "api_url" else "API URL") in result.err
    assert "s3c" not in result.err


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("user: 0123:0456\n", "0123:0456"),
        ("user: 12:34\n", "12:34"),
        ("user: 1_0:1e3\n", "1_0:1e3"),
        ("user: 2024-01-01\n", "2024-01-01"),
        ("user: on\n", "on"),
        ("user: ~\n", None),
        ("user:\n", None),
    ],
)
def test_values_of_the_file_are_texts(home: Path, content: str, expected: str | None) -> None:
    from waas_cli import config

    (home / ".waas").write_text(content)
    assert config.load({}, {}).user == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("user: alice:s3cret\nuser: bob:s3cret\n", 'line 2: the key "user" is given twice'),
        ("api_url: http://a\napi-url: http://b\n", "gives api_url twice"),
        ("user: [s3cret]\n", "must be a single value"),
        ("user: !!binary s3cret\n", "line 1: a value of the kind !!binary"),
    ],
)
def test_a_file_that_says_two_things(waas: Any, home: Path, content: str, message: str) -> None:
    (home / ".waas").write_text(content)
    result = waas("workflows", "list")
    assert (result.code, message in result.err) == (2, True), result.err
    assert "s3cret" not in result.err


@pytest.mark.parametrize(
    ("variable", "value"), [("HTTP_PROXY", "http://[nonsense"), ("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")]
)
def test_variables_of_the_connection(waas: Any, monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)
    url = "http://service.example" if variable == "HTTP_PROXY" else "https://service.example"
    result = waas("workflows", "list", "--api_url", url, "-t", "t")
    assert (result.code, variable in result.err) == (2, True), result.err


def test_numbers_are_shown_as_the_service_has_them(alice: Any, service: Any) -> None:
    inputs = {"a": literals.Literal("1.10"), "b": [literals.Literal("1e3")]}
    execution = service.add(("SUCCEEDED", []), inputs=inputs)
    assert '"inputs":{"a":1.10,"b":[1e3]}' in alice("executions", "show", execution, "-o", "json").out
    shown = alice("executions", "show", execution).out
    assert "a\t1.10\nb\t[1e3]\n" in shown


def test_encoded_json_is_json() -> None:
    value = {"a": [1, 2.5, True, None, 'é\u2028"\\', [], {}, {"b": {}}], "c": 10**30}
    assert json.loads(literals.encode(value)) == value
    assert literals.dumps(value, indent=2) == json.dumps(value, indent=2, ensure_ascii=False)
    assert literals.dumps(value, ascii_only=True, indent=2) == json.dumps(value, indent=2)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems don't let a process change its command line")
@pytest.mark.parametrize("words", [["-u", "alice:s3cret"], ["--access_token=s3cret-token"]])
def test_credentials_are_wiped_from_the_list_of_processes(service: Any, home: Path, words: list[str]) -> None:
    program = """
import atexit, pathlib
from waas_cli.main import main
atexit.register(lambda: print(pathlib.Path('/proc/self/cmdline').read_text()))
main()
"""
    command = [sys.executable, "-c", program, "workflows", "list", "--api_url", service.url, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert "\0workflows\0list\0" in done.stdout
    assert "****" in done.stdout
    assert "s3cret" not in done.stdout + done.stderr
