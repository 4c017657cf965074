"""What the agent of a site tells of executions, when it tells it, and what it gives of their outputs."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from hpcwaas.engines.cwl.sites.agent import source
from tests.engines.agents import Site, answer_in, text_of

WAIT = "touch ../up; until [ -e ../go ]; do sleep 0.05; done; echo '{}'\n"
DEADLINE = 55.0


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("site") / "home")


def begun(site: Site, identifier: str, **order: Any) -> subprocess.Popen[bytes]:
    """A look that waits for news of an execution."""
    seen = site.look(identifier)
    wanted = {identifier: {"have": seen["stamp"], "log": order.pop("log", None)}}
    process = site.popen("look", executions=wanted, news=seen["news"], wait=DEADLINE, **order)
    assert process.stdin
    process.stdin.close()
    process.stdin = None
    return process


def told(process: subprocess.Popen[bytes], identifier: str) -> dict[str, Any]:
    """What a look says. It has not waited to its end."""
    begin = time.monotonic()
    output, _ = process.communicate(timeout=120)
    assert time.monotonic() - begin < DEADLINE - 5
    return dict(answer_in(output)["executions"][identifier])


@pytest.mark.parametrize("order", [{}, {"settle": 30.0}])
def test_an_end_wakes_who_waits(site: Site, order: dict[str, Any]) -> None:
    identifier = site.start(WAIT)
    site.running(identifier, "up")

    look = begun(site, identifier, **order)
    (site.directory(identifier) / "work" / "go").touch()

    found = told(look, identifier)
    assert found["state"]["status"] == "SUCCEEDED"
    assert found["outputs"] == {}
    site.finished(identifier)


def test_a_line_of_a_followed_log_wakes_who_waits(site: Site) -> None:
    identifier = site.start("touch ../up; until [ -e ../say ]; do sleep 0.05; done; echo héllo >&2\n" + WAIT)
    site.running(identifier, "up")

    look = begun(site, identifier, log=0)
    (site.directory(identifier) / "work" / "say").touch()

    found = told(look, identifier)
    assert (found["state"], found["alive"]) == (None, True)
    assert json.loads(text_of(found))[2] == "héllo"
    (site.directory(identifier) / "work" / "go").touch()
    site.finished(identifier)


def test_a_supervisor_that_dies_wakes_who_waits(site: Site) -> None:
    identifier = site.start(WAIT)
    site.running(identifier, "up")
    claim = json.loads((site.directory(identifier) / "supervisor.json").read_bytes())

    look = begun(site, identifier)
    os.kill(claim["pid"], 9)

    assert told(look, identifier)["alive"] is False
    site.do("bury", executions={identifier: {"status": "FAILED", "reason": "It died."}})


def test_one_command_looks_again_and_again_and_ends_with_its_input(site: Site) -> None:
    identifier = site.start("echo said >&2\n" + WAIT)
    site.running(identifier, "up")
    process = subprocess.Popen(
        [site.python, site.agent, "watch"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"HOME": str(site.home)}
    )
    stdin, stdout = process.stdin, process.stdout
    assert stdin
    assert stdout

    def ask(**order: Any) -> None:
        order |= {"work_dir": str(site.root), "token": "t0k", "news": 0, "wait": DEADLINE}
        content = json.dumps(order).encode()
        os.write(stdin.fileno(), b"%d\n" % len(content) + content)

    def answer() -> dict[str, Any]:
        lines = [stdout.readline() for _ in range(3)]
        return dict(answer_in(b"".join(lines))["executions"][identifier])

    begin = time.monotonic()
    ask(executions={identifier: {"have": None, "log": None}})
    stamp = answer()["stamp"]
    ask(executions={identifier: {"have": stamp, "log": None}})
    os.write(stdin.fileno(), b"0\n")  # wakes it
    assert answer()["state"] is None
    ask(executions={identifier: {"have": stamp, "log": None, "rest": 0}})
    (site.directory(identifier) / "work" / "go").touch()
    found = answer()
    assert found["state"]["status"] == "SUCCEEDED"
    assert len(text_of(found)) == found["log_size"] > 0
    stdin.close()
    assert process.wait(60) == 0
    stdout.close()
    assert time.monotonic() - begin < DEADLINE - 5


def test_a_log_in_pieces(site: Site) -> None:
    identifier = site.start("for i in $(seq 2000); do echo line $i ä; done >&2\nprintf 'no end' >&2\necho '{}'\n")
    site.finished(identifier)
    content = (site.directory(identifier) / "log.jsonl").read_bytes()

    pieces = b""
    sizes = []
    while len(pieces) < len(content):
        found = site.look(identifier, log=len(pieces), log_room=10_000)
        piece = text_of(found)
        sizes.append(len(piece))
        assert piece.endswith(b"\n")
        assert found["log_size"] == len(content)
        pieces += piece

    assert pieces == content
    assert max(sizes) <= 10_000
    assert site.look(identifier, log=len(content))["log"] is None
    assert len(text_of(site.look(identifier, log=0, log_room=10))) > 10  # a line at least
    assert site.log(identifier)[-1] == "no end"


def test_what_is_known_is_not_told_again(site: Site) -> None:
    identifier = site.start("echo '{\"a\": 1}'\n")
    site.finished(identifier)

    first = site.look(identifier)
    again = site.look(identifier, have=first["stamp"])

    assert first["outputs"] == {"a": 1}
    assert (again["state"], again.get("outputs"), again["jobs"], again["stamp"]) == (None, None, None, first["stamp"])


def test_commands_run_side_by_side_and_within_bounds(site: Site) -> None:
    site.program("slow", "#!/bin/sh\nexec sleep 100\n")
    commands = {"a": ["sh", "-c", "echo out; echo err >&2; exit 3"], "b": ["slow"], "c": ["there-is-no-such"]}

    answer = site.do("look", executions={}, commands=commands)["commands"]

    assert answer["a"] == {"status": 3, "stdout": "out\n", "stderr": "err\n"}
    assert (answer["b"]["status"], answer["b"]["stderr"]) == (None, "slow gave no answer within 10 seconds")
    assert answer["c"]["status"] == 127
    special = site.home / "special"
    special.mkdir()
    (special / "squeue2").write_text("#!/bin/sh\necho jobs\n")
    (special / "squeue2").chmod(0o755)
    answer = site.do("look", commands={"q": ["squeue2"]}, prologue=f"echo noise\nPATH={special}:$PATH")["commands"]
    assert answer["q"] == {"status": 0, "stdout": "jobs\n", "stderr": "noise\n"}
    for prologue, status, stage in (("echo noise\n! true", 1, "prologue"), ("echo noise", 127, "missing")):
        answer = site.do("look", commands={"q": ["squeue2"]}, prologue=prologue)["commands"]
        assert answer["q"] == {"status": status, "stdout": "", "stderr": "noise\n", "stage": stage}


def test_probe(site: Site) -> None:
    site.environment["SCRATCH"] = f"{site.home}/scratch"
    template = "{scratch}/{user}/{nowhere}"
    answer = site.do("probe", work_dir=template)
    assert (answer["work_dir"], answer["unset"]) == (None, ["NOWHERE"])

    answer = site.do("probe", work_dir="{scratch}/x", make=True, variables=["SCRATCH", "NOWHERE"])

    assert answer["work_dir"] == f"{site.home}/scratch/x"
    assert answer["variables"] == {"SCRATCH": f"{site.home}/scratch", "NOWHERE": None}
    assert answer["home"] == str(site.home)
    assert answer["writable"] is None
    assert answer["free_bytes"] > 0
    assert answer["python"] == ".".join(map(str, sys.version_info[:3]))
    made = Path(answer["work_dir"])
    assert {path.name for path in made.iterdir()} == {"bin", "content", "workflows", "executions", "news"}
    assert made.stat().st_mode & 0o077 == 0
    denied = site.do("probe", work_dir="/proc/x", make=True)
    assert denied["writable"]["kind"] in ("denied", "missing")


def test_before_it_is_there_it_comes_by_standard_input(site: Site) -> None:
    boot = 'import sys;s=sys.stdin.buffer;exec(compile(s.read(int(s.readline())),"agent","exec"))'
    order = json.dumps({"work_dir": "{home}/first", "make": True, "token": "t0k"}).encode()
    done = subprocess.run(
        [sys.executable, "-c", boot, "probe"],
        input=b"%d\n" % len(source()) + source() + order,
        env={"HOME": str(site.home), "PATH": site.path},
        capture_output=True,
        check=True,
    )

    assert answer_in(b"\nWelcome!\n" + done.stdout)["work_dir"] == f"{site.home}/first"


ODD = ["a\nb", "q'\"$(x)`;&", "ünï", "sp ace", "per%20cent", "-dash", "#hash?query"]


def odd_outputs(site: Site) -> str:
    """An execution whose outputs have odd names; its id."""
    site.program(
        "runner",
        f"""\
