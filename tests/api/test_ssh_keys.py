"""`/ssh_keys`: making, listing, destroying; the private half never shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests import databases
from tests.service import IDLE, as_user, make_settings, serving


@pytest.mark.parametrize(
    ("body", "kind", "bits", "start"),
    [
        (None, "ed25519", None, "ssh-ed25519 "),
        ({}, "ed25519", None, "ssh-ed25519 "),
        ({"type": "rsa"}, "rsa", 3072, "ssh-rsa "),
        ({"type": "rsa", "bits": 4096}, "rsa", 4096, "ssh-rsa "),
        ({"type": "ecdsa"}, "ecdsa", 256, "ecdsa-sha2-nistp256 "),
        ({"type": "ecdsa", "bits": 521}, "ecdsa", 521, "ecdsa-sha2-nistp521 "),
    ],
)
def test_types(alice: Any, body: Any, kind: str, bits: int | None, start: str) -> None:
    answer = alice("POST", "/ssh_keys", json=body) if body is not None else alice("POST", "/ssh_keys")
    key = answer.json()
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"/ssh_keys/{key['id']}"
    assert (key["type"], key["bits"], key["owner"]) == (kind, bits, "alice")
    assert key["public_key"].startswith(start)
    assert key["public_key"].endswith("\n")
    assert key["fingerprint"].startswith("SHA256:")
    assert "PRIVATE" not in answer.text


def test_life_of_a_key(alice: Any, bob: Any) -> None:
    metadata = {"project": "climate", "privateKey": "evil", "publicKey": "evil"}
    key = alice("POST", "/ssh_keys", json={"name": "life", "metadata": metadata}).json()
    assert key["metadata"] == {"project": "climate"}
    assert [word.split("`")[1] for word in key.pop("warnings")] == ["metadata.privateKey", "metadata.publicKey"]
    path = f"/ssh_keys/{key['id']}"
    assert alice("GET", path).json() == key
    assert key in alice("GET", "/ssh_keys").json()["ssh_keys"]
    assert alice("POST", "/ssh_keys", json={"name": "life"}).status_code == 409
    assert bob("POST", "/ssh_keys", json={"name": "life"}).status_code == 201
    assert bob("GET", path).status_code == bob("DELETE", path).status_code == 404
    assert key["id"] not in bob("GET", "/ssh_keys").text
    assert alice("DELETE", path).status_code == 204
    assert alice("GET", path).status_code == 404
    assert alice("GET", path).json()["detail"] == bob("GET", path).json()["detail"]


@pytest.mark.parametrize(
    "body",
    [
        {"type": "dsa"},
        {"type": "rsa", "bits": 1024},
        {"type": "rsa", "bits": 256},
        {"type": "ed25519", "bits": 256},
        {"type": "ecdsa", "bits": 4096},
        {"metadata": [1]},
        {"metadata": {"k": 1}},
        {"name": ""},
        {"name": "a\nb"},
        {"name": 5},
        {"metadata": {"": "v"}},
        {"comment": "a\nssh-rsa AAAA mallory"},
        {"comment": "\u2028"},
        [1],
    ],
)
def test_bad_requests(alice: Any, body: Any) -> None:
    assert alice("POST", "/ssh_keys", json=body).status_code == 400


@pytest.mark.parametrize(
    ("metadata", "limit"),
    [
        ({"k": "v" * 513}, "512 bytes"),
        ({"k": "é" * 257}, "512 bytes"),
        ({"é" * 65: "v"}, "128 bytes"),
        ({str(index): "" for index in range(65)}, "at most 64"),
    ],
)
def test_too_much_metadata(alice: Any, metadata: dict[str, str], limit: str) -> None:
    answer = alice("POST", "/ssh_keys", json={"metadata": metadata})
    assert answer.status_code == 413
    assert limit in answer.json()["detail"]


def test_rotate_and_confirm(alice: Any, bob: Any) -> None:
    made = alice("POST", "/ssh_keys", json={"metadata": {"a": "b"}}).json()
    path = f"/ssh_keys/{made['id']}"
    assert (made["rotated_at"], made["last_used_at"], made["replaced"]) == (None, None, [])
    assert bob("POST", f"{path}/rotate").status_code == bob("POST", f"{path}/confirm").status_code == 404
    seen = [made["public_key"]]
    for _ in range(9):
        rotated = alice("POST", f"{path}/rotate").json()
        assert [half["public_key"] for half in rotated["replaced"]] == seen
        assert rotated["public_key"].endswith(" alice\n")
        seen.append(rotated["public_key"])
    assert len(set(seen)) == 10
    assert alice("POST", f"{path}/rotate").status_code == 409
    assert alice("POST", f"{path}/confirm").json()["replaced"] == []
    assert alice("POST", f"{path}/rotate").status_code == 200


@pytest.mark.parametrize(
    ("query", "start"),
    [
        ({}, "ssh-ed25519 "),
        ({"restrict": "true"}, "restrict ssh-ed25519 "),
        (
            {"from": "192.0.2.0/24,*.example.org,!x,2001:db8::1"},
            'from="192.0.2.0/24,*.example.org,!x,2001:db8::1" ssh-',
        ),
        ({"from": "192.0.2.1", "restrict": "true"}, 'restrict,from="192.0.2.1" ssh-ed25519 '),
    ],
)
def test_line_for_authorized_keys(alice: Any, query: dict[str, str], start: str) -> None:
    path = f"/ssh_keys/{alice('POST', '/ssh_keys', json={'comment': 'a comment'}).json()['id']}"
    answer = alice("GET", path, params=query, headers={"Accept": "text/plain"})
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert answer.headers["Vary"] == "Accept"
    assert answer.text.startswith(start)
    assert answer.text.endswith(" a comment\n")
    assert alice("GET", path, params=query, headers={"Accept": "*/*"}).json()["id"] in path


@pytest.mark.parametrize("sources", ['a" command="x', "a b", "", "a\nb", "ä"])
def test_nothing_else_gets_into_the_line(alice: Any, sources: str) -> None:
    path = f"/ssh_keys/{alice('POST', '/ssh_keys').json()['id']}"
    answer = alice("GET", path, params={"from": sources}, headers={"Accept": "text/plain"})
    assert answer.status_code == 400


def test_no_private_half_rests_in_the_clear(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, cwl=IDLE)
    with serving(settings) as url:
        for kind in ("ed25519", "rsa", "ecdsa"):
            assert as_user(url, "alice")("POST", "/ssh_keys", json={"type": kind}).status_code == 201
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    kept += databases.content(settings.database_url)
    assert b"ssh-ed25519" in kept
    assert b"PRIVATE KEY" not in kept
    assert b"openssh-key-v1" not in kept
