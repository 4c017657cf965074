"""The engine of docs/how-to/add-an-engine.md, installed beside the service as it stands there."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.processes import Service, eventually
from tests.service import Client

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "add-an-engine.md"


def install(packages: Path, point: str = "") -> None:
    """What `pip install` would make of the page: its modules, and what says that the package is there.

    Args:
        point: an entry point in place of the page's own.
    """
    text = PAGE.read_text(encoding="utf-8")
    for name, content in re.findall(r"`(\w+\.py)`[^`]*:\n\n```python\n(.*?)```", text, re.DOTALL):
        (packages / name).write_text(content, encoding="utf-8")
    (toml,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    project = tomllib.loads(toml)["project"]
    ((group, points),) = project["entry-points"].items()
    lines = [point] if point else [f"{name} = {value}" for name, value in points.items()]
    information = packages / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Name: {project['name']}\nVersion: {project['version']}\n")
    (information / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines, ""]))


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    path = tmp_path / "packages"
    path.mkdir()
    return path


@pytest.fixture
def service(tmp_path: Path, packages: Path) -> Iterator[Service]:
    service = Service(tmp_path)
    service.environment["PYTHONPATH"] = str(packages)
    yield service
    service.end()


def test_the_engine_of_the_page(service: Service, packages: Path, tmp_path: Path) -> None:
    install(packages)
    file = tmp_path / "service.yml"
    file.write_text("greet: {word: Ahoi}\n")
    service.arguments = ["--config", file]
    shown = service.command("config", "show").stdout
    assert f"greet:\n  word: Ahoi  # {file}:1\n" in shown
    service.variables["HWA_GREET_WORD"] = "Ahoy"
    assert "  word: Ahoy  # variable HWA_GREET_WORD\n" in service.command("config", "show").stdout
    assert (
        "| `word`<br>`HWA_GREET_WORD` | text | `Hello` | What it says. |"
        in service.command("config", "reference").stdout
    )
    service.start()
    token = (service.data / "local-token").read_text().strip()
    user = Client(service.url, {"Authorization": f"Bearer {token}"})
    wanted = {"script", "greet:hello"}
    eventually(lambda: wanted <= {each["id"] for each in user("GET", "/workflows").json()["workflows"]}, 90, least=0.2)
    details = user("GET", "/workflows/greet:hello").json()
    assert (details["id"], details["engine"], details["label"]) == ("greet:hello", "greet", "Say hello")
    refused = user("POST", "/workflows/greet:hello", json={"inputs": {}})
    assert (refused.status_code, refused.json()["detail"]) == (400, "name is missing, or isn't text.")
    execution = user.finished(user.trigger("greet:hello", name="Ada"))
    assert execution["workflow_id"] == "greet:hello"
    assert execution["outputs"] == {"greeting": "Ahoy, Ada!"}
    path = f"/executions/{execution['id']}"
    assert [each["content"] for each in user("GET", f"{path}/logs").json()["logs"]] == ["Ahoy, Ada!"]
    assert user("DELETE", path).status_code == 409
    checks = {each["name"] for each in user("GET", "/health/ready").json()["checks"]}
    assert {"greet", "cwl-executions"} <= checks
    access = service.command("catalogue", "access")
    assert access.returncode == 0
    assert "The engine `greet` can't tell this command who may run what it publishes." in access.stdout
    service.stop()


@pytest.mark.parametrize("command", [["config", "check"], []], ids=["check", "start"])
def test_a_broken_one_stops_the_start_and_is_named(service: Service, packages: Path, command: list[str]) -> None:
    install(packages, "greet = hpcwaas_greet:ENTYR")
    assert service.command("--help").returncode == 0
    refused = service.command(*command)
    assert refused.returncode == 1
    assert (
        "engine greet: the entry point `greet = hpcwaas_greet:ENTYR` in the group hpcwaas.engines of the package "
        "hpcwaas-greet can't be loaded: AttributeError: " in refused.stderr
    )
    assert "Traceback" not in refused.stderr
