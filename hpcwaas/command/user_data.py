"""The commands `hpcwaas-api user export` and `user remove`: everything that is kept of somebody."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpcwaas.command.accounts import Accounts, open_accounts, refuse_settled
from hpcwaas.command.common import harmless, reporting, settings_flags

if TYPE_CHECKING:
    from hpcwaas.core.models import Execution

_ABOUT = """What the Workflow Execution Service keeps of the user {name}, as of {now}.

users.json         the account
sessions.json      sign-ins that go on; without their secrets, as in the next file
tokens.json        access tokens
terms.json         terms of use that were accepted
accounts.json      login names on sites
ssh_keys.json      public halves of SSH keys. Private halves are in the vault, from where nobody takes them out
idempotency.json   keys of requests of the last 24 hours
shared.json        ids of executions of others that are shared with the user by name
uploads.json       uploaded files; uploads/ID/NAME has their content
executions/ID/     each execution as the API shows it, with whom it is shared, and its files on this machine
audit.jsonl        records of what the user did, and of what others did with things of theirs

Not here: outputs of executions on sites, which lie in the user's own account there ("directory" of execution.json),
what Alien4Cloud and Yorc keep of executions, and the log of the service.
{missing}"""


@click.command()
@click.argument("name")
@click.argument("directory", type=click.Path(path_type=Path))
@settings_flags
def export(name: str, directory: Path) -> None:
    """Write everything that the service holds about NAME into DIRECTORY, as files.

    The directory is made, for your account only; it must not exist, or be empty. The service may run meanwhile. The
    file README.txt there says what each file is, and what isn't there.
    """
    with reporting(), open_accounts() as accounts:
        from hpcwaas.errors import BadRequest, NotFound

        if accounts.users.find(name) is None and not any(accounts.leavers.counts(name).values()):
            raise NotFound(f"Nothing is kept of a user {name}.")
        try:
            directory.mkdir(parents=True, exist_ok=True)
            directory.chmod(0o700)
            if any(directory.iterdir()):
                raise BadRequest(f"{directory} isn't empty.")
            missing = _write(accounts, name, directory)
        except OSError as error:
            raise BadRequest(f"{error.filename or directory} can't be written: {error.strerror or error}") from error
        accounts.audit.record_command("user export", name)
        click.echo(f"{name}: written to {directory}")
        for line in missing:
            click.echo(f"hpcwaas-api: {line}", err=True)


def _write(accounts: Accounts, name: str, directory: Path) -> list[str]:
    """Writes it. Sentences on what couldn't be."""
    missing: list[str] = []
    rows = accounts.leavers.rows(name)
    for kind, found in rows.items():
        _put(directory / f"{kind}.json", found)
    _put(directory / "shared.json", accounts.leavers.given(name))
    files = accounts.effective.settings.shared / "files"
    for number, upload in enumerate(rows["uploads"], 1):
        target = directory / "uploads" / str(upload["id"]) / str(upload["name"])
        target.parent.mkdir(parents=True)
        _copy(files / str(upload["id"]), target, f"The content of upload {number}, {upload['id']},", missing)
    for execution in _executions(accounts, name):
        _write_execution(accounts, execution, directory / "executions" / execution.id, missing)
    with (directory / "audit.jsonl").open("w") as audit:
        audit.writelines(_records(accounts.effective.settings.audit_file, name))
    said = "\n".join(["", "Missing:", *missing, ""]) if missing else ""
    about = _ABOUT.format(name=harmless(name), now=datetime.now(UTC).isoformat(timespec="seconds"), missing=said)
    (directory / "README.txt").write_text(about)
    return missing


def _write_execution(accounts: Accounts, execution: Execution, directory: Path, missing: list[str]) -> None:
    from hpcwaas.api import views
    from hpcwaas.engines.registry import registry

    directory.mkdir(parents=True)
    shares = accounts.shares.shares_of(execution.id)
    shown = {**views.execution(execution), "shared_with": {"users": [*shares.users], "groups": [*shares.groups]}}
    _put(directory / "execution.json", shown)
    if execution.reference is not None:
        settings = accounts.effective.settings
        places = (settings.data_dir, settings.shared)
        for name, path in registry().kept(execution.engine, *places, execution.reference).items():
            _copy(path, directory / name, f"{name} of the execution {execution.id}", missing)


