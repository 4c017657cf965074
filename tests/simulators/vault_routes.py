"""The vault look-alike's API, as the recordings of a real OpenBao show it."""

from __future__ import annotations

import re
import secrets
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeAlias

from tests.simulators.vault_policy import allowed, capabilities, touches
from tests.simulators.vault_state import Role, Secret, State, Token

Answer: TypeAlias = tuple[int, Any]
DENIED: Answer = (403, {"errors": ["permission denied"]})
BY_POLICY: Answer = (403, {"errors": ["1 error occurred:\n\t* permission denied\n\n"]})
SEALED: Answer = (503, {"errors": ["Vault is sealed"]})
NOTHING: Answer = (404, {"errors": []})
DONE: Answer = (204, None)
VERSION = "2.0.0-HEAD"
CAPABILITIES = {"GET": "read", "LIST": "list", "DELETE": "delete"}


def respond(state: State, method: str, path: str, headers: Mapping[str, str], body: Any) -> Answer:
    """Answers a request; `path` is without `/v1/`."""
    body = body or {}
    if headers.get("X-Vault-Namespace", "") != state.namespace:
        return 404, {"errors": [f'no handler for route "{path}". route entry not found.']}
    if path == "sys/health":
        return health(state)
    if path == "sys/unseal":
        return unseal(state, body)
    if state.sealed:
        return SEALED
    if path == "sys/wrapping/unwrap":
        return unwrap(state, headers.get("X-Vault-Token", ""), body)
    if method in ("POST", "PUT") and (match := re.fullmatch(r"auth/(.+)/login", path)):
        return login(state, match[1], body)
    token = state.alive(headers.get("X-Vault-Token", ""))
    if token is None:
        return DENIED
    return authenticated(state, method, path, headers["X-Vault-Token"], token, body)


def authenticated(state: State, method: str, path: str, name: str, token: Token, body: Any) -> Answer:
    texts = state.texts(token)
    if match := re.fullmatch(r"sys/internal/ui/mounts/(.+)", path):
        return mount_info(state, texts, match[1])
    capability = CAPABILITIES.get(method) or ("create" if fresh(state, path) else "update")
    if not allowed(texts, path, capability):
        return BY_POLICY
    if path == "auth/token/lookup-self":
        return lookup(state, name, token)
    if path == "sys/capabilities-self":
        found = {each: sorted(capabilities(texts, each)) for each in body["paths"]}
        return 200, {**envelope(data=found), **found}
    if path == "auth/token/renew-self":
        return renew(state, name, token)
    if path.startswith(("sys/", "auth/")):
        return administer(state, method, path, body)
    mount, _, rest = path.partition("/")
    known = state.mounts.get(mount)
    if mount in state.ssh:
        status, told = state.ssh[mount].respond(method, rest, body)
        return status, envelope(data=told) if status == 200 else {"errors": told} if told is not None else None
    if known is None or known["type"] != "kv":
        return 404, {"errors": [f'no handler for route "{path}". route entry not found.']}
    return kv2(state, method, mount, rest, body) if known["version"] == "2" else kv1(state, method, mount, rest, body)


def fresh(state: State, path: str) -> bool:
    mount, _, rest = path.partition("/")
    if mount in state.kv1:
        return rest not in state.kv1[mount]
    return mount in state.kv2 and rest.partition("/")[2] not in state.kv2[mount]


def envelope(**members: Any) -> dict[str, Any]:
    return {
        "request_id": str(uuid.uuid4()),
        "lease_id": "",
        "renewable": False,
        "lease_duration": 0,
        "data": None,
        "wrap_info": None,
        "warnings": None,
        "auth": None,
        **members,
    }


def health(state: State) -> Answer:
    down = state.sealed or not state.initialised
    found: dict[str, Any] = {
        "initialized": state.initialised,
        "sealed": down,
        "standby": down,
        "replication_performance_mode": "unknown" if down else "disabled",
        "replication_dr_mode": "unknown" if down else "disabled",
        "server_time_utc": int(time.time()),
        "version": VERSION,
    }
    if not down:
        found |= {"cluster_name": "vault-cluster-1", "cluster_id": str(uuid.uuid4())}
    return (501 if not state.initialised else 503 if down else 200), found


