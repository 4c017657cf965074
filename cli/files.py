"""`waas files`."""

from __future__ import annotations

from pathlib import Path

import click

from . import output
from .commands import Group, owner_option
from .complete import complete_file
from .errors import UsageError
from .many import each
from .state import State, pass_state
from .text import show_time, size
from .urls import path


@click.group(cls=Group, name="files", aliases=("file",))
@click.pass_context
def command(ctx: click.Context) -> None:
    """Upload files that are used as inputs. `workflows trigger -i NAME=@FILE` does it on the way.

    Examples:
      waas files upload notes.txt
      waas files list
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@command.command("upload", aliases=("up", "put"))
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path))
@pass_state
def upload(state: State, paths: tuple[Path, ...]) -> None:
    """Upload files; directories are packed first.

    The id that is printed for each is used as an input: `-i texts=ID`.

    Examples:
      waas files upload notes.txt more.txt
      id=$(waas files upload notes.txt -o json | jq -r '.[0].id')
    """
    from .uploads import Uploader

    missing = [str(local) for local in paths if not local.exists()]
    if missing:
        raise UsageError(f"There is no {', '.join(missing)}. Nothing was uploaded.")
    uploader = Uploader(state.client)
    made = []
    for local in paths:
        made.append(uploader.upload(local))
        if not state.json:
            output.table(("File ID", "Name", "Size"), [(made[-1]["id"], made[-1]["name"], size(made[-1]["size"]))])
    if state.json:
        output.json(made)


@command.command("list", aliases=("ls", "l"))
@click.option(
    "--limit", metavar="N", type=click.IntRange(1, 1000), default=50, show_default=True, help="At most so many."
)
@click.option("--all", "everything", is_flag=True, help="All of them.")
@owner_option
@pass_state
def list_files(state: State, limit: int, everything: bool, owner: str | None) -> None:
    """List your uploads, newest first. With --owner, the last column is the owner.

    Example:
      waas files list --all
    """
    wanted = {"limit": 1000 if everything else limit, "owner": owner}
    found = list(state.client.pages("/files", "files", everything=everything, **wanted))
    if state.json:
        output.json(found)
    elif not found:
        state.note("No files found.")
    else:
        output.table(
            ("File ID", "Name", "Size", "Uploaded", *(["Owner"] if owner else [])),
            (
                (
                    file["id"],
                    file["name"],
                    size(file["size"]),
                    show_time(file["created_at"]),
                    *([file["owner"]] if owner else []),
                )
                for file in found
            ),
        )


@command.command("delete", aliases=("del", "rm"))
@click.argument("ids", metavar="FILE_ID...", nargs=-1, required=True, shell_complete=complete_file)
@pass_state
def delete(state: State, ids: tuple[str, ...]) -> None:
    """Delete uploads. Executions that were started with them keep their own copy.

    Example:
      waas files delete FILE_ID
    """
    each(
        state,
        ids,
        lambda one: state.client.request("DELETE", path("files", one)),
        done="Deleted file",
        fail="delete file",
    )
