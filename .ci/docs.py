"""Builds the documentation site for `make docs`: build/docs. Exits with 1 for anything that is wrong with it.

Pages are written for the places that show repositories, where `../CONTRIBUTING.md` leads out of docs/. Here such files
are put beside the pages, and links to them are made to fit. When Zensical has built the site, all links of it
are followed: those of pages, of the navigation and of the theme.
"""

from __future__ import annotations

import posixpath
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

TOP = Path(__file__).parents[1]
STAGE = TOP / "build" / "pages"
SITE = TOP / "build" / "docs"
OUTSIDE = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "openapi.yaml")
_LINK = re.compile(r"(\[[^]]*\]\()([^)\s#]+)((?:#[^)\s]*)?\))")
_FETCHING = {"script", "img", "link", "iframe", "source", "video", "audio", "object", "embed"}


def stage() -> None:
    """Puts together what the site is built from."""
    shutil.rmtree(STAGE, ignore_errors=True)
    shutil.copytree(TOP / "docs", STAGE / "docs")
    for name in OUTSIDE:
        shutil.copy(TOP / name, STAGE / "docs" / name)
    for page in (STAGE / "docs").rglob("*.md"):
        name = page.relative_to(STAGE / "docs").as_posix()
        text = page.read_text(encoding="utf-8")
        _add_what_is_linked(name, text)
        page.write_text(_fitted(name, text), encoding="utf-8")
    version = re.search(r'__version__ = "(.+)"', (TOP / "hpcwaas/__init__.py").read_text(encoding="utf-8"))
    configuration = (TOP / "mkdocs.yml").read_text(encoding="utf-8")
    (STAGE / "mkdocs.yml").write_text(configuration.replace("VERSION", version[1] if version else ""), encoding="utf-8")


def _fitted(name: str, text: str) -> str:
    """A page whose links fit the site.

    Args:
        name: the page's place on the site.
    """
    here = name if name in OUTSIDE else f"docs/{name}"

    def fitted(found: re.Match[str]) -> str:
        if "://" in found[2]:
            return found[0]
        target = posixpath.normpath(posixpath.join(posixpath.dirname(here), found[2]))
        return found[1] + posixpath.relpath(target.removeprefix("docs/"), posixpath.dirname(name) or ".") + found[3]

    return _LINK.sub(fitted, text)


def _add_what_is_linked(name: str, text: str) -> None:
    """Puts files beside the pages that a page links to, and that are no pages, such as an example."""
    for _, link, _ in _LINK.findall(text):
        source = (TOP / "docs" / name).parent / link
        if "://" not in link and source.is_file() and not source.resolve().is_relative_to(TOP / "docs"):
            target = STAGE / "docs" / source.resolve().relative_to(TOP)
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, target)


class _Page(HTMLParser):
    """What a page links to, what it fetches, and the places in it that links may name."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.fetched: set[str] = set()
        self.places = {""}
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Notes what an element names."""
        for name, value in attrs:
            if name == "id" and value:
                self.places.add(value)
            elif name in ("href", "src") and value:
                (self.fetched if tag in _FETCHING else self.links).add(value)


def problems(site: Path) -> Iterator[str]:
    """Links of a site that lead nowhere, and everything that a browser would fetch from elsewhere."""
    pages = {path: _Page(path) for path in sorted(site.resolve().rglob("*.html"))}
    for path, page in pages.items():
        # What is shown in the place of any page that there isn't names everything from the top.
        top = site.resolve() if path.name == "404.html" else None
        for link in sorted(page.links | page.fetched):
            problem = _wrong(path, link, pages, top, fetched=link in page.fetched)
            if problem:
                yield f"{path.relative_to(site.resolve())}: {link}: {problem}"
    for sheet in sorted(site.rglob("*.css")):
        for url in re.findall(r"url\(['\"]?(?!data:)([^)'\"]+)", sheet.read_text(encoding="utf-8")):
            if "//" in url or not (sheet.parent / urlsplit(url).path).exists():
                yield f"{sheet.relative_to(site)} fetches {url}"


def _wrong(path: Path, link: str, pages: dict[Path, _Page], top: Path | None, *, fetched: bool) -> str | None:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        if fetched:
            return "the site has to do without other servers"
        sound = parts.scheme == "https" and re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", parts.netloc)
        return None if sound else "expected an address that begins with https://"
    place = unquote(parts.path)
    if place.startswith("/"):
        if top is None:
            return "the site may lie below any path: name it from here"
        target = top / place[1:]
    else:
        target = (path.parent / place).resolve() if place else path
    if not target.is_file():
        return "there is no such file"
    if target in pages and unquote(parts.fragment) not in pages[target].places:
        return "there is no such place in that page"
    return None


def main() -> None:
    """Builds and checks."""
    stage()
    shutil.rmtree(SITE, ignore_errors=True)
    command = [Path(sys.executable).with_name("zensical"), "build", "--strict", "--clean"]
    built = subprocess.run(command, cwd=STAGE, capture_output=True, text=True, check=False)
    if built.returncode or "warning" in built.stdout.lower() + built.stderr.lower():
        sys.exit(built.stdout + built.stderr)
    (STAGE / "site").rename(SITE)
    found = list(problems(SITE))
    if found:
        sys.exit("\n".join(found))
    sys.stdout.write(f"{SITE.relative_to(TOP)}/index.html: {len(list(SITE.rglob('*.html')))} pages\n")


if __name__ == "__main__":
    main()
