"""People's browsers, in Chromium. Run with a Python that has playwright: `sign_in_browser.py CHROMIUM SERVICE`.

Every line on stdin is a call `["whose browser", "method", arguments...]` of a method of `Window`; every line on stdout
is its answer. Nothing can reach beyond this machine.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from playwright.sync_api import Browser, Request, Response, sync_playwright

QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]
PATIENCE = 15_000
"""Milliseconds."""


class Window:
    """One person's browser, with cookies of its own.

    Args:
        service: its origin, which may write to the clipboard.
    """

    def __init__(self, browser: Browser, service: str) -> None:
        self._context = browser.new_context(viewport={"width": 1000, "height": 800}, locale="en-GB")
        self._context.set_default_timeout(PATIENCE)
        self._context.grant_permissions(["clipboard-read", "clipboard-write"], origin=service)
        self._service = service
        self._page = self._context.new_page()
        self._status: int | None = None
        self._held: list[str] = []
        self._visited: list[str] = []
        self._cookies: list[str] = []
        self._elsewhere: list[str] = []
        self._errors: list[str] = []
        self._page.on("request", self._asked)
        self._page.on("response", self._answered)
        self._page.on("console", lambda message: self._said(message.type, message.text))
        self._page.on("pageerror", lambda error: self._said("error", str(error)))

    def open(self, url: str) -> dict[str, Any]:
        """Goes to an address."""
        self._page.goto(url)
        return self.look()

    def look(self) -> dict[str, Any]:
        """What is shown."""
        self._page.wait_for_load_state()
        return {
            "url": self._page.url,
            "status": self._status,
            "title": self._page.title(),
            "text": self._page.inner_text("body"),
            "code": self._page.locator("p.code").all_inner_texts(),
            "overflows": self._page.evaluate("document.documentElement.scrollWidth > innerWidth"),
        }

    def press(self, name: str) -> dict[str, Any]:
        """Presses a button, follows a link, or unfolds something."""
        kinds = (f"{kind}:has-text('{name}')" for kind in ("button", "a", "summary"))
        self._page.locator(", ".join(kinds)).click()
        return self.look()

    def type_(self, label: str, text: str) -> None:
        """Fills a field in."""
        self._page.get_by_label(label).fill(text)

    def sign_in(self, login: str, provider: str) -> dict[str, Any]:
        """Goes through the provider's forms until it leads back."""
        while self._page.url.startswith(provider) and not self._held:
            here = self._page.url
            if self._page.locator("input[name=login]").count():
                self._page.fill("input[name=login]", login)
                self._page.fill("input[name=password]", "any")
            self._page.click("button[type=submit]")
            while self._page.url == here and not self._held:
                self._page.wait_for_timeout(20)
        return self.look()

    def hold(self, address: str) -> None:
        """Lets the browser not go to an address, nor to any longer one; see `held`."""
        session = self._context.new_cdp_session(self._page)

        def paused(event: dict[str, Any]) -> None:
            self._held.append(event["request"]["url"])
            session.send("Fetch.failRequest", {"requestId": event["requestId"], "errorReason": "Aborted"})

        session.on("Fetch.requestPaused", paused)
        session.send("Fetch.enable", {"patterns": [{"urlPattern": f"{address}*"}]})

    def held(self) -> str:
        """Where it wasn't let go to."""
        while not self._held:
            self._page.wait_for_timeout(20)
        return self._held[-1]

    def visited(self) -> list[str]:
        """Everywhere it has been."""
        return self._visited

    def clipboard(self) -> str:
        """What has been copied."""
        text: str = self._page.evaluate("navigator.clipboard.readText()")
        return text

    def tamper(self, cookie: str) -> int:
        """Changes the last letter of all cookies whose names begin so."""
        found = [one for one in self._context.cookies() if one["name"].startswith(cookie)]
        for one in found:
            one["value"] = one["value"][:-1] + ("B" if one["value"][-1] != "B" else "C")
        self._context.add_cookies(found)
        return len(found)

    def picture(self, path: str, scheme: str, width: int) -> None:
        """Takes one, of the whole page, on a light or dark screen."""
        self._page.emulate_media(color_scheme=scheme)
        self._page.set_viewport_size({"width": width, "height": 800})
        self._page.screenshot(path=path, full_page=True)

    def noticed(self) -> dict[str, list[str]]:
        """What the service's pages did: requests to elsewhere, errors in the console."""
        return {"elsewhere": self._elsewhere, "errors": self._errors}

    def cookies(self) -> list[str]:
        """Values of all cookies that the service has ever set."""
        return self._cookies

    def _ours(self) -> bool:
        return bool(self._page.url.startswith(self._service))

    def _asked(self, request: Request) -> None:
        self._visited.append(request.url)
        if not request.is_navigation_request() and self._ours() and not request.url.startswith(self._service):
            self._elsewhere.append(request.url)

    def _answered(self, response: Response) -> None:
        if response.request.is_navigation_request():
            self._status = response.status
        if response.url.startswith(self._service):
            for header in response.headers_array():
                if header["name"].lower() == "set-cookie" and (value := header["value"].split(";")[0].split("=", 1)[1]):
                    self._cookies.append(value)

    def _said(self, kind: str, text: str) -> None:
        if kind in ("error", "warning") and self._ours():
            self._errors.append(text)


def main(chromium: str, service: str) -> None:
    """Serves calls until stdin ends."""
    windows: dict[str, Window] = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=QUIET)
        for line in sys.stdin:
            whose, method, *arguments = json.loads(line)
            if whose not in windows:
                windows[whose] = Window(browser, service)
            sys.stdout.write(json.dumps(getattr(windows[whose], method)(*arguments)) + "\n")
            sys.stdout.flush()
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
