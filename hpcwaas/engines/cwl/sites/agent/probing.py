"""What an account of a site is like."""

import os
import pwd
import re
import sys
import time
from typing import Dict, Iterable, Optional

from hpcwaas.engines.cwl.sites.agent.answers import JSON, trouble
from hpcwaas.engines.cwl.sites.agent.files import RESERVE, touch, write
from hpcwaas.engines.cwl.sites.agent.processes import boot_id
from hpcwaas.engines.cwl.sites.agent.programs import Called, commands


def _variables(names: Iterable[str]) -> Dict[str, Optional[str]]:
    """Variables of the account; what only a login shell sets is asked of one."""
    found = {name: os.environ.get(name) for name in names}
    if None in found.values():
        called = Called(["bash", "-l", "-c", "printf '\\0hpcwaas\\0'; env -0"])
        words = called.stdout.decode(errors="surrogateescape").rpartition("\0hpcwaas\0")[2].split("\0")
        login = dict(word.partition("=")[::2] for word in words if "=" in word)
        found = {name: value if value is not None else login.get(name) for name, value in found.items()}
    return found


def probe(order: Dict[str, JSON]) -> Dict[str, JSON]:
    """What the account and the machine are like. `make`: makes WORK_DIR. Its template may name `{home}`, `{user}`, and
    any variable of the account in lower case."""
    user = pwd.getpwuid(os.getuid())
    known = {"home": os.environ.get("HOME") or user.pw_dir, "user": user.pw_name}
    template = order["work_dir"]
    names = [name for name in re.findall(r"\{(\w+)\}", template) if name not in known]
    variables = _variables([*(name.upper() for name in names), *(order.get("variables") or [])])
    unset = [name.upper() for name in names if not variables[name.upper()]]
    root: Optional[str] = None
    writable: JSON = None
    free = None
    if not unset:
        values = dict(known, **{name: variables[name.upper()] for name in names})
        root = os.path.abspath(re.sub(r"\{(\w+)\}", lambda match: values[match.group(1)] or "", template))
        try:
            if order.get("make"):
                for name in ("bin", "content", "workflows", "executions"):
                    os.makedirs(os.path.join(root, name), mode=0o700, exist_ok=True)
                touch(os.path.join(root, "news"))
            place = root
            while not os.path.isdir(place):
                place = os.path.dirname(place)
            status = os.statvfs(place)
            free = status.f_bavail * status.f_frsize
            trial = os.path.join(place, f".hpcwaas-{os.getpid()}")
            write(trial, os.urandom(RESERVE))
            os.unlink(trial)
        except OSError as error:
            writable = trouble(error).answer["error"]
    quota = Called(["quota", "-s"], timeout=5.0).stdout.decode(errors="replace").strip() or None
    answer = {"work_dir": root, "unset": unset, "writable": writable, "free_bytes": free, "quota": quota}
    answer.update(known, variables=variables, python=sys.version.split()[0], boot_id=boot_id(), clock=time.time())
    return dict(answer, commands=commands(order, order.get("prologue"), always=True))
