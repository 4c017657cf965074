"""`waas files`."""

from __future__ import annotations

from pathlib import Path

import click

from ..api import answers, calls
from ..base import MOST_LISTED, Group, links_option, owner_option, page_options
from ..errors import UsageError, WaasError
from ..id_completion import complete_file
from ..many import each
from ..shaping import Columns
from ..state import State, pass_state
from ..text import show_time, size

_COLUMNS: Columns = {
    "File ID": "id",
    "Name": "name",
    "Size": lambda file: size(file["size"]),
    "Uploaded": lambda file: show_time(file["created_at"]),
}

command = Group(
    "files",
    aliases=("file",),
    help="""Upload files that are used as inputs.

    `waas workflows trigger -i NAME=@FILE` uploads a file and uses it in one go.

    Examples:
      waas files upload notes.txt
      waas files list
    """,
)


@command.command("upload", aliases=("up", "put"))
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--companion",
    "companions",
    metavar="FILE",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Upload FILE too, such as an index, to be found beside the one PATH; may be repeated.",
)
@links_option
@pass_state
def upload(state: State, paths: tuple[Path, ...], companions: tuple[Path, ...], links: str) -> None:
    """Upload files and directories. A directory is packed into an archive first.

    An id is printed for each. Use it as an input: `-i texts=ID`. What the file `.waasignore` in a directory names, in
    the words of `.gitignore`, isn't uploaded.

    With --companion the id brings the companions along: an execution that is given `-i reads=ID` finds them beside the
    file. They are deleted with it.

    Examples:
      waas files upload notes.txt more.txt
      waas files upload sample.bam --companion sample.bam.bai
      id=$(waas files upload notes.txt -o json | jq -r '.[0].id')
    """
    from ..uploads import Uploader

    missing = [str(local) for local in (*paths, *companions) if not local.exists()]
    if missing:
        raise UsageError(f"No such file or directory: {', '.join(missing)}. Nothing was uploaded.")
    if companions and len(paths) > 1:
        raise UsageError("--companion goes with one file at a time. Nothing was uploaded.")
    uploader = Uploader(state.client, links=links, note=state.note)
    made: list[answers.File] = []
    try:
        for local in paths:
            uploaded = uploader.upload(local)
            made.append(uploaded)
        for local in companions:
            uploaded = uploader.upload(local, made[0]["id"])
            made.append(uploaded)
    except WaasError:
        if companions:  # half of what belongs together helps nobody
            uploader.take_back()
            made.clear()
        raise
    finally:
        if made and not state.wants_json:
            state.show_list(made, {name: _COLUMNS[name] for name in ("File ID", "Name", "Size")}, empty="")
    state.prints_json(made)


@command.command("list", aliases=("ls", "l"))
@page_options
@owner_option
@pass_state
def list_files(state: State, limit: int, everything: bool, owner: str | None) -> None:
    """List your uploads, the newest first. With --owner, the last column is the owner.

    Example:
      waas files list --all
    """
    first = calls.list_files(owner, MOST_LISTED if everything else limit)
    found = list(state.client.pages(first, "files", everything=everything))
    state.show_list(found, _COLUMNS, empty="No files found.", owner=owner is not None)


@command.command("delete", aliases=("del", "rm"))
@click.argument("ids", metavar="FILE_ID...", nargs=-1, required=True, shell_complete=complete_file)
@pass_state
def delete(state: State, ids: tuple[str, ...]) -> None:
    """Delete uploads. Executions that were started with them keep their own copies.

    Example:
      waas files delete FILE_ID
    """

    def act(one: str) -> None:
        state.client.call(calls.delete_file(one))

    each(state, ids, act, done="Deleted file", fail="delete file")
