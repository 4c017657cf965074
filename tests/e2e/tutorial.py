"""Runs a page as its reader would: writes the files that it shows, and types its commands, in the order of the page.

What a page shows is taken as it stands:

- a block with a file's name as title is written to that file;
- in a block of `console`, `$ ` begins a command, and what follows is expected in its output: these lines in this order,
  with anything between them. `…` stands for anything. Ids, which are others each time, fit each other;
- lines that end in `:` and begin with "Password" or "Again" are prompts: the command gets a terminal, and is answered;
- a command may fail only if the next one is `echo $?`;
- a block of `console` with a title is another terminal, whose command goes on while the page does.
"""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

PASSWORD = "correct horse battery staple"
PATIENCE = 300
_BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
_ID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_PROMPT = re.compile(r"(?:Password|Again)\b.*:$")
_ASKED_AGAIN = re.compile(r"(?:waas workflows (?:list|problems|show)|curl|hpcwaas-api .* user list)\b")
"""What shows how things are: a reader who is too early types it again."""
_CONTROLLING = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvp(sys.argv[1], sys.argv[1:])"
)


@dataclass(frozen=True)
class Command:
    """A command of a page, and the lines that the page shows below it."""

    text: str
    expected: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Block:
    """A block of a page: a file, or commands."""

    language: str
    title: str | None
    text: str

    @property
    def commands(self) -> list[Command]:
        found: list[Command] = []
        for line in self.text.splitlines():
            if line.startswith("$ "):
                found.append(Command(line.removeprefix("$ ")))
            elif line.strip() not in ("", "…"):
                found[-1].expected.append(line)
        return found


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page."""
    return [Block(*found) for found in _BLOCK.findall(page.read_text(encoding="utf-8"))]


class Reader:
    """Somebody who follows a page.

    Args:
        folder: where they are, with an empty home in it.
        environment: of all their commands.
        replaced: what is another here than on the page, such as a port that may be taken.
        after: what is done after some commands, so that others have less to do.
    """

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str],
        replaced: Mapping[str, str],
        after: Mapping[str, Callable[[], None]],
    ) -> None:
        self.folder = folder
        self.environment = dict(environment)
        self.replaced = replaced
        self.after = after
        self.status = 0
        self.said: list[str] = []
        self._kept = folder / ".exported"
        self._kept.touch()

    def follow(self, page: Path) -> None:
        """Does all that a page says."""
        with contextlib.ExitStack() as open_terminals:
            for block in blocks(page):
                if block.language == "console" and block.title:
                    open_terminals.enter_context(self._going_on(block.commands[0]))
                elif block.language == "console":
                    for command in block.commands:
                        self._type(command)
                elif block.title:
                    self._save(block.title, block.text)
            assert self.status == 0, f"the last command failed: {self.said[-1]}"

    def _save(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self._here(text), encoding="utf-8")

    def _here(self, text: str) -> str:
        for there, here in self.replaced.items():
            text = text.replace(there, here)
        return text

    def _type(self, command: Command) -> None:
        assert self.status == 0 or command.text == "echo $?", f"failed with {self.status}: {self.said[-1]}"
        deadline = time.monotonic() + PATIENCE
        before = self.status
        prompts = [line for line in command.expected if _PROMPT.fullmatch(line)]
        while True:
            self.status, output = self._run(command, before, len(prompts))
            missing = first_missing(map(self._here, command.expected), output)
            self.said.append(f"$ {command.text}\n{output}")
            if missing is None:
                if command.text in self.after:
                    self.after[command.text]()
                return
            again = _ASKED_AGAIN.match(command.text) and time.monotonic() < deadline
            assert again, f"{missing!r} isn't in what was said:\n{self.said[-1]}"
            time.sleep(0.3)

    def _run(self, command: Command, status: int, prompts: int) -> tuple[int, str]:
        """Runs a command in a shell that goes on where the last one ended."""
        script = (
            f". {self._kept}; cd {self.folder}; set -a; (exit {status})\n{self._here(command.text)}\n"
            f"status=$?; export -p > {self._kept}; exit $status"
        )
        shell = ["bash", "-c", script]
        if prompts:
            return self._at_a_terminal(shell, prompts)
        done = subprocess.run(
            shell,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return done.returncode, done.stdout

    def _at_a_terminal(self, shell: list[str], prompts: int) -> tuple[int, str]:
        ours, theirs = pty.openpty()
        said = b""
        with subprocess.Popen(
            [sys.executable, "-c", _CONTROLLING, *shell],
            env=self.environment,
            start_new_session=True,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        ) as process:
            os.close(theirs)
            with contextlib.suppress(OSError):  # at its end, on Linux
                while chunk := os.read(ours, 4096):
                    said += chunk
                    if prompts and said.endswith(b": "):  # the blank comes last: before, what is typed is thrown away
                        os.write(ours, PASSWORD.encode() + b"\n")
                        said += b"\n"
                        prompts -= 1
            os.close(ours)
        return process.returncode, said.decode()

    @contextlib.contextmanager
    def _going_on(self, command: Command) -> Iterator[None]:
        """Runs a command in a terminal of its own until the page is over; given once it has said what is expected."""
        written = self.folder / ".terminal"
        with (
            written.open("wb") as output,
            subprocess.Popen(
                ["bash", "-c", command.text],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            ) as process,
        ):
            try:
                deadline = time.monotonic() + PATIENCE
                while missing := first_missing(map(self._here, command.expected), written.read_text()):
                    said = written.read_text()
                    assert process.poll() is None, f"{command.text} has ended:\n{said}"
                    assert time.monotonic() < deadline, f"{missing!r} isn't in what was said:\n{said}"
                    time.sleep(0.1)
                yield
            finally:
                os.killpg(process.pid, signal.SIGINT)
                process.wait(PATIENCE)


def first_missing(expected: Iterable[str], output: str) -> str | None:
    """The first of the expected lines that doesn't come after those before it."""
    lines = iter(output.splitlines())
    for line in expected:
        pattern = re.compile(_pattern(line))
        if not any(pattern.search(said) for said in lines):
            return line
    return None


def _pattern(line: str) -> str:
    """A line of a page: `…` is anything, blanks are blanks, ids are ids."""
    parts = re.split(rf"(\s*…\s*|\s+|{_ID})", line.strip())
    wild = (
        ".*" if part.strip() == "…" else r"\s+" if part.isspace() else _ID if re.fullmatch(_ID, part) else ""
        for part in parts
    )
    return "".join(found or re.escape(part) for found, part in zip(wild, parts, strict=True))
