"""Runs programs, after the prologue of the site where that is wanted."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
from typing import Dict, List, Optional

from hpcwaas.engines.cwl.sites.agent.answers import JSON
from hpcwaas.engines.cwl.sites.agent.log import clean

_UNDER_PROLOGUE = r"""
_hpcwaas=("${@:1:2}" "${@:4}")
_hpcwaas_first=$3
set --
printf prologue > "${_hpcwaas[0]}"
. <(printf '%s\n' "${_hpcwaas[1]}") >&2 </dev/null || exit
case ${_hpcwaas[2]} in */*) PATH=${_hpcwaas[2]%/*}:$PATH;; esac
[ -z "$_hpcwaas_first" ] || PATH=$_hpcwaas_first:$PATH
printf missing > "${_hpcwaas[0]}"
command -v -- "${_hpcwaas[2]}" >/dev/null || exit 127
[ -f "${_hpcwaas[0]}" ] && rm -f "${_hpcwaas[0]}"
exec "${_hpcwaas[@]:2}"
"""
"""Runs a program in the environment that a prologue makes. The file of its first argument says `prologue` or `missing`
when it doesn't come to that. A program that is named by its path may start others that lie beside it (Toil does)."""


def prologued(argv: List[str], stage: str, prologue: str, first: str = "") -> List[str]:
    """The command that runs another one after a prologue.

    Args:
        stage: a file that says what went wrong before that.
        prologue: text for bash.
        first: a directory whose programs come before all others.
    """
    return ["bash", "-c", _UNDER_PROLOGUE, "bash", stage, prologue, first, *argv]


class Called:
    """How a short command ended: status (None when it didn't in time or couldn't be started), stdout, stderr. `stage`
    is `prologue` when that failed or didn't end, and `missing` when the command wasn't found after it."""

    def __init__(
        self,
        argv: List[str],
        prologue: Optional[str] = None,
        timeout: float = 10.0,
        variables: Optional[Dict[str, str]] = None,
    ) -> None:
        self.status: Optional[int] = None
        self.stdout = self.stderr = b""
        self.stage: Optional[str] = None
        with contextlib.ExitStack() as stack:
            stage = os.devnull
            if prologue:
                with contextlib.suppress(OSError):
                    stage = stack.enter_context(tempfile.NamedTemporaryFile(prefix=".hpcwaas-", delete=False)).name
                    stack.callback(self._read_stage, stage)
            self._run(argv if not prologue else prologued(argv, stage, prologue), argv[0], timeout, variables)

    def _read_stage(self, path: str) -> None:
        with contextlib.suppress(OSError):
            with open(path) as file:
                self.stage = file.read() or None
            os.unlink(path)

    def _run(self, command: List[str], program: str, timeout: float, variables: Optional[Dict[str, str]]) -> None:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                env=dict(os.environ, **(variables or {})),
            )
        except OSError as error:
            self.status = 127
            self.stderr = f"{program}: {error.strerror}".encode()
            return
        try:
            self.stdout, self.stderr = process.communicate(timeout=timeout)
            self.status = process.returncode
        except subprocess.TimeoutExpired:
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            self.stderr = f"{program} gave no answer within {timeout:g} seconds".encode()

    def words(self) -> str:
        """What it wrote to standard error: its errors if it calls them so, else the first line."""
        lines = [clean(line).strip() for line in self.stderr.decode(errors="replace").splitlines()]
        errors = [line for line in lines if re.match(r"\w+: error: \S", line)] or [line for line in lines if line][:1]
        told = "; ".join(re.sub(r"^\w+: (?:error: )?", "", line).strip() for line in errors)
        return told[:500] or f"it ended with status {self.status}"


_EPOCHS = {"SLURM_TIME_FORMAT": "%s"}
"""Has Slurm write times as seconds: in words they are in a zone that it doesn't name."""


def commands(order: Dict[str, JSON], prologue: Optional[str], always: bool) -> Dict[str, JSON]:
    """Runs commands side by side, each for ten seconds at most.

    Args:
        prologue: text of the site's.
        always: whether the prologue is for all of them, or for those that aren't found without it.
    """
    answers: Dict[str, JSON] = {}

    def run(name: str, argv: List[str]) -> None:
        wanted = prologue if always or not shutil.which(argv[0]) else None
        called = Called(argv, wanted, variables=_EPOCHS)
        texts = {"stdout": called.stdout.decode(errors="replace"), "stderr": called.stderr.decode(errors="replace")}
        answers[name] = dict(texts, status=called.status, **({"stage": called.stage} if called.stage else {}))

    threads = [threading.Thread(target=run, args=item) for item in (order.get("commands") or {}).items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers
