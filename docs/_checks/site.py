"""Checks of the built pages, offline: ``python docs/_checks/site.py docs/_build/html``.

Every link within the site has its target; nothing is loaded from another host; every picture has a text in its place;
headings begin with one of the first level and leave none out.
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}


class Page(HTMLParser):
    """What a page holds."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.levels: list[int] = []
        self.pictures_without_text = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        if found.get("id"):
            self.anchors.add(str(found["id"]))
        if tag == "a" and found.get("href"):
            self.links.append(str(found["href"]))
        loads = tag != "link" or "stylesheet" in str(found.get("rel")) or "icon" in str(found.get("rel"))
        if loads and found.get(LOADED.get(tag, "")):
            self.loaded.append(str(found[LOADED[tag]]))
        if tag == "img" and "alt" not in found:
            self.pictures_without_text += 1
        if len(tag) == 2 and tag[0] == "h" and tag[1].isdigit():
            self.levels.append(int(tag[1]))


def problems(folder: Path) -> list[str]:
    """What is wrong with the pages in a folder."""
    pages = {path: Page(path.read_text()) for path in folder.rglob("*.html")}
    found = []
    for path, page in pages.items():
        name = path.relative_to(folder)
        for address in page.loaded:
            if urlsplit(address).netloc:
                found.append(f"{name} loads {address}")
        for address in page.links + page.loaded:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target /= "index.html"
            if not target.exists():
                found.append(f"{name} links to {address}, which is missing")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
                found.append(f"{name} links to {address}, whose anchor is missing")
        if page.pictures_without_text:
            found.append(f"{name} has {page.pictures_without_text} pictures without a text in their place")
        steps = zip([0, *page.levels], page.levels, strict=False)
        if page.levels and any(low > high + 1 for high, low in steps):
            found.append(f"{name} leaves out a level of headings: {page.levels}")
    return found


if __name__ == "__main__":
    wrong = problems(Path(sys.argv[1]).resolve())
    sys.stdout.write("".join(f"{line}\n" for line in wrong[:50]))
    sys.exit(f"{len(wrong)} problems of the pages" if wrong else None)
