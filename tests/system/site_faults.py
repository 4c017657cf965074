"""What may go wrong on a site, done to a real one for as long as a block lasts."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from examples.slurm.logins import Login
from tests.system.slurm_site import Site


@contextlib.contextmanager
def another_host_key(site: Site) -> Iterator[None]:
    """With another host key than the pinned one."""
    kept = site.directory / "kept"
    shutil.copytree(site.directory / "ssh", kept)
    site.make_host_key()
    site.start_sshd()
    site.cut_connections()
    try:
        yield
    finally:
        shutil.copytree(kept, site.directory / "ssh", dirs_exist_ok=True)
        shutil.rmtree(kept)
        site.start_sshd()
        site.cut_connections()


@contextlib.contextmanager
def authorized(site: Site, change: Callable[[str], str], login: Login | None = None) -> Iterator[None]:
    """With other lines in `authorized_keys`."""
    login = login or site.alice
    before = login.authorized_keys.read_text()
    login.authorize(*change(before).splitlines())
    site.cut_connections(login)
    try:
        yield
    finally:
        login.authorize(*before.splitlines())
        site.cut_connections(login)


@contextlib.contextmanager
def account(site: Site, change: str, back: str, login: Login | None = None) -> Iterator[None]:
    """With another entry of the account in the system's list."""
    login = login or site.alice
    subprocess.run(["usermod", *change.split(" "), login.name], check=True)
    site.cut_connections(login)
    try:
        yield
    finally:
        subprocess.run(["usermod", *back.split(" "), login.name], check=True)
        site.cut_connections(login)


@contextlib.contextmanager
def sshd(site: Site, **options: str) -> Iterator[None]:
    """With other settings of the SSH server."""
    before = dict(site.sshd_options)
    site.start_sshd(**options)
    site.cut_connections()
    try:
        yield
    finally:
        site.sshd_options = before
        site.start_sshd()
        site.cut_connections()


@contextlib.contextmanager
def profile(site: Site, text: str) -> Iterator[None]:
    """With something in the file that each command's shell reads first."""
    path = site.alice.write(".bashrc", text)
    try:
        yield
    finally:
        path.unlink()


def _work_directory(login: Login) -> Path:
    """The work directory, made if need be."""
    place = login.home / ".hpcwaas"
    place.mkdir(0o700, exist_ok=True)
    os.chown(place, login.uid, login.uid)
    return place


@contextlib.contextmanager
def disk(site: Site, options: str) -> Iterator[None]:
    """With a small file system of its own for the work directory."""
    place = _work_directory(site.alice)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"uid={site.alice.uid},{options}", "tmpfs", place], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", place], check=True)


@contextlib.contextmanager
def home(login: Login, mib: int) -> Iterator[None]:
    """With a small file system of its own for the home, in which there is nothing but the keys."""
    keys = login.authorized_keys.read_text()
    options = f"uid={login.uid},gid={login.uid},mode=700,size={mib}m"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", login.home], check=True)
    try:
        login.authorize(*keys.splitlines())
        yield
    finally:
        subprocess.run(["umount", "-l", login.home], check=True)


def remount(login: Login, option: str) -> None:
    """Changes how such a home is mounted: `ro`, `rw`, `size=64m`."""
    subprocess.run(["mount", "-o", f"remount,{option}", login.home], check=True)


@contextlib.contextmanager
def not_mine(site: Site) -> Iterator[None]:
    """With a work directory that belongs to somebody else."""
    place = _work_directory(site.alice)
    with contextlib.ExitStack() as stack:
        for each in [place, *(path for path in place.rglob("*") if path.is_dir())]:
            shutil.chown(each, "root")
            each.chmod(0o755)
            stack.callback(shutil.chown, each, site.alice.name)
        yield


@contextlib.contextmanager
def stopped(site: Site, daemon: str) -> Iterator[None]:
    """With a server that doesn't run."""
    server = getattr(site, daemon)
    server.stop()
    try:
        yield
    finally:
        server.start()


@contextlib.contextmanager
def frozen(site: Site, daemon: str) -> Iterator[None]:
    """With a server that takes connections and doesn't answer."""
    server = getattr(site, daemon)
    server.freeze()
    try:
        yield
    finally:
        server.thaw()


def freeze(site: Site, login: Login) -> None:
    """Has the connections of an account that there are give no sign of life any more."""
    for number in site.sessions(login):
        os.kill(number, signal.SIGSTOP)


@contextlib.contextmanager
def over_quota(site: Site, mib: int, login: Login) -> Iterator[None]:
    """With a quota on the work directory, which is a file system of its own for that."""
    place = _work_directory(login)
    image, top = site.directory / "quota.img", site.directory / "quota"
    with image.open("wb") as stream:
        stream.truncate(120 << 20)
    top.mkdir(exist_ok=True)
    for command in (
        f"mkfs.btrfs -q {image}",
        f"mount -o loop {image} {top}",
        f"btrfs quota enable {top}",
        f"btrfs subvolume create {top}/home",
        f"btrfs qgroup limit {mib}M {top}/home",
        f"chown {login.uid} {top}/home",
        f"mount --bind {top}/home {place}",
    ):
        subprocess.run(command.split(), check=True, capture_output=True)
    try:
        yield
    finally:
        for mounted in (place, top):
            subprocess.run(["umount", "-l", mounted], check=True)
        image.unlink()


def stranger(site: Site) -> socket.socket:
    """Somebody who knocks, and says nothing."""
    return socket.create_connection(("127.0.0.1", site.port))
