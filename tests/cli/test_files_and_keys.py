"""`waas files` and `waas ssh_keys`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest


def test_upload(alice: Any, service: Any, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("notes")
    (tmp_path / "folder").mkdir()
    result = alice("files", "upload", str(tmp_path / "notes.txt"), str(tmp_path / "folder"))
    assert (result.code, result.err) == (0, "")
    first, second = result.out.splitlines()
    assert first.split("\t")[1:] == ["notes.txt", "5 B"]
    assert second.split("\t")[1] == "folder.tar.gz"
    assert service.files[first.split("\t")[0]] == (service.files[first.split("\t")[0]][0], b"notes")
    assert service.files[first.split("\t")[0]][0]["media_type"] == "text/plain"
    made = alice("file", "up", str(tmp_path / "notes.txt"), "-o", "json").json
    assert [each["name"] for each in made] == ["notes.txt"]


def test_what_cannot_be_uploaded(alice: Any, service: Any, tmp_path: Path) -> None:
    (tmp_path / "there").touch()
    result = alice("files", "upload", str(tmp_path / "there"), str(tmp_path / "nowhere"))
    assert (result.code, result.out) == (2, "")
    assert "Nothing was uploaded" in result.err
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "circle").symlink_to(folder)
    assert "symbolic link to a directory" in alice("files", "upload", str(folder)).err
    (folder / "circle").unlink()
    os.mkfifo(folder / "pipe")
    assert "neither a file nor a directory" in alice("files", "upload", str(folder)).err
    (folder / "pipe").unlink()
    (folder / "broken").symlink_to("nowhere")
    assert "Can't read" in alice("files", "upload", str(folder)).err
    assert service.files == {}


def test_uploads_before_a_failure_are_told(alice: Any, service: Any, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("notes")
    os.mkfifo(tmp_path / "pipe")
    result = alice("files", "upload", str(tmp_path / "notes.txt"), str(tmp_path / "pipe"))
    assert result.code == 2
    assert result.out.split("\t")[0] in service.files


def test_an_upload_is_not_sent_twice(alice: Any, service: Any, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("notes")
    service.trouble = [("POST", "/files", "drop", {})]
    assert alice("files", "upload", str(tmp_path / "notes.txt")).code == 1
    assert len(service.requests) == 1


def test_too_large(alice: Any, service: Any, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("notes")
    service.trouble = [("POST", "/files", 413, {})]
    result = alice("files", "upload", str(tmp_path / "notes.txt"), "-o", "json")
    assert (result.code, result.out, result.error["problem"]["status"]) == (1, "", 413)


def test_list_and_delete_files(alice: Any, service: Any, tmp_path: Path) -> None:
    assert alice("files", "list").err == "No files found.\n"
    for name in "abc":
        (tmp_path / name).write_text(name)
    alice("files", "upload", *(str(tmp_path / name) for name in "abc"))
    assert len(alice("files", "list").out.splitlines()) == 2
    found = alice("files", "list", "--all", "-o", "json").json
    assert [each["name"] for each in found] == ["a", "b", "c"]
    result = alice("files", "delete", found[0]["id"], "nope", found[1]["id"])
    assert result.code == 5
    assert list(service.files) == [found[2]["id"]]
    assert f'SUCCESS: Deleted file "{found[1]["id"]}"' in result.out


@pytest.mark.parametrize(
    "words", [["ssh_keys", "key-gen"], ["keys", "gen"], ["key", "gen-key"], ["k", "g"], ["ssh-keys", "key_gen"]]
)
def test_key_gen(alice: Any, words: list[str]) -> None:
    result = alice(*words)
    assert (result.code, result.err) == (0, "")
    lines = result.out.splitlines()
    assert lines[0] == "INFO: Below is your newly generated SSH public key."
    assert "INFO: SSH key ID:     9f1d1c36-0" in lines
    assert lines[-1] == "INFO: SSH Public key: ssh-ed25519 AAAAC3Nza 9f1d1c36"


def test_key_gen_with_everything(alice: Any, service: Any) -> None:
    metadata = ["-m", "a=b,c=d", "-m", "privateKey=x", "-m", "text=a,b"]
    made = alice(
        "keys", "gen", "--type", "rsa", "-b", "4096", "-n", "mine", "-c", "my key", *metadata, "-o", "json"
    ).json
    assert made["public_key"].endswith("\n")
    assert service.requests[-1].json == {
        "type": "rsa",
        "bits": 4096,
        "name": "mine",
        "comment": "my key",
        "metadata": {"a": "b", "c": "d", "privateKey": "x", "text": "a,b"},
    }
    assert alice("keys", "gen", "-m", "novalue").code == 2


def test_the_other_commands_of_keys(alice: Any, service: Any) -> None:
    assert alice("ssh_keys", "list").err == "No SSH keys found.\n"
    alice("ssh_keys", "key-gen", "-n", "mine")
    assert alice("ssh_keys", "list").out == "9f1d1c36-0\tmine\ted25519\tSHA256:7RrVZkqBtx0\t2026-11-23 09:25:41Z\n"
    assert alice("ssh_keys", "list", "-o", "json").json == list(service.keys.values())
    assert alice("ssh_keys", "show", "9f1d1c36-0", "-o", "text").out == "ssh-ed25519 AAAAC3Nza 9f1d1c36\n"
    assert alice("ssh_keys", "show", "9f1d1c36-0", "-o", "json").json["fingerprint"] == "SHA256:7RrVZkqBtx0"
    assert alice("ssh_keys", "delete", "9f1d1c36-0").out == 'SUCCESS: Deleted SSH key "9f1d1c36-0"\n'
    assert alice("ssh_keys", "delete", "9f1d1c36-0").code == 5


def test_line_with_options(alice: Any) -> None:
    alice("ssh_keys", "key-gen")
    result = alice("ssh_keys", "show", "9f1d1c36-0", "--restrict", "--from", "192.0.2.0/24")
    assert result.out == "from=192.0.2.0/24,restrict=true ssh-ed25519 AAAAC3Nza 9f1d1c36\n"
    assert alice("ssh_keys", "show", "9f1d1c36-0", "--restrict", "-o", "json").code == 2


def test_rotate_and_confirm(alice: Any, service: Any) -> None:
    alice("ssh_keys", "key-gen")
    lines = alice("keys", "rotate", "9f1d1c36-0").out.splitlines()
    assert lines[1] == "INFO: waas ssh_keys confirm 9f1d1c36-0"
    assert lines[2].endswith("ssh-ed25519 BBBBC3Nza 9f1d1c36")
    assert lines[3].endswith("ssh-ed25519 AAAAC3Nza 9f1d1c36")
    assert "Remove from authorized_keys: ssh-ed25519 AAAAC3Nza 9f1d1c36" in alice("keys", "confirm", "9f1d1c36-0").out
    assert alice("keys", "rotate", "9f1d1c36-0", "-o", "json").json["replaced"]
    assert alice("keys", "confirm", "9f1d1c36-0", "-o", "json").json["replaced"] == []
    assert alice("keys", "rotate", "nope").code == alice("keys", "confirm", "nope").code == 5


def test_a_key_in_use_is_deleted_by_force(alice: Any, service: Any) -> None:
    alice("ssh_keys", "key-gen")
    service.keyring.used = {"9f1d1c36-0"}
    result = alice("ssh_keys", "delete", "9f1d1c36-0")
    assert result.code != 0
    assert "e-1" in result.err
    assert alice("ssh_keys", "delete", "--force", "9f1d1c36-0").code == 0
