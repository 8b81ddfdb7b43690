"""Checks of the built pages in a browser: ``python docs/_checks/browser.py docs/_build/html SCREENSHOTS [PAGE ...]``.

Needs ``playwright``, ``axe-playwright-python`` and a Chromium on the path. Each page is opened at three widths in light
and dark. No page asks another host for anything, writes an error to the console or is wider than the window, and
axe-core finds no serious violation. Pages are those named, or all but the sources and the index.
"""

import shutil
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, sync_playwright

WIDTHS = (390, 1024, 1400)
SCHEMES = ("light", "dark")


class Quiet(SimpleHTTPRequestHandler):
    """A handler that does not log requests."""

    def log_message(self, *args: object) -> None:
        pass


def serious(page: Page) -> list[str]:
    """Serious and critical violations that axe-core finds."""
    found = Axe().run(page).response["violations"]
    return [f"{v['id']} at {v['nodes'][0]['target']}" for v in found if v["impact"] in ("serious", "critical")]


def check(page: Page, origin: str, name: str, shot: Path, with_axe: bool) -> list[str]:
    """What is wrong with one page at one width in one scheme."""
    wrong: list[str] = []
    outside = lambda request: None if request.url.startswith((origin, "data:", "about:")) else wrong.append(request.url)  # noqa: E731
    console = lambda message: wrong.append(message.text) if message.type == "error" else None  # noqa: E731
    page.on("request", outside)
    page.on("console", console)
    page.goto(f"{origin}/{name}", wait_until="load")
    width, seen = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    if width > seen:
        wide = page.evaluate(
            "[...document.querySelectorAll('article *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1)"
            ".slice(0, 3).map(e => e.tagName + '.' + e.className)"
        )
        wrong.append(f"{width} pixels wide in a window of {seen}: {wide}")
    if with_axe:
        wrong += serious(page)
    page.screenshot(path=shot, full_page=False)
    page.remove_listener("request", outside)
    page.remove_listener("console", console)
    return wrong


def main(folder: Path, shots: Path, names: list[str]) -> int:
    """Check pages; returns the number of faults."""
    shots.mkdir(parents=True, exist_ok=True)
    if not names:
        names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.html") if "_modules" not in path.parts)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    origin, faults = f"http://127.0.0.1:{server.server_port}", 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for scheme in SCHEMES:
            for width in WIDTHS:
                page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
                for name in names:
                    shot = shots / f"{name.replace('/', '_').removesuffix('.html')}-{width}-{scheme}.png"
                    for fault in check(page, origin, name, shot, with_axe=width == WIDTHS[1]):
                        faults += 1
                        sys.stdout.write(f"{name}, {width} pixels, {scheme}: {fault}\n")
                page.close()
        browser.close()
    server.shutdown()
    return faults


if __name__ == "__main__":
    count = main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
    sys.exit(f"{count} faults" if count else None)
