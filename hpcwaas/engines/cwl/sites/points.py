"""The check of an account: everything on a site that an execution will need, point by point."""

from __future__ import annotations

import logging
import queue
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager

from hpcwaas.core.site_models import Placement, Point, PointStatus
from hpcwaas.engines.cwl.sites.agency import first_contact, quoted, variables
from hpcwaas.engines.cwl.sites.connection import Connection, NotSignedIn, Result, SiteFailed
from hpcwaas.engines.cwl.sites.point import TITLES, failed, ok, skipped, warned
from hpcwaas.engines.cwl.sites.probed import Probed, commands
from hpcwaas.engines.cwl.sites.signing_in import fingerprint
from hpcwaas.engines.site_settings import SiteSettings
from hpcwaas.errors import ServiceError

_LOGGER = logging.getLogger(__name__)
_SECONDS = 20.0
"""For all of it, whatever doesn't answer."""
_QUIET, _PROBE = 6.0, 14.0
_SHOWN = 200
_OPERATORS = "Tell the operators of the service."

Connect = Callable[[Placement, str, Callable[[str], None]], AbstractContextManager[Connection]]
"""`Connections.fresh`."""


def check(connect: Connect, settings: SiteSettings, placement: Placement) -> Sequence[Point]:
    """Checks an account. It takes `_SECONDS` at most and spends nothing.

    Returns:
        all points. Those that can't be looked at because of another are skipped.
    """
    told: queue.SimpleQueue[Point | None] = queue.SimpleQueue()
    run = _Check(connect, settings, placement, told.put)
    threading.Thread(target=run, name="site check", daemon=True).start()
    timer = threading.Timer(_SECONDS, told.put, [None])
    timer.daemon = True
    timer.start()
    points: dict[str, Point] = {}
    while (point := told.get()) is not None:
        points[point.id] = point
    timer.cancel()
    bad = next((point for point in TITLES if point in points and points[point].status is PointStatus.FAILED), None)
    if bad is None and (bad := next((point for point in TITLES if point not in points), None)):
        points[bad] = failed(
            bad,
            f"There was no answer within the {_SECONDS:g} seconds that a check takes at most.",
            "The site may be overloaded. Try again later; if it stays so, tell its operators.",
        )
    return [points.get(point) or skipped(point, f"Not looked at, since this failed: {bad}.") for point in TITLES]


class _Check:
    """A check that runs in a thread of its own.

    Args:
        tell: takes each point, and None at the end.
    """

    def __init__(
        self, connect: Connect, settings: SiteSettings, placement: Placement, tell: Callable[[Point | None], None]
    ) -> None:
        self._connect = connect
        self._settings = settings
        self._placement = placement
        self._tell = tell
        self._at = "name"

    def __call__(self) -> None:
        try:
            with self._connect(self._placement, "check", self._reached) as connection:
                self._at = "quiet"
                for point in self._points(connection):
                    self._tell(point)
        except NotSignedIn as error:
            self._tell(failed(error.point, error.found, error.advice))
        except SiteFailed as error:
            self._tell(failed(self._at, error.detail, "Try again; if it stays so, tell the site's operators."))
        except ServiceError as error:  # of the vault
            self._tell(failed(self._at, error.detail, _OPERATORS))
        except Exception:
            _LOGGER.exception("unexpected error while an account on the site %s is checked", self._placement.site)
            self._tell(failed(self._at, "The check itself failed, by a defect of the service.", _OPERATORS))
        finally:
            self._tell(None)

    def _reached(self, point: str) -> None:
        keys = " or ".join(fingerprint(line) for line in self._settings.host_keys)
        details = {
            "name": f"It is {self._settings.host.rpartition(':')[0]}.",
            "port": f"It is {self._settings.host}.",
            "host_key": f"Its key is {keys}.",
            "sign_in": f"Signed in as {self._placement.user}, without a second factor.",
        }
        self._tell(ok(point, details[point]))
        order = [*TITLES]
        self._at = order[order.index(point) + 1]

    def _points(self, connection: Connection) -> Iterator[Point]:
        quiet = self._quiet(connection)
        yield quiet
        if quiet.status is PointStatus.FAILED:
            return
        self._at = "python"
        settings = self._settings
        try:
            prologue = settings.prologue.read_text(encoding="utf-8") if settings.prologue else None
        except (OSError, ValueError):
            yield failed("runner", f"The service can't read the site's prologue {settings.prologue}.", _OPERATORS)
            return
        body = {
            "work_dir": settings.work_dir,
            "variables": variables(settings.work_dir),
            "prologue": prologue,
            "commands": commands(settings, self._placement.user or ""),
        }
        answer, result = first_contact(connection, settings.python, body, _PROBE)
        if answer is None or "python" not in answer:
            yield self._no_python(connection, result)
            return
        yield from Probed(settings, self._placement.user or "", answer).points()

    def _quiet(self, connection: Connection) -> Point:
        token = f"hpcwaas-{secrets.token_hex(8)}"
        try:
            done = connection.run(f"'echo' '{token}'", timeout=_QUIET)
        except SiteFailed as error:
            return failed(
                "quiet",
                f"A command that prints one word didn't end: {error.detail}",
                "Profile files (`.bashrc`, `.cshrc`) may wait for an answer: they should do nothing for a shell that "
                "isn't interactive.",
            )
        said = done.stdout.decode(errors="replace")
        noise = _shown(said.replace(token, ""))
        if token not in said:
            return failed(
                "quiet",
                f"The account doesn't run the commands that it is given (status {done.status})"
                + (f"; it says: {noise}" if noise else ".")
                + ("" if done.stdout else _complaint(done)),
                "A command may be forced in `authorized_keys` (`command=`) or by the server, or the login shell allows "
                "none. Install the key without restrictions, or ask the site's operators.",
            )
        try:
            connection.size("/")
        except SiteFailed as error:
            return failed("quiet", error.detail, "Without SFTP no file can be brought there or fetched.")
        if noise:
            return warned(
                "quiet",
                f"Besides what commands write, the account's profile files print: {noise}",
                "The service passes over it. Other programs (rsync, scp) don't: print nothing in `.bashrc` or `.cshrc` "
                "unless the shell is interactive.",
            )
        return ok("quiet", "A command printed what it should, and nothing else.")

    def _no_python(self, connection: Connection, result: Result) -> Point:
        python = self._settings.python
        told = connection.run(
            f"{quoted(python)} '-c' 'import sys; print(\"version\", sys.version.split()[0])'", b"", _QUIET
        )
        version = told.stdout.decode(errors="replace").rpartition("version ")[2].strip() if told.status == 0 else ""
        advice = "Python 3.6 or later has to be there for every account; an operator of the service names it in the "
        if version:
            said = _complaint(result)
            return failed(
                "python", f"Python {version} can't run the service's program{said}.", f"{advice}setting `python`."
            )
        return failed("python", f"There is no program {python}{_complaint(told)}.", f"{advice}setting `python`.")


def _complaint(done: Result) -> str:
    lines = [line for line in done.stderr.decode(errors="replace").splitlines() if line.strip()]
    return f" ({_shown(lines[-1])})" if lines else ""


def _shown(text: str) -> str:
    """A line of what a site printed."""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}…"
