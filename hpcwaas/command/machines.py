"""Commands on the machines that share a directory."""

from __future__ import annotations

import click

from hpcwaas.command.common import read_settings, reporting, settings_flags, table


@click.group()
def machines() -> None:
    """See the machines that share `shared_dir`, and give up one that never comes back."""


@machines.command("list")
@settings_flags
def list_machines() -> None:
    """List the machines: their names, whether they live, and how many executions wait or run there."""
    from hpcwaas.engines.cwl.storage.machines import find

    with reporting():
        rows = [
            (each.name, "yes" if each.alive else "no", f"{each.heard:%Y-%m-%d %H:%M:%S}", str(each.executions))
            for each in find(read_settings().settings.shared / "cwl")
        ]
        click.echo(table(("NAME", "LIVES", "LAST HEARD (UTC)", "EXECUTIONS"), rows))


@machines.command()
@click.argument("name")
@settings_flags
def retire(name: str) -> None:
    """Give up the machine NAME, which never comes back.

    Its executions that haven't begun are taken by other machines within seconds, and those that ran there are FAILED.
    Make sure that it is off: what goes on there all the same is not stopped.
    """
    from hpcwaas.engines.cwl.storage import machines as storage

    with reporting():
        moved = storage.retire(read_settings().settings.shared / "cwl", name)
        click.echo(f"{name}: given up. {moved} executions are left to the other machines.")