#!{sys.executable}
import json, os, pathlib, sys
from urllib.parse import quote
root = pathlib.Path(sys.argv[sys.argv.index("--outdir") + 1])
value = {{"files": [], "secret": {{"class": "File", "location": "file:///etc/passwd"}}}}
for name in {ODD!r}:
    (root / name).write_text(name)
    value["files"].append({{"class": "File", "location": "file://" + quote(str(root / name)), "checksum": "sha1$x"}})
raw = os.fsencode(root) + b"/raw\\xff"
open(raw, "wb").write(b"raw")
value["raw"] = {{"class": "File", "path": os.fsdecode(raw)}}
(root / "dir" / "sub").mkdir(parents=True)
(root / "dir" / "sub" / "x").write_text("x")
(root / "dir" / "sub" / "run.sh").write_text("#!/bin/sh")
(root / "dir" / "sub" / "run.sh").chmod(0o755)
(root / "dir" / "link").symlink_to("sub/x")
(root / "dir" / "out").symlink_to("/etc/passwd")
(root / "dir" / "loop").symlink_to("loop")
os.mkfifo(root / "dir" / "pipe")
value["dir"] = {{"class": "Directory", "location": "file://" + str(root / "dir"), "basename": "dir", "listing": []}}
value["nan"] = float("nan")
value["half"] = "\\ud800"
value["number"] = 1
print(json.dumps(value))
""",
    )
    return site.start()


def test_outputs_with_odd_names(site: Site) -> None:
    identifier = odd_outputs(site)

    state = site.finished(identifier)

    assert state["status"] == "SUCCEEDED", state
    outputs = state["outputs"]
    assert [each["location"] for each in outputs["files"]] == ODD
    assert outputs["files"][0] == {
        "class": "File",
        "checksum": "sha1$x",
        "location": "a\nb",
        "basename": "a\nb",
        "size": 3,
    }
    assert outputs["raw"]["location"] == "raw\udcff"
    assert outputs["secret"] is None
    assert outputs["dir"] == {"class": "Directory", "basename": "dir", "location": "dir"}
    assert (outputs["nan"], outputs["half"], outputs["number"]) == (None, "?", 1)
    log = "\n".join(site.log(identifier))
    assert "Output secret is dropped: it is no file among the execution's outputs." in log
    assert "Output dir: out will not be in its archive: it is a link that leads nowhere" in log
    assert "Output dir: pipe will not be in its archive: it is neither a file nor a directory." in log

    for name in ODD:
        found = site.do("stat", id=identifier, path=name)
        assert (found["kind"], found["size"]) == ("file", len(name.encode()))
    assert site.do("stat", id=identifier, path="dir")["kind"] == "directory"
    assert site.do("stat", id=identifier, path="dir/out") == {"kind": "outside"}
    assert site.do("stat", id=identifier, path="../request.json") == {"kind": "outside"}
    assert site.do("stat", id=identifier, path="nothing") == {"kind": "missing"}


def test_names_of_files_where_no_language_is_set(tmp_path: Path) -> None:
    # As Python 3.6 has it by itself: names in ASCII.
    site = Site(tmp_path / "home", {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"})

    identifier = odd_outputs(site)

    state = site.finished(identifier)
    assert state["status"] == "SUCCEEDED", state
    assert [each["location"] for each in state["outputs"]["files"]] == ODD
    assert site.do("stat", id=identifier, path=ODD[-1])["kind"] == "file"


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_archives_of_outputs(site: Site, kind: str) -> None:
    identifier = odd_outputs(site)
    site.finished(identifier)

    output = site.raw("pack", id=identifier, path="dir", kind=kind)
    content = io.BytesIO(output.partition(b"\n@@HPCWAAS t0k DATA\n")[2])
    if kind == "tar":
        with tarfile.open(fileobj=content) as tar:
            names = {member.name: member.mode for member in tar}
            member = tar.extractfile("link")
            assert member
            assert member.read() == b"x"
    else:
        with zipfile.ZipFile(content) as archive:
            assert archive.testzip() is None
            names = {info.filename.rstrip("/"): info.external_attr >> 16 & 0o7777 for info in archive.infolist()}
            assert archive.read("link") == b"x"

    assert set(names) == {"sub", "sub/x", "sub/run.sh", "link"}
    assert names["sub/run.sh"] & 0o100
    answer = site.do("pack", id=identifier, path="../..", kind=kind)
    assert answer["error"]["kind"] == "missing"


def test_what_is_over_can_be_removed_and_uploads_that_nobody_uses(site: Site) -> None:
    used, unused = site.send(b"used"), site.send(b"unused")
    site.do("start", accept={"content": [used, unused]})
    identifier = site.start(WAIT, inputs=[{"sha256": used, "target": "inputs/0/x"}])
    site.running(identifier, "up")
    for digest in (used, unused):
        os.utime(site.root / "content" / digest, (time.time() - 9 * 86400,) * 2)

    assert site.do("remove", ids=[identifier], content_days=7) == {"removed": []}
    assert not (site.root / "content" / unused).exists()
    assert (site.directory(identifier) / "inputs" / "0" / "x").read_bytes() == b"used"
    (site.directory(identifier) / "work" / "go").touch()
    site.finished(identifier)
    assert site.do("remove", ids=[identifier], content_days=7) == {"removed": [identifier]}
    assert not site.directory(identifier).exists()
    assert not (site.root / "content" / used).exists()
