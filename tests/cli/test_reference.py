"""The written documentation, completion, and that the command stands alone."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from waas_cli import gendoc
from waas_cli.main import cli

TOP = Path(__file__).parents[2]
WAAS = [sys.executable, "-c", "from waas_cli.main import main; main()"]


def test_reference_is_in_step() -> None:
    written = (TOP / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
    assert written == gendoc.reference(cli), "run: make references"


@pytest.mark.parametrize(
    ("form", "name"),
    [
        ("man", "waas-workflows-list.1"),
        ("rst", "waas_workflows_list.rst"),
        ("yaml", "waas_workflows_list.yaml"),
        ("md", "waas_workflows_list.md"),
    ],
)
def test_gen_doc(waas: Any, tmp_path: Path, form: str, name: str) -> None:
    result = waas("gen-doc", str(tmp_path / "new"), form)
    assert (result.code, result.out, result.err) == (0, "", "")
    text = (tmp_path / "new" / name).read_text()
    for word in ("waas workflows list -q sweep", "ls", "api_url", "List only workflows with these words"):
        assert word in text.replace("\\-", "-")
    assert "\b" not in text
    assert len(list((tmp_path / "new").iterdir())) > 20
    if form == "yaml":
        assert yaml.safe_load(text)["name"] == "waas workflows list"


def test_gen_doc_refuses(waas: Any, tmp_path: Path) -> None:
    assert waas("gen-doc", str(tmp_path), "pdf").code == 2
    (tmp_path / "file").touch()
    assert "Can't write" in waas("gen-doc", str(tmp_path / "file"), "md").err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_completion_scripts(waas: Any, shell: str) -> None:
    result = waas("completion", shell)
    assert (result.code, result.err) == (0, "")
    assert f"{shell}_complete" in result.out
    assert "waas" in result.out
    if shell == "bash" and shutil.which("bash"):
        subprocess.run(["bash", "-n"], input=result.out, text=True, check=True, timeout=60)


@pytest.mark.parametrize(
    ("shell", "place"),
    [
        ("bash", ".local/share/bash-completion/completions/waas"),
        ("zsh", ".local/share/zsh/site-functions/_waas"),
        ("fish", ".config/fish/completions/waas.fish"),
    ],
)
def test_completion_is_installed_where_the_shell_looks(
    waas: Any, home: Path, monkeypatch: pytest.MonkeyPatch, shell: str, place: str
) -> None:
    monkeypatch.setenv("SHELL", f"/usr/bin/{shell}")
    result = waas("completion", "install")
    assert result.code == 0
    assert str(home / place) in result.out
    assert (home / place).read_text() == waas("completion", shell).out
    (home / place).unlink()
    assert waas("completion", "install", shell, "--quiet").out == ""
    assert (home / place).exists()


@pytest.mark.parametrize("shell", ["", "/bin/tcsh"])
def test_completion_for_other_shells_is_not_installed(
    waas: Any, home: Path, monkeypatch: pytest.MonkeyPatch, shell: str
) -> None:
    monkeypatch.setenv("SHELL", shell)
    result = waas("completion", "install")
    assert result.code == 2
    assert "bash, zsh, fish" in result.err


@pytest.mark.parametrize(
    ("words", "incomplete", "expected"),
    [
        ("waas", "w", {"workflows", "whoami"}),
        ("waas workflows", "tr", {"trigger"}),
        ("waas wf", "tr", {"trigger"}),
        ("waas workflows trigger", "word", {"word-statistics"}),
        ("waas executions status", "0", {"00000001-0000-4000-8000-0123456789ab"}),
        ("waas tokens", "re", {"revoke"}),
        ("waas sites check", "ma", {"mare"}),
        ("waas workflows trigger word-statistics --site", "lo", {"local"}),
        ("waas executions list", "--sh", {"--shared"}),
        ("waas completion", "z", {"zsh"}),
    ],
)
def test_completion(alice: Any, service: Any, words: str, incomplete: str, expected: set[str]) -> None:
    service.add(("RUNNING", []))
    line = f"{words} {incomplete}"
    environment = {
        **os.environ,
        "_WAAS_COMPLETE": "bash_complete",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split()) - 1),
    }
    done = subprocess.run(WAAS, capture_output=True, text=True, env=environment, timeout=60, check=True)
    assert {line.split(",")[1] for line in done.stdout.split()} == expected
    assert done.stderr == ""


def test_completion_without_a_service_is_silent(home: Path) -> None:
    environment = {
        **os.environ,
        "_WAAS_COMPLETE": "bash_complete",
        "COMP_WORDS": "waas workflows trigger x",
        "COMP_CWORD": "3",
        "HW_API_URL": "http://127.0.0.1:1",
    }
    done = subprocess.run(WAAS, capture_output=True, text=True, env=environment, timeout=60, check=True)
    assert (done.stdout.strip(), done.stderr) == ("", "")


def test_the_command_imports_nothing_of_the_service() -> None:
    for file in (TOP / "cli").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [str(node.module)]
            assert not any(name.split(".")[0] in ("hpcwaas", "waas_cli") for name in names), file
