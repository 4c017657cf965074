"""The commands of the agent."""

import json
import locale
import os
import sys
from typing import Callable, Dict, List, Optional

from hpcwaas.engines.cwl.sites.agent.answers import JSON, Trouble, mark, orders, trouble
from hpcwaas.engines.cwl.sites.agent.ending import bury, cancel, remove
from hpcwaas.engines.cwl.sites.agent.files import dump
from hpcwaas.engines.cwl.sites.agent.giving import give, pack, status
from hpcwaas.engines.cwl.sites.agent.looking import look, watch
from hpcwaas.engines.cwl.sites.agent.probing import probe
from hpcwaas.engines.cwl.sites.agent.starting import resume, start
from hpcwaas.engines.cwl.sites.agent.supervisor import supervise

COMMANDS: Dict[str, Callable[[Dict[str, JSON]], Optional[Dict[str, JSON]]]] = {
    "probe": probe,
    "start": start,
    "resume": resume,
    "look": look,
    "cancel": cancel,
    "bury": bury,
    "remove": remove,
    "stat": status,
    "pack": pack,
    "give": give,
}


def main(arguments: List[str]) -> None:
    """Does what the command line says: a command, whose order is on standard input; `watch`, which looks as often as
    it is asked to there; or `supervise WORK_DIR ID`."""
    _take_names_as_they_are(arguments)
    os.umask(0o077)
    for name in ("SSH_CLIENT", "SSH2_CLIENT"):  # by which every bash below would read, and print, what a login does
        os.environ.pop(name, None)
    if arguments[0] == "supervise":
        supervise(arguments[1], arguments[2])
        return
    if arguments[0] == "watch":
        for order in orders():
            _answer(watch, order)
        return
    _answer(COMMANDS[arguments[0]], json.loads(sys.stdin.buffer.read().decode()))


def _take_names_as_they_are(arguments: List[str]) -> None:
    """Begins anew with UTF-8 for names of files where another encoding is set: Python 3.6 takes ASCII for it where none
    is, and then no file with another letter in its name can be opened."""
    marker = "HPCWAAS_ENCODING"
    if os.environ.pop(marker, None) or sys.getfilesystemencoding().lower().replace("-", "") == "utf8":
        return
    for name in ("C.UTF-8", "C.utf8", "en_US.UTF-8"):
        try:
            locale.setlocale(locale.LC_CTYPE, name)
        except locale.Error:
            continue
        setting = "LC_ALL" if os.environ.get("LC_ALL") else "LC_CTYPE"
        again = [sys.executable, "-E", "-s", os.path.abspath(__file__)]
        environment = dict(os.environ, **{setting: name, marker: name})
        os.execve(sys.executable, again + arguments, environment)  # noqa: S606  (no shell is what is wanted)


def _answer(command: Callable[[Dict[str, JSON]], Optional[Dict[str, JSON]]], order: Dict[str, JSON]) -> None:
    try:
        answer = command(order)
    except Trouble as error:
        answer = error.answer
    except OSError as error:
        answer = trouble(error).answer
    if answer is not None:
        mark(order)
        sys.stdout.buffer.write(dump(answer) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