def _executions(accounts: Accounts, name: str) -> Iterator[Execution]:
    from hpcwaas.core.models import ExecutionFilter
    from hpcwaas.errors import NotFound

    cursor: str | None = None
    while True:
        page, cursor = accounts.executions.page(ExecutionFilter(owner=name), 200, cursor)
        for summary in page:
            try:
                yield accounts.executions.find_execution(summary.id, name)
            except NotFound:  # removed meanwhile
                continue
        if cursor is None:
            return


def _records(audit: Path, name: str) -> Iterator[str]:
    """The records of the audit, also of what was moved aside, that are about somebody."""
    aside = [path for path in audit.parent.glob(f"{audit.name}[.-]*") if path.is_file()]
    for path in [*sorted(aside, key=lambda path: path.stat().st_mtime), *([audit] if audit.exists() else [])]:
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
            for line in lines:
                try:
                    act = json.loads(line)
                except ValueError:
                    continue
                if isinstance(act, dict) and name in (act.get("who"), act.get("owner")):
                    yield line


def _copy(source: Path, target: Path, what: str, missing: list[str]) -> None:
    try:
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True)
        else:
            shutil.copyfile(source, target, follow_symlinks=False)
    except (OSError, shutil.Error) as error:
        reason = getattr(error, "strerror", None) or "some of it can't be read"
        missing.append(f"{what} couldn't be written: {reason}.")


def _put(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False, default=_plain) + "\n")


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, frozenset | set):
        return sorted(value)
    if isinstance(value, Mapping):
        return dict(value)
    from pydantic_core import to_jsonable_python

    return to_jsonable_python(value)


@click.command()
@click.argument("name")
@click.option("--yes", "-y", is_flag=True, help="Don't ask.")
@settings_flags
def remove(name: str, yes: bool) -> None:
    """Remove NAME and everything that is kept of them, for good.

    NAME is shut out at once, as by `user suspend`. Then the running service ends their executions and removes these
    with their files here and on sites, their uploads, SSH keys, accounts on sites and shares, and the account itself.
    Until that is done `user list` shows it, and this command, given again, tells what is left. Records of the audit
    stay for as long as the audit is kept, and so does what Alien4Cloud and Yorc keep of executions.

    A user of single sign-on who is still let in by the identity provider can sign in again later, to a new account.
    """
    with reporting(), open_accounts() as accounts:
        from hpcwaas.errors import BadRequest, NotFound

        refuse_settled(accounts.effective, name)
        before = accounts.users.find(name)
        counts = accounts.leavers.counts(name)
        if before is None and not any(counts.values()):
            raise NotFound(f"Nothing is kept of a user {name}.")
        begun = before is not None and before.leaving_since is not None
        question = f"Remove {harmless(name)} with {_said(counts)}? Nobody can bring that back."
        if not begun and not yes and not click.confirm(question, err=True):
            raise BadRequest("Nothing was removed.")
        accounts.leavers.leave(name, datetime.now(UTC))
        if not begun:
            accounts.audit.record_command("user remove", name)
        how = "is being removed; still there:" if begun else "shut out; the service removes"
        click.echo(f"{name}: {how} {_said(counts)}")
        for problem in _problems(accounts, name):
            click.echo(f"hpcwaas-api: {problem}", err=True)
        click.echo(
            "hpcwaas-api: what the audit has recorded of them stays for as long as the audit is kept "
            "(setting retention.audit)",
            err=True,
        )


def _said(counts: Mapping[str, int]) -> str:
    words = (("executions", "execution"), ("uploads", "upload"), ("ssh_keys", "SSH key"))
    return ", ".join(f"{counts[name]} {word}{'' if counts[name] == 1 else 's'}" for name, word in words)


def _problems(accounts: Accounts, name: str) -> Iterator[str]:
    from hpcwaas.core.models import ExecutionFilter

    page, _ = accounts.executions.page(ExecutionFilter(owner=name), 100)
    for execution in page:
        if execution.removal_problem:
            yield f"execution {execution.id}: {execution.removal_problem}"
