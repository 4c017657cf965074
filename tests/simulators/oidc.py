"""An OpenID provider for tests, over real HTTP with real keys.

    with OIDCSimulator() as idp:
        idp.issuer, idp.client_id, idp.client_secret       # for the settings
        idp.user = {"sub": "alice", "name": "Al Ice", "groups": ["hpc"]}
        callback = idp.follow(location)                    # what a browser does: gives the URL it is sent back to
        token = idp.issue()                                # an access token of `idp.user` without any browser
        idp.fault("token", "html"); idp.calls["token"]     # things go wrong, and are counted

Whoever comes to `authorize` is signed in as `idp.user` at once, without a page. Endpoints by name: discovery, jwks,
authorize, token, userinfo, introspect. Faults: see `HTTPServer.fault`.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_plus, urlencode

import requests
from joserfc import jwt
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from tests.simulators.oidc_http import Answer, HTTPServer, Request

Claims = dict[str, Any]


class _Registry(JWSRegistry):
    """Signs by whatever is asked for, and doesn't warn of EdDSA (RFC 9864), which providers go on using."""

    def get_alg(self, name: str) -> Any:
        return self.algorithms[name]

    def check_header(self, header: dict[str, Any]) -> None:
        pass


@functools.cache
def _key(alg: str, number: int) -> Key:
    """A key for an algorithm, always the same: making one takes long."""
    parameters: Any = {"kid": f"{alg}-{number}", "use": "sig", "alg": alg}
    if alg.startswith("ES"):
        return ECKey.generate_key({"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}[alg], parameters)
    if alg == "EdDSA":
        return OKPKey.generate_key("Ed25519", parameters)
    return RSAKey.generate_key(2048, parameters)


def _changed(claims: Mapping[str, Any], changes: Mapping[str, Any]) -> Claims:
    return {name: value for name, value in {**claims, **changes}.items() if value is not None}


def _b64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


class OIDCSimulator(HTTPServer):
    """The provider. Attributes may be changed at any time; in all `…_claims` and `metadata` None takes away.

    Attributes:
        user: claims of who signs in next.
        error: what `authorize` answers instead of a code (`access_denied`).
        alg: that tokens are signed with.
        jwt: whether access tokens are JWTs; else they are opaque.
        slim: tokens and introspection tell nothing of the user but `sub`.
        id_tokens: whether the token endpoint gives ID tokens.
        lifetime: seconds of access tokens.
        audience: of access tokens that are JWTs.
        auth_methods: how the client may authenticate.
        redirect_uris: that are registered; None for any.
        metadata: changes of the discovery document.
        id_claims, access_claims, userinfo_claims, introspection_claims: changes of what is sent.
        token_answer: changes of the token endpoint's answer.
        callback: changes of the parameters that the browser brings back (`iss`, `state`).
        header: changes of the header of signed tokens (`kid`, `typ`, `alg`).
        sign: how tokens are signed: `right`, `foreign` (by another key of the same id), `none` (algorithm none),
            `hs256` (with the public key as the secret).
    """

    paths: Mapping[str, str] = {
        "/.well-known/openid-configuration": "discovery",
        **{f"/{name}": name for name in ("jwks", "authorize", "token", "userinfo", "introspect")},
    }

    def __init__(self, *, alg: str = "RS256", jwt: bool = False, port: int = 0) -> None:
        self.client_id = "hpcwaas"
        self.client_secret = "s3cret/with+odd %chars"
        self.user: Claims = {"sub": "alice", "name": "Al Ice", "email": "alice@example.org", "groups": ["hpc"]}
        self.error: str | None = None
        self.alg = alg
        self.jwt = jwt
        self.slim = False
        self.id_tokens = True
        self.lifetime = 3600
        self.audience: Any = self.client_id
        self.auth_methods = ["client_secret_basic", "client_secret_post"]
        self.redirect_uris: set[str] | None = None
        self.metadata: Claims = {}
        self.id_claims: Claims = {}
        self.access_claims: Claims = {}
        self.userinfo_claims: Claims = {}
        self.introspection_claims: Claims = {}
        self.token_answer: Claims = {}
        self.callback: Claims = {}
        self.header: Claims = {}
        self.sign = "right"
        self._number = 0
        self._codes: dict[str, tuple[Mapping[str, str], Claims]] = {}
        self._tokens: dict[str, tuple[Claims, float]] = {}
        super().__init__(port)

    @property
    def issuer(self) -> str:
        """As the settings and tokens name it. Endpoints are `issuer` + `/token` and so on."""
        return self.url

    def rotate(self) -> None:
        """Signs with another key from now on; the one before is no longer published."""
        self._number += 1

    def follow(self, location: str) -> str:
        """Goes to the authorization URL as a browser does, and returns where it is sent back to."""
        answer = requests.get(location, allow_redirects=False, timeout=60)
        assert answer.status_code == 302, answer.text
        return answer.headers["Location"]

    def issue(self, user: Mapping[str, Any] | None = None) -> str:
        """Makes an access token.

        Args:
            user: claims of whose it is. Default: `user`.
        """
        claims = dict(user or self.user)
        now = int(time.time())
        if self.jwt:
            own = {"iss": self.issuer, "aud": self.audience, "client_id": self.client_id, "scope": "openid"}
            own |= {"iat": now, "exp": now + self.lifetime, "jti": secrets.token_hex(8)}
            token = self.signed(_changed({**self._told(claims), **own}, self.access_claims), "at+jwt")
        else:
            token = f"opaque/{secrets.token_urlsafe(16)}+"
        self._tokens[token] = (claims, now + self.lifetime)
        return token

    def revoke(self, token: str) -> None:
        """Ends an access token."""
        del self._tokens[token]

    def introspected(self, token: str) -> Claims:
        """Whose an access token is; empty when it doesn't count."""
        return self._user(token) or {}

    def id_token(self, user: Mapping[str, Any], nonce: str | None = None, access_token: str = "") -> str:
        """Makes an ID token."""
        now = int(time.time())
        digest = hashlib.new("sha512" if self.alg == "EdDSA" else f"sha{self.alg[2:]}", access_token.encode()).digest()
        own = {"iss": self.issuer, "aud": self.client_id, "iat": now, "exp": now + 300, "nonce": nonce}
        own["at_hash"] = _b64(digest[: len(digest) // 2]) if access_token else None
        return self.signed(_changed({**self._told(user), **own}, self.id_claims), "JWT")

    def signed(self, claims: Mapping[str, Any], typ: str) -> str:
        """Makes a JWT of any claims, as `sign` and `header` say."""
        key = _key(self.alg, self._number)
        header = _changed({"alg": self.alg, "kid": key.kid, "typ": typ}, self.header)
        if self.sign in ("none", "hs256"):
            header["alg"] = {"none": "none", "hs256": "HS256"}[self.sign]
            content = ".".join(_b64(json.dumps(part).encode()) for part in (header, dict(claims)))
            secret = key.as_pem(private=False) if not isinstance(key.raw_value, bytes) else b""
            digest = hmac.digest(secret, content.encode(), "sha256") if self.sign == "hs256" else b""
            return f"{content}.{_b64(digest)}"
        key = _key(self.alg, 1000) if self.sign == "foreign" else key
        bare = type(key)(key.raw_value, key.raw_value)  # type: ignore[arg-type] # signs by any algorithm of its type
        return jwt.encode(header, dict(claims), bare, registry=_Registry(), default_type=None)

    def answer(self, request: Request) -> Answer:
        """See `HTTPServer`."""
        handler = getattr(self, f"_{request.endpoint}", None) if request.endpoint in self.paths.values() else None
        return handler(request) if handler else Answer({"error": "not_found"}, 404)

    def _told(self, user: Mapping[str, Any]) -> Claims:
        return {"sub": user["sub"]} if self.slim else dict(user)

    def _discovery(self, _: Request) -> Answer:
        document = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "introspection_endpoint": f"{self.issuer}/introspect",
            "jwks_uri": f"{self.issuer}/jwks",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [self.alg],
            "token_endpoint_auth_methods_supported": self.auth_methods,
            "code_challenge_methods_supported": ["S256"],
        }
        return Answer(_changed(document, self.metadata))

    def _jwks(self, _: Request) -> Answer:
        return Answer({"keys": [_key(self.alg, self._number).as_dict(private=False)]})

    def _authorize(self, request: Request) -> Answer:
        params = request.params
        registered = self.redirect_uris is None or params.get("redirect_uri") in self.redirect_uris
        if params.get("client_id") != self.client_id or "redirect_uri" not in params or not registered:
            return Answer({"error": "invalid_request"}, 400)
        back = {"state": params.get("state")}
        if params.get("response_type") != "code" or params.get("code_challenge_method", "S256") != "S256":
            back["error"] = "invalid_request"
        elif self.error:
            back["error"] = self.error
        else:
            code = back["code"] = secrets.token_urlsafe(16)
            self._codes[code] = (params, dict(self.user))
        if self.metadata.get("authorization_response_iss_parameter_supported"):
            back["iss"] = self.issuer
        query = urlencode(_changed(back, self.callback))
        return Answer({}, 302, (("Location", f"{params['redirect_uri']}?{query}"),))

    def _token(self, request: Request) -> Answer:
        if not self._client(request):
            return Answer({"error": "invalid_client"}, 401)
        form = request.params
        asked, user = self._codes.pop(form.get("code", ""), (None, {}))  # good for one try
        verifier = form.get("code_verifier", "")
        if (
            asked is None
            or form.get("grant_type") != "authorization_code"
            or form.get("redirect_uri") != asked["redirect_uri"]
            or asked.get("code_challenge", "") != (_b64(hashlib.sha256(verifier.encode()).digest()) if verifier else "")
        ):
            return Answer({"error": "invalid_grant", "error_description": "upstream-secret"}, 400)
        token = self.issue(user)
        document: Claims = {"access_token": token, "token_type": "Bearer", "expires_in": self.lifetime}
        if self.id_tokens:
            document["id_token"] = self.id_token(user, asked.get("nonce"), token)
        return Answer(_changed(document, self.token_answer))

    def _userinfo(self, request: Request) -> Answer:
        user = self._user(request.headers.get("Authorization", "").removeprefix("Bearer "))
        if user is None:
            return Answer({"error": "invalid_token"}, 401, (("WWW-Authenticate", 'Bearer error="invalid_token"'),))
        return Answer(_changed(user, self.userinfo_claims))

    def _introspect(self, request: Request) -> Answer:
        if not self._client(request):
            return Answer({"error": "invalid_client"}, 401)
        token = request.params.get("token", "")
        user = self._user(token)
        if user is None:
            return Answer({"active": False})
        own = {"active": True, "client_id": self.client_id, "exp": int(self._tokens[token][1])}
        return Answer(_changed({**self._told(user), **own}, self.introspection_claims))

    def _user(self, token: str) -> Claims | None:
        user, ends = self._tokens.get(token, ({}, 0.0))
        return user if ends > time.time() else None

    def _client(self, request: Request) -> bool:
        scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
        if scheme == "Basic" and "client_secret_basic" in self.auth_methods:
            name, _, secret = base64.b64decode(credentials).decode().partition(":")
            given = unquote_plus(name), unquote_plus(secret)  # RFC 6749, 2.3.1
        elif "client_secret_post" in self.auth_methods:
            given = request.params.get("client_id", ""), request.params.get("client_secret", "")
        else:
            return False
        return given == (self.client_id, self.client_secret)
