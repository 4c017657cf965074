"""Archives come out completely or not at all, and nothing in them reaches beyond their directory."""

from __future__ import annotations

import io
import lzma
import os
import stat
import struct
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from hpcwaas.engines.cwl.inputs import archives
from hpcwaas.engines.cwl.inputs.archives import ArchiveError, unpack

MIB = 2**20


def look(source: Path) -> str:
    with source.open("rb") as stream:
        return archives.look(stream, MIB)


def kind_of(source: Path) -> str:
    """The kind by the content, whatever is wrong with it."""
    return "zip" if zipfile.is_zipfile(source) else "tar"


def make_zip(path: Path, *names: str, content: bytes = b"content") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, content)
    return path


def make_tar(path: Path, *members: tarfile.TarInfo | str, mode: str = "w", content: bytes = b"content") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for member in members:
            info = tarfile.TarInfo(member) if isinstance(member, str) else member
            info.size = len(content) if info.isfile() else 0
            archive.addfile(info, io.BytesIO(content))
    return path


def special(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def refused(source: Path, tmp_path: Path, max_bytes: int = MIB, kind: str | None = None) -> str:
    """Asserts that the archive is refused and leaves nothing behind; returns why."""
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ArchiveError) as caught:
        unpack(source, tmp_path / "out", kind or kind_of(source), max_bytes)
    assert sorted(tmp_path.iterdir()) == before
    return str(caught.value)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_tars_are_unpacked(tmp_path: Path, mode: str) -> None:
    folder = special("./empty", tarfile.DIRTYPE)
    source = make_tar(tmp_path / "a", "./one.txt", folder, "deep/er/two.txt", mode=mode)
    assert look(source) == "tar"
    unpack(source, tmp_path / "out", "tar", MIB)
    found = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*"))
    assert found == ["deep", "deep/er", "deep/er/two.txt", "empty", "one.txt"]
    assert (tmp_path / "out/deep/er/two.txt").read_bytes() == b"content"


def test_zips_are_unpacked(tmp_path: Path) -> None:
    source = make_zip(tmp_path / "a", "one.txt", "ä/zwei drei.txt", "empty/")
    assert look(source) == "zip"
    unpack(source, tmp_path / "out", "zip", MIB)
    assert (tmp_path / "out/ä/zwei drei.txt").read_bytes() == b"content"
    assert (tmp_path / "out/empty").is_dir()


def test_permissions_of_the_archive_are_not_taken_over(tmp_path: Path) -> None:
    info = tarfile.TarInfo("setuid")
    info.mode = 0o6777
    unpack(make_tar(tmp_path / "a", info), tmp_path / "out", "tar", MIB)
    assert not (tmp_path / "out/setuid").stat().st_mode & 0o7022


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../evil", "climbs out"),
        ("a/../../evil", "climbs out"),
        ("/etc/evil", "absolute"),
        ("\\evil", "backslash"),
        ("a\\..\\evil", "backslash"),
        ("a\nb", "control"),
        ("x" * 300, "255"),
        ("a//b", "empty"),
        ("/".join(["a" * 200] * 20), "too long"),
    ],
)
@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_names_that_are_refused(tmp_path: Path, make: Callable[..., Path], name: str, reason: str) -> None:
    source = make(tmp_path / "a", "fine", name)
    assert reason in refused(source, tmp_path)
    with pytest.raises(ArchiveError, match=reason):
        look(source)


@pytest.mark.parametrize(
    "member",
    [
        special("link", tarfile.SYMTYPE, "/etc"),
        special("link", tarfile.LNKTYPE, "one"),
        special("fifo", tarfile.FIFOTYPE),
        special("device", tarfile.CHRTYPE),
    ],
)
def test_links_and_devices_are_refused(tmp_path: Path, member: tarfile.TarInfo) -> None:
    assert "link or a device" in refused(make_tar(tmp_path / "a", "one", member), tmp_path)


def test_links_in_a_zip_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a", "w") as archive:
        info = zipfile.ZipInfo("link")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc")
    assert "link or a device" in refused(tmp_path / "a", tmp_path)


@pytest.mark.parametrize("names", [("a", "a"), ("a", "./a"), ("a", "a/b"), ("a/b", "a"), ("a", "a/")])
def test_names_that_stand_for_two_things_are_refused(tmp_path: Path, names: tuple[str, str]) -> None:
    members = [special(name, tarfile.DIRTYPE) if name.endswith("/") else name for name in names]
    reason = refused(make_tar(tmp_path / "a", *members), tmp_path)
    assert "twice" in reason or "inside a file" in reason


