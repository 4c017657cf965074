"""The simulated Alien4Cloud's HTTP side: sessions, the envelope around answers, delays and faults."""

from __future__ import annotations

import base64
import json
import re
import secrets
import time
from dataclasses import replace
from http.cookies import SimpleCookie
from typing import Any, TypeAlias
from urllib.parse import parse_qs

from tests.simulators.alien4cloud_catalogue import Request, forbidden
from tests.simulators.alien4cloud_launch import Refusal
from tests.simulators.alien4cloud_routes import Routes
from tests.simulators.alien4cloud_state import Sessions, User, World
from tests.simulators.alien4cloud_stomp import Broker, Receive, Send
from tests.simulators.bare_http import Answer, Headers
from tests.simulators.faults import Fault
from tests.simulators.serving import Application, Call

JSON: TypeAlias = Any

SECURITY: Headers = (
    (b"X-Content-Type-Options", b"nosniff"),
    (b"X-XSS-Protection", b"1; mode=block"),
    (b"Cache-Control", b"no-cache, no-store, max-age=0, must-revalidate"),
    (b"Pragma", b"no-cache"),
    (b"Expires", b"0"),
    (b"X-Frame-Options", b"DENY"),
)
JSON_TYPE: Headers = ((b"Content-Type", b"application/json;charset=utf-8"),)
CONTEXT = (b"X-Application-Context", b"alien4cloud-config:8088")
CONTROLLER: Headers = (*SECURITY, CONTEXT, *JSON_TYPE)
STACK_TRACE = (
    "org.elasticsearch.client.transport.NoNodeAvailableException: None of the configured nodes are available\n"
    "\tat org.elasticsearch.client.transport.TransportClientNodesService.ensureNodesAreAvailable"
    "(TransportClientNodesService.java:347)\n\t... (112 more lines of Java stack trace)"
)
STACK = "\n\tat alien4cloud.rest.Controller.call(Controller.java:83)\n\t... (117 more lines of Java stack trace)"
PREFIX = re.compile(r"/rest(?:/latest|/v1)?(/.*)")
MALFORMED = (
    "JSON parse error: Unexpected end-of-input; nested exception is com.fasterxml.jackson.core.io.JsonEOFException"
)
TOKEN_LIFE = 3600


def _envelope(status: int, data: JSON, error: JSON = None, headers: Headers = CONTROLLER) -> Answer:
    body = json.dumps({"data": data, "error": error}, separators=(",", ":"), ensure_ascii=False)
    return Answer(status, body.encode(), headers)


def _refused(refusal: Refusal) -> Answer:
    error = {"code": refusal.code, "message": refusal.message}
    data = None if refusal.trace is None else f"{refusal.trace}: {refusal.message}{STACK}"
    return _envelope(refusal.status, data, error)


def _spring(status: int, error: str, message: str, path: str) -> Answer:
    """Spring's own answer, without Alien4Cloud's envelope."""
    body = {"timestamp": int(time.time() * 1000), "status": status, "error": error, "message": message, "path": path}
    headers = [header for header in CONTROLLER if header[0] not in (b"Cache-Control", b"Expires")]
    if status == 401:  # comes from a filter, before the application's context
        headers.remove(CONTEXT)
    return Answer(status, json.dumps(body).encode(), tuple(headers))


def _unauthenticated() -> Refusal:
    return Refusal(403, 100, "Authentication required for this request : ")


