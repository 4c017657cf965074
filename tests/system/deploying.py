"""What the files of `deploy/` are checked with."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
_PYTHON = ROOT / ".venv-deploy" / "bin" / "python"


def said_by(tool: str, *arguments: str | Path) -> Any:
    """What a tool says (`deploy_tools.py`)."""
    assert _PYTHON.exists(), "the tools aren't installed: use `make test-system`"
    program = Path(__file__).with_name("deploy_tools.py")
    done = subprocess.run(
        [_PYTHON, program, tool, *arguments], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
