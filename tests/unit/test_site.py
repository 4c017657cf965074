"""What `make docs` finds in a site that it has built."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

BUILDER = Path(__file__).parents[2] / ".ci" / "docs.py"
SPEC = importlib.util.spec_from_file_location("site_builder", BUILDER)
assert SPEC
assert SPEC.loader
builder = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(builder)


@pytest.mark.parametrize(
    ("element", "problem"),
    [
        ('<a href="other.html">', None),
        ('<a href="other.html#here">', None),
        ('<a href="#top">', None),
        ('<a href="../openapi.yaml">', None),
        ('<a href="https://www.commonwl.org/v1.2/">', None),
        ('<a href="gone.html">', "there is no such file"),
        ('<a href=".">', "there is no such file"),
        ('<a href="other.html#there">', "there is no such place in that page"),
        ('<a href="#bottom">', "there is no such place in that page"),
        ('<a href="/room/other.html">', "the site may lie below any path: name it from here"),
        ('<a href="http://www.commonwl.org/">', "expected an address that begins with https://"),
        ('<a href="https://localhost/">', "expected an address that begins with https://"),
        ('<a href="mailto:somebody">', "expected an address that begins with https://"),
        ('<script src="https://cdn.example.org/a.js">', "the site has to do without other servers"),
        ('<link href="//fonts.example.org/a.css">', "the site has to do without other servers"),
    ],
)
def test_links_of_the_site_are_followed(tmp_path: Path, element: str, problem: str | None) -> None:
    room = tmp_path / "room"
    room.mkdir()
    (tmp_path / "openapi.yaml").touch()
    (room / "other.html").write_text('<h1 id="here">')
    (room / "page.html").write_text(f'<h1 id="top">{element}')
    link = element.split('"')[1]
    assert list(builder.problems(tmp_path)) == ([f"room/page.html: {link}: {problem}"] if problem else [])


@pytest.mark.parametrize(("url", "found"), [("a.woff", False), ("data:image/svg", False), ("https://f.org/a", True)])
def test_style_sheets_fetch_nothing_from_elsewhere(tmp_path: Path, url: str, found: bool) -> None:
    (tmp_path / "a.woff").touch()
    (tmp_path / "a.css").write_text(f"a {{ src: url({url}) }}")
    assert list(builder.problems(tmp_path)) == ([f"a.css fetches {url}"] if found else [])


@pytest.mark.parametrize(
    ("page", "link", "fitted"),
    [
        ("README.md", "../CONTRIBUTING.md#here", "CONTRIBUTING.md#here"),
        ("how-to/rest.md", "../../openapi.yaml", "../openapi.yaml"),
        ("how-to/rest.md", "vault.md", "vault.md"),
        ("how-to/rest.md", "#here", "#here"),
        ("how-to/rest.md", "https://example.org/a", "https://example.org/a"),
        ("CONTRIBUTING.md", "docs/how-to/rest.md", "how-to/rest.md"),
        ("SECURITY.md", "CHANGELOG.md", "CHANGELOG.md"),
    ],
)
def test_links_out_of_docs_fit_the_site(page: str, link: str, fitted: str) -> None:
    assert builder._fitted(page, f"see [there]({link})") == f"see [there]({fitted})"
