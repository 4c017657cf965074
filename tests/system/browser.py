"""Drives the Swagger UI in Chromium as a user would. Run with a Python that has playwright:
`browser.py CHROMIUM ADDRESS TOKEN PICTURE`; prints what was seen as JSON."""

from __future__ import annotations

import json
import sys

from playwright.sync_api import sync_playwright

QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
OPERATION = "#operations-workflows-listWorkflows"


def main(chromium: str, address: str, token: str, picture: str) -> None:
    """Opens `/`, authorizes with the token, lists the workflows with "Try it out"."""
    seen: dict[str, object] = {}
    requested: list[str] = []
    errors: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=QUIET)
        page = browser.new_page(viewport={"width": 1200, "height": 1500})
        page.on("request", lambda request: requested.append(request.url))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.goto(f"{address}/")
        page.wait_for_selector(".opblock")
        seen["title"] = page.inner_text(".info .title")
        seen["operations"] = page.locator(".opblock").count()
        seen["servers"] = page.locator(".servers").count()
        page.click("button.authorize")
        page.fill("input[aria-label=auth-bearer-value]", token)
        page.locator(".auth-container button.authorize").first.click()
        page.locator("button.btn-done").first.click()
        page.click(f"{OPERATION} .opblock-summary-control")
        page.click(f"{OPERATION} .try-out__btn")
        page.click(f"{OPERATION} .execute")
        answer = page.locator(f"{OPERATION} .live-responses-table .response").first
        answer.wait_for()
        seen["answer"] = answer.inner_text()
        page.locator(OPERATION).scroll_into_view_if_needed()
        page.screenshot(path=picture)
        browser.close()
    sys.stdout.write(
        json.dumps(seen | {"elsewhere": [url for url in requested if not url.startswith(address)], "errors": errors})
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
