from __future__ import annotations

import base64
import hashlib
import io
import re
import shutil
import subprocess
from pathlib import Path

import click
import paramiko
import pytest
from waas_cli.commands.ssh_keys import key_gen

from hpcwaas.api import contract
from hpcwaas.core.key_types import DEFAULT_TYPE, KEY_TYPES, KeyPair, generate
from hpcwaas.errors import BadRequest

KINDS = [
    ("ed25519", None, "ssh-ed25519", "BEGIN OPENSSH PRIVATE KEY", paramiko.Ed25519Key, 256),
    ("rsa", None, "ssh-rsa", "BEGIN RSA PRIVATE KEY", paramiko.RSAKey, 3072),
    ("rsa", 4096, "ssh-rsa", "BEGIN RSA PRIVATE KEY", paramiko.RSAKey, 4096),
    ("ecdsa", None, "ecdsa-sha2-nistp256", "BEGIN EC PRIVATE KEY", paramiko.ECDSAKey, 256),
    ("ecdsa", 384, "ecdsa-sha2-nistp384", "BEGIN EC PRIVATE KEY", paramiko.ECDSAKey, 384),
    ("ecdsa", 521, "ecdsa-sha2-nistp521", "BEGIN EC PRIVATE KEY", paramiko.ECDSAKey, 521),
]


@pytest.mark.parametrize(("type_", "bits", "algorithm", "header", "reader", "size"), KINDS)
def test_a_pair_works(
    type_: str, bits: int | None, algorithm: str, header: str, reader: type[paramiko.PKey], size: int, tmp_path: Path
) -> None:
    pair = generate(type_, bits, "alice's key")
    assert pair.type == type_
    assert pair.bits == (None if type_ == "ed25519" else size)
    assert header in pair.private_key.splitlines()[0]
    name, blob, comment = pair.public_key.removesuffix("\n").split(" ", 2)
    assert (name, comment) == (algorithm, "alice's key")
    digest = base64.b64encode(hashlib.sha256(base64.b64decode(blob)).digest()).decode().rstrip("=")
    assert pair.fingerprint == f"SHA256:{digest}"
    # What the private half signs, the public half accepts.
    private = reader.from_private_key(io.StringIO(pair.private_key))
    signature = paramiko.Message(private.sign_ssh_data(b"data").asbytes())
    public = paramiko.PKey.from_type_string(algorithm, base64.b64decode(blob))
    assert public.verify_ssh_sig(b"data", signature)
    if keygen := shutil.which("ssh-keygen"):  # OpenSSH's own opinion, where it is installed
        _assert_openssh_agrees(keygen, pair, size, tmp_path)


def _assert_openssh_agrees(keygen: str, pair: KeyPair, size: int, directory: Path) -> None:
    private, public = directory / "key", directory / "other.pub"
    private.touch(mode=0o600)
    private.write_text(pair.private_key)
    public.write_text(pair.public_key)

    def run(*arguments: str | Path) -> str:
        return subprocess.run([keygen, *arguments], check=True, capture_output=True, text=True, timeout=60).stdout

    assert run("-y", "-P", "", "-f", private).split()[:2] == pair.public_key.split()[:2]
    listed = run("-l", "-f", public)
    assert listed.startswith(f"{size} {pair.fingerprint} ")
    assert "alice's key" in listed


def test_two_pairs_differ() -> None:
    assert generate("ed25519", None, "").public_key != generate("ed25519", None, "").public_key


def test_without_a_comment_the_line_ends_with_the_key() -> None:
    assert re.fullmatch(r"ssh-ed25519 [A-Za-z0-9+/=]+\n", generate("ed25519", None, "").public_key)


def test_the_private_half_is_not_shown() -> None:
    pair = generate("ecdsa", 256, "alice")
    assert "PRIVATE" not in repr(pair)
    assert pair.private_key.splitlines()[1] not in f"{pair}"


@pytest.mark.parametrize(
    ("type_", "bits", "accepted"),
    [
        ("dsa", None, list(KEY_TYPES)),
        ("RSA", 3072, list(KEY_TYPES)),
        ("", None, list(KEY_TYPES)),
        ("rsa", 1024, ["3072", "4096"]),
        ("rsa", 0, ["3072", "4096"]),
        ("ecdsa", 3072, ["256", "384", "521"]),
        ("ed25519", 256, ["ed25519", "one size only"]),
    ],
)
def test_other_kinds_are_refused_with_what_is_accepted(type_: str, bits: int | None, accepted: list[str]) -> None:
    with pytest.raises(BadRequest) as caught:
        generate(type_, bits, "")
    assert all(word in caught.value.detail for word in accepted)


@pytest.mark.parametrize("comment", ["a\nssh-rsa AAAA mallory", "a\r", "\0", "\u2028", "\ud800"])
def test_a_comment_is_one_line(comment: str) -> None:
    with pytest.raises(BadRequest):
        generate("ed25519", None, comment)


def test_the_table_the_contract_and_the_command_name_the_same_types_and_sizes() -> None:
    schemas = contract.read()["components"]["schemas"]
    wanted, shown = schemas["NewSshKey"]["properties"], schemas["SshKey"]["properties"]
    sizes = {name: kind.sizes for name, kind in KEY_TYPES.items()}

    assert wanted["type"]["enum"] == shown["type"]["enum"] == list(KEY_TYPES)
    assert wanted["type"]["default"] == DEFAULT_TYPE
    assert wanted["bits"]["enum"] == sorted(size for each in sizes.values() for size in each)
    told = wanted["bits"]["description"]
    for name, accepted in sizes.items():
        listed = re.search(rf"{name}: ([^;.]*)", told)
        assert (tuple(map(int, re.findall(r"\d+", listed[1]))) if listed else ()) == accepted
    options = {option.name: option for option in key_gen.params}
    assert isinstance(options["kind"].type, click.Choice)
    assert list(options["kind"].type.choices) == list(KEY_TYPES)
