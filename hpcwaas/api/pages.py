"""The few HTML pages of signing in. They need nothing from elsewhere, and work without scripts."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from urllib.parse import urlsplit

from flask import Response
from jinja2 import DictLoader, Environment, StrictUndefined, Template

from hpcwaas.core.people import Principal, Terms
from hpcwaas.core.ports.identity import WaitingMachine

_LAYOUT = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<meta name="color-scheme" content="light dark">
<title>{% block title %}{% endblock %} - Workflow Execution Service</title>
<style nonce="{{ nonce }}">
:root {
  color-scheme: light dark;
  --ground: #eef1f5; --card: #fff; --text: #1b2330; --faint: #556072; --line: #d3dae4; --accent: #1e5bb8; --on: #fff;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #12161d; --card: #1c222c; --text: #e7ebf2; --faint: #a3aec0; --line: #364152; --accent: #8ab4f8;
    --on: #10151c;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--text); font: 1rem/1.55 system-ui, sans-serif; }
main {
  width: min(38rem, 100% - 2rem); margin: 8vh auto 2rem; padding: clamp(1.25rem, 5vw, 2rem); background: var(--card);
  border: 1px solid var(--line); border-radius: .75rem; overflow-wrap: anywhere;
}
.service { margin: 0 0 .25rem; color: var(--faint); font-size: .875rem; }
h1 { margin: 0 0 1rem; font-size: 1.5rem; line-height: 1.25; }
h2 { margin: 1.75rem 0 .5rem; font-size: 1.05rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1rem; margin: 1rem 0; }
dt { color: var(--faint); }
dd { margin: 0; }
code, pre, .code, input { font-family: ui-monospace, monospace; }
pre { padding: .6rem .8rem; overflow-x: auto; border: 1px solid var(--line); border-radius: .5rem; }
details pre { white-space: pre-wrap; }
details { margin-top: 1rem; }
summary { cursor: pointer; }
.code { margin: 1rem 0; font-size: 2rem; font-weight: 600; letter-spacing: .12em; text-align: center; }
label { display: block; margin-bottom: .35rem; }
input[type=text] {
  width: 100%; padding: .55rem .7rem; font-size: 1.25rem; letter-spacing: .1em; text-transform: uppercase;
  color: inherit; background: transparent; border: 1px solid var(--faint); border-radius: .5rem;
}
button, .button {
  display: inline-block; margin: .75rem .75rem 0 0; padding: .6rem 1.1rem; font: inherit; font-weight: 600;
  color: var(--on); background: var(--accent); border: 0; border-radius: .5rem; text-decoration: none; cursor: pointer;
}
button.second { color: var(--accent); background: transparent; border: 1px solid var(--line); }
.terms {
  max-height: 40vh; padding: .6rem .8rem; overflow-y: auto; white-space: pre-wrap; border: 1px solid var(--line);
  border-radius: .5rem;
}
a { color: var(--accent); }
a.button { color: var(--on); }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.faint { color: var(--faint); font-size: .9rem; }
</style>
</head>
<body>
<main>
<p class="service">Workflow Execution Service</p>
{% block body %}{% endblock %}
</main>
{% block script %}{% endblock %}
</body>
</html>
"""

_SIGNED_IN = """{% extends "layout" %}
{% block title %}Signed in{% endblock %}
{% block body %}
<h1>You are signed in</h1>
<dl>
<dt>Name</dt><dd>{{ name }}</dd>
<dt>User id</dt><dd>{{ subject }}</dd>
<dt>Until</dt><dd><time datetime="{{ ends_at.isoformat() }}">{{ ends_at | moment }}</time></dd>
</dl>
<h2>On the command line</h2>
<p>The shortest way needs no token: run</p>
<pre>waas login --api_url {{ url }}</pre>
<p>Or hand your token to the command, until it ends:</p>
<pre>export HW_API_URL={{ url }}
export HW_ACCESS_TOKEN=…</pre>
<h2>Your token</h2>
<p>Whoever has it acts in your name: give it to nobody.</p>
<button type="button" id="copy" hidden>Copy the token</button><span id="copied" role="status"></span>
<details><summary>Show the token</summary><pre id="token">{{ token }}</pre></details>
{% endblock %}
{% block script %}
<script nonce="{{ nonce }}">
history.replaceState(null, "", location.pathname);
const button = document.getElementById("copy"), status = document.getElementById("copied");
button.hidden = !navigator.clipboard;
button.addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(document.getElementById("token").textContent);
    status.textContent = "Copied.";
  } catch {
    document.querySelector("details").open = true;
    status.textContent = "The browser doesn't allow it: copy it by hand.";
  }
});
</script>
{% endblock %}
"""

