"""Speaks with the agent, the one-file program of the service on a site."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Any, NoReturn

from hpcwaas.core.models import JSON
from hpcwaas.engines.cwl.sites.agent import source
from hpcwaas.engines.cwl.sites.connection import Connection, Ended, RemoteFileError, Result, SiteFailed, Talk
from hpcwaas.engines.cwl.sites.mirror import Account
from hpcwaas.engines.site_settings import SiteSettings

BOOT = 'import sys;s=sys.stdin.buffer;exec(compile(s.read(int(s.readline())),"agent","exec"))'
"""Runs an agent whose source comes first on standard input, behind its length."""

_MARK = b"\n@@HPCWAAS "
_MOST_ANSWER = 64 * 2**20
_VARIABLE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


class AgentGone(Exception):
    """There is no agent where there was one."""


class WatchOver(Exception):
    """What was asked again and again answers no more."""


@cache
def digest() -> str:
    """Says which version it is."""
    return hashlib.sha256(source()).hexdigest()[:16]


def quoted(word: str) -> str:
    """A word of a command line that sh, csh and fish read the same.

    Raises:
        SiteFailed: there is no such form of it.
    """
    if any(sign in word for sign in "'\\!\n"):
        raise SiteFailed(
            f"The path {word!r} has signs that not every shell takes. Set another `work_dir` for the site.",
            lasting=True,
        )
    return f"'{word}'"


def variables(template: str) -> list[str]:
    """Names of the environment variables that a work directory's template stands on."""
    return sorted({name.upper() for name in _VARIABLE.findall(template)} - {"HOME", "USER"})


def first_contact(
    connection: Connection, python: str, body: Mapping[str, JSON], timeout: float = 60.0
) -> tuple[dict[str, Any] | None, Result]:
    """What an account and its machine are like, also before there is an agent; and how the command ended that asked.

    Args:
        body: of the agent's command `probe`.

    Raises:
        SiteFailed: the site gave no answer.
    """
    token = secrets.token_hex(16)
    program = source()
    line = f"{quoted(python)} '-c' '{BOOT}' 'probe'"
    result = connection.run(line, b"%d\n" % len(program) + program + _stdin(token, body), timeout)
    return _answer(b"\n" + result.stdout, token), result


class Agency:
    """The agent of one account.

    Args:
        site: id of the site.
    """

    def __init__(self, site: str, settings: SiteSettings, account: Account) -> None:
        self._site = site
        self._settings = settings
        self._account = account
        self._lock = threading.Lock()

    @property
    def work_dir(self) -> str | None:
        """The account's directory on the site; None before the first contact."""
        known = self._known()
        return str(known["work_dir"]) if known else None

    def call(self, connection: Connection, command: str, body: Mapping[str, JSON], timeout: float) -> dict[str, Any]:
        """Asks the agent something. It is brought there first when it isn't there.

        Raises:
            SiteFailed: there is no answer.
            RemoteFileError: the agent, or what it needs, can't be read or written.
        """
        try:
            return self._call(connection, command, body, timeout)
        except AgentGone:
            self._account.know({})
            return self._call(connection, command, body, timeout)

    @contextlib.contextmanager
    def watch(self, connection: Connection) -> Iterator[Watch]:
        """Looks again and again with one command. When that is over, so is the context: another one is to be begun.

        Raises:
            SiteFailed, RemoteFileError: as `call`.
        """
        work_dir = self._reach(connection)
        with connection.talk(self._line(work_dir, "watch")) as talk:
            try:
                yield Watch(talk, work_dir, self._explain)
            except AgentGone:
                self._account.know({})
            except WatchOver:
                pass

    def stream(self, connection: Connection, command: str, body: Mapping[str, JSON]) -> Iterator[bytes]:
        """The bytes that the agent gives.

        Raises:
            SiteFailed, RemoteFileError: as `call`; in the middle, too.
        """
        work_dir = self._reach(connection)
        token = secrets.token_hex(16)
        mark = _MARK + token.encode() + b" DATA\n"
        seen = b"\n"
        pieces = connection.stream(self._line(work_dir, command), _stdin(token, {"work_dir": work_dir, **body}))
        for piece in pieces:
            seen += piece
            if (place := seen.find(mark)) >= 0:
                yield seen[place + len(mark) :]
                yield from (piece for piece in pieces if piece)
                return
        answer = _answer(seen, token)
        if answer is None:
            self._explain(Result(0, seen, b""))
        _refuse(answer)
        raise SiteFailed(f"The site {self._site} gave an answer that can't be understood.")

    def _call(self, connection: Connection, command: str, body: Mapping[str, JSON], timeout: float) -> dict[str, Any]:
        work_dir = self._reach(connection)
        token = secrets.token_hex(16)
        result = connection.run(self._line(work_dir, command), _stdin(token, {"work_dir": work_dir, **body}), timeout)
        answer = _answer(b"\n" + result.stdout, token)
        if answer is None:
            self._explain(result)
        _refuse(answer)
        return answer

    def _known(self) -> dict[str, Any] | None:
        """What was learnt by the first contact, if it was with this version and these settings."""
        known = self._account.known()
        same = known.get("agent") == digest() and known.get("template") == self._settings.work_dir
        return known if same and known.get("python") == self._settings.python else None

    def _reach(self, connection: Connection) -> str:
        """The account's directory on the site, with the agent in it."""
        with self._lock:
            if known := self._known():
                return str(known["work_dir"])
            work_dir = self._settle(connection)
            known = {"work_dir": work_dir, "agent": digest()}
            known |= {"template": self._settings.work_dir, "python": self._settings.python}
            self._account.know(known)
            return work_dir

    def _settle(self, connection: Connection) -> str:
        template = self._settings.work_dir
        body = {"work_dir": template, "variables": variables(template), "commands": {}, "make": True}
        answer, result = first_contact(connection, self._settings.python, body)
        if answer is None:
            self._explain(result)
        _refuse(answer)
        if unset := answer.get("unset"):
            names = ", ".join(unset)
            raise SiteFailed(
                f"The account on the site {self._site} has no variable {names}, in which the service is to put its "
                "files. Ask an operator of the service.",
                lasting=True,
            )
        if answer.get("writable"):
            _refuse({"error": answer["writable"]})
        work_dir = str(answer["work_dir"])
        connection.write(_agent(work_dir), source())
        return work_dir

    def _line(self, work_dir: str, command: str) -> str:
        return " ".join(quoted(word) for word in (self._settings.python, _agent(work_dir), command))

    def _explain(self, result: Result) -> NoReturn:
        """Says why there is no answer."""
        said = (result.stderr.strip() or result.stdout.strip()).decode(errors="replace")
        last = said.splitlines()[-1][:300] if said else ""
        if "can't open file" in said:
            raise AgentGone
        python = self._settings.python
        if result.status == 127 or "ommand not found" in said:
            raise SiteFailed(
                f"The site {self._site} has no program {python} for the account. Ask an operator of the service, whose "
                "setting `python` names it.",
                lasting=True,
            )
        raise SiteFailed(
            f"The site {self._site} didn't run the service's program (status {result.status}"
            + (f": {last}" if last else "")
            + "). A check of the account says more.",
            lasting=True,
        )


