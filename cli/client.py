"""The service over HTTP: credentials, retries, and errors in plain words."""

from __future__ import annotations

import base64
import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

import requests

from . import __version__
from .api.calls import Call, created_id
from .config import Config
from .connection_errors import unreachable, unusable
from .errors import Unreachable, UsageError, WaasError
from .failures import failure_of
from .literals import Literal, encode
from .oauth import Renewal
from .password import with_password
from .retry import pause
from .stepup import WORD, SignInAgain
from .tls import secure

T = TypeVar("T")

_CONNECT_SECONDS = 10.0
_ANSWER_SECONDS = 60.0
_TRIES = 4
_MAX_WAIT_SECONDS = 30.0
_LONG_WAIT_SECONDS = 3.0
_SILENCE_SECONDS = 5.0
"""After so long a wait, for another try or for an answer, the user is told the reason."""


class _Authorization(requests.auth.AuthBase):
    """Sets the header, or none: without an `auth` of its own, requests would take one from ~/.netrc."""

    def __init__(self, header: str | None) -> None:
        self._header = header

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._header:
            request.headers["Authorization"] = self._header
        return request


def _header(config: Config) -> str | None:
    """The credentials that don't change while the command runs."""
    if config.access_token:
        return f"Bearer {config.access_token}"
    if config.user:
        return "Basic " + base64.b64encode(with_password(config.user).encode()).decode()
    return None


