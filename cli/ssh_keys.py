"""`waas ssh_keys`."""

from __future__ import annotations

from typing import Any

import click

from . import output
from .commands import Group, owner_option
from .complete import complete_ssh_key
from .errors import UsageError
from .many import each
from .state import State, pass_state
from .text import compact, show_time
from .urls import path


@click.group(cls=Group, name="ssh_keys", aliases=("keys", "key", "k"))
@click.pass_context
def command(ctx: click.Context) -> None:
    """Make SSH keys for your HPC accounts. Their private halves never leave the service's vault.

    Examples:
      waas ssh_keys key-gen --name marenostrum
      waas ssh_keys show KEY_ID
      waas ssh_keys rotate KEY_ID
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@command.command("key-gen", aliases=("gen", "gen-key", "g"))
@click.option("--type", "kind", type=click.Choice(["ed25519", "rsa", "ecdsa"]), help="Kind of key. [default: ed25519]")
@click.option("-b", "--bits", metavar="N", type=int, help="rsa: 3072 or 4096; ecdsa: 256, 384 or 521.")
@click.option("-n", "--name", help="Your name for it.")
@click.option("-c", "--comment", help="End of the public line. [default: the name, else your user id]")
@click.option("-m", "--metadata", metavar="NAME=VALUE", multiple=True, help="Your own words about it; may be repeated.")
@pass_state
def key_gen(
    state: State, kind: str | None, bits: int | None, name: str | None, comment: str | None, metadata: tuple[str, ...]
) -> None:
    """Make a new SSH key pair.

    The private half stays in the service's vault and is never shown. Add the public half that is printed to the file
    ~/.ssh/authorized_keys of your account on every system where your workflows are to run.

    Examples:
      waas ssh_keys key-gen --name marenostrum -m project=climate
      waas ssh_keys key-gen --type rsa --bits 4096
    """
    words = _metadata(metadata)
    wanted = {"type": kind, "bits": bits, "name": name, "comment": comment, "metadata": words}
    body = {member: value for member, value in wanted.items() if value}
    key = state.client.ask("POST", "/ssh_keys", json=body)
    if state.json:
        output.json(key)
        return
    for warning in key.get("warnings") or ():
        state.note(f"WARNING: {warning}")
    output.line("INFO: Below is your newly generated SSH public key.")
    output.line(
        "INFO: You are responsible for adding it to the authorized_keys file on the systems you want to run your "
        "workflows."
    )
    output.line(f"INFO: SSH key ID:     {key['id']}")
    output.line(f"INFO: SSH Public key: {key['public_key'].strip()}")


def _metadata(arguments: tuple[str, ...]) -> dict[str, str]:
    """`a=b` and `a=b,c=d`; a comma splits only where a name and `=` follow every one."""
    words: dict[str, str] = {}
    for argument in arguments:
        parts = argument.split(",")
        for part in parts if all("=" in one for one in parts) else [argument]:
            name, sign, value = part.partition("=")
            if not sign or not name:
                raise UsageError(f"--metadata {argument!r}: expected NAME=VALUE.")
            if name in words:
                raise UsageError(f"--metadata {name}: it has one value, and is given twice.")
            words[name] = value
    return words


@command.command("list", aliases=("ls", "l"))
@owner_option
@pass_state
def list_keys(state: State, owner: str | None) -> None:
    """List your SSH keys, newest first. With --owner, the last column is the owner.

    Example:
      waas ssh_keys list
    """
    found: list[dict[str, Any]] = state.client.get_json("/ssh_keys", owner=owner).get("ssh_keys") or []
    if state.json:
        output.json(found)
    elif not found:
        state.note("No SSH keys found.")
    else:
        output.table(
            ("Key ID", "Name", "Type", "Fingerprint", "Made", *(["Owner"] if owner else [])),
            (
                (
                    key["id"],
                    key.get("name"),
                    _type(key),
                    key["fingerprint"],
                    show_time(key["created_at"]),
                    *([key["owner"]] if owner else []),
                )
                for key in found
            ),
        )


def _type(key: dict[str, Any]) -> str:
    return f"{key['type']} {key['bits']}" if key.get("bits") else str(key["type"])


@command.command("show", aliases=("get",))
@click.argument("key_id", shell_complete=complete_ssh_key)
@click.option("--from", "sources", metavar="LIST", help="Add from=: who may log in with it, separated by commas.")
@click.option("--restrict", is_flag=True, help="Add restrict: no terminal, no forwarding.")
@pass_state
def show(state: State, key_id: str, sources: str | None, restrict: bool) -> None:
    """Print the public half of an SSH key as a line for authorized_keys.

    `-o json` tells the rest: type, fingerprint, owner, metadata, times, public halves that it has replaced.

    Examples:
      waas ssh_keys show KEY_ID
      waas ssh_keys show KEY_ID --restrict --from 192.0.2.0/24
      waas ssh_keys show KEY_ID | ssh me@login.example.org 'cat >> ~/.ssh/authorized_keys'
    """
    if not (sources or restrict):
        key = state.client.get_json(path("ssh_keys", key_id))
        if state.json:
            output.json(key)
        else:
            output.line(compact(key["public_key"]))
        return
    if state.json:
        raise UsageError("--from and --restrict are for the line alone: leave out -o json.")
    options = {"restrict": "true" if restrict else None, "from": sources}
    answer = state.client.request(
        "GET",
        path("ssh_keys", key_id),
        params={name: value for name, value in options.items() if value},
        headers={"Accept": "text/plain"},
    )
    output.line(compact(answer.text))


@command.command("rotate", aliases=("renew",))
@click.argument("key_id", shell_complete=complete_ssh_key)
@pass_state
def rotate(state: State, key_id: str) -> None:
    """Exchange an SSH key for a new one under the same id.

    Workflows that name the key go on, with the new private half: add the new public half to authorized_keys at once,
    then say so with `waas ssh_keys confirm`.

    Example:
      waas ssh_keys rotate KEY_ID
    """
    key = state.client.ask("POST", path("ssh_keys", key_id, "rotate"))
    if state.json:
        output.json(key)
        return
    output.line("INFO: Add this new public key to authorized_keys, then run")
    output.line(f"INFO: waas ssh_keys confirm {key_id}")
    output.line(f"INFO: SSH Public key: {compact(key['public_key'])}")
    for half in key["replaced"]:
        output.line(f"INFO: It replaces:    {compact(half['public_key'])}")


@command.command("confirm")
@click.argument("key_id", shell_complete=complete_ssh_key)
@pass_state
def confirm(state: State, key_id: str) -> None:
    """Say that the new public half of a rotated key is installed. Replaced ones aren't shown any more then.

    Example:
      waas ssh_keys confirm KEY_ID
    """
    replaced = state.client.get_json(path("ssh_keys", key_id))["replaced"]
    key = state.client.ask("POST", path("ssh_keys", key_id, "confirm"))
    if state.json:
        output.json(key)
        return
    output.line(f'SUCCESS: Confirmed SSH key "{key_id}"')
    for half in replaced:
        output.line(f"INFO: Remove from authorized_keys: {compact(half['public_key'])}")


@command.command("delete", aliases=("del", "rm"))
@click.argument("ids", metavar="KEY_ID...", nargs=-1, required=True, shell_complete=complete_ssh_key)
@click.option("--force", is_flag=True, help="Also while executions that use it haven't ended.")
@pass_state
def delete(state: State, ids: tuple[str, ...], force: bool) -> None:
    """Destroy SSH keys. Remember to take their public halves out of authorized_keys.

    Example:
      waas ssh_keys delete KEY_ID
    """
    each(
        state,
        ids,
        lambda one: state.client.request("DELETE", path("ssh_keys", one), params={"force": "true"} if force else None),
        done="Deleted SSH key",
        fail="delete SSH key",
    )
