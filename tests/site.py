"""The site that `nox -s site` built: links, anchors, the public names, and each page within reach."""

import inspect
import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote

import pytest

import rnn_backends as rb
import rnn_backends.plot
import rnn_backends.testing

BUILT = Path(__file__).parent.parent / "build" / "site"
PAGES = sorted(page for page in BUILT.rglob("*.html") if "_static" not in page.parts)
OF_SPHINX = {"genindex.html", "search.html", "py-modindex.html"}


class Page(HTMLParser):
    """What a page links to, and the anchors that it has."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.anchors: set[str] = set()
        self.pictures_without_words: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        held = dict(attrs)
        self.anchors |= {value for name in ("id", "name") if (value := held.get(name))}
        if tag == "a" and (target := held.get("href")):
            self.links.add(target)
        if tag == "img" and (target := held.get("src")):
            self.links.add(target)
            if not held.get("alt"):
                self.pictures_without_words.append(target)


parsed = cache(Page)


def test_there_are_pages() -> None:
    assert len(PAGES) > 20, "build the site first: nox -s site"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(BUILT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    for link in parsed(page).links:
        if re.match(r"(https://|mailto:|data:)", link):
            continue
        assert "//" not in link, link
        target, _, anchor = link.partition("#")
        path = page.parent / unquote(target.partition("?")[0]) if target else page
        assert path.is_file(), link
        if anchor and path.suffix == ".html":
            assert unquote(anchor) in parsed(path).anchors, link


def test_every_page_is_within_reach() -> None:
    reached, waiting = set(), [BUILT / "index.html"]
    while waiting:
        page = waiting.pop().resolve()
        if page in reached:
            continue
        reached.add(page)
        links = (link.partition("#")[0] for link in parsed(page).links if "://" not in link)
        waiting += [page.parent / link for link in links if link.endswith(".html")]
    assert {page.resolve() for page in PAGES if page.name not in OF_SPHINX} <= reached


def public(module: ModuleType) -> set[str]:
    return {f"{module.__name__}.{name}" for name in module.__all__ if not name.startswith("__")}


def methods(kind: type) -> set[str]:
    """The public methods and properties of a class, those that it inherits included."""
    found = {name for name, _ in inspect.getmembers(kind) if not name.startswith("_")}
    return {f"{kind.__module__.partition('.')[0]}.{kind.__name__}.{name}" for name in found}


def test_the_reference_has_every_public_name() -> None:
    anchors = {anchor for page in PAGES if page.parent.name == "reference" for anchor in parsed(page).anchors}
    wanted = (
        public(rb) | public(rnn_backends.testing) | public(rnn_backends.plot) | methods(rb.RNN) | methods(rb.Stream)
    )
    assert not wanted - anchors
