"""The operations of signing in against the contract, where there is single sign-on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.service import as_user
from tests.signing_in import Service

pytest_plugins = "tests.signing_in_fixtures"

HERE = Path(__file__).parent


def test_schemathesis_finds_nothing(sso: Service, tmp_path: Path) -> None:
    command = [
        str(Path(sys.executable).with_name("st")),
        "--config-file",
        str(HERE / "schemathesis.toml"),
        "run",
        f"{sso.url}/openapi.json",
        "--header",
        f"Authorization: {as_user(sso.url, 'bob').headers['Authorization']}",
        "--include-path-regex",
        "^/auth/",
        "--phases",
        "examples,coverage,fuzzing",
        "--no-color",
    ]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "contract_hooks", "PYTHONPATH": str(HERE)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "10 selected" in done.stdout
