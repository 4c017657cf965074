"""`waas ssh_keys`."""

from __future__ import annotations

from typing import cast

import click

from .. import printing
from ..api import answers, calls
from ..base import Group, owner_option
from ..errors import UsageError
from ..id_completion import complete_ssh_key
from ..many import each
from ..shaping import Columns
from ..state import State, pass_state
from ..text import compact, show_time
from ..urls import path

_COLUMNS: Columns = {
    "Key ID": "id",
    "Name": "name",
    "Type": lambda key: f"{key['type']} {key['bits']}" if key.get("bits") else key["type"],
    "Fingerprint": "fingerprint",
    "Created": lambda key: show_time(key["created_at"]),
}

command = Group(
    "ssh_keys",
    aliases=("keys", "key", "k"),
    help="""Create SSH keys for your HPC accounts. Their private halves never leave the service's vault.

    Examples:
      waas ssh_keys key-gen --name marenostrum
      waas ssh_keys show KEY_ID
      waas ssh_keys rotate KEY_ID
    """,
)


@command.command("key-gen", aliases=("gen", "gen-key", "g"))
@click.option("--type", "kind", type=click.Choice(["ed25519", "rsa", "ecdsa"]), help="Type of key. [default: ed25519]")
@click.option("-b", "--bits", metavar="N", type=int, help="Size of the key. rsa: 3072 or 4096; ecdsa: 256, 384 or 521.")
@click.option("-n", "--name", help="Your own name for the key.")
@click.option("-c", "--comment", help="Comment at the end of the public half. [default: the name, or your user id]")
@click.option("-m", "--metadata", metavar="NAME=VALUE", multiple=True, help="A note about the key; may be repeated.")
@pass_state
def key_gen(
    state: State, kind: str | None, bits: int | None, name: str | None, comment: str | None, metadata: tuple[str, ...]
) -> None:
    """Create an SSH key pair.

    The private half stays in the service's vault and is never shown. The public half is printed: add it to the file
    ~/.ssh/authorized_keys of your account on every system where your workflows run.

    Examples:
      waas ssh_keys key-gen --name marenostrum -m project=climate
      waas ssh_keys key-gen --type rsa --bits 4096
    """
    words = _metadata(metadata)
    wanted = {"type": kind, "bits": bits, "name": name, "comment": comment, "metadata": words}
    body = {member: value for member, value in wanted.items() if value}
    key = state.client.call(calls.create_ssh_key(cast(answers.NewSshKey, body)))
    if state.prints_json(key, brief=key["id"]):
        return
    for warning in key.get("warnings") or ():
        state.note(f"WARNING: {warning}")
    printing.line("INFO: Below is your newly generated SSH public key.")
    printing.line(
        "INFO: You are responsible for adding it to the authorized_keys file on the systems you want to run your "
        "workflows."
    )
    printing.line(f"INFO: SSH key ID:     {key['id']}")
    printing.line(f"INFO: SSH Public key: {compact(key['public_key'])}")


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
                raise UsageError(f"--metadata {name} is given twice. Give each name once.")
            words[name] = value
    return words


@command.command("list", aliases=("ls", "l"))
@owner_option
@pass_state
def list_keys(state: State, owner: str | None) -> None:
    """List your SSH keys, the newest first. With --owner, the last column is the owner.

    Example:
      waas ssh_keys list
    """
    found = state.client.call(calls.list_ssh_keys(owner)).get("ssh_keys") or []
    state.show_list(found, _COLUMNS, empty="No SSH keys found.", owner=owner is not None)


@command.command("show", aliases=("get",))
@click.argument("key_id", shell_complete=complete_ssh_key)
@click.option(
    "--from",
    "sources",
    metavar="LIST",
    help="Add the option `from=`: the hosts that may log in with the key, separated by commas.",
)
@click.option("--restrict", is_flag=True, help="Add restrict: no terminal and no forwarding.")
@pass_state
def show(state: State, key_id: str, sources: str | None, restrict: bool) -> None:
    """Print the public half of an SSH key as a line for authorized_keys.

    `-o json` shows the rest as well: type, fingerprint, owner, metadata, times, and the public halves that it has
    replaced.

    Examples:
      waas ssh_keys show KEY_ID
      waas ssh_keys show KEY_ID --restrict --from 192.0.2.0/24
      waas ssh_keys show KEY_ID | ssh me@login.example.org 'cat >> ~/.ssh/authorized_keys'
    """
    if not (sources or restrict):
        key = state.client.call(calls.get_ssh_key(key_id))
        if not state.prints_json(key):
            printing.line(compact(key["public_key"]))
        return
    if state.wants_json:
        raise UsageError("--from and --restrict are for the line that is printed as text: leave out -o json.")
    options = {"restrict": "true" if restrict else None, "from": sources}
    answer = state.client.request(
        "GET",
        path("ssh_keys", key_id),
        params={name: value for name, value in options.items() if value},
        headers={"Accept": "text/plain"},
    )
    printing.line(compact(answer.text))


@command.command("rotate", aliases=("renew",))
@click.argument("key_id", shell_complete=complete_ssh_key)
@pass_state
def rotate(state: State, key_id: str) -> None:
    """Replace an SSH key by a new one with the same id.

    From now on, workflows that name the key use its new private half. So add the new public half to authorized_keys at
    once, then run `waas ssh_keys confirm`.

    Example:
      waas ssh_keys rotate KEY_ID
    """
    key = state.client.call(calls.rotate_ssh_key(key_id))
    if state.prints_json(key):
        return
    printing.line("INFO: Add the new public key to authorized_keys. Then run:")
    printing.line(f"INFO: waas ssh_keys confirm {key_id}")
    printing.line(f"INFO: SSH Public key: {compact(key['public_key'])}")
    for half in key["replaced"]:
        printing.line(f"INFO: It replaces:    {compact(half['public_key'])}")


@command.command("confirm")
@click.argument("key_id", shell_complete=complete_ssh_key)
@pass_state
def confirm(state: State, key_id: str) -> None:
    """Confirm that the new public half of a rotated key is installed. The replaced ones are then forgotten.

    Example:
      waas ssh_keys confirm KEY_ID
    """
    replaced = state.client.call(calls.get_ssh_key(key_id))["replaced"]
    key = state.client.call(calls.confirm_ssh_key(key_id))
    if state.prints_json(key):
        return
    printing.line(f'SUCCESS: Confirmed SSH key "{key_id}"')
    for half in replaced:
        printing.line(f"INFO: Remove from authorized_keys: {compact(half['public_key'])}")


@command.command("delete", aliases=("del", "rm"))
@click.argument("ids", metavar="KEY_ID...", nargs=-1, required=True, shell_complete=complete_ssh_key)
@click.option(
    "--force", is_flag=True, help="Delete it even if unfinished executions use it or it opens accounts on sites."
)
@pass_state
def delete(state: State, ids: tuple[str, ...], force: bool) -> None:
    """Delete SSH keys. This can't be undone. Remember to remove their public halves from authorized_keys.

    Example:
      waas ssh_keys delete KEY_ID
    """

    def act(one: str) -> None:
        state.client.call(calls.delete_ssh_key(one, force=force))

    each(state, ids, act, done="Deleted SSH key", fail="delete SSH key")