class Client:
    """Speaks to the service. Not for use in several threads.

    Args:
        config: address, credentials, TLS.
        note: tells the user something; also an attribute.
        sleep: waits so many seconds.
        sign_in_again: signs in as the service demands, and gives the configuration with that; None when the user can't
            be asked.
    """

    def __init__(
        self,
        config: Config,
        *,
        note: Callable[[str], None],
        sleep: Callable[[float], None] = time.sleep,
        sign_in_again: Callable[[SignInAgain], Config] | None = None,
    ) -> None:
        self.note = note
        self._sign_in_again = sign_in_again
        self._sleep = sleep
        self._session = requests.Session()
        self._session.headers.update({"User-Agent": f"waas/{__version__}", "Accept": "application/json, */*;q=0.5"})
        self._verify = secure(self._session, config, note)
        self.become(config)

    def become(self, config: Config) -> None:
        """Uses the credentials of another configuration for the same service from now on."""
        self._config = config
        self._header = _header(config)
        self._renewal = Renewal(self, config, config.login) if config.login else None

    def close(self) -> None:
        """Ends the connections."""
        self._session.close()

    @property
    def root_path(self) -> str:
        """Of the service's address: what stands before the paths of the API."""
        return urlsplit(self._config.api_url).path

    def request(
        self,
        method: str,
        where: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        data: Any = None,
        headers: Mapping[str, str] | None = None,
        stream: bool = False,
        timeout: float = _ANSWER_SECONDS,
        retry: bool | None = None,
        anonymous: bool = False,
        quiet: bool = False,
    ) -> requests.Response:
        """Sends a request.

        Args:
            where: path, quoted.
            stream: leave the body to be read by the caller, who closes the answer.
            timeout: seconds to wait for each part of the answer.
            retry: whether sending it twice does no harm. Default: GET only.
            anonymous: send no credentials.
            quiet: say nothing of a long wait: it is what was asked for, or something else shows it.

        Returns:
            an answer below 300.

        Raises:
            Unreachable: no answer, or the service is down.
            NotFound: 404.
            UsageError: `json`, the address or a header holds what can't be sent.
            WaasError: any other answer.
        """
        retry = method == "GET" if retry is None else retry
        if json is not None:
            data, headers = encode(json), {"Content-Type": "application/json", **(headers or {})}
        arguments: dict[str, Any] = {"params": params, "data": data, "headers": headers, "stream": stream}
        for attempt in range(1, _TRIES + 1):
            last = attempt == _TRIES or not retry
            with contextlib.nullcontext() if quiet else self._patience(timeout):
                answer = self._tried(method, where, anonymous=anonymous, timeout=timeout, **arguments)
            if isinstance(answer, Unreachable):
                failure: WaasError = answer
            elif answer.status_code < 300:
                return answer
            else:
                with answer:
                    status, reason = answer.status_code, answer.reason
                    failure = failure_of(self._config, where, status, reason, answer.headers, _body(answer))
            if isinstance(failure, SignInAgain) and self._sign_in_again is not None and not anonymous:
                again, self._sign_in_again = self._sign_in_again, None  # once
                self.become(again(failure))
                _rewind(data)
                return self.request(method, where, timeout=timeout, retry=retry, quiet=quiet, **arguments)
            # Where nothing listens, waiting a second won't help, and the user should know at once.
            if last or not isinstance(failure, Unreachable) or failure.unsent:
                raise failure
            if (failure.retry_after or 0) > _MAX_WAIT_SECONDS:
                raise failure
            self._wait(failure, attempt)
        raise AssertionError("the last try returns or raises")

    def _tried(self, method: str, where: str, **arguments: Any) -> requests.Response | Unreachable:
        """The answer, or a failure after which another try may succeed."""
        try:
            return self._signed(method, where, **arguments)
        except requests.Timeout as error:
            raise unreachable(error, self._config) from None
        except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
            return unreachable(error, self._config)
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidHeader) as error:
            raise unusable(error, self._config) from None
        except requests.RequestException as error:
            raise unreachable(error, self._config) from None
        except UnicodeError:
            raise UsageError("The command line holds text that isn't valid Unicode, so it can't be sent.") from None
        except OSError as error:  # a file that a variable names
            raise unusable(error, self._config) from None

    def _wait(self, failure: Unreachable, attempt: int) -> None:
        """Waits for the next try, as long as the service asked for. Tells the user when that is long."""
        asked = failure.retry_after
        waits = [pause(each) if asked is None else asked for each in range(attempt, _TRIES)]
        if waits[0] >= _LONG_WAIT_SECONDS or sum(waits) >= _SILENCE_SECONDS:
            ends = f"; giving up in about {_seconds(sum(waits))}" if len(waits) > 1 else ""
            tries = f"try {attempt + 1} of {_TRIES}{ends}"
            self.note(f"{failure.message} Trying again in {_seconds(waits[0])} ({tries}).")
        self._sleep(waits[0])

    @contextlib.contextmanager
    def _patience(self, seconds: float) -> Iterator[None]:
        """Tells the user when an answer takes long, and how long the command waits for it."""
        text = f"{self._config.api_url} hasn't answered yet. Waiting up to {_seconds(_CONNECT_SECONDS + seconds)}."
        timer = threading.Timer(_SILENCE_SECONDS, self.note, [text])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def call(self, call: Call[T]) -> T:
        """Sends a request of the contract; gives its answer and raises what `request` does."""
        response = self.send(call)
        if call.gives == "value":
            return cast(T, self.decode(response))
        return cast(T, created_id(response.headers.get("Location")) if call.gives == "id" else None)

    def send(self, call: Call[Any], *, quiet: bool = False) -> requests.Response:
        """As `call`, but gives the answer as it came, with its headers."""
        return self.request(
            call.method,
            call.where,
            params=call.params,
            json=call.json,
            headers=call.headers,
            timeout=call.seconds,
            retry=call.repeatable,
            quiet=quiet,
        )

    def authorization(self, *, renewed: bool = False) -> str | None:
        """The credentials as a header `Authorization` has them; None without any.

        Args:
            renewed: the last ones weren't accepted: get others, if there can be others.

        Raises:
            WaasError: the user has to sign in again.
        """
        if self._renewal is None:
            return self._header
        if renewed:
            self._renewal.renew()
        return f"Bearer {self._renewal.token()}"

    def ask(self, method: str, where: str, **options: Any) -> Any:
        """The JSON answer to a request; takes and raises what `request` does."""
        return self.decode(self.request(method, where, **options))

    def pages(
        self, call: Call[Any], member: str, warn: Callable[[str], None] | None = None, *, everything: bool
    ) -> Iterator[Any]:
        """The members of a listing, page after page when `everything` is wanted.

        Args:
            call: asks for its first page.
            warn: is told what the service says is missing, each sentence once.

        Raises:
            WaasError: a page leads back to an earlier one.
        """
        cursor: str | None = None
        seen: set[str | None] = set()
        told: set[str] = set()
        while cursor not in seen:
            seen.add(cursor)
            page = self.call(replace(call, params={**call.params, **({"cursor": cursor} if cursor else {})}))
            for warning in page.get("warnings") or ():
                if warn is not None and warning not in told:
                    warn(warning)
                    told.add(warning)
            yield from page.get(member) or ()
            cursor = page.get("next_cursor") if everything else None
            if not cursor:
                return
        raise WaasError(f"The service's list of {member} doesn't end: one of its pages leads back to an earlier one.")

    def decode(self, response: requests.Response) -> Any:
        """The JSON in an answer."""
        try:
            return response.json(parse_float=Literal)
        except ValueError:
            raise WaasError(
                f"The answer of {self._config.api_url} isn't JSON.", hint="Check that it is the address of the service."
            ) from None

    def _signed(self, method: str, where: str, *, anonymous: bool, **arguments: Any) -> requests.Response:
        """Sends a request with the credentials; once more with new ones when a sign-in can be renewed."""
        if anonymous or not self._renewal:
            return self._send(method, where, None if anonymous else self._header, **arguments)
        response = self._send(method, where, f"Bearer {self._renewal.token()}", **arguments)
        if response.status_code != requests.codes.unauthorized or WORD in response.headers.get("WWW-Authenticate", ""):
            return response
        if not self._renewal.renew():
            return response
        response.close()
        _rewind(arguments["data"])
        return self._send(method, where, f"Bearer {self._renewal.token()}", **arguments)

    def _send(
        self, method: str, where: str, header: str | None, *, timeout: float, **arguments: Any
    ) -> requests.Response:
        started = time.monotonic()
        if self._config.debug:
            self.note(f"> {method} {self._config.api_url}{where} {arguments['params'] or ''}".rstrip())
        response = self._session.request(
            method,
            self._config.api_url + where,
            auth=_Authorization(header),
            timeout=(_CONNECT_SECONDS, timeout),
            allow_redirects=False,
            verify=self._verify,
            **arguments,
        )
        if self._config.debug:
            self._trace(response, time.monotonic() - started)
        return response

    def _trace(self, response: requests.Response, seconds: float) -> None:
        for name, value in response.request.headers.items():
            self.note(f"> {name}: {'***' if name.lower() == 'authorization' else value}")
        self.note(f"< {response.status_code} {response.reason} after {seconds * 1000:.0f} ms")
        for name, value in response.headers.items():
            self.note(f"< {name}: {'***' if name.lower() == 'set-cookie' else value}")


def _body(answer: requests.Response) -> Any:
    """What an answer says, if it is JSON."""
    try:
        return answer.json()
    except (ValueError, RecursionError, requests.RequestException):
        return None


def _rewind(data: Any) -> None:
    """Rewinds a body that is read while it is sent."""
    if rewind := getattr(data, "rewind", None):
        rewind()


def _seconds(number: float) -> str:
    return "a second" if number < 1.5 else f"{number:.0f} seconds"
