"""Archives that are no backups, or not the ones that were made: nothing of them is believed."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from tests.unit.backup_world import done, members, rebuilt, refused, untouched

pytest_plugins = "tests.unit.backup_fixtures"
pytestmark = pytest.mark.usefixtures("home_of_backups")


def member(
    name: str, kind: bytes = tarfile.REGTYPE, link: str = "", content: bytes = b""
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, len(content)
    return info, content


EVIL = {
    "absolute": [member("/tmp/evil")],
    "dots": [member("files/../../evil")],
    "dot": [member("engines/./x")],
    "empty part": [member("engines//x")],
    "another folder": [member("vault.key")],
    "folder beside": [member("etc/x")],
    "engine that isn't there": [member("engines/other/x")],
    "file in a folder of uploads": [member("files/a/b")],
    "link out": [member("engines/cwl/x", tarfile.SYMTYPE, "../../../x")],
    "absolute link": [member("engines/cwl/x", tarfile.SYMTYPE, "/etc/passwd")],
    "through a link": [member("engines/cwl/x", tarfile.SYMTYPE, "executions"), member("engines/cwl/x/y")],
    "below a file": [member("engines/cwl/f"), member("engines/cwl/f/y")],
    "link to nothing": [member("engines/cwl/x", tarfile.LNKTYPE, "engines/cwl/nothing")],
    "hard link out": [member("engines/cwl/x", tarfile.LNKTYPE, "/etc/passwd")],
    "link to a link": [
        member("engines/cwl/x", tarfile.SYMTYPE, "executions"),
        member("engines/cwl/y", tarfile.LNKTYPE, "engines/cwl/x"),
    ],
    "upload that is a link": [member("files/x", tarfile.SYMTYPE, "u1")],
    "device": [member("engines/cwl/x", tarfile.CHRTYPE)],
    "pipe": [member("engines/cwl/x", tarfile.FIFOTYPE)],
    "twice": [member("files/x"), member("files/x")],
    "table that is a folder": [member("store/9-x", tarfile.DIRTYPE)],
    "no table": [member("store/9-uploads", content=b"nonsense")],
    "no such table": [member("store/9-sqlite_master", content=b'{"columns": [["name", "text"]]}\n["x"]')],
    "row twice": [member("store/9-starts", content=b'{"columns": [["execution_id", "text"]]}\n["1"]\n["1"]')],
}


@pytest.mark.parametrize("evil", EVIL)
def test_a_member_that_no_backup_has(evil: str, plain_backup: Path, tmp_path: Path) -> None:
    file = rebuilt(plain_backup, lambda found: found.extend(EVIL[evil]))
    said = refused("restore", file)
    assert "This backup can't be restored: " in said
    assert untouched(tmp_path / "data")


def test_what_is_cut_or_changed_anywhere_is_found(plain_backup: Path, tmp_path: Path) -> None:
    whole = plain_backup.read_bytes()
    file = tmp_path / "bad.tar"
    length = len(whole.rstrip(b"\0"))
    for end in range(0, length, length // 40):
        file.write_bytes(whole[:end])
        assert "can't be restored: it" in refused("restore", "--check", file), end
    infos = [info for info, _ in members(plain_backup)]
    for info in infos:
        for place in (info.offset, *([info.offset_data] if info.size else [])):
            file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            assert "can't be restored: " in refused("restore", "--check", file), (info.name, place)
    for cut in infos[1:]:  # a member that is missing as a whole
        after = next((info.offset for info in infos if info.offset > cut.offset), length)
        file.write_bytes(whole[: cut.offset] + whole[after:])
        assert "can't be restored: " in refused("restore", "--check", file), cut.name
    file.write_bytes(whole)
    assert "whole; made at" in done("restore", "--check", file)
    assert untouched(tmp_path / "data")


@pytest.mark.parametrize(
    ("head", "says"),
    [
        ({"product": "other"}, "it isn't a backup of this service"),
        ({"format": 2, "version": "9.1"}, "version 9.1 of the service made it"),
        ({"schema": "9999", "version": "9.1"}, "restore it with version 9.1 or a later one"),
        ({"schema": None}, "doesn't know its form"),
    ],
)
def test_a_backup_of_something_else(head: dict[str, object], says: str, plain_backup: Path) -> None:
    assert says in refused("restore", rebuilt(plain_backup, lambda _: head))


def test_a_file_that_is_no_backup(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "other.tar.gz", "w:gz") as archive:
        archive.add(__file__)
    (tmp_path / "empty.tar").touch()
    (tmp_path / "text.tar").write_text("a text\n" * 1000)
    for name in ("other.tar.gz", "empty.tar", "text.tar"):
        assert "This backup can't be restored: it " in refused("restore", tmp_path / name)