class Watch:
    """An agent that is asked again and again how executions stand.

    Args:
        explain: tells by an exception why there is no answer.
    """

    def __init__(self, talk: Talk, work_dir: str, explain: Callable[[Result], NoReturn]) -> None:
        self._talk = talk
        self._work_dir = work_dir
        self._explain = explain
        self._token = secrets.token_hex(16)
        self._seen = b""
        self._answered = False

    @property
    def wanted(self) -> bool:
        """Whether others wait for its session."""
        return self._talk.wanted

    def ask(self, body: Mapping[str, JSON]) -> None:
        """Asks for a look, when the one before is answered."""
        self._seen = b"\n"
        order = _stdin(self._token, {"work_dir": self._work_dir, **body})
        self._talk.send(b"%d\n" % len(order) + order)

    def hurry(self) -> None:
        """Has the answer come now, whether there is something new or not."""
        self._talk.send(b"0\n")

    def answer(self) -> dict[str, Any] | None:
        """The answer; None when it hasn't come within a moment.

        Raises:
            SiteFailed, RemoteFileError, AgentGone: there will be none.
            WatchOver: there will be none of this one, though it has answered before.
        """
        try:
            piece = self._talk.receive()
        except Ended as ended:
            if self._answered:  # somebody has ended it, or the site doesn't let programs run for long
                raise WatchOver from None
            self._explain(replace(ended.result, stdout=self._seen))
        self._seen += piece
        if len(self._seen) > _MOST_ANSWER:
            raise SiteFailed("The service's program on the site gives no answer that can be understood.")
        answer = _answer(self._seen, self._token) if piece.endswith(b"\n") else None
        _refuse(answer)
        self._answered |= answer is not None
        return answer


def _agent(work_dir: str) -> str:
    return f"{work_dir}/bin/agent-{digest()}.py"


def _stdin(token: str, body: Mapping[str, JSON]) -> bytes:
    return json.dumps({"token": token, **body}).encode()


def _answer(output: bytes, token: str) -> dict[str, Any] | None:
    """What stands behind the mark, whatever profile files printed before and after it."""
    _noise, found, rest = output.partition(_MARK + token.encode() + b"\n")
    if not found:
        return None
    try:
        answer = json.loads(rest.partition(b"\n")[0])
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None


def _refuse(answer: Mapping[str, Any] | None) -> None:
    error = (answer or {}).get("error")
    if error:
        raise RemoteFileError(str(error.get("kind")), str(error.get("path") or ""), str(error.get("detail")))