def test_too_much_content_is_refused(tmp_path: Path) -> None:
    bomb = b"\0" * (4 * MIB)
    for source in (
        make_zip(tmp_path / "a.zip", "bomb", content=bomb),
        make_tar(tmp_path / "a.tgz", "bomb", mode="w:gz", content=bomb),
        make_zip(tmp_path / "parts.zip", "1", "2", "3", content=b"\0" * (MIB // 2)),
    ):
        assert "more than 1048576 bytes" in refused(source, tmp_path)
    exact = make_zip(tmp_path / "exact.zip", "a", content=b"x" * MIB)
    unpack(exact, tmp_path / "out", "zip", MIB)


def test_a_zip_that_lies_about_its_size(tmp_path: Path) -> None:
    source = make_zip(tmp_path / "a.zip", "bomb", content=b"\0" * (4 * MIB))
    data = source.read_bytes().replace(struct.pack("<I", 4 * MIB), struct.pack("<I", 10))
    source.write_bytes(data)
    refused(source, tmp_path)


def test_headers_that_fill_the_memory_are_refused(tmp_path: Path) -> None:
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, 2**32
    with lzma.open(tmp_path / "a.xz", "wb") as stream:
        stream.write(header.tobuf() + b"\0" * MIB)
    assert refused(tmp_path / "a.xz", tmp_path, kind="tar") == "its headers are unreasonably large"


def test_too_many_members_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MEMBER_LIMIT", 5)
    assert "more than 5 members" in refused(make_tar(tmp_path / "a", *"abcdef"), tmp_path)
    unpack(make_tar(tmp_path / "b", *"abcde"), tmp_path / "out", "tar", MIB)


def test_encrypted_zips_are_refused(tmp_path: Path) -> None:
    source = make_zip(tmp_path / "a", "secret")
    data = bytearray(source.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\1\2") + 8] |= 1
    source.write_bytes(data)
    assert refused(source, tmp_path) == "it is encrypted"


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz", "zip"])
def test_damaged_archives_are_refused(tmp_path: Path, mode: str) -> None:
    content = bytes(range(256)) * 64
    make = make_zip if mode == "zip" else lambda *args, **rest: make_tar(*args, mode=mode, **rest)
    source = make(tmp_path / "a", "one", "two", content=content)
    data = source.read_bytes()
    kind = kind_of(source)
    source.write_bytes(data[: len(data) // 2])
    refused(source, tmp_path, kind=kind)
    if mode != "w":
        middle = len(data) // 2 if mode != "zip" else data.index(b"one") + 20
        source.write_bytes(data[:middle] + bytes([data[middle] ^ 255]) + data[middle + 1 :])
        refused(source, tmp_path, kind=kind)


def test_other_files_are_no_archives(tmp_path: Path) -> None:
    for content in (b"", b"text", b"\x1f\x8b garbage", b"BZh garbage", b"PK\3\4 garbage", b"\xfd7zXZ\0 garbage"):
        (tmp_path / "a").write_bytes(content)
        with pytest.raises(ArchiveError, match="neither"):
            look(tmp_path / "a")


def test_a_look_into_a_large_tar_is_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "LOOK_LIMIT", 1000)
    source = make_tar(tmp_path / "a", "large", "../evil", mode="w:gz", content=b"x" * 5000)
    assert look(source) == "tar"
    assert "climbs out" in refused(source, tmp_path)


def renamed(archive: bytes, old: bytes, new: bytes, *, flag: bool = False) -> bytes:
    """A zip whose members have other names of the same length, without the flag that says UTF-8."""
    assert len(old) == len(new)
    data = bytearray(archive.replace(old, new))
    for mark, place in ((b"PK\3\4", 7), (b"PK\1\2", 9)):
        data[data.index(mark) + place] = 8 if flag else 0
    return bytes(data)


@pytest.mark.parametrize(
    ("stored", "name"),
    [
        ("grün.txt".encode(), "grün.txt"),  # Linux and macOS
        ("gru\u0308n.txt".encode(), "gru\u0308n.txt"),  # macOS writes the dots for themselves
        ("grün.txt".encode("cp437"), "grün.txt"),  # Windows, as the standard has it
        (b"plain.txt", "plain.txt"),
        ("数据.txt".encode(), "数据.txt"),
    ],
)
def test_names_in_a_zip_without_the_flag_are_utf_8_where_they_can_be(tmp_path: Path, stored: bytes, name: str) -> None:
    old = b"x" * len(stored)
    source = make_zip(tmp_path / "a", old.decode())
    source.write_bytes(renamed(source.read_bytes(), old, stored))
    assert look(source) == "zip"
    unpack(source, tmp_path / "out", "zip", MIB)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [name]
    assert (tmp_path / "out" / name).read_bytes() == b"content"


@pytest.mark.parametrize("right", [True, False])
def test_a_name_in_utf_8_beside_the_other_one_counts_when_it_belongs_to_it(tmp_path: Path, right: bool) -> None:
    plain = b"gr\x81n.txt"
    info = zipfile.ZipInfo("x" * len(plain))
    field = b"\1" + struct.pack("<L", zlib.crc32(plain) ^ (not right)) + "grün-更.txt".encode()
    info.extra = struct.pack("<HH", 0x7075, len(field)) + field
    with zipfile.ZipFile(tmp_path / "a", "w") as archive:
        archive.writestr(info, b"content")
    source = tmp_path / "a"
    source.write_bytes(renamed(source.read_bytes(), b"x" * len(plain), plain))
    unpack(source, tmp_path / "out", "zip", MIB)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["grün-更.txt" if right else "grün.txt"]


def test_a_tar_whose_names_are_in_an_unknown_character_set_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a", "w", format=tarfile.GNU_FORMAT, encoding="latin-1") as archive:
        archive.addfile(tarfile.TarInfo("grün"))
    assert refused(tmp_path / "a", tmp_path) == "the name 'gr\\\\xfcn' isn't UTF-8; pack it where names are UTF-8"


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize(("mode", "executable"), [(0o644, False), (0o755, True), (0o700, True), (0o6755, True)])
def test_files_that_can_be_executed_still_can(tmp_path: Path, kind: str, mode: int, executable: bool) -> None:
    source = tmp_path / "a"
    if kind == "zip":
        with zipfile.ZipFile(source, "w") as archive:
            zipped = zipfile.ZipInfo("bin/run.sh")
            zipped.external_attr = (stat.S_IFREG | mode) << 16
            archive.writestr(zipped, b"#!/bin/sh\n")
    else:
        packed = tarfile.TarInfo("bin/run.sh")
        packed.mode = mode
        make_tar(source, packed)
    unpack(source, tmp_path / "out", kind, MIB)
    found = stat.S_IMODE((tmp_path / "out/bin/run.sh").stat().st_mode)
    assert bool(found & 0o100) is executable
    assert not found & 0o6022


@pytest.mark.parametrize("form", [["gnu"], ["posix", "0.0"], ["posix", "0.1"], ["posix", "1.0"]])
def test_files_with_holes_keep_their_content(tmp_path: Path, form: list[str]) -> None:
    parts = tmp_path / "in"
    parts.mkdir()
    content = bytearray(200 * 8192)
    for place in range(0, len(content), 16384):
        content[place : place + 3] = b"abc"
    with (parts / "holes").open("wb") as stream:
        for place in range(0, len(content), 16384):
            stream.seek(place)
            stream.write(b"abc")
        stream.truncate(len(content))
    (parts / "plain").write_bytes(b"plain")
    command = ["tar", "-S", "-C", str(parts), f"--format={form[0]}", "-cf", str(tmp_path / "a")]
    subprocess.run([*command, *(f"--sparse-version={version}" for version in form[1:]), "holes", "plain"], check=True)
    source = tmp_path / "a"
    assert source.stat().st_size < len(content)  # it has holes
    with source.open("rb") as stream:
        assert archives.look(stream, 2 * MIB) == "tar"
    unpack(source, tmp_path / "out", "tar", 2 * MIB)
    assert (tmp_path / "out/holes").read_bytes() == content
    assert (tmp_path / "out/plain").read_bytes() == b"plain"
    assert "more than 1048576 bytes" in refused(source, tmp_path)


@pytest.mark.parametrize("form", ["gnu", "posix", "ustar", "v7", "oldgnu"])
def test_every_form_of_tar_is_read(tmp_path: Path, form: str) -> None:
    deep = tmp_path / "in" / ("d" * 60)
    deep.mkdir(parents=True)
    name = "f" * 20 if form in ("v7", "ustar") else "ü" * 60
    (deep / name).write_bytes(b"content")
    subprocess.run(
        ["tar", f"--format={form}", "-C", tmp_path / "in", "-cf", tmp_path / "a", "."],
        check=True,
        env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
    )
    unpack(tmp_path / "a", tmp_path / "out", "tar", MIB)
    assert (tmp_path / "out" / deep.name / name).read_bytes() == b"content"