class Alien4CloudApplication(Application):
    """The ASGI application."""

    def __init__(self, world: World, routes: Routes, broker: Broker, sessions: Sessions, delay: float) -> None:
        super().__init__(delay)
        self.sessions = sessions
        self._world = world
        self._routes = routes
        self._broker = broker
        self._tokens: dict[str, User] = {}

    async def websocket(self, scope: dict[str, Any], headers: dict[str, str], receive: Receive, send: Send) -> None:
        """Serves events."""
        path = scope["raw_path"].split(b"?")[0].decode()
        user = self.sessions.user(_cookie(headers))
        self.calls.append(Call("WEBSOCKET", path, time.time()))
        open_to_all = path == "/rest/latest/alienEndPoint/websocket"
        if not re.fullmatch(r"/rest(/v1|/latest)?/alienEndPoint/websocket", path) or not (user or open_to_all):
            await receive()
            await send({"type": "websocket.http.response.start", "status": 401, "headers": list(SECURITY)})
            await send({"type": "websocket.http.response.body", "body": b""})
            return
        await self._broker.serve(scope, receive, send, None if user is None else user.name)

    def odd(self, fault: Fault) -> Answer:
        """A stack trace, or what one gets whose session is over."""
        if fault.kind == "expired":
            return _refused(_unauthenticated())
        error = {"code": 500, "message": "None of the configured nodes are available"}
        return _envelope(500, STACK_TRACE, error)

    async def answer(self, call: Call, query: str, headers: dict[str, str]) -> Answer:
        """Does what a call asks for."""
        parameters = {name: values[0] for name, values in parse_qs(query, keep_blank_values=True).items()}
        match (call.method, call.path):
            case ("POST", "/login"):
                return self._login(call, headers)
            case ("POST", "/logout"):
                self.sessions.close(_cookie(headers))
                cookie = b"JSESSIONID=;Path=/;Expires=Thu, 01-Jan-1970 00:00:00 GMT;Max-Age=0"
                return _redirect(headers, "/", cookie)
            case ("GET", "/rest/auth/status"):
                return _envelope(200, _status(self.sessions.user(_cookie(headers))))
            case ("GET", "/rest/auth/authenticationfailed"):
                error = {"code": 101, "message": "Authentication failed, check username and password."}
                return _envelope(401, None, error)
            case ("POST", "/rest/jwtauth"):
                form = parse_qs(call.body.decode()) if not query else {}
                return self._token({name: values[0] for name, values in form.items()} | parameters)
        inner = PREFIX.fullmatch(call.path)
        if inner is None:
            return _spring(404, "Not Found", "Not Found", call.path)
        return self._rest(call, inner[1], parameters, headers)

    def _rest(self, call: Call, path: str, parameters: dict[str, str], headers: dict[str, str]) -> Answer:
        bearer = re.fullmatch(r"Bearer (.+)", headers.get("authorization", ""))
        if bearer and bearer[1] not in self._tokens:
            return _spring(401, "Unauthorized", "error.jwt.invalid", call.path)
        user = self._tokens[bearer[1]] if bearer else self.sessions.user(_cookie(headers))
        if path.startswith("/admin/") and not (user and user.admin):
            return _guarded(call.path, user)
        if path == "/alienEndPoint/info":
            info = {"entropy": secrets.randbits(31), "origins": ["*:*"], "cookie_needed": True, "websocket": True}
            return Answer(200, json.dumps(info).encode(), CONTROLLER)
        found = self._routes.find(call.method, path)
        if found is None:
            return _spring(404, "Not Found", "Not Found", call.path)
        handler, arguments = found
        try:
            if user is None:
                raise _unauthenticated()
            answer = _envelope(200, handler(Request(user, parameters, _parsed(call, headers)), *arguments))
        except Refusal as refusal:
            answer = _refused(refusal)
        if bearer and user:
            cookie = _set_cookie(f"JSESSIONID={self.sessions.open(user)};Path=/".encode())
            answer = replace(answer, headers=(*[one for one in answer.headers if one[0] != b"Expires"], *cookie))
        return answer

    def _login(self, call: Call, headers: dict[str, str]) -> Answer:
        form = {name: values[0] for name, values in parse_qs(call.body.decode()).items()}
        user = self._world.users.get(form.get("username", ""))
        if user is not None and user.password != form.get("password"):
            user = None
        target = "/rest/auth/authenticationfailed" if user is None else "/rest/auth/status"
        return _redirect(headers, target, f"JSESSIONID={self.sessions.open(user)};Path=/".encode())

    def _token(self, form: dict[str, str]) -> Answer:
        user = self._world.users.get(form.get("user", ""))
        if user is None or user.password != form.get("password"):
            message = f"Incorrect password for user <{form.get('user')}>"
            exception = "org.springframework.security.authentication.BadCredentialsException"
            return _refused(Refusal(500, 500, message, exception))
        claims = json.dumps({"sub": user.name, "jti": secrets.token_hex(8)}).encode()
        token = f"e30.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.{secrets.token_urlsafe(24)}"
        self._tokens[token] = user
        return _envelope(200, {"token": token, "expireAt": self._world.millis(time.time()) + TOKEN_LIFE * 1000})


def _parsed(call: Call, headers: dict[str, str]) -> JSON:
    if not call.body or call.method == "GET":
        return None
    media_type = headers.get("content-type", "").split(";")[0]
    if media_type != "application/json":
        exception = "org.springframework.web.HttpMediaTypeNotSupportedException"
        raise Refusal(500, 500, f"Content type '{media_type}' not supported", exception)
    try:
        return json.loads(call.body)
    except ValueError:
        exception = "org.springframework.http.converter.HttpMessageNotReadableException"
        raise Refusal(500, 500, MALFORMED, exception) from None


def _guarded(path: str, user: User | None) -> Answer:
    """Paths that the filter chain guards answer before any controller."""
    if user is None:
        error = {"code": 100, "message": f"Authentication required for this request : {path}"}
        body = json.dumps({"error": error}, separators=(",", ":")).encode()
        return Answer(401, body, (*SECURITY, (b"Content-Type", b"application/json"), _length(body)))
    refused = _refused(forbidden())
    return replace(refused, headers=(*SECURITY, _length(refused.body)))


def _length(body: bytes) -> tuple[bytes, bytes]:
    return b"Content-Length", str(len(body)).encode()


def _cookie(headers: dict[str, str]) -> str | None:
    morsel = SimpleCookie(headers.get("cookie", "")).get("JSESSIONID")
    return None if morsel is None else morsel.value


def _set_cookie(cookie: bytes) -> Headers:
    return (b"Expires", b"Thu, 01 Jan 1970 00:00:00 GMT"), (b"Set-Cookie", cookie)


def _redirect(headers: dict[str, str], target: str, cookie: bytes) -> Answer:
    location = (b"Location", f"http://{headers['host']}{target}".encode())
    plain = [header for header in SECURITY if header[0] != b"Expires"]
    return Answer(302, b"", (*plain, *_set_cookie(cookie), location, (b"Content-Length", b"0")))


def _status(user: User | None) -> JSON:
    return {
        "isLogged": user is not None,
        "username": user and user.name,
        "githubUsername": None,
        "roles": user and list(user.roles),
        "groups": None,
        "authSystem": "alien",
    }