def unseal(state: State, body: Any) -> Answer:
    if body.get("key") != state.unseal_key:
        return 400, {"errors": ["unseal failed, invalid key"]}
    state.sealed = False
    words = {"type": "shamir", "initialized": True, "sealed": False, "t": 1, "n": 1, "progress": 0, "nonce": ""}
    cluster = {"cluster_name": "vault-cluster-1", "cluster_id": str(uuid.uuid4()), "storage_type": "file"}
    build = {"recovery_seal": False, "version": VERSION, "commit_date": "", "migration": False}
    return 200, {**words, **build, **cluster}


def login(state: State, mount: str, body: Any) -> Answer:
    kind, roles = state.auths.get(mount), state.roles.get(mount, {})
    if kind == "approle":
        name = next((name for name, role in roles.items() if role.role_id == body.get("role_id")), "")
        role, secret_id = roles.get(name), body.get("secret_id")
        if role is None or secret_id not in role.secret_ids:
            return 400, {"errors": ["invalid role or secret ID"]}
        role.secret_ids[secret_id] -= 1
        if not role.secret_ids[secret_id]:
            del role.secret_ids[secret_id]
    else:
        name = body.get("role", "")
        role = roles.get(name)
        if kind is None or role is None or body.get("jwt") not in role.jwts:
            return DENIED if kind == "kubernetes" else (400, {"errors": ["error validating token"]})
    token, made = state.issue(role, name, f"auth/{mount}/login")
    return 200, envelope(auth=auth(token, made, made.ttl))


def auth(name: str, token: Token, seconds: float) -> dict[str, Any]:
    policies = sorted(token.policies)
    return {
        "client_token": name,
        "accessor": token.accessor,
        "policies": policies,
        "token_policies": policies,
        "metadata": token.meta,
        "lease_duration": int(seconds),
        "renewable": token.renewable,
        "entity_id": str(uuid.uuid4()),
        "token_type": "service",
        "orphan": True,
        "mfa_requirement": None,
        "num_uses": 0,
    }


def lookup(state: State, name: str, token: Token) -> Answer:
    stamp = datetime.now(UTC).isoformat()
    data = {
        "accessor": token.accessor,
        "creation_time": int(time.time()),
        "creation_ttl": int(token.ttl),
        "display_name": "approle",
        "entity_id": str(uuid.uuid4()),
        "expire_time": stamp if token.expires else None,
        "explicit_max_ttl": 0,
        "id": name,
        "issue_time": stamp,
        "meta": token.meta,
        "num_uses": 0,
        "orphan": True,
        "path": token.path,
        "policies": sorted(token.policies),
        "renewable": token.renewable,
        "ttl": round(token.expires - state.now()) if token.expires else 0,
        "type": "service",
    }
    return 200, envelope(data=data)


def renew(state: State, name: str, token: Token) -> Answer:
    if not token.renewable:
        return 400, {"errors": ["lease is not renewable"]}
    left = min(token.ttl, token.last - state.now())
    token.expires = state.now() + left
    text = 'TTL of "{}s" exceeded the effective max_ttl of "{}s"; TTL value is capped accordingly'
    warnings = [text.format(int(token.ttl), int(left))] if left < token.ttl else None
    return 200, envelope(auth=auth(name, token, left), warnings=warnings)


def unwrap(state: State, given: str, body: Any) -> Answer:
    data = state.wrapped.pop(body.get("token") or given, None)
    if data is None:
        return 400, {"errors": ["wrapping token is not valid or does not exist"]}
    return 200, envelope(data=data)


def administer(state: State, method: str, path: str, body: Any) -> Answer:
    match path.split("/"):
        case ["sys", "seal"]:
            state.sealed = True
        case ["sys", "mounts", mount]:
            state.mount(mount, body["type"], (body.get("options") or {}).get("version"))
        case ["sys", "auth", mount]:
            state.auths[mount], state.roles[mount] = body["type"], {}
        case ["sys", "policies", "acl", name]:
            state.policies[name] = body["policy"]
        case ["auth", mount, "role", name] if method == "POST":
            state.roles[mount][name] = Role(
                tuple(body["token_policies"]),
                float(body.get("token_ttl", "3600s").rstrip("s")),
                float(body.get("token_max_ttl", "86400s").rstrip("s")),
                body.get("secret_id_num_uses", 0),
            )
        case ["auth", mount, "role", name, "role-id"]:
            return 200, envelope(data={"role_id": state.roles[mount][name].role_id})
        case ["auth", mount, "role", name, "secret-id"]:
            made, role = str(uuid.uuid4()), state.roles[mount][name]
            role.secret_ids[made] = role.uses
            return 200, envelope(data={"secret_id": made, "secret_id_accessor": secrets.token_hex(8)})
        case _:
            return 404, {"errors": [f'no handler for route "{path}". route entry not found.']}
    return DONE


