"""The Swagger UI in a real browser."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from hpcwaas.common.resources import resource
from hpcwaas.configuration.settings import Settings
from tests.service import serving

CONTRACT = yaml.safe_load(resource("openapi.yaml").read_text(encoding="utf-8"))
ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-browser" / "bin" / "python"

pytestmark = pytest.mark.system


def test_a_user_tries_an_operation_out(tmp_path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert chromium, "Chromium isn't installed: on Debian, apt-get install chromium"
    assert PYTHON.exists(), "playwright isn't installed: use `make test-system`"
    picture = tmp_path / "swagger-ui.png"
    with serving(Settings(data_dir=tmp_path / "data")) as address:
        token = (tmp_path / "data" / "local-token").read_text().strip()
        command: list[str | Path] = [PYTHON, Path(__file__).with_name("browser.py"), chromium, address, token, picture]
        done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)

    assert seen["title"].startswith("Workflow Execution Service")
    assert seen["operations"] == sum(method != "parameters" for path in CONTRACT["paths"].values() for method in path)
    assert seen["answer"].startswith("200")
    assert "word-statistics" in seen["answer"]
    assert seen["elsewhere"] == []
    assert seen["errors"] == []  # of the Content-Security-Policy, for instance
    assert seen["servers"] == 0
    assert picture.stat().st_size > 10_000