_LET_IN = """{% extends "layout" %}
{% block title %}Signed in{% endblock %}
{% block body %}
<h1>The machine is signed in</h1>
<p>The machine with the code <strong>{{ user_code }}</strong> is signed in as <strong>{{ name }}</strong>
({{ subject }}). It goes on by itself; you can close this page.</p>
<p class="faint">If that wasn't your machine, tell an operator at once.</p>
{% endblock %}
"""

_ENTER = """{% extends "layout" %}
{% block title %}Let a machine in{% endblock %}
{% block body %}
<h1>Let a machine in</h1>
<p>Type the code that <code>waas login</code> shows in your terminal.</p>
<form method="get" action="activate">
<label for="user_code">Code</label>
<input type="text" id="user_code" name="user_code" maxlength="40" required autofocus autocomplete="off"
 autocapitalize="characters" spellcheck="false" placeholder="XXXX-XXXX">
<button type="submit">Go on</button>
</form>
{% endblock %}
"""

_CONFIRM = """{% extends "layout" %}
{% block title %}Let a machine in{% endblock %}
{% block body %}
<h1>Is this your machine?</h1>
<p>Compare this code with the one in your terminal:</p>
<p class="code">{{ machine.user_code }}</p>
<dl>
<dt>Asked from</dt><dd>{{ machine.address or "unknown" }}</dd>
<dt>At</dt><dd><time datetime="{{ machine.asked_at.isoformat() }}">{{ machine.asked_at | moment }}</time></dd>
</dl>
<p>Go on only if the codes are the same and you have just run <code>waas login</code> yourself. The machine will act in
your name. If somebody sent you this code or this page, close it.</p>
<form method="post" action="activate">
<input type="hidden" name="user_code" value="{{ machine.user_code }}">
<input type="hidden" name="proof" value="{{ proof }}">
<button type="submit">Sign in and let it in</button>
</form>
{% endblock %}
"""

_COMMAND = """{% extends "layout" %}
{% block title %}Let a command in{% endblock %}
{% block body %}
<h1>Is it you who wants to sign in?</h1>
<p>A program on this computer wants to act in your name. It waits at</p>
<p class="code">{{ place }}</p>
<p>Go on only if you have just run <code>waas login</code> yourself and it shows the same address in your terminal. If
you haven't, or if somebody sent you this page, refuse.</p>
<form method="post" action="login">
{% for name, value in parameters.items() %}
<input type="hidden" name="{{ name }}" value="{{ value }}">
{% endfor %}
<input type="hidden" name="proof" value="{{ proof }}">
<button type="submit" name="decision" value="accept">Sign in and let it in</button>
<button type="submit" name="decision" value="refuse" class="second">Refuse</button>
</form>
{% endblock %}
"""

_TERMS = """{% extends "layout" %}
{% block title %}Terms of use{% endblock %}
{% block body %}
<h1>Terms of use</h1>
<p>You have signed in as <strong>{{ user.name }}</strong> ({{ user.subject }}). Before you go on, read the terms of use
of this service, version {{ terms.version }}.</p>
{% if terms.text %}
<div class="terms" tabindex="0">{{ terms.text }}</div>
{% endif %}
{% if terms.url %}
<p><a href="{{ terms.url }}" target="_blank" rel="noopener noreferrer">Read the terms of use</a> (opens a new tab)</p>
{% endif %}
<form method="post" action="terms">
<input type="hidden" name="ticket" value="{{ ticket }}">
<button type="submit" name="decision" value="accept">I accept them</button>
<button type="submit" name="decision" value="refuse" class="second">I don't</button>
</form>
<p class="faint">You are asked once, and again when there is another version. When you accept them is recorded.</p>
{% endblock %}
"""