def mount_info(state: State, texts: list[str], path: str) -> Answer:
    mount = path.partition("/")[0]
    known = state.mounts.get(mount)
    if known is None or not touches(texts, f"{mount}/"):
        return 403, {
            "errors": [f"preflight capability check returned 403, please ensure client's policies grant {path}"]
        }
    options = {"version": known["version"]} if known["version"] else None
    data = {
        "accessor": known["accessor"],
        "config": {"default_lease_ttl": 0, "force_no_cache": False, "max_lease_ttl": 0},
        "deprecation_status": "supported",
        "description": "",
        "external_entropy_access": False,
        "local": False,
        "options": options,
        "path": f"{mount}/",
        "plugin_version": "",
        "running_plugin_version": "v2.0.0+builtin.bao",
        "running_sha256": "",
        "seal_wrap": False,
        "type": known["type"],
        "uuid": str(uuid.uuid4()),
    }
    return 200, envelope(data=data)


def kv2(state: State, method: str, mount: str, rest: str, body: Any) -> Answer:
    kind, _, path = rest.partition("/")
    found = state.kv2[mount]
    match (method, kind):
        case ("POST" | "PUT", "data"):
            secret = found.get(path) or Secret()
            cas = (body.get("options") or {}).get("cas")
            if cas is not None and cas != len(secret.versions):
                return 400, {"errors": ["check-and-set parameter did not match the current version"]}
            found[path] = secret
            secret.versions.append({"data": body["data"], "created_time": datetime.now(UTC).isoformat()})
            return 200, envelope(data=version(secret))
        case ("GET", "data") if path in found:
            return 200, envelope(data={"data": found[path].versions[-1]["data"], "metadata": version(found[path])})
        case ("POST" | "PUT", "metadata"):
            for name, text in body["custom_metadata"].items():
                if not 0 < len(text.encode()) <= 512:
                    size = f'length of value for key "{name}" is {len(text.encode())} but must be 0 < len(value) <= 512'
                    return 400, {"errors": [f"1 error occurred:\n\t* custom_metadata validation failed: {size}\n\n"]}
            found.setdefault(path, Secret()).custom = body["custom_metadata"]
            return DONE
        case ("GET", "metadata") if path in found:
            return 200, envelope(data=metadata(found[path]))
        case ("LIST", "metadata"):
            names = sorted(name.removeprefix(f"{path}/") for name in found if name.startswith(f"{path}/"))
            return (200, envelope(data={"keys": names})) if names else NOTHING
        case ("DELETE", "metadata"):
            found.pop(path, None)
            return DONE
    return NOTHING


def version(secret: Secret) -> dict[str, Any]:
    return {
        "created_time": secret.versions[-1]["created_time"],
        "custom_metadata": secret.custom,
        "deletion_time": "",
        "destroyed": False,
        "version": len(secret.versions),
    }


def metadata(secret: Secret) -> dict[str, Any]:
    stamp = secret.versions[-1]["created_time"]
    return {
        "cas_required": False,
        "created_time": stamp,
        "current_metadata_version": 1,
        "current_version": len(secret.versions),
        "custom_metadata": secret.custom,
        "delete_version_after": "0s",
        "max_versions": 0,
        "metadata_cas_required": False,
        "oldest_version": 0,
        "updated_time": stamp,
        "versions": {
            str(number): {"created_time": each["created_time"], "deletion_time": "", "destroyed": False}
            for number, each in enumerate(secret.versions, 1)
        },
    }


def kv1(state: State, method: str, mount: str, path: str, body: Any) -> Answer:
    found = state.kv1[mount]
    match method:
        case "POST" | "PUT":
            found[path] = body
            return DONE
        case "GET" if path in found:
            return 200, envelope(data=found[path], lease_duration=2764800)
        case "LIST":
            names = sorted(name.removeprefix(f"{path}/") for name in found if name.startswith(f"{path}/"))
            return (200, envelope(data={"keys": names})) if names else NOTHING
        case "DELETE":
            found.pop(path, None)
            return DONE
    return NOTHING
