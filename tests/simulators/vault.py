"""A vault for tests, over real HTTP: AppRole and JWT logins, wrapping, policies, both versions of KV, and faults."""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.ports import free_port
from tests.simulators.vault_routes import respond
from tests.simulators.vault_ssh import Authority
from tests.simulators.vault_state import Role, Secret, State

_SHIPPED = Path(__file__).parents[2] / "deploy" / "vault"
SERVICE_POLICY = (_SHIPPED / "hpcwaas-service.hcl").read_text(encoding="utf-8")
READER_POLICY = (_SHIPPED / "hpcwaas-reader.hcl").read_text(encoding="utf-8")
SIGNER_POLICY = (_SHIPPED / "hpcwaas-signer.hcl").read_text(encoding="utf-8")


@dataclass
class Fault:
    """What happens to a request instead of, or besides, its answer.

    Attributes:
        what: a status; `drop` (nothing done, no answer), `lose` (done, no answer), `nonsense`, `echo` (an error that
            quotes the request), or seconds by which the answer comes later, as `late 0.5`.
        times: how often.
    """

    method: str
    path: str
    what: str
    times: int = 1


class Vault:
    """A running vault. Its state may be looked at and changed at any time.

    Attributes:
        requests: method and path of all requests so far.
        faults: to come, first come first served.
    """

    def __init__(self, port: int = 0, state: State | None = None) -> None:
        self.state = state or State()
        self.requests: list[tuple[str, str]] = []
        self.faults: list[Fault] = []
        self._lock = threading.Lock()
        handler = type("OwnHandler", (_Handler,), {"vault": self})
        self._server = _Server(("127.0.0.1", port or free_port()), handler)
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def role(self, mount: str = "approle", kind: str = "approle", **members: Any) -> Role:
        """Makes a role with the policy that we ship."""
        self.state.policies["service"] = SERVICE_POLICY
        self.state.auths[mount] = kind
        role = Role(("service",), **members)
        self.state.roles.setdefault(mount, {})[kind] = role
        return role

    def reader(self, **members: Any) -> Role:
        """Makes a role that reads keys, with the policy that we ship."""
        self.state.policies["reader"] = READER_POLICY
        role = Role(("reader",), **members)
        self.state.roles["approle"]["reader"] = role
        return role

    def authority(self, service: Role, **role: Any) -> Authority:
        """Makes an authority for certificates, and lets a role have them signed, with the policy that we ship."""
        self.state.policies["signer"] = SIGNER_POLICY
        service.policies = (*service.policies, "signer")
        self.state.mount("ssh", "ssh")
        self.state.ssh["ssh"].roles["hpcwaas"] = {"allowed_users": "*", "allow_user_key_ids": True, **role}
        return self.state.ssh["ssh"]

    def secret_id(self, role: Role) -> str:
        """Makes a secret id."""
        made = secrets.token_hex(16)
        role.secret_ids[made] = role.uses
        return made

    def wrap(self, secret_id: str) -> str:
        """Makes a wrapping token around a secret id."""
        made = f"s.{secrets.token_hex(12)}"
        self.state.wrapped[made] = {"secret_id": secret_id, "secret_id_accessor": secrets.token_hex(8)}
        return made

    def pairs(self, mount: str = "secret", path: str = "ssh-credentials") -> dict[str, Secret]:
        """Key pairs in a KV v2 mount, by id."""
        found = self.state.kv2[mount]
        return {name.removeprefix(f"{path}/"): secret for name, secret in found.items() if name.startswith(f"{path}/")}

    def revoke_all(self) -> None:
        """Makes every token but root's unknown."""
        with self._lock:
            self.state.tokens = {self.state.root: self.state.tokens[self.state.root]}

    def count(self, method: str, pattern: str) -> int:
        """How many such requests there were."""
        return sum(one == method and re.fullmatch(pattern, path) is not None for one, path in list(self.requests))

    def answer(self, method: str, path: str, headers: Any, body: Any) -> tuple[int, Any]:
        """Answers a request."""
        with self._lock:
            return respond(self.state, method, path, headers, body)

    def fault(self, method: str, path: str) -> str:
        """What is to go wrong with a request, if anything."""
        with self._lock:
            self.requests.append((method, path))
            for fault in self.faults:
                if fault.times and fault.method == method and re.search(fault.path, path):
                    fault.times -= 1
                    return fault.what
        return ""

    def close(self) -> None:
        """Goes away with all its connections; the state stays for another one. May be repeated."""
        if not self._thread.is_alive():
            return
        self._server.shutdown()
        self._server.server_close()
        self._server.cut()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, *arguments: Any) -> None:
        self.connections: set[Any] = set()
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.add(request)
        super().process_request(request, client_address)

    def cut(self) -> None:
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(2)

    def handle_error(self, *_: Any) -> None:
        pass


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body in one packet, or every answer waits for a delayed acknowledgement
    vault: Vault

    def log_message(self, *_: object) -> None:
        pass

    def handle_any(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(urlsplit(self.path).path).removeprefix("/v1/")
        fault = self.vault.fault(self.command, path)
        if fault == "drop":
            self.close_connection = True
            return
        if fault.startswith("late"):
            time.sleep(float(fault.split()[1]))
        if fault.isdecimal():
            self.write(int(fault), {"errors": ["out of order"]})
        elif fault == "nonsense":
            self.write(200, ["what?"])
        elif fault == "echo":
            self.write(400, {"errors": [raw.decode()]})
        else:
            status, document = self.vault.answer(self.command, path, self.headers, json.loads(raw) if raw else None)
            if fault == "lose":
                self.close_connection = True
                return
            self.write(status, document)

    do_GET = do_POST = do_PUT = do_DELETE = do_LIST = handle_any  # noqa: N815

    def write(self, status: int, document: Any) -> None:
        content = b"" if document is None else json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextlib.contextmanager
def vault_server() -> Iterator[Vault]:
    """A vault with KV v2 at `secret`, until the block ends."""
    vault = Vault()
    vault.state.mount("secret")
    try:
        yield vault
    finally:
        vault.close()