_FAILED = """{% extends "layout" %}
{% block title %}{{ title }}{% endblock %}
{% block body %}
<h1>{{ title }}</h1>
<p role="alert">{{ detail }}</p>
{% if again %}
<p><a class="button" href="{{ again[0] }}">{{ again[1] }}</a></p>
<p class="faint">If you came from <code>waas login</code>, run it again in the terminal.</p>
{% endif %}
{% if request_id %}<p class="faint">When you ask an operator, quote the request id <code>{{ request_id }}</code>.</p>
{% endif %}
{% endblock %}
"""


@cache
def _templates() -> Environment:
    pages = {"layout": _LAYOUT, "signed in": _SIGNED_IN, "let in": _LET_IN, "enter": _ENTER}
    environment = Environment(
        loader=DictLoader({**pages, "confirm": _CONFIRM, "command": _COMMAND, "terms": _TERMS, "failed": _FAILED}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters["moment"] = lambda value: value.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return environment


def confirm_command(parameters: Mapping[str, str], redirect_uri: str, proof: str, provider: str) -> Response:
    """Asks whether a command on the user's machine is their own.

    Args:
        parameters: come back with the button, as `proof` does.
        provider: origin that the button leads on to.
    """
    place = urlsplit(redirect_uri).netloc
    return _page("command", f"{provider} http://{place}", parameters=parameters, place=place, proof=proof)


def terms(terms: Terms, user: Principal, ticket: str, provider: str, redirect_uri: str | None) -> Response:
    """Shows terms of use, to be accepted.

    Args:
        ticket: comes back with the button.
        provider: origin that the button leads on to.
        redirect_uri: of the command that is told when they are refused, if any.
    """
    told = f" http://{urlsplit(redirect_uri).netloc}" if redirect_uri else ""
    return _page("terms", provider + told, terms=terms, user=user, ticket=ticket)


def signed_in(name: str, subject: str, token: str, ends_at: datetime, url: str) -> Response:
    """What a browser shows after a sign-in.

    Args:
        url: of the service.
    """
    return _page("signed in", name=name, subject=subject, token=token, ends_at=ends_at, url=url)


def let_in(name: str, subject: str, user_code: str) -> Response:
    """What a browser shows when a machine has been let in."""
    return _page("let in", name=name, subject=subject, user_code=user_code)


def enter() -> Response:
    """Asks for the code that a machine shows."""
    return _page("enter")


def confirm(machine: WaitingMachine, proof: str, provider: str) -> Response:
    """Asks whether a machine is the user's own.

    Args:
        proof: comes back with the button.
        provider: origin that the button leads on to.
    """
    return _page("confirm", provider, machine=machine, proof=proof)


def failed(
    status: int, title: str, detail: str, again: tuple[str, str] | None = None, request_id: str | None = None
) -> Response:
    """Says what went wrong.

    Args:
        again: address and words of the link that leads on.
    """
    page = _page("failed", title=title, detail=detail, again=again, request_id=request_id)
    page.status_code = status
    return page


def _page(template: str, provider: str | None = None, **values: object) -> Response:
    nonce = secrets.token_urlsafe(16)
    page: Template = _templates().get_template(template)
    # Chromium holds redirects after a form against `form-action`, too, and providers lead on to institutes.
    forms = "'self'" if provider is None else f"'self' {provider} https:"
    return Response(
        page.render(nonce=nonce, **values),
        content_type="text/html; charset=utf-8",
        headers={
            "Content-Security-Policy": (
                f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; form-action {forms}; "
                "frame-ancestors 'none'; base-uri 'none'"
            ),
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
        },
    )
